//! One thread's sessions: its buffers, its counters, one sweep over all deadlines.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::RngExt as _;

use crate::{
    observe::{
        journal::{self, RefusedHandshake},
        memory::Memory,
        tally::{Held, Tally},
    },
    policy::sid_owner::SidOwner,
    relay::{
        cell::SessionCell,
        clock::{self, Clock, Jumps},
        directory::{Directory, Found},
        registry::{Registry, SessionView, Target, Undelivered, WorkerCommand},
        request::{Incoming, Transfer},
        responder::Responder,
        rules::RelayRules,
        scratch::Scratch,
        service_state::{Flowing, ServiceState},
    },
    session::{
        Session,
        ended::{Ended, Shortage},
        now::Now,
        question::Answer,
        table::Transport,
    },
    wire::engineio::{
        error::EngineError,
        id::{Id, Pid, Sid},
    },
};

/// One thread and what its sessions share. Never leaves its thread.
#[derive(Debug)]
pub struct Worker {
    /// Lent to one session for one poll.
    pub scratch: RefCell<Scratch>,
    /// What happened here.
    pub tally: Arc<Tally>,
    /// All workers.
    pub registry: Registry,
    /// What the sessions of all workers know of the service.
    pub service: Arc<ServiceState>,
    /// What time it is.
    pub clock: Clock,
    /// How the wall clock was set, as far as it was told, of all workers.
    jumps: Arc<Jumps>,
    /// What sessions and requests keep, of all workers.
    pub memory: Arc<Memory>,
    /// What the sessions of this worker keep, in bytes.
    kept: Cell<usize>,
    /// No session was dear when that was looked at last, since the last sweep.
    none_is_dear: Cell<bool>,
    index: usize,
    rules: RefCell<Arc<RelayRules>>,
    sessions: RefCell<Directory<SessionCell>>,
    /// Those that wait until the published keys have changed.
    keys_awaited: RefCell<Vec<Responder<Answer>>>,
    draining: Cell<bool>,
}

/// What the workers of a node share.
#[derive(Debug, Default)]
pub struct SharedState {
    service: Arc<ServiceState>,
    jumps: Arc<Jumps>,
    memory: Arc<Memory>,
}

impl SharedState {
    /// Of a node that counts what it keeps in `memory`.
    #[must_use]
    pub fn new(memory: Arc<Memory>) -> Self {
        Self { memory, ..Self::default() }
    }
}

/// A session that keeps no more than this is not closed for memory, ...
const DEAR_BYTES: usize = 16 * 1024;

/// ... nor one that keeps no more than this part of what all sessions may keep.
const DEAR_SHARE: usize = 64;

