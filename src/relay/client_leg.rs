//! The client leg: what the client holds, whatever carries it. The session does not depend on it.

use std::{
    io,
    task::{Context, Poll},
    time::Instant,
};

use crate::{
    relay::{
        inflow::Inflow,
        leg::{polling::PollingLeg, websocket::WebSocketLeg},
        stream::ClientStream,
    },
    session::{answer, ended::Ended, table::Transport},
    wire::websocket::frame::OpCode,
};

/// While more than this waits for a client, the service is not read.
const SEND_HIGH_WATER: usize = 64 * 1024;

/// What the client holds.
#[derive(Debug)]
pub enum ClientLeg {
    /// A websocket.
    Websocket(WebSocketLeg<ClientStream>),
    /// Requests that come and go; and perhaps a websocket that is being probed.
    Polling(Box<PollingLeg>),
    /// Nothing: the client is absent, and may come back.
    Absent,
}

impl ClientLeg {
    /// Which of Engine.IO's transports it is; none while the client is absent.
    #[must_use]
    pub const fn transport(&self) -> Option<Transport> {
        match self {
            Self::Websocket(_) => Some(Transport::Websocket),
            Self::Polling(_) => Some(Transport::Polling),
            Self::Absent => None,
        }
    }

    /// What comes in, as frames; none while the client is absent.
    #[inline]
    pub const fn inflow(&mut self) -> Option<&mut Inflow> {
        match self {
            Self::Websocket(leg) => Some(&mut leg.inflow),
            Self::Polling(leg) => Some(&mut leg.inflow),
            Self::Absent => None,
        }
    }

    /// The same leg on the reactor of this thread; none where its connection is lost on the way.
    #[must_use]
    pub fn rebind(self) -> Option<Self> {
        Some(match self {
            Self::Websocket(leg) => Self::Websocket(leg.rebind().ok()?),
            Self::Polling(mut leg) => {
                leg.rebind();
                Self::Polling(leg)
            }
            Self::Absent => return None,
        })
    }

    /// Has every frame that goes onward gone whole?
    #[must_use]
    #[inline]
    pub const fn between_frames(&self) -> bool {
        match self {
            Self::Websocket(leg) => leg.inflow.between_frames(),
            Self::Polling(leg) => leg.inflow.between_frames(),
            Self::Absent => true,
        }
    }

    /// Receives into `buffer`, as frames, behind what was carried over.
    #[inline]
    pub fn fill(&mut self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<Result<usize, Ended>> {
        match self {
            Self::Websocket(leg) => leg.fill(buffer, cx).map_err(|_| Ended::ClientLost),
            Self::Polling(leg) => leg.fill(buffer),
            Self::Absent => Poll::Pending,
        }
    }

    /// Sends whole frames, or parts of one that follow each other.
    ///
    /// # Errors
    /// The socket's.
    #[inline]
    pub fn send(&mut self, bytes: &[u8], now: Instant, cx: &mut Context<'_>) -> io::Result<()> {
        match self {
            Self::Websocket(leg) => leg.send(bytes, now, cx),
            Self::Polling(leg) => {
                leg.send(bytes);
                Ok(())
            }
            Self::Absent => Ok(()),
        }
    }

    /// Queues one frame of our own; [`flush`](Self::flush) sends it. Only between two frames that go onward.
    pub fn say(&mut self, opcode: OpCode, payload: &[u8], now: Instant) {
        match self {
            Self::Websocket(leg) => leg.say(opcode, payload, now),
            Self::Polling(leg) => leg.say(opcode, payload),
            Self::Absent => {}
        }
    }

    /// Queues the last word; `reason` is what the side said that closed. On a websocket there is none where the
    /// service's frame has not gone whole.
    pub fn say_end(&mut self, ended: Ended, reason: &str, between_frames: bool, now: Instant) {
        match self {
            Self::Websocket(leg) if between_frames && ended != Ended::ClientLost => {
                leg.say_close(answer::to_client(ended, reason), now);
            }
            Self::Websocket(_) | Self::Absent => {}
            Self::Polling(leg) => leg.say_end(ended),
        }
    }

    /// Whether [`flush`](Self::flush) has something to do.
    #[inline]
    #[must_use]
    pub const fn has_unsent(&self) -> bool {
        match self {
            Self::Websocket(leg) => leg.has_unsent(),
            Self::Polling(_) => true,
            Self::Absent => false,
        }
    }

    /// Sends what was kept.
    pub fn flush(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Websocket(leg) => leg.flush(now, cx),
            Self::Polling(leg) => leg.flush(cx),
            Self::Absent => Poll::Ready(Ok(())),
        }
    }

    /// Would it take more of the service now?
    #[must_use]
    #[inline]
    pub const fn takes(&self) -> bool {
        match self {
            Self::Websocket(leg) => leg.waiting() <= SEND_HIGH_WATER,
            // Only whole packets can be fetched, so one that has begun must come to its end.
            Self::Polling(leg) => leg.in_packet() || leg.waiting() <= SEND_HIGH_WATER,
            Self::Absent => true,
        }
    }

    /// How many bytes it could have taken and has not.
    #[must_use]
    pub fn backlog(&self) -> usize {
        match self {
            Self::Websocket(leg) => leg.backlog(),
            Self::Polling(leg) => leg.backlog(),
            Self::Absent => 0,
        }
    }

    /// Since when it has taken nothing although there is something. Between two polls that is nobody's fault; a client
    /// that comes no more is found by its heartbeat.
    #[must_use]
    pub const fn stalled_since(&self) -> Option<Instant> {
        match self {
            Self::Websocket(leg) => leg.stalled_since(),
            Self::Polling(_) | Self::Absent => None,
        }
    }

    /// When a probe must be over; none where there is none.
    #[must_use]
    pub fn probe_until(&self) -> Option<Instant> {
        match self {
            Self::Websocket(_) | Self::Absent => None,
            Self::Polling(leg) => leg.probe_until(),
        }
    }

    /// The end: sends what is left, says no more, and waits until the client has ended too.
    pub fn end(&mut self, buffer: &mut [u8], now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Websocket(leg) => leg.end(buffer, now, cx).map(drop),
            Self::Polling(leg) => leg.end(cx),
            Self::Absent => Poll::Ready(()),
        }
    }
}
