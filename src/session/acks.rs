//! Acks in flight: those the client waits for, with the time of the event; those the service waits for, renumbered.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    event_names::{EventNames, EventSlot},
    session::snapshot::{AcksData, WaitingData},
};

/// At most so many packets of one session are tracked until their ack. More pass, for a service may leave events
/// unanswered as long as it likes, but their acks could not be made to fail one by one: a session that has such packets in
/// flight ends with its service.
const WAITING_MAX: usize = 1024;

/// The capacity that an idle session keeps.
const KEPT_CAPACITY: usize = 16;

/// Acks in flight in one session, in both directions.
#[derive(Debug, Default)]
pub struct Acks {
    /// Oldest first: acks mostly come in the order of the events.
    waiting: VecDeque<Waiting>,
    /// Packets beyond [`WAITING_MAX`] that wait for their acks.
    untracked: u32,
    owed_by_client: u32,
    /// The service numbers from 0 after each restart; its number 0 is this one for the client.
    base: u64,
    /// One above the highest ack id that the client has got.
    next: u64,
}

/// A packet of the client that waits for its ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Its ack id.
    pub id: u64,
    /// The number of its namespace.
    pub namespace: u8,
    slot: EventSlot,
    since: Instant,
}

/// What happens to an ack of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAck {
    /// It answers this ack id of the service.
    Answers(u64),
    /// It answers a service that has been lost since.
    Stale,
    /// The service has not asked for it. It must not pass, because acks are not limited.
    Unknown,
}

impl Acks {
    /// The client sent an event that asks for an ack.
    #[inline]
    pub fn client_asks(&mut self, namespace: u8, id: u64, slot: EventSlot, now: Instant) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(Waiting { id, since: now, namespace, slot });
        } else {
            self.untracked = self.untracked.saturating_add(1);
        }
    }

    /// Whether an ack may be awaited that is not tracked.
    #[must_use]
    pub const fn has_untracked(&self) -> bool {
        self.untracked > 0
    }

    /// The client's connection is lost, and with it every ack that it waits for.
    pub const fn client_lost(&mut self) {
        self.untracked = 0;
    }

    /// The service acknowledged: the event, and how long the ack took. `None` for an ack that is not tracked.
    #[inline]
    pub fn service_answers(&mut self, namespace: u8, id: u64, now: Instant) -> Option<(EventSlot, Duration)> {
        let waiting = self.take(namespace, id)?;
        Some((waiting.slot, now.saturating_duration_since(waiting.since)))
    }

    /// Stops waiting for this ack. False: nobody waits for it.
    pub fn give_up(&mut self, namespace: u8, id: u64) -> bool {
        let is_untracked = self.has_untracked();
        self.take(namespace, id).is_some() || is_untracked
    }

    fn take(&mut self, namespace: u8, id: u64) -> Option<Waiting> {
        let is_it = |waiting: &Waiting| waiting.id == id && waiting.namespace == namespace;
        let waiting = if self.waiting.front().is_some_and(is_it) {
            self.waiting.pop_front()
        } else if let Some(at) = self.waiting.iter().position(is_it) {
            self.waiting.remove(at)
        } else {
            self.untracked = self.untracked.saturating_sub(1);
            return None;
        };
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT_CAPACITY {
            self.waiting = VecDeque::new();
        }
        waiting
    }

    /// The service sent an event that asks for an ack. `None`: the client gets the same ack id.
    pub fn service_asks(&mut self, id: u64) -> Option<u64> {
        self.owed_by_client = self.owed_by_client.saturating_add(1);
        let for_client = self.base.saturating_add(id);
        self.next = self.next.max(for_client.saturating_add(1));
        (self.base > 0).then_some(for_client)
    }

    /// Whether ack ids of the service differ from those that the client gets.
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

    /// The service is lost: answers to it are stale from now on. Returns the packets that wait for an ack, except those
    /// that `stays` keeps.
    pub fn service_lost(&mut self, mut stays: impl FnMut(&Waiting) -> bool) -> Vec<Waiting> {
        self.base = self.next;
        self.owed_by_client = 0;
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (kept, lost): (Vec<_>, _) = waiting.partition(|waiting| stays(waiting));
        self.waiting = kept.into();
        lost
    }

    /// What those that the client waits for take, in bytes of memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.waiting.capacity() * size_of::<Waiting>()
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
        Self { waiting: waiting.collect(), base: saved.base, next: saved.next, ..Self::default() }
    }

    /// The session has left a namespace: its acks will not come.
    pub fn forget(&mut self, namespace: u8) {
        self.waiting.retain(|w| w.namespace != namespace);
        if self.waiting.is_empty() {
            self.untracked = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_counts_once_and_in_its_namespace() {
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
    fn an_ack_that_the_service_has_not_asked_for_is_unknown() {
        let mut acks = Acks::default();
        assert_eq!(acks.client_answers(0), ClientAck::Unknown);
        assert_eq!(acks.service_asks(0), None, "ack ids are unchanged until the service is lost");
        assert_eq!(acks.client_answers(0), ClientAck::Answers(0));
        assert_eq!(acks.client_answers(0), ClientAck::Unknown);
    }

    #[test]
    fn the_answer_to_a_lost_service_does_not_reach_the_next() {
        let mut acks = Acks::default();
        acks.service_asks(0);
        acks.service_asks(4);
        acks.service_lost(|_| false);
        assert!(acks.are_renumbered());
        assert_eq!(acks.service_asks(0), Some(5), "not 0, which the client may still answer");
        assert_eq!(acks.client_answers(4), ClientAck::Stale);
        assert_eq!(acks.client_answers(5), ClientAck::Answers(0));
        acks.service_lost(|_| false);
        assert_eq!(acks.service_asks(1), Some(7));
        assert_eq!(acks.client_answers(5), ClientAck::Stale);
    }

    #[test]
    fn packets_that_wait_for_a_lost_service_are_returned() {
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
    fn the_tracked_acks_are_bounded_and_their_memory_is_freed() {
        let now = Instant::now();
        let mut acks = Acks::default();
        for id in 0..10_000 {
            acks.client_asks(0, id, EventSlot::OTHER, now);
        }
        assert_eq!(acks.waiting.len(), WAITING_MAX);
        for id in 0..10_000 {
            assert!(acks.has_untracked() || id >= 10_000 - WAITING_MAX as u64);
            acks.service_answers(0, id, now);
        }
        assert_eq!(acks.waiting.capacity(), 0);
    }
}