/// A session that keeps more than this may be closed, where all may keep `max`.
fn dear_above(max: usize) -> usize {
    DEAR_BYTES.min(max / DEAR_SHARE)
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Worker {
    /// The worker of this number in the registry, without sessions.
    #[must_use]
    pub fn new(
        registry: Registry,
        index: usize,
        shared: &SharedState,
        rules: Arc<RelayRules>,
        tally: Arc<Tally>,
    ) -> Rc<Self> {
        Rc::new(Self {
            scratch: RefCell::default(),
            tally,
            registry,
            service: Arc::clone(&shared.service),
            clock: Clock::new(),
            jumps: Arc::clone(&shared.jumps),
            memory: Arc::clone(&shared.memory),
            kept: Cell::default(),
            none_is_dear: Cell::default(),
            index,
            rules: RefCell::new(rules),
            sessions: RefCell::default(),
            keys_awaited: RefCell::default(),
            draining: Cell::new(false),
        })
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<RelayRules> {
        Arc::clone(&self.rules.borrow())
    }

    /// New rules. Every session obeys them from its next packet on.
    pub fn adopt(&self, rules: Arc<RelayRules>) {
        self.rules.replace(rules);
    }

    /// Its number in the registry.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Whether these are the rules in force.
    #[must_use]
    pub fn still_obeys(&self, rules: &Arc<RelayRules>) -> bool {
        Arc::ptr_eq(&self.rules.borrow(), rules)
    }

    /// A sid or `pid` for a session of this worker. It cannot be guessed.
    #[must_use]
    pub fn draw_id<K>(&self) -> Id<K> {
        Id::new(self.registry.home(self.index), rand::random())
    }

    /// Enters a session, until it is [forgotten](Self::forget). `owner`: the client that its sid was given
    /// to, if requests will name it by the sid.
    pub fn open(&self, session: Session, transport: Option<Transport>, owner: Option<SidOwner>) -> Rc<SessionCell> {
        let now = self.clock.now().instant;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let cell = Rc::new(SessionCell::new(id, session, owner, transport, now));
        if self.draining.get() {
            cell.drain_at(now);
        }
        self.sessions.borrow_mut().insert(id, cell.sid(), cell.pid(), &cell);
        self.tally.opened();
        if transport == Some(Transport::Polling) {
            self.tally.polling(1);
        }
        cell
    }

    /// The session is over.
    pub fn forget(&self, cell: &SessionCell) {
        let is_ours = self.sessions.borrow_mut().remove(cell.id, cell.sid(), cell.pid());
        self.queued(&cell.queued, 0, 0);
        self.count(cell, 0);
        if let Some(sid) = cell.sid().filter(|_| !is_ours) {
            self.registry.forget_sid(sid);
        }
    }

    /// The client of this session goes on with the session of this claim.
    pub fn moved(&self, cell: &SessionCell, to: Pid) {
        if let Some(sid) = cell.sid() {
            self.sessions.borrow_mut().moved(sid, to);
        }
    }

    /// So much waits in this session now.
    pub fn queued(&self, cell: &Cell<(usize, usize)>, packets: usize, bytes: usize) {
        let (packets_before, bytes_before) = cell.replace((packets, bytes));
        if (packets, bytes) != (packets_before, bytes_before) {
            self.tally.queued(packets as i64 - packets_before as i64, bytes as i64 - bytes_before as i64);
        }
    }

    /// The session and its legs keep so many bytes now, of which all sessions may keep `max`. If they keep more, the one of
    /// this worker that keeps most has to end.
    pub fn keeps(&self, cell: &SessionCell, bytes: usize, max: usize) {
        if cell.shortage.get().is_some() || bytes == cell.kept.get() {
            return;
        }
        let grows = bytes > cell.kept.get();
        if self.count(cell, bytes) > max && grows && (bytes > dear_above(max) || !self.none_is_dear.get()) {
            self.shed_dearest(1, Shortage::SessionMemory, max);
        }
    }

    /// The bytes that all sessions keep, once this one keeps so many.
    fn count(&self, cell: &SessionCell, bytes: usize) -> usize {
        let before = cell.kept.replace(bytes);
        self.kept.set(self.kept.get().wrapping_sub(before).wrapping_add(bytes));
        self.memory.session_keeps(before, bytes)
    }

    /// Ends the sessions of this worker that keep most, until at least `bytes` are free. A session that keeps little would
    /// free nothing that matters, and stays. `max` is what all sessions may keep.
    fn shed_dearest(&self, bytes: usize, shortage: Shortage, max: usize) {
        let floor = dear_above(max);
        let sessions = self.sessions.borrow();
        let dear = sessions.iter().filter(|cell| cell.kept.get() > floor && cell.shortage.get().is_none());
        let mut dear: Vec<_> = dear.collect();
        self.none_is_dear.set(dear.is_empty());
        dear.sort_unstable_by_key(|cell| Reverse(cell.kept.get()));
        let mut freed = 0;
        for cell in dear {
            if freed >= bytes {
                break;
            }
            freed += cell.kept.get();
            // So that no other session ends for what is dropped with this one.
            self.count(cell, 0);
            cell.shortage.set(Some(shortage));
            cell.wake();
        }
    }

    /// Hands a request to a session, wherever it lives. `from` is who brings it with a sid.
    pub fn deliver(&self, to: Target, from: Option<SidOwner>, incoming: impl Into<Incoming>) {
        if let Err(Undelivered { incoming, error }) = self.registry.deliver(to, from, incoming.into()) {
            if error == EngineError::Overloaded {
                self.tally.refused("session", error.reason());
            }
            self.refuse(incoming, error);
        }
    }

    /// Refuses what a session does not get.
    pub fn refuse(&self, incoming: Incoming, error: EngineError) {
        if let Incoming::Transfer(Transfer::Attach(attachment)) = &incoming {
            self.connection_lost(attachment.returning.sid, attachment.leg.transport());
        }
        incoming.refuse(error);
    }

    /// A connection that went to another session has been closed on the way there: nothing remembers it.
    pub fn connection_lost(&self, sid: Sid, transport: Option<Transport>) {
        self.registry.forget_sid(sid);
        self.tally.ended(Ended::ClientLost.cause());
        if transport == Some(Transport::Polling) {
            self.tally.polling(-1);
        }
    }

    /// Answers when the published keys have changed, or a fetch of them has failed.
    pub fn answer_when_keys_change(&self, responder: Responder<Answer>) {
        self.keys_awaited.borrow_mut().push(responder);
    }

    /// Does what was asked for through the registry.
    pub fn run(&self, command: WorkerCommand) {
        match command {
            WorkerCommand::List { after, limit, answer } => {
                // The side that asked may have gone.
                let _ = answer.send(self.list(after, limit));
            }
            WorkerCommand::Deliver { to: Target::Sid(sid), from, incoming } => {
                let found = self.sessions.borrow().find(sid);
                match found {
                    Found::Here(cell) => self.receive(Some(&cell), from, incoming),
                    Found::Moved(pid) => self.deliver(Target::Pid(pid), from, incoming),
                    Found::Unknown => self.receive(None, from, incoming),
                }
            }
            WorkerCommand::Deliver { to: Target::Pid(pid), from, incoming } => {
                let cell = self.sessions.borrow().resumable(pid);
                self.receive(cell.as_deref(), from, incoming);
            }
            WorkerCommand::Shed { bytes } => {
                let all = self.memory.sessions().max(1) as u128;
                let share = bytes as u128 * self.kept.get() as u128 / all;
                let max = self.rules().session_memory;
                self.shed_dearest(usize::try_from(share).unwrap_or(usize::MAX), Shortage::Memory, max);
            }
            WorkerCommand::ForgetSid(sid) => self.sessions.borrow_mut().forget_sid(sid),
            WorkerCommand::KeysChanged => {
                for responder in self.keys_awaited.take() {
                    responder.answer(Answer::KeysChanged);
                }
            }
        }
    }

    fn receive(&self, cell: Option<&SessionCell>, from: Option<SidOwner>, incoming: Incoming) {
        let Some(cell) = cell else {
            if from.is_some() {
                self.tally.refused("session", EngineError::SessionUnknown.reason());
            }
            return self.refuse(incoming, EngineError::SessionUnknown);
        };
        let rules = self.rules();
        if let Some(from) = from.filter(|from| !cell.admits(from, rules.same_address)) {
            // To a thief of a sid it is one that does not exist.
            self.tally.refused("session", "sid_mismatch");
            journal::refused_handshake(&RefusedHandshake {
                peer: from.address(),
                stage: "session",
                reason: "sid_mismatch",
                origin: from.origin(),
            });
            return self.refuse(incoming, EngineError::SessionUnknown);
        }
        if let Err(incoming) = cell.post(incoming, rules.mailbox) {
            self.tally.refused("session", "mailbox_full");
            self.refuse(incoming, EngineError::BadRequest);
        }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.borrow().len()
    }

    /// Is there no session?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.borrow().is_empty()
    }

    /// Sends every client away at a moment of its own within `grace`, so that they do not come back elsewhere all at
    /// once.
    pub fn drain(&self, grace: Duration) {
        self.draining.set(true);
        let now = self.clock.now().instant;
        for cell in self.sessions.borrow().iter() {
            cell.drain_at(now + grace.mul_f64(rand::rng().random_range(0.0..1.0)));
        }
    }

    /// Wakes the sessions whose time has come, at each `tick`, as long as the worker runs.
    pub async fn sweep(&self, started: Instant, tick: Duration) {
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = clock::read();
            self.tally.tick(u64::try_from((now.instant - started).as_millis()).unwrap_or(u64::MAX));
            self.look_after_sessions(now);
        }
    }

    /// Wakes the sessions whose time has come by `now`, which both clocks have just shown.
    pub fn look_after_sessions(&self, now: Now) {
        let has_jumped = self.clock.set(now);
        if has_jumped && let Some(ms) = self.jumps.news(now) {
            self.tally.clock_jumped();
            journal::clock_jumped(ms);
        }
        let now = now.instant;
        self.none_is_dear.set(false);
        let mut held = Held::default();
        let mut absent = 0;
        let mut flowing = Flowing::default();
        for cell in self.sessions.borrow().iter() {
            if has_jumped {
                // Its token may have expired by the wall clock.
                cell.deadline.set(now);
            }
            if cell.deadline.get() <= now || cell.drains(now) {
                cell.wake();
            }
            if let Some(since) = cell.service_down_since.get() {
                held.count(now.saturating_duration_since(since));
            }
            absent += u64::from(cell.is_client_absent());
            if let Some(since) = cell.flows_since.get() {
                flowing.add(since);
            }
        }
        self.service.looked(self.index, flowing, now);
        self.tally.held(held);
        self.tally.away(absent);
    }

    /// At most `limit` sessions with an id above `after`, ascending.
    #[must_use]
    pub fn list(&self, after: u64, limit: usize) -> Vec<SessionView> {
        let now = self.clock.now().instant;
        self.sessions.borrow().above(after).take(limit).map(|cell| cell.view(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        policy::identity::Identity,
        relay::tests::world::{beginning, worker},
    };

    /// Sessions that keep so many bytes each.
    fn keeping(worker: &Rc<Worker>, bytes: &[usize]) -> Vec<Rc<SessionCell>> {
        let open = |bytes: &usize| {
            let now = worker.clock.now();
            let session = Session::plain(beginning(worker), Arc::default(), None, Identity::anonymous(), now);
            let cell = worker.open(session, None, None);
            worker.keeps(&cell, *bytes, usize::MAX);
            cell
        };
        bytes.iter().map(open).collect()
    }

    fn ended(cells: &[Rc<SessionCell>]) -> Vec<bool> {
        cells.iter().map(|cell| cell.shortage.get().is_some()).collect()
    }

    #[test]
    fn the_session_that_keeps_most_ends_for_the_one_that_asks_for_too_much() {
        let worker = worker(([127, 0, 0, 1], 1).into(), 100);
        let cells = keeping(&worker, &[100_000, 900_000, 50_000]);
        worker.keeps(&cells[0], 110_000, 1_060_000);
        assert_eq!(ended(&cells), [false; 3], "there is room");
        worker.keeps(&cells[0], 111_000, 1_060_000);
        assert_eq!(ended(&cells), [false, true, false]);
        assert_eq!(worker.memory.sessions(), 161_000, "what ends counts no more");
        worker.keeps(&cells[1], 900_000, 1_060_000);
        worker.keeps(&cells[0], 112_000, 1_060_000);
        assert_eq!((ended(&cells), worker.memory.sessions()), (vec![false, true, false], 162_000));
        cells.iter().for_each(|cell| worker.forget(cell));
        assert_eq!(worker.memory.sessions(), 0);
    }

    #[test]
    fn a_session_that_keeps_little_or_less_than_before_ends_for_nobody() {
        let worker = worker(([127, 0, 0, 1], 1).into(), 100);
        let cells = keeping(&worker, &[DEAR_BYTES, 10_000, 20_000]);
        worker.keeps(&cells[2], 19_000, 100);
        worker.keeps(&cells[2], 15_000, 10_000_000_000);
        worker.run(WorkerCommand::Shed { bytes: 1_000_000 });
        assert_eq!(ended(&cells), [false; 3]);
    }

    #[test]
    fn as_many_end_as_must_the_dearest_first() {
        let worker = worker(([127, 0, 0, 1], 1).into(), 100);
        let cells = keeping(&worker, &[200_000, 900_000, 300_000, 800_000]);
        worker.run(WorkerCommand::Shed { bytes: 1_000_000 });
        assert_eq!(ended(&cells), [false, true, false, true]);
    }
}
