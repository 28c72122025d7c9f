//! The stage of a node: serving, leaving or draining. Every thread watches it.

use std::time::Duration;

/// Whether the node still takes clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// New connections are accepted.
    Serving,
    /// The node is not ready any more. Everything is served as before for this time (`limits.lame_duck`), also new
    /// connections, because balancers learn only later that it leaves.
    Leaving(Duration),
    /// No new connections; the open ones close within this time.
    Draining(Duration),
}

impl Stage {
    /// Whether the node is draining.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        matches!(self, Self::Draining(_))
    }

    /// Whether the node is about to drain, and still serves.
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        matches!(self, Self::Leaving(_))
    }
}
