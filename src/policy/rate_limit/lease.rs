//! What one node may let through of a budget that all nodes share: messages that were fetched before they are needed, so
//! that a packet never waits for the place where the budget is kept.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    lease_requests::{LeaseRequests, LimitKey},
    limiter::{Limiter, Quota},
};

/// A sender whose first packet is faster than the first lease may send this part of the budget, and one message at least.
/// It is charged with the first report, and given again to who comes back when that was covered.
const ADVANCE_PART: u32 = 100;

/// A packet that found nothing left is judged again after this time at the earliest, if its rule lets it wait.
const AGAIN: Duration = Duration::from_millis(10);

/// One message used: one more in the upper half, one fewer in the lower half.
const USE_ONE: u64 = (1 << 32) - 1;

/// The budget of a rule: so many messages at once, then one more each `per / messages`, over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How many messages.
    pub messages: NonZeroU32,
    /// In which time.
    pub per: Duration,
}

impl Budget {
    fn advance(self) -> u32 {
        (self.messages.get() / ADVANCE_PART).max(1)
    }
}

/// What a node has used and has left of one budget, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stock {
    /// Messages that were let through since the lease exists. It wraps.
    pub used: u32,
    /// Those of them that were reported and settled.
    pub settled: u32,
    /// Messages that may still be let through.
    pub left: u32,
    /// A packet found nothing left since the stock was last taken.
    pub hungry: bool,
}

/// The part that this node holds of one budget.
#[derive(Debug)]
pub struct Lease {
    key: LimitKey,
    budget: Budget,
    opened: Instant,
    requests: Arc<LeaseRequests>,
    /// Upper half: messages used, wrapping. Lower half: messages left. They change together, so that a report is exact.
    counts: AtomicU64,
    settled: AtomicU32,
    /// With so many left, more are asked for.
    low: AtomicU32,
    hungry: AtomicBool,
    /// Once a question is on its way, packets ask no second one.
    asked: AtomicBool,
    /// All that was let through is charged, and the budget had room for another advance.
    covered: AtomicBool,
    /// Microseconds after `opened`: when there may be another message.
    next: AtomicU64,
    /// What this node gives by itself while nothing is shared: a message costs as many as there are nodes.
    alone: Limiter,
}

impl Lease {
    pub(super) fn new(key: LimitKey, budget: Budget, requests: Arc<LeaseRequests>, now: Instant) -> Self {
        let (messages, advance) = (budget.messages.get(), budget.advance());
        Self {
            key,
            budget,
            opened: now,
            requests,
            counts: AtomicU64::new(advance.into()),
            settled: AtomicU32::new(0),
            low: AtomicU32::new(advance),
            hungry: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            covered: AtomicBool::new(false),
            next: AtomicU64::new(0),
            alone: Limiter::new(Quota { messages: budget.messages, interval: budget.per / messages }, now),
        }
    }

    /// Which budget it is a part of.
    #[must_use]
    pub const fn key(&self) -> LimitKey {
        self.key
    }

    /// The whole budget.
    #[must_use]
    pub const fn budget(&self) -> Budget {
        self.budget
    }

    /// Uses one. The error is the time when one may be available.
    pub(super) fn check(&self, now: Instant) -> Result<(), Instant> {
        if !self.requests.is_shared() {
            return self.check_alone(now);
        }
        let taken = self
            .counts
            .fetch_update(Relaxed, Relaxed, |counts| (left(counts) > 0).then(|| counts.wrapping_add(USE_ONE)));
        let Ok(before) = taken else {
            self.hungry.store(true, Relaxed);
            self.ask();
            let next = self.opened + Duration::from_micros(self.next.load(Relaxed));
            return Err(next.max(now + AGAIN));
        };
        // What went through before counts, should nothing be shared any more.
        let _ = self.check_own_part(now);
        if left(before) <= self.low.load(Relaxed) {
            self.ask();
        }
        Ok(())
    }

    fn check_alone(&self, now: Instant) -> Result<(), Instant> {
        let checked = self.check_own_part(now);
        match checked {
            // What is leased is used first, as it would be otherwise.
            Ok(()) => self.charge(1),
            Err(_) => self.requests.count_refused_alone(),
        }
        checked
    }

    /// One of `messages / nodes`, or of one.
    fn check_own_part(&self, now: Instant) -> Result<(), Instant> {
        let nodes = NonZeroU32::new(self.requests.nodes()).unwrap_or(NonZeroU32::MIN);
        self.alone.check_n(nodes.min(self.budget.messages), now)
    }

