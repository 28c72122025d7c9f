//! Acks in flight: what a client waits for, and for how long; what the service waits for, and how many.

use std::time::{Duration, Instant};

use crate::event_names::EventSlot;

/// As many waiting packets of one session have their latency measured; more pass unmeasured.
const MEASURED_MAX: usize = 256;

/// What an idle session keeps allocated.
const KEPT_CAPACITY: usize = 16;

/// Acks in flight in one session, both ways.
#[derive(Debug, Default)]
pub struct Acks {
    waiting: Vec<Waiting>,
    owed_by_client: u32,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    since: Instant,
    namespace: u8,
    slot: EventSlot,
}

impl Acks {
    /// The client sent an event that asks for an ack.
    pub fn client_asks(&mut self, namespace: u8, id: u64, slot: EventSlot, now: Instant) {
        if self.waiting.len() < MEASURED_MAX {
            self.waiting.push(Waiting { id, since: now, namespace, slot });
        }
    }

    /// The service acknowledged: which event, and how long it took.
    pub fn service_answers(&mut self, namespace: u8, id: u64, now: Instant) -> Option<(EventSlot, Duration)> {
        let at = self.waiting.iter().position(|w| w.id == id && w.namespace == namespace)?;
        let waiting = self.waiting.remove(at);
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT_CAPACITY {
            self.waiting = Vec::new();
        }
        Some((waiting.slot, now.saturating_duration_since(waiting.since)))
    }

    /// The service sent an event that asks for an ack.
    pub const fn service_asks(&mut self) {
        self.owed_by_client = self.owed_by_client.saturating_add(1);
    }

    /// The client acknowledged. False: nobody asked, and the ack must not pass, for acks are not limited.
    pub const fn client_answers(&mut self) -> bool {
        let asked = self.owed_by_client > 0;
        self.owed_by_client = self.owed_by_client.saturating_sub(1);
        asked
    }

    /// A namespace was left: its acks will not come.
    pub fn forget(&mut self, namespace: u8) {
        self.waiting.retain(|w| w.namespace != namespace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_is_settled_once_and_in_its_namespace() {
        let start = Instant::now();
        let mut acks = Acks::default();
        acks.client_asks(0, 7, EventSlot::OTHER, start);
        acks.client_asks(1, 7, EventSlot::OTHER, start);
        let later = start + Duration::from_millis(3);
        assert_eq!(acks.service_answers(1, 7, later), Some((EventSlot::OTHER, Duration::from_millis(3))));
        assert_eq!(acks.service_answers(1, 7, later), None);
        acks.forget(0);
        assert_eq!(acks.service_answers(0, 7, later), None);
    }

    #[test]
    fn an_ack_nobody_asked_for_is_known() {
        let mut acks = Acks::default();
        assert!(!acks.client_answers());
        acks.service_asks();
        assert!(acks.client_answers());
        assert!(!acks.client_answers());
    }

    #[test]
    fn what_is_measured_is_bounded_and_given_back() {
        let now = Instant::now();
        let mut acks = Acks::default();
        for id in 0..10_000 {
            acks.client_asks(0, id, EventSlot::OTHER, now);
        }
        assert_eq!(acks.waiting.len(), MEASURED_MAX);
        for id in 0..10_000 {
            acks.service_answers(0, id, now);
        }
        assert_eq!(acks.waiting.capacity(), 0);
    }
}
