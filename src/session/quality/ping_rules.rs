//! `[quality]`: the event by which a client measures its connection, which the gate answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    event_names::{EventNames, EventSlot, LABEL_BYTES},
    fault::Fault,
    wire::socketio::packet::is_reserved,
};

/// The member of a ping on a plain route that its answer repeats.
pub const PING_ID: &str = "pingId";

/// `[quality]`: how good the connections of clients are, which their heartbeats tell, and how a client asks for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QualityTable {
    /// The event by which a client measures its connection: Tidegate answers it, and the service does not get it. It counts in
    /// no `[[rate_limit]]`; one a second is answered, and three at once. `""`: no event is answered, and all are passed on.
    pub ping_event: String,
}

impl Default for QualityTable {
    fn default() -> Self {
        Self { ping_event: "quality_ping".to_owned() }
    }
}

/// Which event is a ping of the client.
#[derive(Debug, Default)]
pub struct PingRules {
    /// `None`: none is.
    event: Option<Box<str>>,
    /// [`EventSlot::OTHER`] where the name has no slot of its own.
    slot: Option<EventSlot>,
}

impl PingRules {
    /// Reads the table, and gives its event a slot where there is one left.
    ///
    /// # Errors
    /// The name of the event is not one.
    pub fn compile(table: &QualityTable, names: &EventNames) -> Result<Self, Fault> {
        let event = table.ping_event.as_str();
        if event.is_empty() {
            return Ok(Self::default());
        }
        let fault = |message: String| Err(Fault::new("quality.ping_event", message));
        if event.len() > LABEL_BYTES {
            return fault(format!("has {} bytes; it may have {LABEL_BYTES}", event.len()));
        }
        if is_reserved(event.as_bytes()) {
            return fault(format!("is {event:?}, which Socket.IO uses itself; name another event"));
        }
        if event.contains('*') || event.chars().any(char::is_control) {
            return fault(format!("is {event:?}; it must be the name of one event, without * and control characters"));
        }
        Ok(Self { event: Some(event.into()), slot: Some(names.slot(event)) })
    }

    /// Whether an event of this name, which has this slot, is a ping. Names with a slot of their own are compared by it.
    #[inline]
    pub(in crate::session) fn name(&self, slot: EventSlot, event: &[u8]) -> bool {
        self.slot == Some(slot) && (slot != EventSlot::OTHER || self.is_spelled(event))
    }

    fn is_spelled(&self, event: &[u8]) -> bool {
        self.event.as_ref().is_some_and(|name| name.as_bytes() == event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(event: &str, names: &EventNames) -> Result<PingRules, String> {
        let table = QualityTable { ping_event: event.to_owned() };
        PingRules::compile(&table, names).map_err(|fault| fault.key + " " + &fault.message)
    }

    #[test]
    fn one_event_is_a_ping_or_none() {
        let names = EventNames::new(10, ["quality_ping", "chat"]);
        let is_ping = |rules: &PingRules, event: &str| rules.name(names.slot(event), event.as_bytes());
        let rules = compiled("quality_ping", &names).unwrap();
        for (event, pings) in [("quality_ping", true), ("chat", false), ("quality_pong", false), ("", false)] {
            assert_eq!(is_ping(&rules, event), pings, "{event}");
        }
        let off = compiled("", &names).unwrap();
        assert!(!["quality_ping", "", "other"].iter().any(|event| is_ping(&off, event)));
    }

    #[test]
    fn an_event_without_a_slot_of_its_own_is_known_by_its_name() {
        let names = EventNames::new(0, []);
        let rules = compiled("quality_ping", &names).unwrap();
        assert_eq!(names.slot("quality_ping"), EventSlot::OTHER);
        assert!(rules.name(EventSlot::OTHER, b"quality_ping"));
        assert!(!rules.name(EventSlot::OTHER, b"another"));
    }

    #[test]
    fn what_is_no_name_of_an_event_is_refused() {
        let names = EventNames::new(10, []);
        for event in ["disconnect", "quality*", "two\nlines", &"n".repeat(257)] {
            assert!(compiled(event, &names).is_err_and(|fault| fault.starts_with("quality.ping_event ")), "{event}");
        }
        assert!(compiled(&"n".repeat(256), &names).is_ok());
    }
}