    /// Counts so many that were let through before it was known whose they were.
    pub(super) fn charge(&self, count: u32) {
        let charged = |counts| {
            let fewer = left(counts).min(count);
            Some(counts.wrapping_add(u64::from(count) << 32) - u64::from(fewer))
        };
        let _ = self.counts.fetch_update(Relaxed, Relaxed, charged);
    }

    /// Asks for more, unless that was asked already.
    pub(super) fn ask(&self) {
        if !self.asked.swap(true, Relaxed) && !self.requests.ask(self.key) {
            self.asked.store(false, Relaxed);
        }
    }

    /// The stock at this moment, for a report. From now on `hungry` is about later packets.
    #[must_use]
    pub fn take_stock(&self) -> Stock {
        Stock { hungry: self.hungry.swap(false, Relaxed), ..self.stock() }
    }

    /// The same, and `hungry` stays as it is.
    #[must_use]
    pub fn stock(&self) -> Stock {
        let counts = self.counts.load(Relaxed);
        let (settled, hungry) = (self.settled.load(Relaxed), self.hungry.load(Relaxed));
        Stock { used: used(counts), settled, left: left(counts), hungry }
    }

    /// A report of `used` messages is settled. `change`: so many more are left, or fewer, as far as they are there.
    /// `wait`: after this time there may be more. Returns what is left.
    pub fn settle(&self, used: u32, change: i64, wait: Duration, now: Instant) -> u32 {
        self.settled.store(used, Relaxed);
        let changed = |counts| {
            let now_left = (i64::from(left(counts)) + change).clamp(0, i64::from(u32::MAX));
            Some((counts & !u64::from(u32::MAX)) | u64::try_from(now_left).unwrap_or_default())
        };
        let before = self.counts.fetch_update(Relaxed, Relaxed, changed).unwrap_or_else(|counts| counts);
        let now_left = changed(before).map_or(0, left);
        self.low.store(now_left / 2, Relaxed);
        let next = (now + wait).saturating_duration_since(self.opened);
        self.next.store(u64::try_from(next.as_micros()).unwrap_or(u64::MAX), Relaxed);
        now_left
    }

    /// When a report of `used` messages was settled, nobody held so many of the budget.
    pub fn note_room(&self, used: u32, room: u32) {
        self.covered.store(room >= self.budget.advance() && self.stock().used == used, Relaxed);
    }

    /// A sender comes back to a lease that no session holds, and may be faster than the next one again. At most one advance of a
    /// lease is not covered by the budget.
    pub(super) fn advance_again(&self) {
        let advance = self.budget.advance();
        if self.stock().left < advance && self.covered.swap(false, Relaxed) {
            let raised = |counts| Some(counts + u64::from(advance.saturating_sub(left(counts))));
            let _ = self.counts.fetch_update(Relaxed, Relaxed, raised);
        }
    }

    /// Packets may ask again.
    pub fn may_ask(&self) {
        self.asked.store(false, Relaxed);
    }

    /// Leaves at most `most` of what is left, and returns how many fewer that are.
    pub fn surrender(&self, most: u32) -> u32 {
        let fewer = |counts| left(counts).saturating_sub(most);
        let before = self.counts.fetch_update(Relaxed, Relaxed, |counts| Some(counts - u64::from(fewer(counts))));
        before.map_or(0, fewer)
    }
}

fn used(counts: u64) -> u32 {
    u32::try_from(counts >> 32).unwrap_or(u32::MAX)
}

