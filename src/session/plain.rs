//! A plain WebSocket route: messages, named by a JSON field where the route says so.

use std::{borrow::Cow, sync::Arc, time::Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    event_names::EventSlot,
    policy::{
        policies::{Asked, Policies},
        verdict::Verdict,
    },
    session::{
        Action, Common, Dialect, Session, answer,
        ended::Ended,
        queue::WholePacket,
        replay::{Replay, ReplayTerms},
        upstream::Upstream,
    },
    wire::{
        json::{self, Found},
        socketio::packet::EventName,
        websocket::frame::OpCode,
    },
};

/// What a message is called that has no name of its own.
pub const MESSAGE: &str = "message";

/// What becomes of a client when the service goes away.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUpstreamLoss {
    /// It is closed with 1012, after what the service had sent; the client comes back by itself.
    #[default]
    Close,
    /// It stays, and its messages wait, as `[session]` says.
    Hold,
}

/// What a route says of its sessions.
#[derive(Debug, Default, Clone)]
pub struct PlainRoute {
    /// The field of a JSON message that names the event.
    pub event_field: Option<Box<str>>,
    /// What becomes of a client when the service goes away.
    pub on_upstream_loss: OnUpstreamLoss,
    /// What another service hears first of a client that stayed.
    pub replay: ReplayTerms,
}

/// A message has the field that names its event more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedTwice;

/// A plain conversation.
#[derive(Debug)]
pub struct Plain {
    route: Arc<PlainRoute>,
    /// The subprotocol that the service chose, if any. The client knows no other.
    protocol: Option<Box<str>>,
    /// Where it stands with the service.
    pub upstream: Upstream,
    replay: Replay,
}

impl Plain {
    /// On this route, with a service that is there and has chosen `protocol`.
    #[must_use]
    pub fn new(route: Arc<PlainRoute>, protocol: Option<&str>) -> Self {
        Self { route, protocol: protocol.map(Into::into), upstream: Upstream::there(), replay: Replay::default() }
    }

    /// Must every message be seen whole before it can be judged?
    #[must_use]
    pub fn reads_messages(&self) -> bool {
        self.route.event_field.is_some()
    }

    /// May the service go away without the client? Then only what is here to its end goes onward, either way.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.route.on_upstream_loss == OnUpstreamLoss::Hold
    }

    /// Must this message of the client be taken whole, because it cannot simply go onward, or is to be remembered? `here`
    /// says whether all of it is here, to go in one piece.
    #[must_use]
    pub fn takes_whole(&self, event: &str, here: bool) -> bool {
        let remembered = || self.replay.wants_next(&self.route.replay) || self.route.replay.names(event);
        self.holds() && (!here || !self.upstream.flows() || remembered())
    }

    /// A message that was just let through, to be [taken](Session::take_packet).
    #[must_use]
    pub fn whole_message(&self, event: &str, opcode: OpCode, payload: &[u8]) -> WholePacket {
        let mut message = WholePacket::message(opcode, payload.to_vec());
        message.may_be_sent_again = self.route.replay.names(event);
        message
    }

    /// What a text message calls itself; none: it is a [`MESSAGE`] like any other.
    ///
    /// # Errors
    /// It names itself twice. The service will read one of the two, and we cannot know which.
    pub fn event_of<'a>(&self, text: &'a [u8]) -> Result<Option<EventName<'a>>, NamedTwice> {
        let Some(field) = &self.route.event_field else { return Ok(None) };
        match json::top_level_string(text, field) {
            Found::String(name) => Ok(Some(name)),
            Found::Repeated => Err(NamedTwice),
            Found::NotAnObject | Found::Absent | Found::Other | Found::Malformed => Ok(None),
        }
    }

    /// A message has been sent.
    pub(super) fn remember(&mut self, message: WholePacket) {
        self.replay.remember(message, &self.route.replay);
    }

    /// Does the client stay after this? Not where the service has closed and means to be done with it, nor where another
    /// service would hear only half of what it has to know.
    pub(super) fn waits_after(&self, ended: Ended) -> bool {
        let is_done = matches!(ended, Ended::ServiceClosed(code) if !code.comes_back());
        self.holds() && !is_done && self.replay.is_complete()
    }
}

impl Session {
    /// The client sent a message on a plain route; `event` as [`Plain::event_of`] found it.
    pub fn client_message(&mut self, event: &str, slot: EventSlot, policies: &Policies, now: Instant) -> Verdict {
        let (_, common) = self.parts();
        let verdict = policies.judge(&Asked { namespace: "", event, slot, now }, &common.meters);
        match verdict {
            Verdict::Reply { once_per, .. } => common.tell_plain(once_per, now),
            Verdict::Close(refusal) => common.end(Ended::Refused(refusal)),
            Verdict::Forward | Verdict::Drop(_) | Verdict::Delay { .. } => {}
        }
        verdict
    }

    /// Another service was reached, and chose `protocol`. On a plain route messages flow from now on, behind those that
    /// are said again; in Socket.IO it has yet to open.
    ///
    /// # Errors
    /// It speaks another subprotocol than the client was told.
    pub fn service_reached(&mut self, protocol: Option<&str>, now: Instant) -> Result<(), Ended> {
        let (Dialect::Plain(plain), common) = self.parts() else { return Ok(()) };
        if plain.protocol.as_deref() != protocol {
            return Err(Ended::ServiceChanged);
        }
        plain.upstream.flow(now);
        common.actions.extend(plain.replay.again().cloned().map(|message| Action::RepeatToService(Box::new(message))));
        Ok(())
    }
}

impl Common {
    fn tell_plain(&mut self, once_per: std::time::Duration, now: Instant) {
        if self.may_tell(once_per, now) {
            self.actions.push_back(Action::SendClient(Cow::Borrowed(answer::RATE_LIMITED_TEXT.as_bytes())));
        }
    }
}

#[cfg(test)]
mod tests;
