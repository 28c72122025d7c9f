//! `[session]`: what a session does while the service is down or the client is absent.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::queue::QueueBounds;
use crate::{
    fault::{Fault, Faults},
    policy::{namespaces::Namespaces, pattern::Patterns},
    units::{ByteSize, Period},
    wire::socketio::{packet::is_reserved, peek::PacketHead},
};

/// `[session]`: what happens while the service is down or the client is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SessionTable {
    /// How long a client stays connected while the service is down, and its packets wait. `"0s"`: not at all.
    pub hold: Period,
    /// How long the service's leg stays while the client is absent, and the events for the client are kept; `"2m"` is a
    /// good value. The client gets all of them when it comes back, and its `recovered` is true; if it may have missed one,
    /// its `recovered` is false. Each event gets its number as one more argument, as with `connectionStateRecovery` of
    /// socket.io; if the service has that turned on, nothing is kept here. `"0s"`: not at all.
    pub resume: Period,
    /// The namespaces in which events are kept for an absent client, and get that argument: names, or patterns with `*`. In
    /// all others a client that comes back goes on with the socket that it had, and its `recovered` is false.
    pub resume_namespaces: Vec<String>,
    /// The events that are kept for an absent client, and get that argument: names, or patterns with `*`. An absent client
    /// misses all others, and does not learn of it.
    pub resume_events: Vec<String>,
    /// Events that are worth nothing later: names, or patterns with `*`. They pass while both sides are there, and are never
    /// kept for a service that is down or for an absent client.
    pub volatile_events: Vec<String>,
    /// At most this many packets of one session may wait.
    pub queue_packets: u32,
    /// How much memory the waiting packets of one session may take: their bytes, and about 200 more for each.
    pub queue_bytes: ByteSize,
    /// What happens to a session whose queue is full.
    pub overflow: Overflow,
    /// How often a packet is sent again if its ack was lost with the service.
    pub retries: u8,
    /// Events that are sent again: names, or patterns with `*`. The service must accept them twice. `on_lost_ack` decides what
    /// happens to the acks of all others.
    pub retry_events: Vec<String>,
    /// What happens when the service is lost while a client waits for an ack of it: `"error"` or `"close"`. `"error"`: when
    /// the service is back and the client has not repeated the packet within `ack_grace`, the ack fails with
    /// `{"error":"Service restarted","retriable":true}`. `"close"`: the session is closed at the loss (1012), so that the
    /// client itself fails what it waits for; this is for applications that do not look at that answer.
    pub on_lost_ack: OnLostAck,
    /// How long a client may take to repeat a packet whose ack is lost, once the service is back and has let it in. A repeat
    /// has the same bytes but for its ack id, and reaches the service once. `"0s"`: no packet is taken for a repeat.
    pub ack_grace: Period,
    /// After an outage, this many sessions a second dial the service again, of the whole node.
    pub pace: u32,
}

/// What happens to a session whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// It is closed; the client reconnects by itself. An absent client gets a new session when it comes back.
    Close,
    /// The oldest packet is dropped; an ack it asked for fails. An absent client goes on with its session when it comes back,
    /// and its `recovered` is false.
    DropOldest,
}

/// What happens when the service is lost while a client waits for an ack of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLostAck {
    /// The ack fails, when the service is back and the packet has not been repeated.
    Error,
    /// The session is closed.
    Close,
}

/// The longest `ack_grace`: what waits for it is memory.
const ACK_GRACE_MAX: Duration = Duration::from_secs(60);

