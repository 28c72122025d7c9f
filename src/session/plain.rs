//! A plain WebSocket route: messages, named by a JSON field if the route names one.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    policy::verdict::Verdict,
    session::{
        action::Spoken,
        core::Core,
        ended::Ended,
        message::{Fate, Message, Note, Side},
        now::Now,
        quality::ping,
        queue::{STORED_MESSAGE_MAX, WholePacket},
        replay::{Replay, ReplayRules},
        route_answers::{Carries, RouteAnswers},
        rules::SessionRules,
        upstream::Upstream,
        waiting::enqueue,
    },
    wire::{
        json::event::{NamedEvent, Unreadable, event_in_binary, event_in_text},
        websocket::frame::OpCode,
    },
};

/// The event name of a message that has no name of its own.
pub const MESSAGE: &str = "message";

/// What happens to a client when the service is lost.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUpstreamLoss {
    /// It is closed with 1012, after the last message of the service. The client reconnects by itself.
    #[default]
    Close,
    /// It stays connected, and its messages wait, as `[session]` says.
    Hold,
}

/// The rules for the sessions of a route.
#[derive(Debug, Default, Clone)]
pub struct PlainRules {
    /// The path of the route, as it is configured. For the log.
    pub path: Box<str>,
    /// The field of a JSON message that names the event.
    pub event_field: Option<Box<str>>,
    /// What happens to a client when the service is lost.
    pub on_upstream_loss: OnUpstreamLoss,
    /// What the next service gets first, for a client that stayed.
    pub replay: ReplayRules,
    /// What is said to a client in the gate's own name. It follows a reload, unlike the rest.
    pub answers: Arc<RouteAnswers>,
}

impl PlainRules {
    /// Whether every message must be complete before it can be judged.
    #[must_use]
    pub const fn reads_messages(&self) -> bool {
        self.event_field.is_some()
    }

    /// For which messages its answers are made.
    #[must_use]
    pub const fn carries(&self) -> Carries {
        if self.event_field.is_some() { Carries::Events } else { Carries::Anything }
    }

    /// Whether clients stay when the service is lost. If so, only messages that are complete pass, in both directions.
    fn holds(&self) -> bool {
        self.on_upstream_loss == OnUpstreamLoss::Hold
    }

    /// The event that a message names. One that names none is a [`MESSAGE`] like any other.
    ///
    /// # Errors
    /// Which event it is cannot be read.
    fn event_of<'a>(&self, message: &Message<'a>) -> Result<NamedEvent<'a>, Unreadable> {
        match (&self.event_field, message.opcode) {
            (None, _) => Ok(NamedEvent::None),
            (Some(field), OpCode::Text) => event_in_text(message.bytes, field),
            (Some(field), _) => event_in_binary(message.bytes, field),
        }
    }
}

/// The state of a session on a plain route: messages of any kind.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) rules: Arc<PlainRules>,
    /// Those of the route as it is now.
    pub(super) answers: Arc<RouteAnswers>,
    /// The subprotocol that the service chose, if any. The client was told this one.
    protocol: Option<Box<str>>,
    replay: Replay,
}

impl Plain {
    /// For a service that is open and has chosen `protocol`.
    pub(super) fn new(rules: Arc<PlainRules>, protocol: Option<&str>) -> Self {
        let answers = Arc::clone(&rules.answers);
        Self { rules, answers, protocol: protocol.map(Into::into), replay: Replay::default() }
    }

    /// The route may be another one now: what it does with messages over a limit holds at once.
    pub(super) fn adopt(&mut self, rules: &SessionRules) {
        if let Some(answers) = rules.answers_of(&self.rules.path, self.rules.carries()) {
            self.answers = Arc::clone(answers);
        }
    }

    /// What it remembers, in bytes of memory.
    pub(super) const fn memory(&self) -> usize {
        self.replay.memory()
    }

