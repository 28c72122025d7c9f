//! How long a session waits before it dials the service again.

use std::time::Duration;

/// The first wait after a dial that failed, ...
const BACKOFF: Duration = Duration::from_millis(100);

/// ... which doubles with every failure up to this.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How long a session waits before the next dial, after so many failures. `spread` is from 0 to 1, another number
/// each time, so that sessions that lost the service together do not dial together.
#[must_use]
pub fn backoff(failures: u32, spread: f64) -> Duration {
    let doubled = BACKOFF.saturating_mul(1 << failures.min(10));
    doubled.min(BACKOFF_MAX).mul_f64(0.5 + spread)
}

/// The first wait after a dial that the service has refused for a time, and the longest: those of official clients.
const BUSY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// The same after so many refusals for a time.
#[must_use]
pub fn backoff_of_busy(failures: u32, spread: f64) -> Duration {
    let [first, longest] = BUSY;
    first.saturating_mul(1 << failures.min(10)).min(longest).mul_f64(0.5 + spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_a_bound_and_is_spread() {
        assert_eq!(backoff(0, 0.5), BACKOFF);
        assert_eq!(backoff(1, 0.5), BACKOFF * 2);
        assert_eq!(backoff(u32::MAX, 1.0), BACKOFF_MAX.mul_f64(1.5));
        assert!(backoff(3, 0.0) < backoff(3, 1.0));
        let busy: Vec<_> = (0..5).map(|failures| backoff_of_busy(failures, 0.5).as_secs()).collect();
        assert_eq!(busy, [1, 2, 4, 5, 5], "as a stock client tries again");
    }
}
