//! A websocket that a polling client may upgrade to (engine.io-protocol v4, "Upgrade"): `2probe`, `3probe`, `5`.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    relay::{batch::Batch, inflow::Ahead, leg::websocket::WebSocketLeg, scratch::Scratch, stream::ClientStream},
    session::{control_rate::ControlRate, message::Fate},
    wire::{engineio::packet::EnginePacket, websocket::frame::OpCode},
};

/// engine.io's `upgradeTimeout`.
pub const PATIENCE: Duration = Duration::from_secs(10);

const QUESTION: &[u8] = b"2probe";
const ANSWER: &[u8] = b"3probe";

/// A websocket on which only the packets of an upgrade are allowed.
#[derive(Debug)]
pub struct Probe {
    leg: WebSocketLeg<ClientStream>,
    until: Instant,
    stage: Probed,
    pongs: ControlRate,
}

/// The stage of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// The client has not sent its probe yet.
    Awaited,
    /// The probe was answered. Polls are released, so that the client can stop polling.
    Answered,
    /// The client upgrades. What it sends after this has not been read.
    Confirmed,
    /// The connection broke, another packet came, or it took too long.
    Failed,
}

impl Probe {
    /// A new probe.
    #[must_use]
    pub fn new(leg: WebSocketLeg<ClientStream>, now: Instant) -> Self {
        Self { leg, until: now + PATIENCE, stage: Probed::Awaited, pongs: ControlRate::new(now) }
    }

    /// The same on the reactor of this thread.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn rebind(self) -> std::io::Result<Self> {
        Ok(Self { leg: self.leg.rebind()?, ..self })
    }

    /// When the probe must be finished.
    #[must_use]
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// Whether the probe was answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.stage != Probed::Awaited
    }

    /// The websocket, once it is [`Probed::Confirmed`].
    #[must_use]
    pub fn into_leg(self) -> WebSocketLeg<ClientStream> {
        self.leg
    }

    /// Advances the probe as far as possible.
    pub fn poll(&mut self, scratch: &mut Scratch, now: Instant, cx: &mut Context<'_>) -> Probed {
        while !matches!(self.stage, Probed::Confirmed | Probed::Failed) {
            self.stage = match self.leg.fill(&mut scratch.read, cx) {
                Poll::Ready(Ok(filled)) => self.hear(filled, scratch, now),
                Poll::Ready(Err(_)) => Probed::Failed,
                Poll::Pending if now >= self.until => Probed::Failed,
                Poll::Pending => break,
            };
        }
        if let Poll::Ready(Err(_)) = self.leg.flush(now, cx) {
            self.stage = Probed::Failed;
        }
        self.stage
    }

    /// One question is expected; more than one costs what control frames do.
    fn admits_question(&mut self, stage: Probed, now: Instant) -> bool {
        stage == Probed::Awaited || self.pongs.admits(now)
    }

    fn hear(&mut self, filled: usize, scratch: &mut Scratch, now: Instant) -> Probed {
        let mut batch = Batch::new(&mut scratch.read[..filled]);
        let mut stage = self.stage;
        loop {
            let (header, len) = match self.leg.inflow.next(&mut batch, &mut scratch.peek) {
                Ok(Some(Ahead::Head { header, len, complete: true })) if header.opcode == OpCode::Text => (header, len),
                Ok(Some(Ahead::Control { opcode: OpCode::Pong, .. })) if self.pongs.admits(now) => continue,
                Ok(None) => return stage,
                Ok(Some(_)) | Err(_) => return Probed::Failed,
            };
            let text = &scratch.peek[..len];
            stage = match text.first().copied().and_then(EnginePacket::from_digit) {
                Some(EnginePacket::Ping) if text == QUESTION && self.admits_question(stage, now) => {
                    self.leg.say(OpCode::Text, ANSWER, now);
                    Probed::Answered
                }
                // Also without a question before it, as device clients go over, and as engine.io takes it.
                Some(EnginePacket::Upgrade) => Probed::Confirmed,
                _ => return Probed::Failed,
            };
            if self.leg.inflow.decide(&header, &mut batch, Fate::Drop).is_err() {
                return Probed::Failed;
            }
            if stage == Probed::Confirmed {
                if !batch.ahead().is_empty() {
                    self.leg.inflow.put_back(&mut batch);
                }
                return stage;
            }
        }
    }
}
