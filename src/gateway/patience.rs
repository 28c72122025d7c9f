//! How long a body may keep Tidegate waiting, whichever version of HTTP brings it, and in either direction.

use std::time::Duration;

use tokio::time::Instant;

/// Time that each KiB adds: below 1 KiB/s the patience runs out.
const PER_KIB: Duration = Duration::from_secs(1);

/// The patience with one body. Only the time spent waiting for the client uses it up, and each KiB that passes restores a
/// second, never beyond what there was at first.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    whole: Duration,
    left: Duration,
    since: Option<Instant>,
}

impl Patience {
    /// So much waiting at first.
    #[must_use]
    pub const fn new(whole: Duration) -> Self {
        Self { whole, left: whole, since: None }
    }

    /// The client keeps us waiting, now or already before. Returns when patience ends.
    pub fn wait(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now) + self.left
    }

    /// The client has moved so many bytes, and is not waited for.
    pub fn moved(&mut self, bytes: usize, now: Instant) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let restored = PER_KIB.mul_f64(bytes as f64 / 1024.0);
        self.left = (self.left.saturating_sub(waited) + restored).min(self.whole);
    }

    /// When patience ends. `None` while nobody waits for the client.
    #[must_use]
    pub fn ends(&self) -> Option<Instant> {
        self.since.map(|since| since + self.left)
    }

    /// The patience at first.
    #[must_use]
    pub const fn whole(&self) -> Duration {
        self.whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Duration = Duration::from_secs(10);

    fn left_after(steps: &[(u64, usize)]) -> Duration {
        let (mut patience, mut now) = (Patience::new(WHOLE), Instant::now());
        for &(waited, bytes) in steps {
            patience.wait(now);
            now += Duration::from_secs(waited);
            patience.moved(bytes, now);
        }
        patience.wait(now) - now
    }

    #[test]
    fn a_kib_restores_a_second_and_no_more_than_there_was() {
        assert_eq!(left_after(&[(4, 0)]), Duration::from_secs(6));
        assert_eq!(left_after(&[(4, 2048)]), Duration::from_secs(8));
        assert_eq!(left_after(&[(4, 1024 * 1024)]), WHOLE);
        assert_eq!(left_after(&[(14, 1024)]), Duration::from_secs(1));
    }

    #[test]
    fn a_trickle_of_a_byte_each_second_runs_out_of_patience() {
        assert!(left_after(&[(1, 1); 11]) < Duration::from_secs(1));
    }

    #[test]
    fn only_waiting_counts() {
        let (mut patience, now) = (Patience::new(WHOLE), Instant::now());
        assert_eq!(patience.ends(), None);
        patience.wait(now);
        patience.moved(1, now);
        assert_eq!(patience.ends(), None);
        let later = now + WHOLE * 100;
        assert!(patience.wait(later) >= later + WHOLE);
        assert_eq!(patience.wait(later + WHOLE / 2), patience.wait(later), "it waits since then");
    }
}
