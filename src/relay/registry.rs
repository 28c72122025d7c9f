//! The workers of this node: every session is reached through the worker that its sid or `pid` names.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::{
    policy::{auth::revoked::Revocation, sid_owner::Requester},
    relay::{
        listing::{Matches, Query, Scan},
        request::Incoming,
        room_command::RoomCommand,
    },
    wire::engineio::{
        error::EngineError,
        id::{Home, NodeId, Pid, Sid},
    },
};

/// So many bytes may be on their way to the sessions of one worker. A worker takes them off between two polls.
const WORKER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// So many sessions are asked for at once: a worker shows them in one turn.
const SHOWN_AT_ONCE: usize = 256;

/// One session, as `/sessions` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct SessionView {
    /// Ascending over the life of the process: what the log calls the session too, and the key of paging.
    pub id: u64,
    /// Of the Engine.IO session id, which is a secret; none on a plain WebSocket route.
    pub sid_hash: Option<String>,
    /// Who, by the verified token. Of several users of one session, the first that is in a namespace still.
    pub user: Option<String>,
    /// All of them that are in a namespace, where there have been several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// The client's address.
    pub peer: std::net::IpAddr,
    /// Namespaces joined.
    pub namespaces: Vec<String>,
    /// `websocket`, `polling`, or `absent`: the client may come back.
    pub transport: &'static str,
    /// The service's side: `open`; `down`; `joining` while it is asked for the namespaces again. None before the first
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
    /// How good the client's connection is, by its average round trip: `excellent`, `good`, `fair` or `poor`. None before the
    /// first heartbeat was answered, as for the figures below; while the client is absent, those of its last connection.
    pub quality: Option<&'static str>,
    /// The last heartbeat's round trip, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// The average of the last ten that took at most 5 s. None if there is none.
    pub rtt_avg_ms: Option<f64>,
    /// The mean deviation of those from their average. None if there are fewer than two.
    pub jitter_ms: Option<f64>,
    /// Which share of the last ten took longer than 5 s.
    pub loss_percent: Option<u8>,
}

/// One page of sessions.
#[derive(Debug, Default)]
pub struct Page {
    /// In order. One that has ended while the page was made is missing.
    pub sessions: Vec<SessionView>,
    /// How many were chosen for the page, those among them that have ended since.
    pub chosen: usize,
    /// The last of the chosen.
    pub last: Option<u64>,
    /// How many match, on all pages.
    pub total: usize,
}

/// Reaches the workers, each of which owns its sessions. A worker listens between two polls; nothing is locked.
#[derive(Debug, Clone)]
pub struct Registry {
    node: NodeId,
    workers: Vec<WorkerHandle>,
}

/// One worker, as others reach it.
#[derive(Debug, Clone)]
pub struct WorkerHandle {
    commands: mpsc::UnboundedSender<WorkerCommand>,
    /// Bytes on their way to its sessions.
    bytes: Arc<AtomicUsize>,
}

/// What a worker listens to.
#[derive(Debug)]
pub struct WorkerInbox {
    commands: mpsc::UnboundedReceiver<WorkerCommand>,
    bytes: Arc<AtomicUsize>,
}

/// Which session is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The one that the client of this sid has.
    Sid(Sid),
    /// The one that this `pid` gives back.
    Pid(Pid),
}

/// What a worker is asked to do.
#[derive(Debug)]
pub enum WorkerCommand {
    /// Look at some more sessions for a list.
    Scan {
        /// What was found so far.
        scan: Scan,
        /// Where it goes back to.
        answer: oneshot::Sender<Scan>,
    },
    /// Say what is known of these sessions.
    Show {
        /// Also those of other workers.
        ids: Arc<[u64]>,
        /// Where the answer goes.
        answer: oneshot::Sender<Vec<SessionView>>,
    },
    /// The operator ends the session of this number.
    Close {
        /// The number, perhaps of another worker.
        id: u64,
        /// Where the answer goes: what is known of the session that ends.
        answer: oneshot::Sender<Option<SessionView>>,
    },
    /// Put this into the mailbox of a session.
    Deliver {
        /// The session.
        to: Target,
        /// The sender, if it names the session by its sid: it must be the one that the sid was given to. `None`: a session
        /// of this node.
        from: Option<Requester>,
        /// What it is.
        incoming: Incoming,
    },
    /// End the sessions that keep most, until so many bytes are free in all workers together.
    Shed {
        /// Of memory.
        bytes: usize,
    },
    /// No client uses this sid any more.
    ForgetSid(Sid),
    /// What is revoked was changed: end the sessions that this is about.
    Revoked {
        /// Where the answer goes.
        answer: oneshot::Sender<RevokedHere>,
    },
    /// Do this with the clients of some rooms.
    Rooms(RoomCommand),
    /// The published keys are others now, or are known not to come.
    KeysChanged,
}

