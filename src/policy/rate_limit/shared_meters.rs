//! The allowances of users and addresses, looked up when a session opens, so that judging needs no look-up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::limiter::{Limiter, Quota};
use crate::network::Network;

/// How many users and addresses are counted one by one. Further ones share one allowance per rule, so that new
/// addresses gain nothing and memory has a bound: about 20 MB.
const ENTRIES_MAX: usize = 100_000;

/// What an allowance belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    User(Box<str>),
    Network(Network),
}

/// One allowance for each rule and each user or address that has a session, or had one recently.
#[derive(Debug)]
pub(super) struct SharedMeters(Mutex<Entries>);

#[derive(Debug)]
struct Entries {
    /// By rule.
    counted: Box<[HashMap<Counted, Entry>]>,
    /// By rule; made on first use.
    overflow: Box<[Option<Arc<Limiter>>]>,
}

#[derive(Debug)]
struct Entry {
    limiter: Arc<Limiter>,
    /// Since when no session holds it. `None` while one does.
    unused_since: Option<Instant>,
}

impl SharedMeters {
    pub(super) fn new(rules: usize) -> Self {
        let counted = std::iter::repeat_with(HashMap::new).take(rules).collect();
        Self(Mutex::new(Entries { counted, overflow: vec![None; rules].into() }))
    }

    /// The allowance of `counted` under a rule.
    pub(super) fn get(&self, rule: usize, counted: Counted, quota: Quota, now: Instant) -> Arc<Limiter> {
        let mut entries = self.lock();
        if let Some(entry) = entries.counted[rule].get(&counted) {
            return Arc::clone(&entry.limiter);
        }
        let new = || Arc::new(Limiter::new(quota, now));
        if entries.len() >= ENTRIES_MAX {
            return Arc::clone(entries.overflow[rule].get_or_insert_with(new));
        }
        let entry = Entry { limiter: new(), unused_since: None };
        Arc::clone(&entries.counted[rule].entry(counted).or_insert(entry).limiter)
    }

    /// Drops what no session has held for as long as its rule's `per`: by then nothing of it is used. True: there was no
    /// room for more.
    pub(super) fn sweep(&self, now: Instant, per: impl Fn(usize) -> Duration) -> bool {
        let mut entries = self.lock();
        let was_full = entries.len() >= ENTRIES_MAX;
        for (rule, counted) in entries.counted.iter_mut().enumerate() {
            counted.retain(|_, entry| {
                // New holders are made under the lock, so a single one stays single during this check.
                let held = Arc::strong_count(&entry.limiter) > 1;
                entry.unused_since = if held { None } else { entry.unused_since.or(Some(now)) };
                entry.unused_since.is_none_or(|since| now.saturating_duration_since(since) < per(rule))
            });
            if counted.len() < counted.capacity() / 4 {
                counted.shrink_to_fit();
            }
        }
        was_full
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn len(&self) -> usize {
        self.counted.iter().map(HashMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, num::NonZeroU32};

    use super::*;

    const QUOTA: Quota = Quota { messages: NonZeroU32::MIN, interval: Duration::from_secs(1) };

    fn address(number: u32) -> Counted {
        Counted::Network(Network::from(IpAddr::from(number.to_be_bytes())))
    }

    #[test]
    fn beyond_the_bound_newcomers_share_one_allowance() {
        let (meters, now) = (SharedMeters::new(2), Instant::now());
        let known = meters.get(0, address(0), QUOTA, now);
        for number in 1..100_000 {
            meters.get(0, address(number), QUOTA, now);
        }
        let newcomers = [100_000, 100_001].map(|number| meters.get(0, address(number), QUOTA, now));
        assert!(Arc::ptr_eq(&newcomers[0], &newcomers[1]));
        assert!(!Arc::ptr_eq(&newcomers[0], &meters.get(1, address(100_000), QUOTA, now)));
        assert!(Arc::ptr_eq(&known, &meters.get(0, address(0), QUOTA, now)));
        assert_eq!(meters.lock().len(), ENTRIES_MAX);
        assert!(meters.sweep(now, |_| Duration::ZERO), "it says that it was full");
        assert!(!meters.sweep(now, |_| Duration::ZERO));
    }

    #[test]
    fn an_allowance_is_kept_while_a_session_holds_it_and_one_window_longer() {
        let (meters, start) = (SharedMeters::new(1), Instant::now());
        let sweep = |secs| {
            meters.sweep(start + Duration::from_secs(secs), |_| Duration::from_secs(60));
            meters.lock().len()
        };
        let held = meters.get(0, address(1), QUOTA, start);
        assert_eq!(sweep(1000), 1);
        drop(held);
        assert_eq!(sweep(1010), 1);
        assert_eq!(sweep(1069), 1);
        let held = meters.get(0, address(1), QUOTA, start);
        assert_eq!(sweep(1070), 1);
        drop(held);
        assert_eq!(sweep(1080), 1);
        assert_eq!(sweep(1140), 0);
    }
}
