//! A limit of log lines per second and key, so that much of one kind does not cause many lines.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// Lines written in one [`WINDOW`] for one key.
const LINES_PER_KEY: u32 = 10;
/// Lines in one [`WINDOW`] for all keys together.
const LINES_MAX: u32 = 200;
/// How long these lines count.
const WINDOW: Duration = Duration::from_secs(1);
/// The most keys that are told apart.
const KEYS_MAX: usize = 1024;

/// How many lines were left out before the one that is written. `None`: none.
pub(super) type Suppressed = Option<u64>;

/// Lines written and left out, by key.
#[derive(Debug)]
pub(super) struct LineLimit<K> {
    shares: HashMap<K, Share>,
    all: Share,
}

#[derive(Debug)]
struct Share {
    window: Instant,
    written: u32,
    suppressed: u64,
}

impl Share {
    const fn new(now: Instant) -> Self {
        Self { window: now, written: 0, suppressed: 0 }
    }

    /// How many lines were written in the window of this moment.
    fn written_by(&mut self, now: Instant) -> u32 {
        if now.saturating_duration_since(self.window) >= WINDOW {
            (self.window, self.written) = (now, 0);
        }
        self.written
    }
}

impl<K: Eq + Hash> LineLimit<K> {
    pub(super) fn new(now: Instant) -> Self {
        Self { shares: HashMap::new(), all: Share::new(now) }
    }

    /// How many lines were left out before this one: of this key, or of all that are not told apart. `None`: this one is left
    /// out too.
    pub(super) fn admit(&mut self, key: K, now: Instant) -> Option<Suppressed> {
        if self.all.written_by(now) >= LINES_MAX {
            self.all.suppressed += 1;
            return None;
        }
        if self.shares.len() >= KEYS_MAX && !self.shares.contains_key(&key) {
            // At most once for each line that is written.
            self.shares.retain(|_, share| now.saturating_duration_since(share.window) < WINDOW || share.suppressed > 0);
            if self.shares.len() >= KEYS_MAX {
                self.shares.clear();
            }
        }
        let share = self.shares.entry(key).or_insert_with(|| Share::new(now));
        if share.written_by(now) >= LINES_PER_KEY {
            share.suppressed += 1;
            return None;
        }
        share.written += 1;
        self.all.written += 1;
        let suppressed = std::mem::take(&mut share.suppressed) + std::mem::take(&mut self.all.suppressed);
        Some((suppressed > 0).then_some(suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_for_each_key() {
        let now = Instant::now();
        let mut limit = LineLimit::new(now);
        let written = |limit: &mut LineLimit<_>, peer, reason| {
            (0..15).filter(|_| limit.admit((peer, reason), now).is_some()).count()
        };
        assert_eq!(written(&mut limit, 1, "forbidden"), 10);
        assert_eq!(written(&mut limit, 1, "auth.missing"), 10);
        assert_eq!(written(&mut limit, 2, "forbidden"), 10, "one peer does not hide another");
        assert_eq!(limit.admit((2, "forbidden"), now), None);
        assert_eq!(limit.admit((1, "forbidden"), now + WINDOW), Some(Some(5)), "the next says how many were left out");
        assert_eq!(limit.admit((1, "forbidden"), now + WINDOW), Some(None));
    }

    #[test]
    fn many_keys_cost_a_bounded_number_of_lines_and_entries() {
        let now = Instant::now();
        let mut limit = LineLimit::new(now);
        let written = (0..5000).filter(|&key| limit.admit(key, now).is_some()).count();
        assert_eq!(written, LINES_MAX as usize);
        assert_eq!(limit.admit(1, now + WINDOW), Some(Some(5000 - u64::from(LINES_MAX))));
        for second in 1..30 {
            for key in 0..200 {
                let _ = limit.admit(key + 200 * second, now + WINDOW * second);
            }
        }
        assert!(limit.shares.len() <= KEYS_MAX);
    }
}
