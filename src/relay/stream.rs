//! Connections as a session holds them, with or without TLS: the relay does not depend on TLS.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The most unsent bytes that the kernel holds for one connection (`TCP_NOTSENT_LOWAT`). Without this bound the send buffer grows
/// to megabytes, and the socket is writable again only when a third of it is free: a peer that reads 100 KB/s would seem to read
/// nothing for ten seconds.
const UNSENT_MAX: u32 = 256 * 1024;

/// Sets that bound, so that the socket becomes writable soon after the other side has read something.
pub fn bound_unsent(socket: &SockRef<'_>) {
    // All works without it.
    let _ = socket.set_tcp_notsent_lowat(UNSENT_MAX);
}

/// Says how far the sent bytes are.
pub trait Sending {
    /// How many bytes have gone into the socket. `None`: the stream holds none itself, and all that it takes goes there.
    fn sent(&self) -> Option<u64> {
        None
    }
}

/// Bytes from and to a client.
pub trait ClientIo: AsyncRead + AsyncWrite + Sending + Unpin + Send {
    /// Moves to the reactor of this thread: another thread may have accepted the connection.
    ///
    /// # Errors
    /// An error of the operating system.
    fn rebind(self: Box<Self>) -> io::Result<ClientStream>;
}

/// A client's connection.
pub type ClientStream = Box<dyn ClientIo>;

impl Sending for TcpStream {}

impl Sending for ClientStream {
    fn sent(&self) -> Option<u64> {
        (**self).sent()
    }
}

impl ClientIo for TcpStream {
    fn rebind(self: Box<Self>) -> io::Result<ClientStream> {
        Ok(Box::new(Self::from_std(self.into_std()?)?))
    }
}

impl fmt::Debug for dyn ClientIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientStream")
    }
}

/// Bytes from and to a service behind TLS.
pub trait ServiceIo: AsyncRead + AsyncWrite + Sending + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Sending + Unpin + Send> ServiceIo for S {}

/// A connection to the service.
pub enum ServiceStream {
    /// Not encrypted.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<dyn ServiceIo>),
}

impl Sending for ServiceStream {
    fn sent(&self) -> Option<u64> {
        match self {
            Self::Plain(stream) => stream.sent(),
            Self::Tls(stream) => stream.sent(),
        }
    }
}

impl AsyncRead for ServiceStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for ServiceStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl fmt::Debug for ServiceStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceStream")
    }
}
