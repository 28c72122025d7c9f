//! The connection to Redis as its users see it: there, or not there.

use tokio::sync::watch;

use crate::cluster::connection::Connection;

pub use crate::cluster::rules::RedisRules;

/// The connection as its users see it. `None` while there is none.
#[derive(Debug, Clone)]
pub struct Link(watch::Receiver<Option<Connection>>);

impl Link {
    /// With the other end.
    pub(super) fn new() -> (watch::Sender<Option<Connection>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    /// The connection, if there is one. Every command on it is bounded in time.
    #[must_use]
    pub fn connection(&self) -> Option<Connection> {
        self.0.borrow().clone()
    }

    /// Whether there is another than when this was asked, or waited for, last.
    pub(super) fn take_change(&mut self) -> bool {
        let has_changed = self.0.has_changed().unwrap_or_default();
        self.0.mark_unchanged();
        has_changed
    }

    /// Waits until there is another connection than before, or none any more. False: the node stops.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}
