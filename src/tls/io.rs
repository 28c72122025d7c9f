//! The encrypted connections that a session holds.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

use crate::relay::stream::{ClientIo, ClientStream, Sending};

/// A TCP connection that can move to another reactor while the TLS state above it stays.
#[derive(Debug)]
pub(super) struct Socket {
    /// `None` only after a failed move.
    stream: Option<TcpStream>,
    /// So many bytes has it taken. TLS itself does not say when the socket takes what it holds.
    sent: u64,
}

impl Socket {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self { stream: Some(stream), sent: 0 }
    }

    /// The other side has closed, and has sent nothing that was not read before.
    pub(super) fn is_abandoned(&self) -> bool {
        let Some(stream) = &self.stream else { return true };
        match SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    fn rebind(&mut self) -> io::Result<()> {
        let stream = self.stream.take().ok_or(io::ErrorKind::NotConnected)?;
        self.stream = Some(TcpStream::from_std(stream.into_std()?)?);
        Ok(())
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream()?.poll_write(cx, bytes))?;
        self.sent += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream()?.poll_write_vectored(cx, slices))?;
        self.sent += written as u64;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

impl Sending for server::TlsStream<Socket> {
    fn sent(&self) -> Option<u64> {
        Some(self.get_ref().0.sent)
    }
}

impl Sending for client::TlsStream<Socket> {
    fn sent(&self) -> Option<u64> {
        Some(self.get_ref().0.sent)
    }
}

impl ClientIo for server::TlsStream<Socket> {
    fn rebind(mut self: Box<Self>) -> io::Result<ClientStream> {
        self.get_mut().0.rebind()?;
        Ok(self)
    }
}
