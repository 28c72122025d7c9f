//! Numbers with one writer: as cheap as plain fields, and readable from another thread without a lock.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Different labels one set counts apart; further ones are counted as `other`.
pub(super) const LABELS_MAX: usize = 64;

/// A counter that one thread writes. A second writer would lose counts, nothing worse.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, by: u64) {
        // Load and store, not fetch_add: with one writer they count the same, without a locked instruction.
        self.0.store(self.0.load(Relaxed).wrapping_add(by), Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters by labels that the code knows and this file does not, at most [`LABELS_MAX`] of them.
///
/// A linear scan: the sets are small, and what is counted here is an exception, not every packet.
#[derive(Debug)]
pub(super) struct LabelCounters<L> {
    entries: Box<[(OnceLock<L>, Counter)]>,
    other: Counter,
}

impl<L> Default for LabelCounters<L> {
    fn default() -> Self {
        let entries = (0..LABELS_MAX).map(|_| (OnceLock::new(), Counter::default())).collect();
        Self { entries, other: Counter::default() }
    }
}

impl<L: Copy + PartialEq> LabelCounters<L> {
    pub(super) fn bump(&self, label: L) {
        let entry = self.entries.iter().find(|(held, _)| *held.get_or_init(|| label) == label);
        entry.map_or(&self.other, |(_, counter)| counter).add(1);
    }

    /// Labels and counts, in order of first appearance; `None` stands for every label beyond the bound.
    pub(super) fn read(&self) -> impl Iterator<Item = (Option<L>, u64)> {
        let named = self.entries.iter().map_while(|(label, counter)| Some((Some(*label.get()?), counter.get())));
        let other = self.other.get();
        named.chain((other > 0).then_some((None, other)))
    }

    pub(super) fn total(&self) -> u64 {
        self.read().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_counted_apart() {
        let counters = LabelCounters::default();
        for reason in ["idle", "slow", "idle"] {
            counters.bump(reason);
        }
        assert_eq!(counters.read().collect::<Vec<_>>(), [(Some("idle"), 2), (Some("slow"), 1)]);
        assert_eq!(counters.total(), 3);
    }

    #[test]
    fn labels_beyond_the_bound_are_counted_as_other() {
        let counters = LabelCounters::default();
        for label in 0..LABELS_MAX + 5 {
            counters.bump(label);
        }
        assert_eq!(counters.read().count(), LABELS_MAX + 1);
        assert_eq!(counters.read().last(), Some((None, 5)));
    }
}
