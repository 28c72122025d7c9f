//! Where leases ask for more messages, and what they know of the place that all nodes share.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

/// How many questions may wait. A further one is lost and counted; the next packet of its sender asks again.
const ASKS_MAX: usize = 4096;

/// Which budget: of a rule, and of a user or an address under it. It names no user: both numbers are digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitKey {
    /// The rule. The same on every node and after a reload, while scope, events, messages and span of the rule are.
    pub rule: u64,
    /// The user or the address. 0: all that there was no room for.
    pub whose: u128,
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}:{:032x}", self.rule, self.whose)
    }
}

impl LimitKey {
    /// Reads the end of a key in Redis: what `Display` has written. `None`: it is another key.
    #[must_use]
    pub fn at_end_of(key: &str) -> Option<Self> {
        let mut parts = key.rsplitn(3, ':');
        let (whose, rule) = (parts.next()?, parts.next()?);
        Some(Self { rule: u64::from_str_radix(rule, 16).ok()?, whose: u128::from_str_radix(whose, 16).ok()? })
    }
}

/// Shared by all leases of the node and by the task that fetches for them. Nothing here waits.
pub struct LeaseRequests {
    shared: AtomicBool,
    nodes: AtomicU32,
    asks: SyncSender<LimitKey>,
    asked: Mutex<Option<Receiver<LimitKey>>>,
    asks_lost: AtomicU64,
    refused_alone: AtomicU64,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for LeaseRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseRequests")
            .field("shared", &self.shared)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

impl LeaseRequests {
    /// Nothing is shared yet, and no other node is known. `wake` is called for each question; it must not wait.
    pub(super) fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        let (asks, asked) = sync_channel(ASKS_MAX);
        Self {
            shared: AtomicBool::new(false),
            nodes: AtomicU32::new(1),
            asks,
            asked: Mutex::new(Some(asked)),
            asks_lost: AtomicU64::new(0),
            refused_alone: AtomicU64::new(0),
            wake,
        }
    }

    /// The questions, for the one task that answers them. `None`: it has them already.
    pub fn questions(&self) -> Option<Receiver<LimitKey>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether budgets are shared at the moment. If not, each node gives its own part of them.
    pub fn set_shared(&self, shared: bool) {
        self.shared.store(shared, Relaxed);
    }

    /// So many nodes are alive, this one among them.
    pub fn set_nodes(&self, nodes: u32) {
        self.nodes.store(nodes.max(1), Relaxed);
    }

    /// The nodes that are alive, as far as this one knows. At least 1.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.nodes.load(Relaxed)
    }

    /// Packets that were over this node's own part while nothing was shared.
    #[must_use]
    pub fn refused_alone(&self) -> u64 {
        self.refused_alone.load(Relaxed)
    }

    /// Questions that found no place.
    #[must_use]
    pub fn asks_lost(&self) -> u64 {
        self.asks_lost.load(Relaxed)
    }

    pub(super) fn is_shared(&self) -> bool {
        self.shared.load(Relaxed)
    }

    pub(super) fn count_refused_alone(&self) {
        self.refused_alone.fetch_add(1, Relaxed);
    }

    /// False: there is no place for the question.
    pub(super) fn ask(&self, key: LimitKey) -> bool {
        let asked = self.asks.try_send(key).is_ok();
        if asked {
            (self.wake)();
        } else {
            self.asks_lost.fetch_add(1, Relaxed);
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_the_end_of_its_name_in_redis() {
        let key = LimitKey { rule: 0xab, whose: u128::MAX };
        assert_eq!(LimitKey::at_end_of(&format!("tidegate:{{a:1}}:limit:{key}")), Some(key));
        for other in ["", "limit", "x:y", "tidegate:{a}:limit:wanted"] {
            assert_eq!(LimitKey::at_end_of(other), None, "{other}");
        }
    }

    #[test]
    fn questions_beyond_the_bound_are_lost_and_counted() {
        let requests = LeaseRequests::new(Box::new(|| {}));
        let key = LimitKey { rule: 1, whose: 2 };
        let asked = (0..ASKS_MAX + 3).filter(|_| requests.ask(key)).count();
        assert_eq!((asked, requests.asks_lost()), (ASKS_MAX, 3));
        assert_eq!(requests.questions().unwrap().try_iter().count(), ASKS_MAX);
        assert!(requests.questions().is_none(), "one task answers them");
    }
}
