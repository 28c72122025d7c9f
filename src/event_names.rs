//! Event names as small numbers, capped, so that counters and rules are arrays and nothing looks a label up by string.

/// The number of an event name. [`EventSlot::OTHER`] stands for every name beyond the cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventSlot(u16);

impl EventSlot {
    /// Every name beyond the cap, and what has no name.
    pub const OTHER: Self = Self(0);

    /// For indexing arrays of [`EventNames::SLOTS`] entries.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
