//! One thread's sessions: its buffers, its counters, one sweep over all deadlines.

mod listing;
mod memory;
mod rooms;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rand::RngExt as _;

use crate::{
    observe::{
        journal,
        memory::Memory,
        refusals::Refused,
        tally::{Graded, HeldSessions, Tally},
    },
    policy::{
        auth::AuthError,
        sid_owner::{Requester, SidOwner, SidRules},
        token_fault::TokenFault,
    },
    relay::{
        cell::SessionCell,
        clock::{self, Clock, Jumps},
        directory::{Directory, Whereabouts},
        outlet::{NoOutlet, Outlet},
        parked::{Parked, ParkedRequest},
        registry::{Registry, RevokedHere, Target, Undelivered, WorkerCommand},
        request::{Incoming, Transfer},
        responder::{Rejection, Responder},
        rooms::WorkerRooms,
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
    /// Takes the events that are mirrored to other nodes.
    pub outlet: Arc<dyn Outlet>,
    /// Who is in which room.
    pub rooms: WorkerRooms,
    /// What the sessions of this worker keep, in bytes.
    kept: Cell<usize>,
    /// No session was dear when that was looked at last, since the last sweep.
    none_is_dear: Cell<bool>,
    index: usize,
    rules: RefCell<Arc<RelayRules>>,
    sessions: RefCell<Directory<SessionCell>>,
    /// Those that wait until the published keys have changed.
    keys_awaited: RefCell<Vec<Responder<Answer>>>,
    /// Requests that wait for the same.
    parked: Parked,
    draining: Cell<bool>,
}

/// What the workers of a node share.
#[derive(Debug)]
pub struct SharedState {
    service: Arc<ServiceState>,
    jumps: Arc<Jumps>,
    memory: Arc<Memory>,
    outlet: Arc<dyn Outlet>,
    /// How many rooms there are.
    rooms: Arc<AtomicUsize>,
}

impl Default for SharedState {
    fn default() -> Self {
        let (service, jumps, memory) = (Arc::default(), Arc::default(), Arc::default());
        Self { service, jumps, memory, outlet: Arc::new(NoOutlet), rooms: Arc::default() }
    }
}

impl SharedState {
    /// What the node knows of the service.
    #[must_use]
    pub const fn service(&self) -> &Arc<ServiceState> {
        &self.service
    }

    /// Of a node that counts what it keeps in `memory`, and knows the `service` by its dials.
    #[must_use]
    pub fn new(memory: Arc<Memory>, service: Arc<ServiceState>) -> Self {
        Self { memory, service, ..Self::default() }
    }

    /// The same, of a node that mirrors events to others.
    #[must_use]
    pub fn with_outlet(self, outlet: Arc<dyn Outlet>) -> Self {
        Self { outlet, ..self }
    }
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
            rooms: WorkerRooms::new(Arc::clone(&shared.rooms), Arc::clone(&tally)),
            tally,
            registry,
            service: Arc::clone(&shared.service),
            clock: Clock::new(),
            jumps: Arc::clone(&shared.jumps),
            memory: Arc::clone(&shared.memory),
            outlet: Arc::clone(&shared.outlet),
            kept: Cell::default(),
            none_is_dear: Cell::default(),
            index,
            rules: RefCell::new(rules),
            sessions: RefCell::default(),
            keys_awaited: RefCell::default(),
            parked: Parked::default(),
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
        self.rooms.forget(cell);
        self.queued(&cell.queued, 0, 0);
        self.count(cell, 0);
        if cell.has_offered.get() {
            self.outlet.session_ended(cell.id);
        }
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

    /// Hands a request to a session, wherever it lives. `from` is who brings it with a sid.
    pub fn deliver(&self, to: Target, from: Option<Requester>, incoming: impl Into<Incoming>) {
        let is_by_sid = from.is_some();
        if let Err(Undelivered { incoming, error }) = self.registry.deliver(to, from, incoming.into()) {
            if is_by_sid || error == EngineError::Overloaded {
                self.tally.refused("session", error.reason());
            }
            self.refuse(incoming, error);
        }
    }

    /// Refuses what a session does not get.
    pub fn refuse(&self, incoming: Incoming, why: impl Into<Rejection>) {
        if let Incoming::Transfer(Transfer::Attach(attachment)) = &incoming {
            self.connection_lost(attachment.returning.sid, attachment.leg.transport());
        }
        incoming.refuse(why);
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
            // The side that asked may have gone, here and below.
            WorkerCommand::Scan { scan, answer } => _ = answer.send(self.scan(scan)),
            WorkerCommand::Show { ids, answer } => _ = answer.send(self.show(&ids)),
            WorkerCommand::Close { id, answer } => _ = answer.send(self.close(id)),
            WorkerCommand::Deliver { to, from, incoming } => {
                let since = self.clock.now().instant;
                self.receive(to, from, incoming, since);
            }
            WorkerCommand::Shed { bytes } => {
                let all = self.memory.sessions().max(1) as u128;
                let share = bytes as u128 * self.kept.get() as u128 / all;
                let max = self.rules().session_memory;
                self.shed_dearest(usize::try_from(share).unwrap_or(usize::MAX), Shortage::Memory, max);
            }
            WorkerCommand::Rooms(command) => self.rooms.command(command, self.clock.now().instant),
            WorkerCommand::Revoked { answer } => _ = answer.send(self.revoked()),
            WorkerCommand::ForgetSid(sid) => self.sessions.borrow_mut().forget_sid(sid),
            WorkerCommand::KeysChanged => {
                for responder in self.keys_awaited.take() {
                    responder.answer(Answer::KeysChanged);
                }
                for ParkedRequest { to, from, incoming, since } in self.parked.take() {
                    self.receive(to, Some(from), incoming, since);
                }
            }
        }
    }

    /// Has the sessions look at what is revoked of them.
    fn revoked(&self) -> RevokedHere {
        let (now, mut met) = (self.clock.now(), RevokedHere::default());
        for cell in self.sessions.borrow().iter() {
            if let Some(found) = cell.session.borrow().find_revoked(now) {
                met.sessions += 1;
                met.tokens.extend(found.tokens);
                cell.revoke();
            }
        }
        met
    }

    /// What came at `since` for a session of this worker.
    fn receive(&self, to: Target, from: Option<Requester>, incoming: Incoming, since: Instant) {
        let found = match to {
            Target::Sid(sid) => self.sessions.borrow().find(sid),
            Target::Pid(pid) => self.sessions.borrow().resumable(pid).map_or(Whereabouts::Unknown, Whereabouts::Here),
        };
        let cell = match found {
            Whereabouts::Here(cell) => cell,
            Whereabouts::Moved(pid) => return self.deliver(Target::Pid(pid), from, incoming),
            Whereabouts::Unknown => {
                if from.is_some() {
                    self.tally.refused("session", EngineError::SessionUnknown.reason());
                }
                return self.refuse(incoming, EngineError::SessionUnknown);
            }
        };
        let (rules, now) = (self.rules(), self.clock.now());
        if let Some(from) = from {
            let without_token = rules.upgrade_without_token && incoming.upgrades();
            let sid_rules = SidRules { same_address: rules.same_address, without_token };
            match cell.admits(&from, sid_rules, now) {
                Ok(()) => {}
                Err(AuthError::KeysPending) => {
                    let request = self.parked.park(ParkedRequest { to, from, incoming, since }, now.instant);
                    return request
                        .into_iter()
                        .for_each(|request| self.refuse_stranger(&request.from, request.incoming, None));
                }
                Err(AuthError::Refused(refusal)) => return self.refuse_stranger(&from, incoming, refusal.fault),
            }
        }
        if let Err(incoming) = cell.post(incoming, rules.mailbox) {
            const FULL: Rejection = Rejection { error: EngineError::BadRequest, reason: "mailbox_full", fault: None };
            self.tally.refused("session", FULL.reason);
            self.refuse(incoming, FULL);
        }
    }

    /// To a thief of a sid it is one that does not exist. `fault`: what is wrong with the token of the request, for the log.
    fn refuse_stranger(&self, from: &Requester, incoming: Incoming, fault: Option<TokenFault>) {
        let lacks_token = incoming.upgrades() && from.is_without_token() && !self.rules().upgrade_without_token;
        let reason = if lacks_token { "upgrade_without_token" } else { "sid_mismatch" };
        self.tally.refused("session", reason);
        if let Incoming::Transfer(_) = incoming {
            // Nobody waits for an answer to it, who would write the line.
            let why = fault.map(|fault| fault.to_string());
            let (why, setting) = (why.as_deref(), fault.and_then(TokenFault::setting));
            let refused = Refused::of(from.address(), "session", reason);
            journal::refused(&Refused { origin: from.origin(), why, setting, ..refused });
        }
        self.refuse(incoming, Rejection { error: EngineError::SessionUnknown, reason, fault });
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
        for request in self.parked.overdue(now) {
            self.refuse_stranger(&request.from, request.incoming, None);
        }
        self.none_is_dear.set(false);
        let mut held = HeldSessions::default();
        let mut absent = 0;
        let mut flowing = Flowing::default();
        let mut graded = Graded::default();
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
            if let Some(quality) = cell.quality.get() {
                graded.count(cell.polls(), quality as usize);
            }
            if let Some(since) = cell.flows_since.get() {
                flowing.add(since);
            }
        }
        self.service.looked(self.index, flowing, now);
        self.tally.held(held);
        self.tally.absent(absent);
        self.tally.graded(graded);
    }
}

#[cfg(test)]
mod tests;
