//! The time at which something happens, on both clocks. The relay reads them once per poll.

use std::time::{Duration, Instant, SystemTime};

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// On the monotonic clock, by which every timeout runs.
    pub instant: Instant,
    /// On the wall clock, by which tokens expire.
    pub wall: SystemTime,
}

impl Now {
    /// When this moment of the wall clock comes, on the monotonic one; now where it has passed.
    #[must_use]
    pub fn instant_of(&self, wall: SystemTime) -> Instant {
        self.instant + wall.duration_since(self.wall).unwrap_or(Duration::ZERO)
    }
}