    /// Judges a message of the client.
    pub(super) fn judge_client(
        &mut self,
        message: &Message<'_>,
        core: &mut Core,
        upstream: &mut Upstream,
        now: Now,
    ) -> (Fate, Note) {
        let named = match self.rules.event_of(message) {
            Ok(named) => named,
            Err(why) => return core.malformed(why.code()),
        };
        let event = named_or_message(&named);
        let slot = core.rules.names.slot(event);
        if let (NamedEvent::One(_), Some(field)) = (&named, &self.rules.event_field)
            && core.rules.ping.name(slot, event)
        {
            return ping::message(core, message, field, &self.answers, now);
        }
        core.used(now);
        let taken = self.takes_whole(event, message.here, upstream);
        if taken && !message.complete {
            return (Fate::Gather, Note::None);
        }
        let answers = &self.answers;
        let event_or_unclear = (named != NamedEvent::Unclear).then_some(event);
        let verdict = core.judge_message(event_or_unclear, slot, answers.instead, now);
        if let Verdict::Reply { once_per, .. } = verdict
            && (answers.answers_each() || core.admit_telling(once_per, now))
            && let Some(text) = answers.refusal(message.bytes)
        {
            core.actions.say(Side::Client, Spoken::text(text));
        }
        let (fate, note) = core.obey(verdict, Some(slot), now);
        if fate == Fate::Pass && taken {
            let mut packet = WholePacket::message(message.opcode, message.bytes.to_vec());
            packet.event = slot;
            packet.may_be_sent_again = self.rules.replay.names(event);
            // What names no event is often all that a route has: its protocol does not bear gaps.
            packet.is_volatile = matches!(named, NamedEvent::One(_))
                && core.rules.hold.is_volatile_event(event)
                && !self.is_remembered(event);
            // No message of a plain route has an ack that could fail.
            drop(enqueue(packet, upstream, core));
            return (Fate::Drop, note);
        }
        (fate, note)
    }

    /// Whether this message of the client cannot simply pass, or is to be remembered.
    fn takes_whole(&self, event: &[u8], here: bool, upstream: &Upstream) -> bool {
        self.rules.holds() && (!here || !upstream.flows() || self.is_remembered(event))
    }

    /// Whether this message is one that the next service gets first.
    fn is_remembered(&self, event: &[u8]) -> bool {
        let replay = &self.rules.replay;
        self.replay.wants_next(replay) || replay.names(event)
    }

    /// Judges a message of the service.
    pub(super) fn judge_service(
        &self,
        message: &Message<'_>,
        core: &mut Core,
        upstream: &mut Upstream,
        now: Now,
    ) -> (Fate, Note) {
        let passes_in_parts = !message.here && message.len > STORED_MESSAGE_MAX;
        if self.rules.holds() && !message.here && !passes_in_parts {
            return (Fate::Gather, Note::None);
        }
        upstream.passes_in_parts(passes_in_parts);
        let named = if message.complete { self.rules.event_of(message).ok() } else { None };
        let event = named.as_ref().map_or(MESSAGE.as_bytes(), named_or_message);
        core.used(now);
        (Fate::Pass, Note::Event(core.rules.names.slot(event)))
    }

    /// The next service is open, and chose `protocol`: messages flow, behind those that are sent again.
    pub(super) fn connected(&self, protocol: Option<&str>, core: &mut Core, upstream: &mut Upstream, now: Now) {
        if self.protocol.as_deref() != protocol {
            return core.end(Ended::ServiceChanged);
        }
        upstream.flow(now.instant);
        for message in self.replay.again() {
            let mut message = message.clone();
            message.may_be_sent_again = true;
            message.sent = message.sent.saturating_add(1);
            core.actions.say(Side::Service, Spoken::Packet(Box::new(message)));
        }
    }

    /// A message is being sent. True: it is said to the next service again.
    pub(super) fn remember(&mut self, message: &WholePacket) -> bool {
        self.replay.remember(message, &self.rules.replay)
    }

    /// A message was not sent. False: it is one that is said again, and will be said to the next service.
    pub(super) fn forget_unsent(&mut self, message: &WholePacket) -> bool {
        let is_new = message.sent == 1;
        if is_new && message.may_be_sent_again {
            self.replay.forget(message);
        }
        is_new
    }

    /// Whether the client stays after this end. Not if the service has closed the session for good, nor if the next
    /// service would get only a part of what it has to know.
    pub(super) fn holds_after(&self, ended: Ended) -> bool {
        let is_done = matches!(ended, Ended::ServiceClosed(code) if !code.comes_back());
        self.rules.holds() && !is_done && self.replay.is_complete()
    }
}

fn named_or_message<'a>(named: &'a NamedEvent<'_>) -> &'a [u8] {
    match named {
        NamedEvent::One(name) => name.as_bytes(),
        NamedEvent::None | NamedEvent::Unclear => MESSAGE.as_bytes(),
    }
}

#[cfg(test)]
mod tests;