/// What a revocation has met on a worker, or on all of them.
#[derive(Debug, Default)]
pub struct RevokedHere {
    /// Sessions that end, or whose clients are put out of a namespace.
    pub sessions: usize,
    /// The tokens of sockets that were revoked, which are to be revoked with them.
    pub tokens: Vec<Revocation>,
}

/// What could not be delivered, to be refused.
#[derive(Debug)]
pub struct Undelivered {
    /// What was to be delivered.
    pub incoming: Incoming,
    /// [`Overloaded`](EngineError::Overloaded): it exceeds the `WORKER_BYTES_MAX` of its worker.
    /// [`SessionUnknown`](EngineError::SessionUnknown): this node has no such worker.
    pub error: EngineError,
}

/// A worker's two ends.
#[must_use]
pub fn channel() -> (WorkerHandle, WorkerInbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let bytes = Arc::<AtomicUsize>::default();
    (WorkerHandle { commands: sender, bytes: Arc::clone(&bytes) }, WorkerInbox { commands: receiver, bytes })
}

impl WorkerInbox {
    /// The next command. `None`: no sender is left.
    pub async fn next(&mut self) -> Option<WorkerCommand> {
        let command = self.commands.recv().await?;
        let bytes = match &command {
            WorkerCommand::Deliver { incoming, .. } => incoming.bytes(),
            WorkerCommand::Rooms(command) => command.bytes(),
            _ => 0,
        };
        self.bytes.fetch_sub(bytes, Relaxed);
        Some(command)
    }
}

impl WorkerHandle {
    /// A command that takes no room. Where the worker is gone, its sessions are.
    fn command(&self, command: WorkerCommand) {
        let _ = self.commands.send(command);
    }

    /// A command that is answered. Where the worker is gone, the answer is an error.
    fn ask<A>(&self, command: impl FnOnce(oneshot::Sender<A>) -> WorkerCommand) -> oneshot::Receiver<A> {
        let (answer, answered) = oneshot::channel();
        self.command(command(answer));
        answered
    }

    fn deliver(&self, to: Target, from: Option<Requester>, incoming: Incoming) -> Result<(), Undelivered> {
        let bytes = incoming.bytes();
        if self.bytes.fetch_add(bytes, Relaxed) + bytes > WORKER_BYTES_MAX {
            self.bytes.fetch_sub(bytes, Relaxed);
            return Err(Undelivered { incoming, error: EngineError::Overloaded });
        }
        self.command(WorkerCommand::Deliver { to, from, incoming });
        Ok(())
    }
}

impl WorkerHandle {
    /// False: there is no room for it.
    fn command_rooms(&self, command: RoomCommand) -> bool {
        let bytes = command.bytes();
        if self.bytes.fetch_add(bytes, Relaxed) + bytes > WORKER_BYTES_MAX {
            self.bytes.fetch_sub(bytes, Relaxed);
            return false;
        }
        self.command(WorkerCommand::Rooms(command));
        true
    }
}

impl Registry {
    /// Of this node, with the workers that listen at the other ends.
    #[must_use]
    pub const fn new(node: NodeId, workers: Vec<WorkerHandle>) -> Self {
        Self { node, workers }
    }

    /// Where sessions of this worker live.
    #[must_use]
    pub fn home(&self, worker: usize) -> Home {
        Home { node: self.node, worker: u16::try_from(worker).unwrap_or(u16::MAX) }
    }

    fn worker(&self, home: Home) -> Option<&WorkerHandle> {
        self.workers.get(usize::from(home.worker)).filter(|_| home.node == self.node)
    }

