//! How many WebSocket control frames one side may send: each ping is answered.

use std::time::{Duration, Instant};

use crate::policy::gcra::Gcra;

/// One more frame is allowed after each interval, ...
const INTERVAL: Duration = Duration::from_millis(100);

/// ... and this many at once.
const BURST: u32 = 20;

/// The control frames that one side may still send.
#[derive(Debug)]
pub struct ControlRate(Gcra);

impl ControlRate {
    /// A whole burst.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self(Gcra::new(now))
    }

    /// Whether one more frame is allowed. If so, it counts.
    pub fn admits(&mut self, now: Instant) -> bool {
        self.0.take(1, INTERVAL, BURST, now).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_a_flood_does_not_and_a_steady_ping_does() {
        let start = Instant::now();
        let mut rate = ControlRate::new(start);
        assert_eq!((0..1000).filter(|_| rate.admits(start)).count(), BURST as usize);
        let later = start + INTERVAL * BURST;
        assert!((0..100).all(|i| rate.admits(later + INTERVAL * i)));
    }
}
