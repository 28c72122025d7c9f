//! A plain WebSocket route: messages, named by a JSON field where the route says so.

use std::{borrow::Cow, sync::Arc, time::Instant};

use crate::{
    event_names::EventSlot,
    policy::{
        policies::{Asked, Policies},
        verdict::Verdict,
    },
    session::{Action, Common, Session, answer, ended::Ended},
    wire::{
        json::{self, Found},
        socketio::packet::EventName,
    },
};

/// What a message is called that has no name of its own.
pub const MESSAGE: &str = "message";

/// A message has the field that names its event more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedTwice;

/// A plain conversation.
#[derive(Debug)]
pub struct Plain {
    event_field: Option<Arc<str>>,
}

impl Plain {
    /// With the field of a JSON message that names the event, where the route has one.
    #[must_use]
    pub const fn new(event_field: Option<Arc<str>>) -> Self {
        Self { event_field }
    }

    /// Must a message be seen whole before it can be judged?
    #[must_use]
    pub const fn reads_messages(&self) -> bool {
        self.event_field.is_some()
    }

    /// What a text message calls itself; none: it is a [`MESSAGE`] like any other.
    ///
    /// # Errors
    /// It names itself twice. The service will read one of the two, and we cannot know which.
    pub fn event_of<'a>(&self, text: &'a [u8]) -> Result<Option<EventName<'a>>, NamedTwice> {
        let Some(field) = &self.event_field else { return Ok(None) };
        match json::top_level_string(text, field) {
            Found::String(name) => Ok(Some(name)),
            Found::Repeated => Err(NamedTwice),
            Found::NotAnObject | Found::Absent | Found::Other | Found::Malformed => Ok(None),
        }
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
}

impl Common {
    fn tell_plain(&mut self, once_per: std::time::Duration, now: Instant) {
        if self.may_tell(once_per, now) {
            self.actions.push_back(Action::SendClient(Cow::Borrowed(answer::RATE_LIMITED_TEXT.as_bytes())));
        }
    }
}
