//! The time at which something happens, on both clocks. The relay reads them once per poll.

use std::time::{Duration, Instant, SystemTime};

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
