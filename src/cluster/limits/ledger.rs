//! Which leases are to be settled, and when. It reads no clock and sends nothing.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::script::{Answer, Purpose, Report, Wish};
use crate::policy::rate_limit::{lease::Lease, lease_requests::LimitKey};

/// How many leases one call settles. Redis does nothing else meanwhile: about a millisecond.
pub(super) const BATCH: usize = 64;

/// How many leases are examined in one tick.
const EXAMINE_MAX: usize = 256;

/// How long a lease lives in Redis after its last report: no node that has died keeps messages from others for longer.
pub(super) const LIFE: Duration = Duration::from_secs(30);

/// A node uses a lease for so long after its last report. Shorter than [`LIFE`], for the clocks may differ in speed.
const VALID: Duration = Duration::from_secs(20);

/// A lease is reported at least so often, ...
const REFRESH: Duration = Duration::from_secs(10);

/// ... and while it is below its share, each time this part of the window has passed, ...
const PARTS_OF_WINDOW: u32 = 25;

/// ... but not more often than that.
const REPORT_MIN: Duration = Duration::from_millis(50);

/// A sender is idle after this time. Its lease then serves other nodes first.
const IDLE: Duration = Duration::from_millis(250);

/// A lease that is below its share asks again after this time at the earliest, doubled with each further time, ...
const RETRY_MIN: Duration = Duration::from_millis(5);

/// ... and at the latest, if packets were refused.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The leases of this node that Redis knows, or shall know.
#[derive(Debug, Default)]
pub(super) struct LeaseLedger {
    entries: HashMap<LimitKey, Entry>,
    /// To be settled as soon as possible.
    due: VecDeque<LimitKey>,
    /// Each entry once, with its number, in the order of being examined.
    round: VecDeque<(LimitKey, u64)>,
    /// The number of the last entry.
    last: u64,
    /// Those that are below their share. The time that the entry has as well counts.
    retries: BinaryHeap<Reverse<(Instant, LimitKey)>>,
    totals: Totals,
}

/// What the metrics show.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    /// Messages that were leased to this node.
    pub(super) granted: u64,
    /// Of them, those that it has given back.
    pub(super) returned: u64,
    /// Messages that it may let through now, as of the last reports.
    pub(super) held: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// The sessions have it.
    lease: Weak<Lease>,
    /// When the last report was sent that was answered. `None`: none was.
    settled: Option<Instant>,
    used: u32,
    used_at: Instant,
    held: u32,
    share: u32,
    is_due: bool,
    /// Another node wishes for what this one has given back: it takes nothing with its next report.
    yields: bool,
    /// How often in a row it has found nothing.
    misses: u32,
    retry: Option<Instant>,
}

impl LeaseLedger {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn totals(&self) -> Totals {
        self.totals
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// A packet or a session has asked.
    pub(super) fn asked(&mut self, lease: &Arc<Lease>, now: Instant) {
        let key = lease.key();
        let Self { entries, round, last, .. } = self;
        entries.entry(key).or_insert_with(|| {
            *last += 1;
            round.push_back((key, *last));
            let used = lease.stock().used;
            Entry {
                number: *last,
                lease: Arc::downgrade(lease),
                settled: None,
                used,
                used_at: now,
                held: 0,
                share: 0,
                is_due: false,
                yields: false,
                misses: 0,
                retry: None,
            }
        });
        self.make_due(key);
    }

    fn make_due(&mut self, key: LimitKey) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if !std::mem::replace(&mut entry.is_due, true) {
            self.due.push_back(key);
        }
    }

