//! The time at which something happens, on both clocks. The relay reads them once per poll.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// On the monotonic clock, by which every timeout runs.
    pub instant: Instant,
    /// A moment at which both clocks were read, from which the wall clock is reckoned.
    read: (Instant, SystemTime),
}

impl Now {
    /// The moment at which both clocks show this.
    #[must_use]
    pub const fn new(instant: Instant, wall: SystemTime) -> Self {
        Self { instant, read: (instant, wall) }
    }

    /// A moment at which the monotonic clock shows this. Both clocks have run alike since `self`.
    #[must_use]
    pub const fn at(self, instant: Instant) -> Self {
        Self { instant, ..self }
    }

    /// The moment on the wall clock, by which tokens expire.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        self.read.1 + self.instant.saturating_duration_since(self.read.0)
    }

    /// When this moment of the wall clock comes, on the monotonic one; now where it has passed.
    #[must_use]
    pub fn instant_of(&self, wall: SystemTime) -> Instant {
        self.instant + wall.duration_since(self.wall()).unwrap_or(Duration::ZERO)
    }
}

/// A moment that comes on whichever clock shows it first. The monotonic clock stands still while the machine sleeps, and the
/// wall clock may be set: neither may prolong what ends then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    instant: Instant,
    /// In nanoseconds since 1970, as far as 2554: every session has some of these.
    wall: u64,
}

impl Deadline {
    /// When the wall clock shows this, or would show it if it were not set until then.
    #[must_use]
    pub fn at(wall: SystemTime, now: Now) -> Self {
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: now.instant_of(wall), wall: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) }
    }

    /// The earlier of both, on each clock.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { instant: self.instant.min(other.instant), wall: self.wall.min(other.wall) }
    }

    /// The later of both, on each clock.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { instant: self.instant.max(other.instant), wall: self.wall.max(other.wall) }
    }

    /// Takes note of what the wall clock shows now. If it was set forward, this comes earlier; if back, no later.
    pub fn keep_time(&mut self, now: Now) {
        self.instant = self.instant.min(now.instant_of(self.wall()));
    }

    /// When it comes, as far as is known.
    #[must_use]
    pub const fn instant(&self) -> Instant {
        self.instant
    }

    /// When it comes on the wall clock.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.wall)
    }

    /// How long until then.
    #[must_use]
    pub fn left(mut self, now: Now) -> Duration {
        self.keep_time(now);
        self.instant.saturating_duration_since(now.instant)
    }
}

/// Never, which is `None`, is later than any time.
pub(super) fn later(one: Option<Deadline>, other: Option<Deadline>) -> Option<Deadline> {
    one.zip(other).map(|(one, other)| one.max(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_comes_on_whichever_clock_comes_first() {
        const HOUR: Duration = Duration::from_secs(3600);
        let now = Now::new(Instant::now(), SystemTime::now());
        let set = |by: Duration, forward: bool| {
            let wall = if forward { now.wall() + by } else { now.wall() - by };
            Now::new(now.instant, wall)
        };
        for (later, left) in [
            (now, HOUR),
            (set(HOUR / 2, true), HOUR / 2),
            (set(HOUR * 2, true), Duration::ZERO),
            (set(HOUR, false), HOUR),
        ] {
            let mut deadline = Deadline::at(now.wall() + HOUR, now);
            assert_eq!(deadline.left(later), left);
            deadline.keep_time(later);
            assert_eq!(deadline.left(now), left, "what was set forward and back again is not prolonged");
        }
        assert_eq!(Deadline::at(now.wall() + HOUR, now).left(now.at(now.instant + HOUR)), Duration::ZERO);
    }
}
