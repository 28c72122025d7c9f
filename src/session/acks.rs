//! Acks in flight: those the client waits for, with the time of the event; those the service waits for, renumbered.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    event_names::{EventNames, EventSlot},
    session::{
        digest::{Digest, Digests},
        late::{AckOf, Late},
        snapshot::{AcksData, WaitingData},
    },
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
    /// Acks may come that are not tracked, and nobody counts them any more, until the service is another one.
    has_lost_count: bool,
    owed_by_client: u32,
    /// The service numbers from 0 after each restart; its number 0 is this one for the client.
    base: u64,
    /// One above the highest ack id that the client has got.
    next: u64,
    /// Acks that were lost with the service. `None` in nearly every session, nearly always.
    late: Option<Box<Late>>,
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
    digest: Digest,
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
    pub(super) fn client_asks(&mut self, namespace: u8, id: u64, slot: EventSlot, digest: Digest, now: Instant) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(Waiting { id, since: now, namespace, slot, digest });
        } else {
            self.untracked = self.untracked.saturating_add(1);
        }
    }

    /// Whether no other event waits for an ack of this id, so that the ack answers the one that was said last.
    pub(super) fn is_only(&self, (namespace, id): AckOf) -> bool {
        let is_it = |waiting: &&Waiting| waiting.id == id && waiting.namespace == namespace;
        let are_tracked = self.untracked == 0 && !self.has_lost_count;
        are_tracked && self.waiting.iter().filter(is_it).count() == 1
    }

    /// The ids of the acks that the client waits for in a namespace.
    pub(super) fn waiting_in(&self, namespace: u8) -> impl Iterator<Item = u64> {
        self.waiting.iter().filter(move |waiting| waiting.namespace == namespace).map(|waiting| waiting.id)
    }

    /// Whether an ack may be awaited that is not tracked.
    #[must_use]
    pub const fn has_untracked(&self) -> bool {
        self.untracked > 0
    }

    /// The client's connection is lost, and with it every ack that it waits for.
    pub fn client_lost(&mut self) {
        self.forget_untracked();
        self.late = None;
    }

    /// Nobody waits any more for the acks that are not tracked. They may come all the same.
    const fn forget_untracked(&mut self) {
        self.has_lost_count |= self.untracked > 0;
        self.untracked = 0;
    }

    /// The service acknowledged: the event, and how long the ack took. `None` for an ack that is not tracked.
    #[inline]
    pub fn service_answers(&mut self, namespace: u8, id: u64, now: Instant) -> Option<(EventSlot, Duration)> {
        let waiting = self.take(namespace, id)?;
        Some((waiting.slot, now.saturating_duration_since(waiting.since)))
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

    /// The service is lost: answers to it are stale from now on, and so are the acks of the packets that wait for one, except
    /// those that `stays` keeps. An absent client (`tells` is false) fails its acks itself. Acks that fail at once, because
    /// there are too many.
    pub(super) fn service_lost(&mut self, tells: bool, mut stays: impl FnMut(&Waiting) -> bool) -> Vec<AckOf> {
        self.base = self.next;
        self.owed_by_client = 0;
        self.has_lost_count = false;
        if let Some(late) = &mut self.late {
            late.service_lost();
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (kept, lost): (Vec<_>, _) = waiting.partition(|waiting| stays(waiting));
        self.waiting = kept.into();
        if !tells || lost.is_empty() {
            return Vec::new();
        }
        let late = self.late.get_or_insert_with(|| Box::new(Late::new()));
        lost.iter().filter_map(|lost| late.lose((lost.namespace, lost.id), lost.digest, lost.since)).collect()
    }

    /// Whether an ack is lost with the service where only those stay that `stays` keeps.
    pub(super) fn would_lose(&self, stays: impl FnMut(&Waiting) -> bool) -> bool {
        !self.waiting.iter().all(stays)
    }

    /// A packet is dropped: its ack will not come. An ack that fails at once, because there are too many.
    pub(super) fn lose(&mut self, (namespace, id): AckOf, digest: Digest) -> Option<AckOf> {
        let late = self.late.get_or_insert_with(|| Box::new(Late::new()));
        let is_it = |waiting: &Waiting| waiting.id == id && waiting.namespace == namespace;
        match self.waiting.iter().position(is_it).and_then(|at| self.waiting.remove(at)) {
            Some(waiting) => late.lose((namespace, id), digest, waiting.since),
            None if self.untracked > 0 => {
                self.untracked -= 1;
                // Nobody knows when its packet came.
                Some((namespace, id))
            }
            None => None,
        }
    }

    /// A packet of the client is taken, whole, and may repeat one before it; `waits`: it goes to the queue. Lost acks of
    /// those that it repeats wait behind its own. The ack id of the one that it repeats and that has not lost its ack.
    pub(super) fn repeats(&mut self, of: AckOf, digests: Digests, waits: bool, now: Instant) -> Option<u64> {
        self.set_whole_digest(of, digests.whole());
        if waits {
            self.late.get_or_insert_with(|| Box::new(Late::new()));
        }
        let late = self.late.as_mut().filter(|late| late.is_open())?;
        late.repeats_lost(of, digests, now);
        let is_repeated = |waiting: &&Waiting| {
            let is_taken = matches!(waiting.digest, Digest::Whole(_)) && (waiting.namespace, waiting.id) != of;
            let is_alike = waiting.namespace == of.0 && digests.fits(waiting.digest);
            is_taken && is_alike && late.may_repeat(waiting.since, now)
        };
        self.waiting.iter().rfind(is_repeated).map(|waiting| waiting.id)
    }

    /// The whole of this packet is known.
    pub(super) fn set_whole_digest(&mut self, of: AckOf, digest: Digest) {
        let is_it = |waiting: &&mut Waiting| (waiting.namespace, waiting.id) == of;
        if let Some(waiting) = self.waiting.iter_mut().rfind(is_it) {
            waiting.digest = digest;
        }
    }

    /// The packet that asks for `later` goes to the service in place of the earlier one, which has not been sent. An ack that
    /// fails at once, because there are too many.
    pub(super) fn replaces(&mut self, earlier: AckOf, later: u64) -> Option<AckOf> {
        let since = self.take(earlier.0, earlier.1)?.since;
        self.late.as_mut()?.replaces(earlier, later, since)
    }

    /// The packet that asks for `later` goes no further, for the service has the earlier one, whose ack answers it too. An
    /// ack that fails at once, because there are too many.
    pub(super) fn stands_for(&mut self, earlier: AckOf, later: u64, now: Instant) -> Option<AckOf> {
        self.take(earlier.0, later);
        self.late.as_mut()?.stands_for(earlier, later, now)
    }

    /// Acks that were lost with the service.
    #[inline]
    pub(super) fn late(&mut self) -> Option<&mut Late> {
        self.late.as_deref_mut()
    }

    /// The client is told that it is connected anew.
    pub(super) fn mark_told(&mut self, now: Instant) {
        self.late.get_or_insert_with(|| Box::new(Late::new())).told(now);
    }

    /// Whether what the client sends may repeat what was sent before.
    #[inline]
    pub(super) fn awaits_repeats(&self) -> bool {
        self.late.as_ref().is_some_and(|late| late.is_open())
    }

    /// Whether acks of the service may answer others than those that they name.
    #[inline]
    pub(super) const fn has_late(&self) -> bool {
        self.late.is_some()
    }

    /// Whether an ack of this namespace is lost.
    pub(super) fn has_lost(&self, namespace: u8) -> bool {
        self.late.as_ref().is_some_and(|late| late.has_lost(namespace))
    }

    /// When [`timeout`](Self::timeout) has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.late.as_ref().and_then(|late| late.deadline())
    }

    /// The acks that fail now, for their packets were not repeated in time.
    pub(super) fn timeout(&mut self, now: Instant) -> Vec<AckOf> {
        let failed = self.late().map_or_else(Vec::new, |late| late.timeout(now));
        self.late.take_if(|late| late.is_over());
        failed
    }

    /// The acks that fail now, for those were said that they waited behind.
    pub(super) fn released(&mut self) -> Vec<AckOf> {
        let failed = self.late().map_or_else(Vec::new, Late::released);
        self.late.take_if(|late| late.is_over());
        failed
    }

    /// What those that the client waits for take, in bytes of memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.waiting.capacity() * size_of::<Waiting>() + self.late.as_ref().map_or(0, |late| late.memory())
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
            digest: Digest::None,
        });
        Self { waiting: waiting.collect(), base: saved.base, next: saved.next, ..Self::default() }
    }

    /// The session has left a namespace: nobody waits for its acks any more.
    pub fn forget(&mut self, namespace: u8) {
        self.waiting.retain(|w| w.namespace != namespace);
        if let Some(late) = &mut self.late {
            late.forget(namespace);
        }
        if self.waiting.is_empty() {
            self.forget_untracked();
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
        acks.client_asks(0, 7, EventSlot::OTHER, Digest::None, start);
        acks.client_asks(1, 7, EventSlot::OTHER, Digest::None, start);
        let later = start + Duration::from_millis(3);
        assert_eq!(acks.service_answers(1, 7, later), Some((EventSlot::OTHER, Duration::from_millis(3))));
        assert_eq!(acks.service_answers(1, 7, later), None);
        acks.forget(0);
        assert_eq!(acks.service_answers(0, 7, later), None);
    }

    #[test]
    fn an_ack_answers_no_event_for_certain_while_more_wait_than_are_tracked() {
        let now = Instant::now();
        let ask = |acks: &mut Acks, namespace, id| acks.client_asks(namespace, id, EventSlot::OTHER, Digest::None, now);
        let leave = |acks: &mut Acks| acks.forget(1);
        for leave in [leave, |acks: &mut Acks| (acks.client_lost(), acks.forget(1)).1] {
            let mut acks = Acks::default();
            (0..=WAITING_MAX as u64).for_each(|id| ask(&mut acks, 1, id));
            leave(&mut acks);
            ask(&mut acks, 0, 5000);
            assert!(!acks.is_only((0, 5000)));
            acks.service_lost(false, |_| true);
            assert!(acks.is_only((0, 5000)), "none of them comes from another service");
        }
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
        acks.service_lost(true, |_| false);
        assert!(acks.are_renumbered());
        assert_eq!(acks.service_asks(0), Some(5), "not 0, which the client may still answer");
        assert_eq!(acks.client_answers(4), ClientAck::Stale);
        assert_eq!(acks.client_answers(5), ClientAck::Answers(0));
        acks.service_lost(true, |_| false);
        assert_eq!(acks.service_asks(1), Some(7));
        assert_eq!(acks.client_answers(5), ClientAck::Stale);
    }

    #[test]
    fn acks_that_are_lost_fail_when_the_client_has_had_its_time() {
        let now = Instant::now();
        let mut acks = Acks::default();
        acks.client_asks(0, 1, EventSlot::OTHER, Digest::None, now);
        acks.client_asks(2, 2, EventSlot::OTHER, Digest::None, now);
        assert!(acks.would_lose(|waiting| waiting.id == 2));
        assert_eq!(acks.service_lost(true, |waiting| waiting.id == 2), []);
        assert_eq!((acks.has_lost(0), acks.has_lost(2), acks.deadline()), (true, false, None));
        let until = now + Duration::from_secs(2);
        assert!(acks.late().unwrap().service_back(until));
        assert_eq!((acks.deadline(), acks.timeout(now)), (Some(until), Vec::new()));
        assert_eq!(acks.timeout(until), [(0, 1)]);
        assert!(!acks.has_late());
        assert_eq!(acks.lose((2, 2), Digest::None), None);
        assert!(acks.has_lost(2) && acks.memory() > 0);
    }

    #[test]
    fn an_ack_that_is_lost_when_the_client_has_had_its_time_fails_too() {
        let now = Instant::now();
        let mut acks = Acks::default();
        acks.client_asks(0, 1, EventSlot::OTHER, Digest::None, now);
        assert_eq!(acks.service_lost(true, |_| false), []);
        let late = acks.late().unwrap();
        assert!(late.service_back(now));
        // The repeat keeps what is known of the first one, and is dropped for want of room behind the end of that time.
        assert_eq!(late.replaces((0, 1), 2, now), None);
        assert_eq!(acks.timeout(now), [(0, 1)]);
        acks.client_asks(0, 2, EventSlot::OTHER, Digest::None, now);
        assert_eq!(acks.lose((0, 2), Digest::None), None);
        assert!(acks.late().unwrap().service_back(now), "the service is there, and the client has its time");
        assert!(acks.timeout(now).contains(&(0, 2)));
        assert!(!acks.has_lost(0));
    }

    #[test]
    fn the_tracked_acks_are_bounded_and_their_memory_is_freed() {
        let now = Instant::now();
        let mut acks = Acks::default();
        for id in 0..10_000 {
            acks.client_asks(0, id, EventSlot::OTHER, Digest::None, now);
        }
        assert_eq!(acks.waiting.len(), WAITING_MAX);
        for id in 0..10_000 {
            assert!(acks.has_untracked() || id >= 10_000 - WAITING_MAX as u64);
            acks.service_answers(0, id, now);
        }
        assert_eq!(acks.waiting.capacity(), 0);
    }
}
