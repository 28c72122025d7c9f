//! The connection of one client. Once an answer lasts, little of it waits in the kernel for a client that takes nothing.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::body::Pace;

/// So many bytes of an answer that lasts wait in the kernel, which may double it. By itself it takes megabytes, and whoever takes
/// nothing would seem to take part after part.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct PacedStream {
    stream: TcpStream,
    /// Of the answer.
    pace: Arc<Pace>,
    is_small: bool,
}

impl PacedStream {
    /// With an answer of this pace.
    pub(super) const fn new(stream: TcpStream, pace: Arc<Pace>) -> Self {
        Self { stream, pace, is_small: false }
    }

    /// To write to. An answer that lasts has a pace before its head is written.
    fn outward(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        let this = self.get_mut();
        if !this.is_small && this.pace.last().is_some() {
            this.is_small = true;
            // Where that fails, who takes nothing is cut off later.
            let _ = SockRef::from(&this.stream).set_send_buffer_size(SEND_BUFFER_BYTES);
        }
        Pin::new(&mut this.stream)
    }
}

impl AsyncRead for PacedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, into)
    }
}

impl AsyncWrite for PacedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.outward().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outward().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outward().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outward().poll_shutdown(cx)
    }
}
