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

    /// Waits until there is another connection than before, or none any more. False: the node stops.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}
