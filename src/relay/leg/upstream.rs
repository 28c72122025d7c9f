//! The upstream leg: idle until the first CONNECT was accepted, then dialled, then open.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::net::TcpStream;

use crate::{
    relay::{
        dial::{DialError, Dialled},
        leg::websocket::WebSocketLeg,
    },
    wire::websocket::{
        frame::{FrameHeader, OpCode},
        mask,
    },
};

/// A dial under way.
pub type Dialling = Pin<Box<dyn Future<Output = Result<Dialled, DialError>>>>;

/// What the service holds.
pub enum UpstreamLeg {
    /// No packet has been let through yet, but for the one that makes us dial.
    Idle {
        /// That packet.
        waiting: Vec<u8>,
    },
    /// The connection is being made; what is to be sent waits.
    Dialling {
        /// The connection, or why there is none.
        dial: Dialling,
        /// In the order it was sent.
        waiting: Vec<u8>,
    },
    /// Connected.
    Open(Box<WebSocketLeg<TcpStream>>),
}

impl UpstreamLeg {
    /// Would it take more now? While it would not, the client is not read.
    #[must_use]
    pub const fn takes(&self) -> bool {
        match self {
            Self::Idle { waiting } => waiting.is_empty(),
            Self::Dialling { .. } => false,
            Self::Open(leg) => leg.waiting() == 0,
        }
    }

    /// Sends what the client sent, or keeps it for later.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&mut self, bytes: &[u8], now: Instant, cx: &mut Context<'_>) -> io::Result<()> {
        match self {
            Self::Idle { waiting } | Self::Dialling { waiting, .. } => {
                waiting.extend_from_slice(bytes);
                Ok(())
            }
            Self::Open(leg) => leg.send(bytes, now, cx),
        }
    }

    /// Sends a message that was put together, as one frame.
    ///
    /// # Errors
    /// The socket's.
    pub fn send_message(
        &mut self,
        opcode: OpCode,
        mut payload: Vec<u8>,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let key = rand::random::<[u8; 4]>();
        mask::apply(&mut payload, key, 0);
        let mut header = Vec::new();
        FrameHeader::encode(opcode, payload.len() as u64, Some(key), &mut header);
        self.send(&header, now, cx)?;
        self.send(&payload, now, cx)
    }

    /// Starts to dial.
    pub fn dial(&mut self, dial: Dialling) {
        if let Self::Idle { waiting } = self {
            let waiting = std::mem::take(waiting);
            *self = Self::Dialling { dial, waiting };
        }
    }

    /// The outcome of a dial under way, with what waited for it.
    pub fn poll_dial(&mut self, cx: &mut Context<'_>) -> Poll<(Result<Dialled, DialError>, Vec<u8>)> {
        let Self::Dialling { dial, waiting } = self else { return Poll::Pending };
        dial.as_mut().poll(cx).map(|outcome| (outcome, std::mem::take(waiting)))
    }
}

impl fmt::Debug for UpstreamLeg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle { .. } => "Idle",
            Self::Dialling { .. } => "Dialling",
            Self::Open(_) => "Open",
        })
    }
}