impl Default for SessionTable {
    fn default() -> Self {
        Self {
            hold: Period::from_secs(30),
            resume: Period::OFF,
            resume_namespaces: vec!["*".to_owned()],
            resume_events: vec!["*".to_owned()],
            volatile_events: Vec::new(),
            queue_packets: 100,
            queue_bytes: ByteSize(1_000_000),
            overflow: Overflow::Close,
            retries: 3,
            retry_events: Vec::new(),
            on_lost_ack: OnLostAck::Error,
            ack_grace: Period::from_secs(2),
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
    /// Which events never wait.
    pub volatile_events: Arc<Patterns>,
    /// In which namespaces events are kept for an absent client.
    pub resume_namespaces: Arc<Namespaces>,
    /// Which events are kept for an absent client.
    pub resume_events: Arc<Patterns>,
    /// What happens when the service is lost while a client waits for an ack of it.
    pub on_lost_ack: OnLostAck,
    /// How long a client may take to repeat a packet, once the service is back.
    pub ack_grace: Duration,
    /// After an outage, this many sessions a second dial the service again, of the whole node.
    pub pace: u32,
}

impl HoldRules {
    /// Compiles the table.
    ///
    /// # Errors
    /// Each entry of a list that is not a pattern, or names what does not exist; an `ack_grace` that is too long.
    pub fn compile(table: &SessionTable) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let retry_events = faults.keep(events("session.retry_events", &table.retry_events));
        let volatile_events = faults.keep(events("session.volatile_events", &table.volatile_events));
        let resume_namespaces = faults.keep(Namespaces::compile("session.resume_namespaces", &table.resume_namespaces));
        let resume_events = faults.keep(events("session.resume_events", &table.resume_events));
        if table.ack_grace.0 > ACK_GRACE_MAX {
            let message = format!("is {}; it must be at most 1m", table.ack_grace);
            faults.add("session.ack_grace", message);
        }
        let rules = || {
            Some(Self {
                hold: Some(table.hold.0).filter(|hold| !hold.is_zero()),
                resume: Some(table.resume.0).filter(|resume| !resume.is_zero()),
                bounds: QueueBounds {
                    packets: usize::try_from(table.queue_packets).unwrap_or(usize::MAX),
                    bytes: usize::try_from(table.queue_bytes.0).unwrap_or(usize::MAX),
                },
                overflow: table.overflow,
                retries: table.retries,
                retry_events: Arc::new(retry_events?),
                volatile_events: Arc::new(volatile_events?),
                resume_namespaces: Arc::new(resume_namespaces?),
                resume_events: Arc::new(resume_events?),
                on_lost_ack: table.on_lost_ack,
                ack_grace: table.ack_grace.0,
                pace: table.pace,
            })
        };
        let rules = rules();
        faults.finish(rules)
    }

    /// Whether packets are remembered, so that repeats of them are recognized.
    #[must_use]
    #[inline]
    pub const fn knows_repeats(&self) -> bool {
        self.hold.is_some() && !self.ack_grace.is_zero()
    }

    /// Whether this packet is never kept.
    #[must_use]
    pub fn is_volatile(&self, head: &PacketHead<'_>) -> bool {
        !self.volatile_events.is_empty() && named(head, &self.volatile_events)
    }

    /// The same of a message of a plain route, by its event.
    #[must_use]
    pub fn is_volatile_event(&self, event: &[u8]) -> bool {
        self.volatile_events.matches(event)
    }

    /// Whether this event of the service is kept for a client that comes back.
    #[must_use]
    pub fn is_kept(&self, head: &PacketHead<'_>) -> bool {
        let is_named = self.resume_events.match_all() || named(head, &self.resume_events);
        is_named && self.keeps_in(head.namespace) && !self.is_volatile(head)
    }

    /// Whether events of this namespace are kept for a client that comes back.
    #[must_use]
    pub fn keeps_in(&self, namespace: &str) -> bool {
        self.resume_namespaces.admits(namespace)
    }

    /// Whether this packet is sent again if its ack is lost.
    #[must_use]
    pub fn sends_again(&self, head: &PacketHead<'_>) -> bool {
        if self.retries == 0 || self.hold.is_none() || self.retry_events.is_empty() || self.is_volatile(head) {
            return false;
        }
        head.ack_id.is_some() && head.kind.is_event() && named(head, &self.retry_events)
    }
}

/// The patterns of a list of events.
fn events(key: &str, list: &[String]) -> Result<Patterns, Vec<Fault>> {
    let mut faults = Faults::default();
    for (at, event) in list.iter().enumerate().filter(|(_, event)| is_reserved(event.as_bytes())) {
        faults.add(format!("{key}[{at}]"), format!("is {event:?} and has no effect: no side may send that event"));
    }
    let patterns = faults.keep(Patterns::compile(key, list));
    faults.finish(patterns)
}

fn named(head: &PacketHead<'_>, events: &Patterns) -> bool {
    head.event.as_ref().is_some_and(|event| events.matches(event.as_bytes()))
}
