//! How many WebSocket control frames one side may send: a ping costs us an answer.

use std::time::{Duration, Instant};

/// One more each so often, ...
const INTERVAL: Duration = Duration::from_millis(100);

/// ... and so many at once.
const BURST: u32 = 20;

/// A leaky bucket as one instant (GCRA).
#[derive(Debug)]
pub struct ControlRate {
    /// When the bucket will be empty.
    empty_at: Instant,
}

impl ControlRate {
    /// An empty bucket.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { empty_at: now }
    }

    /// Does one more fit?
    pub fn admits(&mut self, now: Instant) -> bool {
        let empty_at = self.empty_at.max(now) + INTERVAL;
        let fits = empty_at <= now + INTERVAL * BURST;
        if fits {
            self.empty_at = empty_at;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_a_flood_does_not_and_a_steady_ping_always_does() {
        let start = Instant::now();
        let mut rate = ControlRate::new(start);
        assert_eq!((0..1000).filter(|_| rate.admits(start)).count(), BURST as usize);
        let later = start + INTERVAL * BURST;
        assert!((0..100).all(|i| rate.admits(later + INTERVAL * i)));
    }
}
