//! A client's connection as a session holds it, whatever is beneath.

use std::{fmt, io};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// Bytes from and to a client.
pub trait ClientIo: AsyncRead + AsyncWrite + Unpin + Send {
    /// Moves to the reactor of this thread, for the connection may have been accepted by another one.
    ///
    /// # Errors
    /// As the operating system's.
    fn settle(self: Box<Self>) -> io::Result<ClientStream>;
}

/// A client's connection.
pub type ClientStream = Box<dyn ClientIo>;

impl ClientIo for TcpStream {
    fn settle(self: Box<Self>) -> io::Result<ClientStream> {
        Ok(Box::new(Self::from_std(self.into_std()?)?))
    }
}

impl fmt::Debug for dyn ClientIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientStream")
    }
}
