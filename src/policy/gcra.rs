//! The generic cell rate algorithm: an allowance kept as one instant. Time is an argument.

use std::time::{Duration, Instant};

/// What one sender has used of an allowance that refills by one after each interval. Its owner keeps interval and burst
/// as constants and passes them to every call.
#[derive(Debug, Clone, Copy)]
pub struct Gcra {
    /// When everything that was taken is refilled.
    full_at: Instant,
}

impl Gcra {
    /// The whole allowance.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes `cost` of an allowance that refills by one after each `interval` and holds at most `burst`.
    ///
    /// # Errors
    /// Less than `cost` is left. Nothing is taken; the instant is when enough will be left. A cost above the burst is
    /// never left.
    pub fn take(&mut self, cost: u32, interval: Duration, burst: u32, now: Instant) -> Result<(), Instant> {
        let full_at = self.full_at.max(now) + interval * cost;
        let limit = now + interval * burst;
        if full_at > limit {
            return Err(now + (full_at - limit));
        }
        self.full_at = full_at;
        Ok(())
    }

    /// Whether the whole allowance is left.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    #[test]
    fn a_burst_passes_at_once_and_then_one_after_each_interval() {
        let start = Instant::now();
        let mut allowance = Gcra::new(start);
        assert!((0..5).all(|_| allowance.take(1, INTERVAL, 5, start).is_ok()));
        assert_eq!(allowance.take(1, INTERVAL, 5, start), Err(start + INTERVAL));
        assert_eq!(allowance.take(3, INTERVAL, 5, start), Err(start + 3 * INTERVAL), "a refusal takes nothing");
        assert_eq!(allowance.take(3, INTERVAL, 5, start + 3 * INTERVAL), Ok(()));
        assert!(allowance.take(1, INTERVAL, 5, start + 3 * INTERVAL).is_err());
    }

    #[test]
    fn an_idle_sender_has_the_whole_allowance_and_no_more() {
        let start = Instant::now();
        let mut allowance = Gcra::new(start);
        assert_eq!(allowance.take(5, INTERVAL, 5, start), Ok(()));
        assert!(!allowance.is_full(start + 4 * INTERVAL));
        assert!(allowance.is_full(start + 5 * INTERVAL));
        let later = start + 1000 * INTERVAL;
        assert_eq!((0..100).filter(|_| allowance.take(1, INTERVAL, 5, later).is_ok()).count(), 5);
    }
}
