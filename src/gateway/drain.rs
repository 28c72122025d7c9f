//! Where a node stands in its life, as every thread of it learns.

use std::time::Duration;

/// Serving, or going away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Open to clients.
    Serving,
    /// No new connections; those there are close within so long.
    Draining(Duration),
}

impl Stage {
    /// Is this node going away?
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        matches!(self, Self::Draining(_))
    }
}
