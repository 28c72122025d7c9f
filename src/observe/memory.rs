//! What clients make the node keep, summed over all workers; how much memory the node has; and what it does about that.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;

/// Request bodies and answers of up to so many bytes are held whatever others hold, so that clients with small ones do not
/// suffer from those with large ones.
const FREE_BYTES: usize = 16 * 1024;

/// The memory of the node. Workers add what changes in a turn, not in a packet.
#[derive(Debug, Default)]
pub struct Memory {
    sessions: AtomicUsize,
    requests: AtomicUsize,
    used: AtomicU64,
    limit: AtomicU64,
    step: AtomicU8,
}

/// What the node does about its memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OverloadStep {
    /// Nothing: there is enough.
    #[default]
    None,
    /// It refuses new sessions.
    Refusing,
    /// It also closes the sessions that keep most.
    Closing,
}

/// Bytes that a request or an answer holds. They count until this is dropped.
#[derive(Debug)]
pub struct HeldMemory {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Memory {
    /// A session that kept `before` bytes keeps `now`. The bytes of all sessions.
    pub fn session_keeps(&self, before: usize, now: usize) -> usize {
        let change = now.wrapping_sub(before);
        self.sessions.fetch_add(change, Relaxed).wrapping_add(change)
    }

    /// The bytes that all sessions keep.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.load(Relaxed)
    }

    /// The bytes that requests and answers hold.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }

    /// Nothing held yet.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> HeldMemory {
        HeldMemory { memory: Arc::clone(self), bytes: 0 }
    }

    /// The process uses so many bytes of at most `limit`, and does this about it. `limit` 0: there is none.
    pub fn sampled(&self, used: u64, limit: u64, step: OverloadStep) {
        self.used.store(used, Relaxed);
        self.limit.store(limit, Relaxed);
        self.step.store(step as u8, Relaxed);
    }

    /// What the node does about its memory.
    #[must_use]
    pub fn step(&self) -> OverloadStep {
        match self.step.load(Relaxed) {
            0 => OverloadStep::None,
            1 => OverloadStep::Refusing,
            _ => OverloadStep::Closing,
        }
    }

    /// Bytes in use and their limit, as last sampled. `None` where there is no limit.
    pub(super) fn use_of_limit(&self) -> Option<(u64, u64)> {
        let limit = self.limit.load(Relaxed);
        (limit > 0).then(|| (self.used.load(Relaxed), limit))
    }
}

impl HeldMemory {
    /// Whether `bytes` may be held in all, of at most `max` for all requests together. They count if so.
    #[must_use]
    pub fn grow(&mut self, bytes: usize, max: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let all = self.memory.requests.fetch_add(more, Relaxed).saturating_add(more);
        self.bytes += more;
        bytes <= FREE_BYTES || all <= max
    }
}

impl HeldMemory {
    /// These bytes, which count until the last part of them is dropped.
    #[must_use]
    pub fn over(mut self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        // They exist already, so they count whatever the bound is.
        let _ = self.grow(bytes.as_ref().len(), usize::MAX);
        Bytes::from_owner(HeldBytes { bytes, _held: self })
    }
}

/// Bytes that count.
struct HeldBytes<B> {
    bytes: B,
    _held: HeldMemory,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for HeldBytes<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.memory.requests.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sessions_keep_is_their_sum() {
        let memory = Memory::default();
        assert_eq!(memory.session_keeps(0, 100), 100);
        assert_eq!(memory.session_keeps(0, 50), 150);
        assert_eq!(memory.session_keeps(100, 20), 70);
        assert_eq!(memory.session_keeps(50, 0), 20);
        assert_eq!(memory.sessions(), 20);
    }

    #[test]
    fn large_requests_share_a_bound_and_small_ones_have_room_in_any_case() {
        let memory = Arc::new(Memory::default());
        let (max, mut one, mut other, mut small) = (100_000, memory.hold(), memory.hold(), memory.hold());
        assert!(one.grow(60_000, max) && one.grow(90_000, max));
        assert!(!other.grow(50_000, max));
        assert!(small.grow(FREE_BYTES, max));
        drop((one, other));
        assert_eq!(memory.requests(), FREE_BYTES);
        assert!(small.grow(50_000, max));
        let bytes = small.over(vec![0; 60_000]);
        let part = bytes.slice(10..);
        drop(bytes);
        assert_eq!(memory.requests(), 60_000, "a part of them is there");
        drop(part);
        assert_eq!(memory.requests(), 0);
    }

    #[test]
    fn the_steps_are_told_and_a_node_without_a_limit_tells_none() {
        let memory = Memory::default();
        assert_eq!((memory.step(), memory.use_of_limit()), (OverloadStep::None, None));
        memory.sampled(90, 100, OverloadStep::Refusing);
        assert_eq!((memory.step(), memory.use_of_limit()), (OverloadStep::Refusing, Some((90, 100))));
        assert!(OverloadStep::Closing > OverloadStep::Refusing);
    }
}
