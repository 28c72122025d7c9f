//! The sessions of this node, as the operator sees them.

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

/// The transport of every session there is.
pub const WEBSOCKET: &str = "websocket";

/// One session, as `/sessions` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct SessionView {
    /// Ascending over the life of the process; the key of paging.
    pub id: u64,
    /// The Engine.IO session id; none on a plain WebSocket route.
    pub sid: Option<String>,
    /// Who, by the verified token.
    pub user: Option<String>,
    /// The client's address.
    pub peer: std::net::IpAddr,
    /// Namespaces joined.
    pub namespaces: Vec<String>,
    /// `websocket`.
    pub transport: &'static str,
    /// Seconds since it opened.
    pub age_seconds: f64,
    /// Packets from the client.
    pub packets_received: u64,
    /// Packets to the client.
    pub packets_sent: u64,
    /// Packets of the client that were refused.
    pub packets_refused: u64,
    /// The last heartbeat's round trip, in milliseconds.
    pub rtt_ms: Option<f64>,
}

/// Asks the workers for their sessions. A worker answers between two packets; nothing is locked.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    workers: Vec<mpsc::UnboundedSender<Listing>>,
}

/// A question to one worker.
#[derive(Debug)]
pub struct Listing {
    /// Only ids above this.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Vec<SessionView>>,
}

impl Registry {
    /// Of the workers that listen at the other ends.
    #[must_use]
    pub const fn new(workers: Vec<mpsc::UnboundedSender<Listing>>) -> Self {
        Self { workers }
    }

    /// At most `limit` sessions with an id above `after`, ascending by id.
    pub async fn sessions(&self, after: u64, limit: usize) -> Vec<SessionView> {
        let mut answers = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (answer, listed) = oneshot::channel();
            // A worker that is gone has no sessions.
            if worker.send(Listing { after, limit, answer }).is_ok() {
                answers.push(listed);
            }
        }
        let mut sessions = Vec::new();
        for listed in answers {
            sessions.extend(listed.await.unwrap_or_default());
        }
        sessions.sort_unstable_by_key(|session: &SessionView| session.id);
        sessions.truncate(limit);
        sessions
    }
}