    /// Hands something to a session, on the worker that owns it. `from`: the sender, if it names the session by its
    /// sid.
    ///
    /// # Errors
    /// The worker has too much to take, or is of another node or an earlier run.
    pub fn deliver(&self, to: Target, from: Option<Requester>, incoming: Incoming) -> Result<(), Undelivered> {
        let home = match to {
            Target::Sid(sid) => sid.home(),
            Target::Pid(pid) => pid.home(),
        };
        let Some(worker) = self.worker(home) else {
            return Err(Undelivered { incoming, error: EngineError::SessionUnknown });
        };
        worker.deliver(to, from, incoming)
    }

    /// No client uses this sid any more.
    pub fn forget_sid(&self, sid: Sid) {
        if let Some(worker) = self.worker(sid.home()) {
            worker.command(WorkerCommand::ForgetSid(sid));
        }
    }

    /// Ends the sessions that keep most, until so many bytes of memory are free.
    pub fn shed(&self, bytes: usize) {
        for worker in &self.workers {
            worker.command(WorkerCommand::Shed { bytes });
        }
    }

    /// Does this with the clients of some rooms, on every worker. It returns how many workers had too much to take.
    pub fn command_rooms(&self, command: &RoomCommand) -> usize {
        self.workers.iter().filter(|worker| !worker.command_rooms(command.clone())).count()
    }

    /// What is revoked was changed: every worker ends the sessions that this is about.
    pub async fn revoked(&self) -> RevokedHere {
        let ask = |worker: &WorkerHandle| worker.ask(|answer| WorkerCommand::Revoked { answer });
        let answers: Vec<_> = self.workers.iter().map(ask).collect();
        let mut all = RevokedHere::default();
        for met in answers {
            // A worker that is gone has no sessions.
            let RevokedHere { sessions, tokens } = met.await.unwrap_or_default();
            all.sessions += sessions;
            all.tokens.extend(tokens);
        }
        all
    }

    /// The published keys have changed, or a fetch of them has failed.
    pub fn keys_changed(&self) {
        for worker in &self.workers {
            worker.command(WorkerCommand::KeysChanged);
        }
    }

    /// The sessions that are asked for, in order, and how many match in all.
    pub async fn list(&self, query: Query) -> Page {
        let query = Arc::new(query);
        let mut scans: Vec<_> = self.workers.iter().map(|worker| (worker, Scan::new(Arc::clone(&query)))).collect();
        let mut found = Matches::default();
        while !scans.is_empty() {
            let ask = |(worker, scan): (_, Scan)| {
                (worker, WorkerHandle::ask(worker, |answer| WorkerCommand::Scan { scan, answer }))
            };
            let asked: Vec<_> = scans.drain(..).map(ask).collect();
            for (worker, answer) in asked {
                // A worker that is gone has no sessions.
                match answer.await {
                    Ok(scan) if scan.is_done() => found.add(scan),
                    Ok(scan) => scans.push((worker, scan)),
                    Err(_) => {}
                }
            }
        }
        let (total, ids) = (found.total, found.ids(&query));
        let (chosen, last) = (ids.len(), ids.last().copied());
        Page { sessions: self.show(&ids).await, chosen, last, total }
    }

    /// What is known of these sessions, in this order. Some may have ended meanwhile.
    async fn show(&self, ids: &[u64]) -> Vec<SessionView> {
        let mut sessions = HashMap::with_capacity(ids.len());
        for some in ids.chunks(SHOWN_AT_ONCE).map(Arc::<[u64]>::from) {
            let ask =
                |worker: &WorkerHandle| worker.ask(|answer| WorkerCommand::Show { ids: Arc::clone(&some), answer });
            let answers: Vec<_> = self.workers.iter().map(ask).collect();
            for shown in answers {
                let shown = shown.await.unwrap_or_default();
                sessions.extend(shown.into_iter().map(|session: SessionView| (session.id, session)));
            }
        }
        ids.iter().filter_map(|id| sessions.remove(id)).collect()
    }

