//! The sessions of this node, on whichever thread: for the operator, and for requests that bring a sid.

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::{
    relay::mailbox::{ClientRequest, Letter},
    wire::engineio::open::Sid,
};

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
    /// `websocket` or `polling`; `away` while a client is that may come back.
    pub transport: &'static str,
    /// The service's side: `open`; `away`; `joining` while it is asked for the namespaces again. None before the first
    /// namespace was asked for.
    pub service: Option<&'static str>,
    /// Packets of the client that wait for the service.
    pub waiting_packets: usize,
    /// Did it begin as polling and go over to a websocket?
    pub upgraded: bool,
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

/// Reaches the workers, each of which owns its sessions. A worker listens between two packets; nothing is locked.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    workers: Vec<mpsc::UnboundedSender<Errand>>,
}

/// What a worker is asked to do.
#[derive(Debug)]
pub enum Errand {
    /// Say which sessions there are.
    List {
        /// Only ids above this.
        after: u64,
        /// At most so many.
        limit: usize,
        /// Where the answer goes.
        answer: oneshot::Sender<Vec<SessionView>>,
    },
    /// Hand this to the session with this sid.
    Deliver(Sid, Letter),
    /// Hand this to the session with this `pid`, which has got a sid of another worker.
    Redeliver(Sid, Letter),
    /// Hand this to the session with this `pid`.
    Resume(Sid, ClientRequest),
    /// The session with this sid is no more, or goes by another.
    Forget(Sid),
}

impl Registry {
    /// Of the workers that listen at the other ends.
    #[must_use]
    pub const fn new(workers: Vec<mpsc::UnboundedSender<Errand>>) -> Self {
        Self { workers }
    }

    /// How many workers there are.
    #[must_use]
    pub const fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Hands a request to the session with this sid, on the worker that owns it.
    pub fn deliver(&self, sid: Sid, letter: Letter) {
        self.send(sid, Errand::Deliver(sid, letter));
    }

    /// Asks the session with this `pid`, on the worker that owns it.
    pub fn resume(&self, pid: Sid, request: ClientRequest) {
        self.send(pid, Errand::Resume(pid, request));
    }

    /// To the worker that owns this sid or `pid`.
    pub fn send(&self, sid: Sid, errand: Errand) {
        // Each letter stands for a request that is open, so there are never more of them than connections. Where the
        // worker is gone, its sessions are.
        if let Some(worker) = self.workers.get(sid.owner(self.workers.len())) {
            let _ = worker.send(errand);
        }
    }

    /// At most `limit` sessions with an id above `after`, ascending by id.
    pub async fn sessions(&self, after: u64, limit: usize) -> Vec<SessionView> {
        let mut answers = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (answer, listed) = oneshot::channel();
            // A worker that is gone has no sessions.
            if worker.send(Errand::List { after, limit, answer }).is_ok() {
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
