//! Acks in flight: what a client waits for, and for how long; what the service waits for, and under which number.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    event_names::{EventNames, EventSlot},
    session::snapshot::{AcksData, WaitingData},
};

/// As many packets of one session are known to wait for their ack; more pass, unmeasured, and fail in silence.
const WAITING_MAX: usize = 1024;

/// What an idle session keeps allocated.
const KEPT_CAPACITY: usize = 16;

/// Acks in flight in one session, both ways.
#[derive(Debug, Default)]
pub struct Acks {
    /// Oldest first: acks mostly come in the order of the events.
    waiting: VecDeque<Waiting>,
    owed_by_client: u32,
    /// The service numbers from 0 in each of its lives; for the client its numbers go on from here.
    base: u64,
    /// One above the highest number that the client has been asked by.
    next: u64,
}

/// A packet of the client that waits for its ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub id: u64,
    /// The number of its namespace.
    pub namespace: u8,
    slot: EventSlot,
    since: Instant,
}

/// What is to become of an ack of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAck {
    /// It answers this number of the service.
    Answers(u64),
    /// The service that asked is gone.
    Stale,
    /// Nobody asked, and it must not pass, for acks are not limited.
    Unknown,
}

impl Acks {
    /// The client sent an event that asks for an ack.
    #[inline]
    pub fn client_asks(&mut self, namespace: u8, id: u64, slot: EventSlot, now: Instant) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(Waiting { id, since: now, namespace, slot });
        }
    }

    /// The service acknowledged: which event, and how long it took.
    #[inline]
    pub fn service_answers(&mut self, namespace: u8, id: u64, now: Instant) -> Option<(EventSlot, Duration)> {
        let waiting = self.take(namespace, id)?;
        Some((waiting.slot, now.saturating_duration_since(waiting.since)))
    }

    /// This ack will not come. False: nobody waits for it.
    pub fn give_up(&mut self, namespace: u8, id: u64) -> bool {
        self.take(namespace, id).is_some()
    }

    fn take(&mut self, namespace: u8, id: u64) -> Option<Waiting> {
        let is_it = |waiting: &Waiting| waiting.id == id && waiting.namespace == namespace;
        let waiting = if self.waiting.front().is_some_and(is_it) {
            self.waiting.pop_front()
        } else {
            self.waiting.remove(self.waiting.iter().position(is_it)?)
        };
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT_CAPACITY {
            self.waiting = VecDeque::new();
        }
        waiting
    }

    /// The service sent an event that asks for an ack: the number for the client, where that is another one.
    pub fn service_asks(&mut self, id: u64) -> Option<u64> {
        self.owed_by_client = self.owed_by_client.saturating_add(1);
        let for_client = self.base.saturating_add(id);
        self.next = self.next.max(for_client.saturating_add(1));
        (self.base > 0).then_some(for_client)
    }

    /// Do numbers of the service mean something else to the client?
    #[must_use]
    pub const fn are_renumbered(&self) -> bool {
        self.base > 0
    }

    /// The client acknowledged.
    pub const fn client_answers(&mut self, id: u64) -> ClientAck {
        let Some(asked) = id.checked_sub(self.base) else { return ClientAck::Stale };
        if self.owed_by_client == 0 {
            return ClientAck::Unknown;
        }
        self.owed_by_client -= 1;
        ClientAck::Answers(asked)
    }

    /// The service is gone: what it asked is asked no more. What waits for it comes back, but for what `stays`.
    pub fn service_lost(&mut self, mut stays: impl FnMut(&Waiting) -> bool) -> Vec<Waiting> {
        self.base = self.next;
        self.owed_by_client = 0;
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (kept, lost): (Vec<_>, _) = waiting.partition(|waiting| stays(waiting));
        self.waiting = kept.into();
        lost
    }

    /// As plain data, while the service is down.
    pub(super) fn save(&self, names: &EventNames, now: Instant) -> AcksData {
        let waiting = self.waiting.iter().map(|waiting| WaitingData {
            id: waiting.id,
            namespace: waiting.namespace,
            event: names.name(waiting.slot).to_owned(),
            waits_for: now.saturating_duration_since(waiting.since),
        });
        AcksData { base: self.base, next: self.next, waiting: waiting.collect() }
    }

    /// The acks that were [saved](Self::save).
    pub(super) fn load(saved: AcksData, names: &EventNames, now: Instant) -> Self {
        let waiting = saved.waiting.into_iter().take(WAITING_MAX).map(|waiting| Waiting {
            id: waiting.id,
            namespace: waiting.namespace,
            slot: names.slot(&waiting.event),
            since: now.checked_sub(waiting.waits_for).unwrap_or(now),
        });
        Self { waiting: waiting.collect(), owed_by_client: 0, base: saved.base, next: saved.next }
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
        assert_eq!(acks.client_answers(0), ClientAck::Unknown);
        assert_eq!(acks.service_asks(0), None, "as long as the service lives, its numbers stand");
        assert_eq!(acks.client_answers(0), ClientAck::Answers(0));
        assert_eq!(acks.client_answers(0), ClientAck::Unknown);
    }

    #[test]
    fn the_answer_to_a_service_that_is_gone_does_not_reach_the_next() {
        let mut acks = Acks::default();
        acks.service_asks(0);
        acks.service_asks(4);
        acks.service_lost(|_| false);
        assert!(acks.are_renumbered());
        assert_eq!(acks.service_asks(0), Some(5), "not 0, which the client may yet answer");
        assert_eq!(acks.client_answers(4), ClientAck::Stale);
        assert_eq!(acks.client_answers(5), ClientAck::Answers(0));
        acks.service_lost(|_| false);
        assert_eq!(acks.service_asks(1), Some(7));
        assert_eq!(acks.client_answers(5), ClientAck::Stale);
    }

    #[test]
    fn what_waits_for_a_service_that_is_gone_comes_back() {
        let now = Instant::now();
        let mut acks = Acks::default();
        acks.client_asks(0, 1, EventSlot::OTHER, now);
        acks.client_asks(2, 2, EventSlot::OTHER, now);
        let lost = acks.service_lost(|waiting| waiting.id == 2);
        assert_eq!(lost.iter().map(|w| (w.namespace, w.id)).collect::<Vec<_>>(), [(0, 1)]);
        assert!(acks.give_up(2, 2));
        assert!(!acks.give_up(2, 2));
    }

    #[test]
    fn what_is_measured_is_bounded_and_given_back() {
        let now = Instant::now();
        let mut acks = Acks::default();
        for id in 0..10_000 {
            acks.client_asks(0, id, EventSlot::OTHER, now);
        }
        assert_eq!(acks.waiting.len(), WAITING_MAX);
        for id in 0..10_000 {
            acks.service_answers(0, id, now);
        }
        assert_eq!(acks.waiting.capacity(), 0);
    }
}