fn left(counts: u64) -> u32 {
    u32::try_from(counts & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests() -> Arc<LeaseRequests> {
        Arc::new(LeaseRequests::new(Box::new(|| {})))
    }

    fn lease(messages: u32, requests: &Arc<LeaseRequests>, now: Instant) -> Lease {
        let budget = Budget { messages: NonZeroU32::new(messages).unwrap(), per: Duration::from_secs(60) };
        Lease::new(LimitKey { rule: 1, whose: 2 }, budget, Arc::clone(requests), now)
    }

    fn passed(lease: &Lease, attempts: u32, now: Instant) -> u32 {
        (0..attempts).map(|_| u32::from(lease.check(now).is_ok())).sum()
    }

    #[test]
    fn what_was_fetched_passes_and_is_reported() {
        let (requests, now) = (requests(), Instant::now());
        requests.set_shared(true);
        let lease = lease(100, &requests, now);
        lease.settle(0, 32, Duration::ZERO, now);
        assert_eq!(passed(&lease, 50, now), 33, "with the advance");
        assert_eq!(lease.take_stock(), Stock { used: 33, settled: 0, left: 0, hungry: true });
        lease.settle(33, 5, Duration::ZERO, now);
        assert_eq!(lease.take_stock(), Stock { used: 33, settled: 33, left: 5, hungry: false });
        assert_eq!(lease.surrender(2), 3);
        assert_eq!(passed(&lease, 50, now), 2);
    }

    #[test]
    fn more_is_asked_for_at_half_and_once() {
        let (requests, now) = (requests(), Instant::now());
        let questions = requests.questions().unwrap();
        requests.set_shared(true);
        let lease = lease(100, &requests, now);
        lease.settle(0, 19, Duration::ZERO, now);
        assert_eq!(passed(&lease, 10, now), 10);
        assert_eq!(questions.try_iter().count(), 0);
        assert_eq!(passed(&lease, 30, now), 10);
        assert_eq!(questions.try_iter().count(), 1);
        lease.may_ask();
        assert_eq!(passed(&lease, 30, now), 0);
        assert_eq!(questions.try_iter().count(), 1);
    }

    #[test]
    fn a_refused_packet_may_wait_until_the_budget_has_another() {
        let (requests, now) = (requests(), Instant::now());
        requests.set_shared(true);
        let lease = lease(100, &requests, now);
        assert_eq!(lease.check(now), Ok(()));
        assert_eq!(lease.check(now), Err(now + AGAIN), "nothing is known yet");
        lease.settle(1, 0, Duration::from_millis(600), now);
        assert_eq!(lease.check(now), Err(now + Duration::from_millis(600)));
    }

    #[test]
    fn alone_a_node_gives_its_part_and_at_least_one() {
        let now = Instant::now();
        for (messages, nodes, part) in [(100, 1, 100), (100, 3, 33), (100, 100, 1), (100, 101, 1), (1, 5, 1)] {
            let requests = requests();
            requests.set_nodes(nodes);
            assert_eq!(passed(&lease(messages, &requests, now), 200, now), part, "{messages} on {nodes} nodes");
            assert_eq!(requests.refused_alone(), u64::from(200 - part));
        }
    }

    #[test]
    fn what_passed_before_counts_when_the_node_is_alone() {
        let (requests, now) = (requests(), Instant::now());
        requests.set_shared(true);
        requests.set_nodes(3);
        let lease = lease(100, &requests, now);
        lease.settle(0, 49, Duration::ZERO, now);
        assert_eq!(passed(&lease, 20, now), 20);
        requests.set_shared(false);
        assert_eq!(passed(&lease, 100, now), 13);
        assert_eq!(lease.take_stock().used, 33, "and is reported later");
        requests.set_shared(true);
        assert_eq!(passed(&lease, 100, now), 17, "what is left of the lease");
    }

    #[test]
    fn who_comes_back_has_the_advance_again_once_it_was_covered() {
        let (requests, now) = (requests(), Instant::now());
        requests.set_shared(true);
        for (reported, room, expected) in [(1, 1, 1), (1, 0, 0), (0, 1, 0)] {
            let lease = lease(100, &requests, now);
            assert_eq!(passed(&lease, 9, now), 1);
            lease.settle(reported, 0, Duration::ZERO, now);
            lease.note_room(reported, room);
            lease.advance_again();
            assert_eq!(passed(&lease, 9, now), expected, "{reported} reported, room for {room}");
            lease.advance_again();
            assert_eq!(passed(&lease, 9, now), 0, "nothing of that is known to be covered");
        }
        let lease = lease(100, &requests, now);
        lease.settle(0, 49, Duration::ZERO, now);
        lease.note_room(0, 50);
        lease.advance_again();
        assert_eq!(passed(&lease, 99, now), 50, "it is still there");
    }

    #[test]
    fn a_charge_takes_from_what_is_left_and_is_reported_whole() {
        let (requests, now) = (requests(), Instant::now());
        let lease = lease(100, &requests, now);
        lease.settle(0, 4, Duration::ZERO, now);
        lease.charge(3);
        assert_eq!(lease.stock(), Stock { used: 3, settled: 0, left: 2, hungry: false });
        lease.charge(7);
        assert_eq!(lease.stock(), Stock { used: 10, settled: 0, left: 0, hungry: false });
    }
}
