//! How fast connections are made again.

use std::time::Duration;

use rand::RngExt as _;

/// The longest pause before the first attempt, ...
const MIN: Duration = Duration::from_millis(100);

/// ... and before any. It doubles with each attempt.
const MAX: Duration = Duration::from_secs(5);

/// A connection that lived for so long was a good one. Shorter ones are attempts, so that nobody is asked for a connection
/// more than once a second on average.
const GOOD: Duration = Duration::from_secs(10);

/// The pause before the next attempt: random below a bound, so that nodes do not come back all at once.
#[derive(Debug)]
pub(super) struct Pace {
    bound: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { bound: MIN }
    }
}

impl Pace {
    /// The bound of the pause after a connection, or an attempt, that lasted so long.
    fn next(&mut self, lasted: Duration) -> Duration {
        if lasted >= GOOD {
            self.bound = MIN;
        }
        let bound = self.bound;
        self.bound = (bound * 2).min(MAX);
        bound
    }

    /// Waits after a connection, or an attempt, that lasted so long.
    pub(super) async fn wait(&mut self, lasted: Duration) {
        let pause = self.next(lasted).mul_f64(rand::rng().random_range(0.0..1.0));
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_seconds_until_a_connection_lasts() {
        let mut pace = Pace::default();
        let short = Duration::from_secs(1);
        let bounds: Vec<_> = (0..8).map(|_| pace.next(short).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pace.next(GOOD), MIN);
    }
}
