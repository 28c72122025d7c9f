//! How many pings of a client are answered: they count in no rate limit.

use std::time::{Duration, Instant};

use crate::policy::gcra::Gcra;

/// One more is answered after each interval, ...
pub(in crate::session) const PING_INTERVAL: Duration = Duration::from_secs(1);

/// ... and this many at once.
const BURST: u32 = 3;

/// The pings that one client may still send. Behind a pointer, for most clients send none.
#[derive(Debug, Default)]
pub(in crate::session) struct PingRate(Option<Box<Gcra>>);

impl PingRate {
    /// Whether one more is answered. If so, it counts.
    pub(in crate::session) fn admits(&mut self, now: Instant) -> bool {
        self.0.get_or_insert_with(|| Box::new(Gcra::new(now))).take(1, PING_INTERVAL, BURST, now).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_at_once_and_then_one_a_second_are_admitted() {
        let start = Instant::now();
        let mut rate = PingRate::default();
        assert_eq!((0..100).filter(|_| rate.admits(start)).count(), BURST as usize);
        assert!(!rate.admits(start + PING_INTERVAL - Duration::from_millis(1)));
        assert!((1..100).all(|n| rate.admits(start + PING_INTERVAL * n)));
        assert!(!rate.admits(start + PING_INTERVAL * 99));
    }
}
