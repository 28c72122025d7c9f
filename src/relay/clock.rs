//! The clocks of one worker: the monotonic one is read, the wall clock is reckoned from it.

use std::{
    cell::Cell,
    time::{Instant, SystemTime},
};

use crate::session::now::Now;

/// Reads one clock where two are wanted. The wall clock is read at each [`set`](Self::set) alone, so between two of them it
/// does not jump.
#[derive(Debug)]
pub struct Clock(Cell<Now>);

impl Clock {
    /// Set to this moment.
    #[must_use]
    pub fn new() -> Self {
        Self(Cell::new(read()))
    }

    /// Follows the wall clock again. To be called several times a second.
    pub fn set(&self) {
        self.0.set(read());
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Now {
        self.0.get().at(Instant::now())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

fn read() -> Now {
    Now::new(Instant::now(), SystemTime::now())
}
