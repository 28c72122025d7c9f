//! The stage of a node: serving or draining. Every thread watches it.

use std::time::Duration;

/// Whether the node still takes clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// New connections are accepted.
    Serving,
    /// No new connections; the open ones close within this time.
    Draining(Duration),
}

impl Stage {
    /// Whether the node is draining.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        matches!(self, Self::Draining(_))
    }
}