    /// The operator ends the session of this number. `None`: there is none, or it has ended.
    pub async fn close(&self, id: u64) -> Option<SessionView> {
        let ask = |worker: &WorkerHandle| worker.ask(|answer| WorkerCommand::Close { id, answer });
        let answers: Vec<_> = self.workers.iter().map(ask).collect();
        let mut closed = None;
        for answer in answers {
            closed = closed.or(answer.await.unwrap_or_default());
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::{
        listing::{Search, Sort, Value},
        request::SessionRequest,
        responder::Responder,
    };

    fn payload(bytes: usize) -> Incoming {
        SessionRequest::Payload(vec![0; bytes].into(), Responder::awaited().0).into()
    }

    #[tokio::test]
    async fn what_a_worker_has_not_taken_is_bounded_in_bytes() {
        let (handle, mut inbox) = channel();
        let registry = Registry::new(NodeId::new([1; 6]), vec![handle]);
        let sid = Sid::new(registry.home(0), [2; 13]);
        let deliver = |bytes| {
            let delivered = registry.deliver(Target::Sid(sid), None, payload(bytes));
            delivered.map_err(|undelivered| (undelivered.error, undelivered.incoming.bytes() >= bytes))
        };
        let half = WORKER_BYTES_MAX / 2 - 1000;
        assert_eq!((deliver(half), deliver(half)), (Ok(()), Ok(())));
        assert_eq!(deliver(half), Err((EngineError::Overloaded, true)));
        assert!(inbox.next().await.is_some());
        assert_eq!(deliver(half), Ok(()), "there is room again");
    }

    fn view(id: u64) -> SessionView {
        SessionView {
            id,
            sid_hash: None,
            user: None,
            users: Vec::new(),
            peer: std::net::Ipv4Addr::LOCALHOST.into(),
            namespaces: Vec::new(),
            transport: "websocket",
            service: None,
            waiting_packets: 0,
            upgraded: false,
            age_seconds: 0.0,
            packets_received: 0,
            packets_sent: 0,
            packets_refused: 0,
            quality: None,
            rtt_ms: None,
            rtt_avg_ms: None,
            jitter_ms: None,
            loss_percent: None,
        }
    }

    #[tokio::test]
    async fn a_page_knows_the_sessions_that_were_chosen_and_have_ended() {
        let (handle, mut inbox) = channel();
        let registry = Registry::new(NodeId::new([1; 6]), vec![handle]);
        let worker = tokio::spawn(async move {
            while let Some(command) = inbox.next().await {
                match command {
                    WorkerCommand::Scan { mut scan, answer } => {
                        scan.count(900);
                        (1..=900).for_each(|id| scan.offer(id, Value::Number(id)));
                        scan.end();
                        answer.send(scan).unwrap();
                    }
                    // Every seventh has ended since, the last that was chosen among them.
                    WorkerCommand::Show { ids, answer } => {
                        assert!(ids.len() <= SHOWN_AT_ONCE, "{} in one turn", ids.len());
                        let open = ids.iter().filter(|id| **id % 7 > 0);
                        answer.send(open.copied().map(view).collect()).unwrap();
                    }
                    other => panic!("{other:?}"),
                }
            }
        });
        let query =
            |limit| Query { sort: Sort::Id, descending: false, search: Search::default(), after: 0, skip: 0, limit };
        for (limit, shown, chosen, last) in [(700, 600, 700, 700), (1000, 772, 900, 900)] {
            let page = registry.list(query(limit)).await;
            assert_eq!((page.chosen, page.last, page.total), (chosen, Some(last), 900), "{limit}");
            let ids = page.sessions.iter().map(|session| session.id);
            assert!(ids.eq((1..=last).filter(|id| id % 7 > 0)), "{limit}");
            assert_eq!(page.sessions.len(), shown, "{limit}");
        }
        drop(registry);
        worker.await.unwrap();
    }

    #[test]
    fn a_session_of_another_node_or_an_earlier_run_is_unknown() {
        let (handle, _inbox) = channel();
        let registry = Registry::new(NodeId::new([1; 6]), vec![handle]);
        let foreign = Home { node: NodeId::new([2; 6]), worker: 0 };
        let no_worker = registry.home(1);
        for home in [foreign, no_worker] {
            let delivered = registry.deliver(Target::Pid(Pid::new(home, [0; 13])), None, payload(1));
            assert_eq!(delivered.map_err(|undelivered| undelivered.error), Err(EngineError::SessionUnknown));
        }
    }
}