    /// Looks at some leases, each in its turn: which are to be reported, and which are of no use any more.
    pub(super) fn examine(&mut self, now: Instant) {
        while let Some(&Reverse((at, key))) = self.retries.peek()
            && at <= now
        {
            self.retries.pop();
            self.retry(key, at);
        }
        for _ in 0..self.round.len().min(EXAMINE_MAX) {
            let Some((key, number)) = self.round.pop_front() else { return };
            // A released entry leaves its place in the round to be skipped here.
            let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.number == number) else { continue };
            let Some(lease) = entry.lease.upgrade() else {
                self.forget(key);
                continue;
            };
            self.round.push_back((key, number));
            entry.expire(&lease, now);
            if entry.check_report_due(&lease, now) {
                self.make_due(key);
            }
        }
    }

    fn retry(&mut self, key: LimitKey, at: Instant) {
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.retry == Some(at)) else { return };
        entry.retry = None;
        self.make_due(key);
    }

    fn forget(&mut self, key: LimitKey) {
        if let Some(entry) = self.entries.remove(&key) {
            self.totals.held -= u64::from(entry.held);
        }
    }

    /// Redis has answered again after a while: what was leased too long ago belongs to others, and what was used meanwhile
    /// is reported at once.
    pub(super) fn answers_again(&mut self, now: Instant) {
        let mut unreported = Vec::new();
        for (key, entry) in &self.entries {
            let Some(lease) = entry.lease.upgrade() else { continue };
            entry.expire(&lease, now);
            let stock = lease.stock();
            if stock.used != stock.settled {
                unreported.push(*key);
            }
        }
        unreported.into_iter().for_each(|key| self.make_due(key));
    }

    /// Another node has too little. What this one gives back is reported with the next call.
    pub(super) fn wished(&mut self, wish: &Wish, now: Instant) {
        let Some(entry) = self.entries.get_mut(&wish.key) else { return };
        let Some(lease) = entry.lease.upgrade() else { return };
        let is_idle = entry.check_idle(&lease, now);
        let returned = lease.surrender(if is_idle { wish.idle } else { wish.busy });
        if returned > 0 {
            entry.yields = true;
            self.totals.returned += u64::from(returned);
            self.make_due(wish.key);
        }
    }

    /// What is to be sent now, with the leases it is about.
    pub(super) fn next_batch(&mut self) -> Vec<(Arc<Lease>, Report)> {
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(key) = self.due.pop_front()
        {
            // A released entry leaves its place in the queue: the next one of its key is reported once all the same.
            let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.is_due) else { continue };
            entry.is_due = false;
            let Some(lease) = entry.lease.upgrade() else { continue };
            let purpose = entry.purpose(&lease);
            if purpose == Purpose::Release {
                self.totals.returned += u64::from(lease.surrender(0));
            }
            let stock = lease.take_stock();
            let purpose = if stock.hungry && purpose == Purpose::Share { Purpose::More } else { purpose };
            batch.push((Arc::clone(&lease), Report { key, budget: lease.budget(), stock, purpose }));
        }
        batch
    }

    /// The answers to a batch that was sent then.
    pub(super) fn settle(&mut self, batch: Vec<(Arc<Lease>, Report)>, answers: &[Answer], sent: Instant, now: Instant) {
        for ((lease, report), answer) in batch.into_iter().zip(answers) {
            self.settle_one(&lease, &report, answer, sent, now);
        }
    }

    fn settle_one(&mut self, lease: &Arc<Lease>, report: &Report, answer: &Answer, sent: Instant, now: Instant) {
        let Some(entry) = self.entries.get_mut(&report.key) else { return };
        let left = lease.settle(report.stock.used, answer.change, answer.wait, now);
        lease.note_room(report.stock.used, answer.room);
        let amount = answer.change.unsigned_abs();
        if answer.change > 0 {
            self.totals.granted += amount;
            // The packets that have asked for it come again. Others that wish for it meanwhile would have it go around unused.
            if report.purpose == Purpose::More {
                entry.used_at = now;
            }
        } else {
            self.totals.returned += amount;
        }
        if report.purpose == Purpose::Release {
            lease.may_ask();
            self.forget(report.key);
            // A session that came back during the call may have found that it was asked already.
            if !is_left(lease) {
                self.asked(lease, now);
            }
            return;
        }
        self.totals.held += u64::from(left);
        self.totals.held -= u64::from(std::mem::replace(&mut entry.held, left));
        (entry.settled, entry.share, entry.yields) = (Some(sent), answer.share, false);
        entry.misses = if answer.change > 0 { 0 } else { entry.misses.saturating_add(1) };
        let at = entry.retry_at(left, report, answer, now);
        if let Some(at) = at.filter(|at| entry.retry.is_none_or(|earlier| *at < earlier)) {
            entry.retry = Some(at);
            self.retries.push(Reverse((at, report.key)));
        }
        // A packet that was refused in vain asks no second time before the next attempt.
        if report.purpose != Purpose::More || answer.change > 0 {
            lease.may_ask();
            if lease.stock().hungry {
                self.make_due(report.key);
            }
        }
    }

    /// Redis has not answered: these are sent again.
    pub(super) fn failed(&mut self, batch: Vec<(Arc<Lease>, Report)>) {
        for (_, report) in batch {
            self.make_due(report.key);
        }
    }
}

impl Entry {
    /// Sessions that have left use nothing any more.
    fn purpose(&self, lease: &Arc<Lease>) -> Purpose {
        if is_left(lease) {
            Purpose::Release
        } else if self.yields {
            Purpose::Report
        } else {
            Purpose::Share
        }
    }

    /// When a lease that is below its share asks again. One that has given way to others does so when it is refreshed.
    fn retry_at(&self, left: u32, report: &Report, answer: &Answer, now: Instant) -> Option<Instant> {
        let backoff = RETRY_MIN.saturating_mul(1 << self.misses.min(11));
        let latest = if report.purpose == Purpose::More { RETRY_MAX } else { REFRESH };
        (left < self.share.max(1) && report.purpose != Purpose::Report)
            .then(|| now + answer.wait.max(backoff).min(latest))
    }

    fn check_report_due(&mut self, lease: &Arc<Lease>, now: Instant) -> bool {
        let Some(settled) = self.settled else { return true };
        let stock = lease.stock();
        let since = now.saturating_duration_since(settled);
        let is_below = stock.left < self.share || stock.used != stock.settled;
        let window = lease.budget().per / PARTS_OF_WINDOW;
        self.check_idle(lease, now);
        is_left(lease) || since >= REFRESH || (is_below && since >= window.clamp(REPORT_MIN, REFRESH))
    }

    fn check_idle(&mut self, lease: &Lease, now: Instant) -> bool {
        let used = lease.stock().used;
        if std::mem::replace(&mut self.used, used) != used {
            self.used_at = now;
        }
        now.saturating_duration_since(self.used_at) >= IDLE
    }

    fn expire(&self, lease: &Lease, now: Instant) {
        if self.settled.is_some_and(|settled| now.saturating_duration_since(settled) >= VALID) {
            lease.surrender(0);
        }
    }
}

/// Beside the caller, the table of leases alone has it: no session does.
fn is_left(lease: &Arc<Lease>) -> bool {
    Arc::strong_count(lease) <= 2
}
