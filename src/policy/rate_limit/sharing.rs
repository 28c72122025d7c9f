//! The leases of this node: one for each budget that it shares with other nodes. They outlive a reload, so that a rule
//! whose meaning is the same goes on where it was.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use aws_lc_rs::digest::{SHA256, digest};

use super::{
    lease::{Budget, Lease},
    lease_requests::{LeaseRequests, LimitKey},
};
use crate::network::Network;

/// How many users and addresses have a budget of their own. Further ones share one for each rule. About 30 MB.
const ENTRIES_MAX: usize = 100_000;

/// All leases of the node.
#[derive(Debug)]
pub struct Sharing {
    requests: Arc<LeaseRequests>,
    entries: Mutex<HashMap<LimitKey, Entry>>,
    wanted: AtomicBool,
}

#[derive(Debug)]
struct Entry {
    lease: Arc<Lease>,
    /// Since when no session holds it. `None` while one does.
    unused_since: Option<Instant>,
}

impl Sharing {
    /// No leases yet. `wake` is called when one asks for more; it must not wait.
    #[must_use]
    pub fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { requests: Arc::new(LeaseRequests::new(wake)), entries: Mutex::default(), wanted: AtomicBool::default() }
    }

    /// Where leases ask for more.
    #[must_use]
    pub const fn requests(&self) -> &Arc<LeaseRequests> {
        &self.requests
    }

    /// Whether a rule in force is shared.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    /// The rules are others now, of which one is shared, or none.
    pub(super) fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Relaxed);
    }

    /// The lease of this budget. `None`: no session has had it for as long as its window.
    #[must_use]
    pub fn find(&self, key: LimitKey) -> Option<Arc<Lease>> {
        self.lock().get(&key).map(|entry| Arc::clone(&entry.lease))
    }

    /// The lease of a session that opens. It asks for messages at once, before the first packet.
    pub(super) fn open(&self, key: LimitKey, budget: Budget, now: Instant) -> Arc<Lease> {
        let lease = self.get(key, budget, now);
        lease.ask();
        lease
    }

    fn get(&self, key: LimitKey, budget: Budget, now: Instant) -> Arc<Lease> {
        let mut entries = self.lock();
        if let Some(entry) = entries.get(&key) {
            // New holders are made under the lock: no session holds it.
            if Arc::strong_count(&entry.lease) == 1 {
                entry.lease.advance_again();
            }
            return Arc::clone(&entry.lease);
        }
        let key = if entries.len() >= ENTRIES_MAX { LimitKey { whose: 0, ..key } } else { key };
        let new =
            || Entry { lease: Arc::new(Lease::new(key, budget, Arc::clone(&self.requests), now)), unused_since: None };
        Arc::clone(&entries.entry(key).or_insert_with(new).lease)
    }

    /// Forgets what no session has held for as long as its window. True: there was no room for more.
    pub(super) fn sweep(&self, now: Instant) -> bool {
        let mut entries = self.lock();
        let was_full = entries.len() >= ENTRIES_MAX;
        entries.retain(|_, entry| {
            // New holders are made under the lock, so a single one stays single during this check.
            let held = Arc::strong_count(&entry.lease) > 1;
            entry.unused_since = if held { None } else { entry.unused_since.or(Some(now)) };
            entry.unused_since.is_none_or(|since| now.saturating_duration_since(since) < entry.lease.budget().per)
        });
        if entries.len() < entries.capacity() / 4 {
            entries.shrink_to_fit();
        }
        was_full
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LimitKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of a rule, from all that makes its meaning.
pub(super) fn rule_number<'a>(meaning: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut text = Vec::new();
    for part in meaning {
        text.extend_from_slice(&part.len().to_be_bytes());
        text.extend_from_slice(part);
    }
    let digest = digest(&SHA256, &text);
    digest.as_ref().iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

impl LimitKey {
    /// The budget of a user under a rule.
    pub(super) fn of_user(rule: u64, user: &str) -> Self {
        Self::of(rule, b'u', user.as_bytes())
    }

    /// The budget of an address or its IPv6 network under a rule.
    pub(super) fn of_address(rule: u64, address: IpAddr) -> Self {
        Self::of(rule, b'n', Network::from(address).to_string().as_bytes())
    }

    /// No user's name and no address stands in a key of Redis.
    fn of(rule: u64, kind: u8, whose: &[u8]) -> Self {
        let text = [&rule.to_be_bytes(), &[kind][..], whose].concat();
        let digest = digest(&SHA256, &text);
        let whose = digest.as_ref().iter().take(16).fold(0, |number, byte| (number << 8) | u128::from(*byte));
        Self { rule, whose }
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;

    const BUDGET: Budget = Budget { messages: NonZeroU32::MIN, per: Duration::from_secs(60) };

    fn sharing() -> Sharing {
        Sharing::new(Box::new(|| {}))
    }

    #[test]
    fn beyond_the_bound_newcomers_share_one_budget_for_each_rule() {
        let (sharing, now) = (sharing(), Instant::now());
        let get = |rule, whose| sharing.get(LimitKey { rule, whose }, BUDGET, now);
        let known = get(1, 1);
        for whose in 2..=100_000 {
            get(1, whose);
        }
        assert!(Arc::ptr_eq(&get(1, 100_001), &get(1, 100_002)));
        assert!(!Arc::ptr_eq(&get(1, 100_001), &get(2, 100_001)));
        assert!(Arc::ptr_eq(&known, &get(1, 1)));
        assert!(sharing.sweep(now), "it says that it was full");
    }

    #[test]
    fn a_lease_is_kept_while_a_session_holds_it_and_one_window_longer() {
        let (sharing, start) = (sharing(), Instant::now());
        let key = LimitKey { rule: 1, whose: 1 };
        let kept = |secs| {
            sharing.sweep(start + Duration::from_secs(secs));
            sharing.find(key).is_some()
        };
        let held = sharing.open(key, BUDGET, start);
        assert!(kept(1000));
        drop(held);
        assert!(kept(1010));
        assert!(kept(1069));
        assert!(!kept(1070));
    }

    #[test]
    fn keys_tell_rules_users_and_addresses_apart_and_name_none() {
        let address = |text: &str| LimitKey::of_address(1, text.parse().unwrap());
        assert_eq!(LimitKey::of_user(1, "ada"), LimitKey::of_user(1, "ada"));
        assert_ne!(LimitKey::of_user(1, "ada"), LimitKey::of_user(1, "bob"));
        assert_ne!(LimitKey::of_user(1, "ada").whose, LimitKey::of_user(2, "ada").whose);
        assert_ne!(LimitKey::of_user(1, "192.0.2.1"), address("192.0.2.1"));
        assert_eq!(address("2001:db8::1"), address("2001:db8::2"));
        let number = |parts: &[&str]| rule_number(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(number(&["ab", "c"]), number(&["a", "bc"]));
    }
}
