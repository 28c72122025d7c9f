//! The upstream leg: absent until the first CONNECT is accepted, then dialled, then open; and again after a loss.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use crate::{
    relay::{
        dial::Dialled, dial_error::DialError, inflow::Inflow, leg::websocket::WebSocketLeg, stream::ServiceStream,
    },
    session::{answer::Close, ended::Ended, view::Reading},
    wire::websocket::{
        frame::{FrameHeader, OpCode, Sender},
        mask,
    },
};

/// The longest header of a frame (RFC 6455 §5.2).
const FRAME_HEADER_MAX: usize = 14;

/// A dial under way.
pub type Dialling = Pin<Box<dyn Future<Output = Result<Dialled, DialError>>>>;

/// The connection to the service.
pub enum ServiceLeg {
    /// Nothing: it was never dialled, or is down.
    Absent,
    /// The connection is being made.
    Dialling(Dialling),
    /// Connected.
    Open(Box<WebSocketLeg<ServiceStream>>),
}

impl ServiceLeg {
    /// A leg over a new connection.
    #[must_use]
    pub fn over(dialled: Dialled, reading: Reading) -> Self {
        let mut inflow = Inflow::new(Sender::Service, reading.max as u64, reading.whole).passing_long();
        if reading.checks_text {
            inflow = inflow.checking_text();
        }
        Self::Open(Box::new(WebSocketLeg::new(dialled.io, Sender::Client, inflow, &dialled.read_ahead)))
    }

    /// What comes in, as frames. `None` while nothing does.
    #[inline]
    pub const fn inflow(&mut self) -> Option<&mut Inflow> {
        match self {
            Self::Open(leg) => Some(&mut leg.inflow),
            Self::Absent | Self::Dialling(_) => None,
        }
    }

    /// Receives into `buffer`, as frames, behind what was carried over.
    #[inline]
    pub fn fill(&mut self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<Result<usize, Ended>> {
        match self {
            Self::Open(leg) => leg.fill(buffer, cx).map_err(|_| Ended::ServiceLost),
            Self::Absent | Self::Dialling(_) => Poll::Pending,
        }
    }

    /// Queues a frame of Tidegate; [`flush`](Self::flush) sends it. Only between two frames that pass.
    pub fn say(&mut self, opcode: OpCode, payload: &[u8], now: Instant) {
        if let Self::Open(leg) = self {
            leg.say(opcode, payload, now);
        }
    }

    /// Queues a Close.
    pub fn say_close(&mut self, close: Close<'_>, now: Instant) {
        if let Self::Open(leg) = self {
            leg.say_close(close, now);
        }
    }

    /// Whether [`flush`](Self::flush) has something to do.
    #[inline]
    #[must_use]
    pub const fn has_unsent(&self) -> bool {
        match self {
            Self::Open(leg) => leg.has_unsent(),
            Self::Absent | Self::Dialling(_) => false,
        }
    }

    /// Sends what is queued.
    pub fn flush(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Open(leg) => leg.flush(now, cx),
            Self::Absent | Self::Dialling(_) => Poll::Ready(Ok(())),
        }
    }

    /// Whether it accepts more now. While it does not, the client is not read. While there is no connection, the
    /// session decides what happens to the client's packets.
    #[must_use]
    #[inline]
    pub const fn takes(&self) -> bool {
        match self {
            Self::Absent | Self::Dialling(_) => true,
            Self::Open(leg) => leg.waiting() == 0,
        }
    }

    /// What the leg keeps of either direction, in bytes of memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        match self {
            Self::Absent | Self::Dialling(_) => 0,
            Self::Open(leg) => leg.memory(),
        }
    }

    /// Whether a message of the service is being put together.
    #[must_use]
    #[inline]
    pub const fn is_gathering(&self) -> bool {
        match self {
            Self::Absent | Self::Dialling(_) => false,
            Self::Open(leg) => leg.inflow.is_gathering(),
        }
    }

    /// Since when the service takes none of the queued bytes. `None` while none are queued.
    #[must_use]
    pub const fn stalled_since(&self) -> Option<Instant> {
        match self {
            Self::Absent | Self::Dialling(_) => None,
            Self::Open(leg) => leg.stalled_since(),
        }
    }

    /// Whether no frame that passes has gone in part.
    #[must_use]
    #[inline]
    pub const fn between_frames(&self) -> bool {
        match self {
            Self::Absent | Self::Dialling(_) => true,
            Self::Open(leg) => leg.inflow.between_frames(),
        }
    }

    /// Sends frames of the client, or parts of one that follow each other.
    ///
    /// # Errors
    /// The socket's.
    #[inline]
    pub fn send(&mut self, bytes: &[u8], now: Instant, cx: &mut Context<'_>) -> io::Result<()> {
        match self {
            Self::Open(leg) => leg.send(bytes, now, cx),
            Self::Absent | Self::Dialling(_) => Ok(()),
        }
    }

    /// Sends a message as one frame.
    ///
    /// # Errors
    /// The socket's.
    pub fn send_message(
        &mut self,
        opcode: OpCode,
        payload: &[u8],
        now: Instant,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let key = rand::random::<[u8; 4]>();
        let mut frame = Vec::with_capacity(FRAME_HEADER_MAX + payload.len());
        FrameHeader::encode(opcode, payload.len() as u64, Some(key), &mut frame);
        let payload_at = frame.len();
        frame.extend_from_slice(payload);
        mask::apply(&mut frame[payload_at..], key, 0);
        self.send(&frame, now, cx)
    }

    /// The outcome of a dial under way.
    pub fn poll_dial(&mut self, cx: &mut Context<'_>) -> Poll<Result<Dialled, DialError>> {
        match self {
            Self::Dialling(dial) => dial.as_mut().poll(cx),
            Self::Absent | Self::Open(_) => Poll::Pending,
        }
    }
}

impl fmt::Debug for ServiceLeg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Dialling(_) => "Dialling",
            Self::Open(_) => "Open",
        })
    }
}
