//! `[session]`: what a session does while the service is down or the client is absent.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::queue::QueueBounds;
use crate::{
    fault::Fault,
    policy::pattern::Patterns,
    units::{ByteSize, Period},
    wire::socketio::peek::PacketHead,
};

/// `[session]`: what happens while the service is down or the client is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SessionTable {
    /// How long a client stays connected while the service is down, and its packets wait. `"0s"`: not at all.
    pub hold: Period,
    /// How long the service's leg stays while the client is absent, and the events for the client are kept; `"2m"` is a
    /// good value. The client gets all of them when it comes back, and its `recovered` is true; if it may have missed one,
    /// it gets a new session, and its `recovered` is false. Each event gets its number as one more argument, as with `connectionStateRecovery` of socket.io; if the service has that turned on,
    /// nothing is kept here. `"0s"`: not at all.
    pub resume: Period,
    /// At most this many packets of one session may wait.
    pub queue_packets: u32,
    /// At most this much memory may the waiting packets of one session take: their bytes, and about 200 more for each.
    pub queue_bytes: ByteSize,
    /// What happens to a session whose queue is full.
    pub overflow: Overflow,
    /// How often a packet is sent again if its ack was lost with the service.
    pub retries: u8,
    /// Events that are sent again: names, or patterns with `*`. The service must accept them twice. The acks of all
    /// others fail with `{"error":"Service restarted","retriable":true}`.
    pub retry_events: Vec<String>,
    /// After an outage, this many sessions a second dial the service again, of the whole node.
    pub pace: u32,
}

/// What happens to a session whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// It is closed; the client reconnects by itself.
    Close,
    /// The oldest packet is dropped; an ack it asked for fails.
    DropOldest,
}

impl Default for SessionTable {
    fn default() -> Self {
        Self {
            hold: Period::from_secs(30),
            resume: Period::OFF,
            queue_packets: 100,
            queue_bytes: ByteSize(1_000_000),
            overflow: Overflow::Close,
            retries: 3,
            retry_events: Vec::new(),
            pace: 200,
        }
    }
}

/// The compiled table.
#[derive(Debug, Clone)]
pub struct HoldRules {
    /// How long a client stays connected while the service is down. `None`: not at all.
    pub hold: Option<Duration>,
    /// How long a session stays while its client is absent. `None`: not at all.
    pub resume: Option<Duration>,
    /// Of the queue of one session.
    pub bounds: QueueBounds,
    /// What happens to a session whose queue is full.
    pub overflow: Overflow,
    /// How often a packet is sent again.
    pub retries: u8,
    /// Which events are sent again.
    pub retry_events: Arc<Patterns>,
    /// After an outage, this many sessions a second dial the service again, of the whole node.
    pub pace: u32,
}

impl HoldRules {
    /// Compiles the table.
    ///
    /// # Errors
    /// An entry of `retry_events` that is not a pattern.
    pub fn compile(table: &SessionTable) -> Result<Self, Fault> {
        let retry_events = Patterns::compile("session.retry_events", &table.retry_events)?;
        Ok(Self {
            hold: Some(table.hold.0).filter(|hold| !hold.is_zero()),
            resume: Some(table.resume.0).filter(|resume| !resume.is_zero()),
            bounds: QueueBounds {
                packets: usize::try_from(table.queue_packets).unwrap_or(usize::MAX),
                bytes: usize::try_from(table.queue_bytes.0).unwrap_or(usize::MAX),
            },
            overflow: table.overflow,
            retries: table.retries,
            retry_events: Arc::new(retry_events),
            pace: table.pace,
        })
    }

    /// Whether this packet is sent again if its ack is lost.
    #[must_use]
    pub fn sends_again(&self, head: &PacketHead<'_>) -> bool {
        if self.retries == 0 || self.hold.is_none() || self.retry_events.is_empty() {
            return false;
        }
        let named = || head.event.as_ref().is_some_and(|event| self.retry_events.matches(event.as_bytes()));
        head.ack_id.is_some() && head.kind.is_event() && named()
    }
}
