//! One WebSocket connection: receives into the worker's buffer, sends from it, and keeps only what the peer does not
//! take.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    relay::{inflow::Inflow, stream::ClientStream},
    session::answer::Close,
    wire::websocket::{
        close,
        frame::{FrameHeader, OpCode, Sender},
        mask,
    },
};

/// One WebSocket connection after its handshake.
#[derive(Debug)]
pub struct WebSocketLeg<S> {
    io: S,
    /// The incoming frames.
    pub inflow: Inflow,
    /// The role of Tidegate: towards the service it is the client, and masks.
    speaker: Sender,
    leftover: Vec<u8>,
    leftover_at: usize,
    /// The stream has taken bytes that it holds itself, as TLS does.
    holding: bool,
    stalled_since: Option<Instant>,
    /// The bytes that waited when Tidegate last queued a frame of its own.
    before_last: usize,
    shut: bool,
    /// The peer has ended its direction.
    ended: bool,
}

impl WebSocketLeg<ClientStream> {
    /// The same leg on the reactor of this thread.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn rebind(self) -> io::Result<Self> {
        Ok(Self { io: self.io.rebind()?, ..self })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketLeg<S> {
    /// A leg over `io`, of which `read_ahead` has already been read.
    pub fn new(io: S, speaker: Sender, mut inflow: Inflow, read_ahead: &[u8]) -> Self {
        if !read_ahead.is_empty() {
            inflow.put_in_front(read_ahead);
        }
        Self {
            io,
            inflow,
            speaker,
            leftover: Vec::new(),
            leftover_at: 0,
            holding: false,
            stalled_since: None,
            before_last: 0,
            shut: false,
            ended: false,
        }
    }

    /// The same leg, with bytes that are sent before every frame.
    #[must_use]
    pub fn beginning_with(self, leftover: Vec<u8>) -> Self {
        Self { leftover, ..self }
    }

    /// Receives into `buffer`, behind what was carried over. Reads nothing while a message that was put back waits
    /// alone.
    ///
    /// # Errors
    /// The socket's; [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the peer has ended its direction.
    #[inline]
    pub fn fill(&mut self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.inflow.has_put_back() {
            return Poll::Ready(Ok(self.inflow.take_carry(buffer)));
        }
        let mut into = ReadBuf::new(&mut buffer[self.inflow.carried()..]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut into))?;
        let received = into.filled().len();
        if received == 0 {
            self.ended = true;
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(self.inflow.take_carry(buffer) + received))
    }

    /// Sends whole frames, or parts of one that follow each other. What the socket does not take is kept.
    ///
    /// # Errors
    /// The socket's.
    #[inline]
    pub fn send(&mut self, mut bytes: &[u8], now: Instant, cx: &mut Context<'_>) -> io::Result<()> {
        if self.leftover.is_empty() {
            while !bytes.is_empty() {
                match Pin::new(&mut self.io).poll_write(cx, bytes) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(written)) => bytes = &bytes[written..],
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => break,
                }
            }
            self.holding = Pin::new(&mut self.io).poll_flush(cx)?.is_pending();
            if self.holding {
                self.stalled_since.get_or_insert(now);
            }
        }
        if !bytes.is_empty() {
            self.stalled_since.get_or_insert(now);
            self.leftover.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Queues a frame of Tidegate; [`flush`](Self::flush) sends it. Only between two frames that pass.
    pub fn say(&mut self, opcode: OpCode, payload: &[u8], now: Instant) {
        self.before_last = self.waiting();
        let key = match self.speaker {
            Sender::Client => Some(rand::random::<[u8; 4]>()),
            Sender::Service => None,
        };
        FrameHeader::encode(opcode, payload.len() as u64, key, &mut self.leftover);
        let payload_at = self.leftover.len();
        self.leftover.extend_from_slice(payload);
        if let Some(key) = key {
            mask::apply(&mut self.leftover[payload_at..], key, 0);
        }
        self.stalled_since.get_or_insert(now);
    }

    /// Queues a Close.
    pub fn say_close(&mut self, close: Close<'_>, now: Instant) {
        let mut payload = Vec::new();
        close::encode_close(close.code, close.reason, &mut payload);
        self.say(OpCode::Close, &payload, now);
    }

    /// Whether [`flush`](Self::flush) has something to do.
    #[inline]
    #[must_use]
    pub const fn has_unsent(&self) -> bool {
        !self.leftover.is_empty() || self.holding
    }

    /// Sends what is queued.
    pub fn flush(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_unsent() {
            return Poll::Ready(Ok(()));
        }
        while self.leftover_at < self.leftover.len() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.leftover[self.leftover_at..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.leftover_at += written;
            self.stalled_since = Some(now);
        }
        self.leftover = Vec::new();
        self.leftover_at = 0;
        self.holding = true;
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.holding = false;
        self.stalled_since = None;
        Poll::Ready(Ok(()))
    }

    /// How many bytes the stream has yet to take.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.leftover.len() - self.leftover_at
    }

    /// What the leg keeps of either direction, in bytes of memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.leftover.capacity() + self.inflow.memory()
    }

    /// How many of them waited before the last frame of Tidegate, which may have any size.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.before_last.min(self.waiting())
    }

    /// Since when the peer takes none of the queued bytes. `None` while none are queued.
    #[must_use]
    pub const fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// The end: sends what is queued and nothing after it, and reads until the peer has ended too.
    pub fn end(&mut self, buffer: &mut [u8], now: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(self.flush(now, cx))?;
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.shut = true;
        }
        while !self.ended {
            let mut into = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut into))?;
            self.ended = into.filled().is_empty();
        }
        Poll::Ready(Ok(()))
    }
}
