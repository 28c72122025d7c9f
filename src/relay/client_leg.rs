//! The client leg, for any transport. The session does not depend on the transport.

use std::{
    io,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::HeaderMap;

use crate::{
    relay::{
        inflow::Inflow,
        leg::{polling::PollingLeg, websocket::WebSocketLeg},
        stream::ClientStream,
    },
    session::{answer::Close, delivery::Delivery, ended::Ended, table::Transport},
    wire::websocket::frame::OpCode,
};

/// While more bytes than this wait for a client, the service is not read.
const SEND_HIGH_WATER: usize = 64 * 1024;

/// An event of so many bytes is cheaper to copy than to write by itself.
const COPIED_MAX: usize = 4 * 1024;

/// The connection of the client.
#[derive(Debug)]
pub enum ClientLeg {
    /// A websocket.
    Websocket(WebSocketLeg<ClientStream>),
    /// Long-polling requests, and perhaps a websocket that is being probed.
    Polling(Box<PollingLeg>),
    /// Nothing: the client is absent, and may come back.
    Absent,
}

impl ClientLeg {
    /// The Engine.IO transport. `None` while the client is absent.
    #[must_use]
    pub const fn transport(&self) -> Option<Transport> {
        match self {
            Self::Websocket(_) => Some(Transport::Websocket),
            Self::Polling(_) => Some(Transport::Polling),
            Self::Absent => None,
        }
    }

    /// The incoming frames. `None` while the client is absent.
    #[inline]
    pub const fn inflow(&mut self) -> Option<&mut Inflow> {
        match self {
            Self::Websocket(leg) => Some(&mut leg.inflow),
            Self::Polling(leg) => Some(&mut leg.inflow),
            Self::Absent => None,
        }
    }

    /// The same leg on the reactor of this thread. `None` if its connection is lost on the way.
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

    /// Whether every passing frame has been sent completely.
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

    /// Queues a frame of Tidegate; [`flush`](Self::flush) sends it. Only between two frames that pass.
    pub fn say(&mut self, opcode: OpCode, payload: &[u8], now: Instant) {
        match self {
            Self::Websocket(leg) => leg.say(opcode, payload, now),
            Self::Polling(leg) => leg.say(opcode, payload),
            Self::Absent => {}
        }
    }

    /// Sends an event that is the same for many clients. Where `more_follows` at once, a short one waits for that in a copy,
    /// and [`flush`](Self::flush) sends all in one write. Only between two frames that pass.
    ///
    /// # Errors
    /// The socket's.
    pub fn deliver(
        &mut self,
        delivery: &Delivery,
        more_follows: bool,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        match self {
            Self::Websocket(leg) if leg.takes_binary() => {
                let frames = delivery.frames();
                if more_follows && frames.len() <= COPIED_MAX {
                    leg.say_made(frames, now);
                    return Ok(());
                }
                leg.send_made(frames, now, cx)
            }
            leg => {
                delivery.messages().for_each(|(opcode, payload)| leg.say(opcode, payload, now));
                Ok(())
            }
        }
    }

    /// The service is being dialled, or that is over and has brought these headers for the client. Over a websocket there is no
    /// answer any more that could bring them.
    pub fn dials(&mut self, brought: Option<HeaderMap>) {
        if let Self::Polling(leg) = self {
            leg.awaits_headers(brought.is_none());
            leg.bring(brought.unwrap_or_default());
        }
    }

    /// Queues the last packet, or this Close. On a websocket there is none if a frame of the service was sent in part.
    pub fn say_end(&mut self, ended: Ended, close: Close<'_>, between_frames: bool, now: Instant) {
        match self {
            Self::Websocket(leg) if between_frames && ended != Ended::ClientLost => {
                leg.say_close(close, now);
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

    /// Sends what is queued.
    pub fn flush(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Websocket(leg) => leg.flush(now, cx),
            Self::Polling(leg) => leg.flush(now, cx),
            Self::Absent => Poll::Ready(Ok(())),
        }
    }

    /// Whether it accepts more from the service now.
    #[must_use]
    #[inline]
    pub const fn takes(&self) -> bool {
        match self {
            Self::Websocket(leg) => leg.waiting() <= SEND_HIGH_WATER,
            // Only complete packets can be fetched, so one that has begun must be finished.
            Self::Polling(leg) => leg.in_packet() || leg.waiting() <= SEND_HIGH_WATER,
            Self::Absent => true,
        }
    }

    /// What the leg keeps of either direction, in bytes of memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        match self {
            Self::Websocket(leg) => leg.memory(),
            Self::Polling(leg) => leg.memory(),
            Self::Absent => 0,
        }
    }

    /// Whether a message of the client is being put together.
    #[must_use]
    #[inline]
    pub const fn is_gathering(&self) -> bool {
        match self {
            Self::Websocket(leg) => leg.inflow.is_gathering(),
            Self::Polling(leg) => leg.inflow.is_gathering(),
            Self::Absent => false,
        }
    }

    /// How many queued bytes the client has not taken.
    #[must_use]
    pub fn backlog(&self) -> usize {
        match self {
            Self::Websocket(leg) => leg.backlog(),
            Self::Polling(leg) => leg.backlog(),
            Self::Absent => 0,
        }
    }

    /// Since when the client takes none of the queued bytes. `None` between two polls: the client cannot take any then,
    /// and its heartbeat detects a client that has stopped polling, even while [nothing else](Self::polls_within) is read of it.
    #[must_use]
    pub const fn stalled_since(&self) -> Option<Instant> {
        match self {
            Self::Websocket(leg) => leg.stalled_since(),
            Self::Polling(_) | Self::Absent => None,
        }
    }

    /// Whether the client may be there although nothing is read of it: with long-polling, whether it has polled within this time.
    /// That a websocket is gone is noticed by writing to it.
    #[must_use]
    pub fn polls_within(&self, time: Duration, now: Instant) -> bool {
        match self {
            Self::Websocket(_) | Self::Absent => true,
            Self::Polling(leg) => leg.polls_within(time, now),
        }
    }

    /// When a probe must be finished. `None`: there is no probe.
    #[must_use]
    pub fn probe_until(&self) -> Option<Instant> {
        match self {
            Self::Websocket(_) | Self::Absent => None,
            Self::Polling(leg) => leg.probe_until(),
        }
    }

    /// The end: sends what is queued and nothing after it, and waits until the client has closed too.
    pub fn end(&mut self, buffer: &mut [u8], now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Websocket(leg) => leg.end(buffer, now, cx).map(drop),
            Self::Polling(leg) => leg.end(now, cx),
            Self::Absent => Poll::Ready(()),
        }
    }
}
