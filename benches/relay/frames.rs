//! Frames on one connection, for the echo and for the load alike: cheap, and as strict as tidegate's own scanner.

use std::{io, ops::Range};

use tidegate::wire::websocket::{
    frame::{OpCode, Sender},
    mask,
    scan::FrameScan,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The first receive of a connection. It grows with what comes, up to [`RECEIVE_MAX`].
const RECEIVE_BYTES: usize = 4 * 1024;
const RECEIVE_MAX: usize = 128 * 1024;
const PAYLOAD_MAX: u64 = 1024 * 1024;
const HEAD_MAX: usize = 16 * 1024;

/// Bytes both ways, plain or encrypted.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection after or in its handshake, with what was read and not looked at.
pub(crate) struct Frames {
    stream: Box<dyn Stream>,
    scan: FrameScan,
    received: Vec<u8>,
    at: usize,
}

/// One frame, its payload unmasked in place.
pub(crate) struct Frame {
    pub(crate) opcode: OpCode,
    payload: Range<usize>,
}

impl Frames {
    /// `peer` is who sends what is read here.
    pub(crate) fn new(stream: Box<dyn Stream>, peer: Sender) -> Self {
        let received = Vec::with_capacity(RECEIVE_BYTES);
        Self { stream, scan: FrameScan::new(peer, PAYLOAD_MAX), received, at: 0 }
    }

    /// The head of the HTTP request or answer that comes first.
    pub(crate) async fn head(&mut self) -> io::Result<String> {
        loop {
            let end = self.received.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                self.at = end + 4;
                return String::from_utf8(self.received[..self.at].to_vec()).map_err(io::Error::other);
            }
            if self.received.len() > HEAD_MAX {
                return Err(io::Error::other("a head without end"));
            }
            self.receive().await?;
        }
    }

    /// One receive.
    pub(crate) async fn receive(&mut self) -> io::Result<()> {
        self.received.drain(..self.at);
        self.at = 0;
        if self.received.len() == self.received.capacity() {
            self.received.reserve(self.received.len().min(RECEIVE_MAX));
        }
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next frame that is whole. None: [`receive`](Self::receive) first.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame>> {
        let ahead = &self.received[self.at..];
        let Some(header) = self.scan.header(ahead).map_err(io::Error::other)? else { return Ok(None) };
        let payload_len = usize::try_from(header.payload_len).map_err(io::Error::other)?;
        let len = header.header_len + payload_len;
        if ahead.len() < len {
            self.received.reserve(len - ahead.len());
            return Ok(None);
        }
        self.scan.accept(&header);
        let payload = self.at + header.header_len..self.at + len;
        self.at += len;
        if let Some(key) = header.mask {
            mask::apply(&mut self.received[payload.clone()], key, 0);
        }
        Ok(Some(Frame { opcode: header.opcode, payload }))
    }

    /// The payload of a frame, until the next receive.
    pub(crate) fn payload(&self, frame: &Frame) -> &[u8] {
        &self.received[frame.payload.clone()]
    }

    /// Sends all of it.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}
