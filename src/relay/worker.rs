//! One thread's sessions: its buffers, its counters, one sweep over all deadlines.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::{Duration, Instant},
};

use rand::RngExt as _;

use crate::{
    event_names::EventNames,
    observe::{
        journal::{self, RefusedHandshake},
        tally::{Held, Tally},
    },
    policy::{bearer::Bearer, policies::Policies},
    relay::{
        client_leg::ClientLeg,
        dial::Dialler,
        driver::Driver,
        mailbox::{ClientRequest, Letter},
        pace::Pace,
        registry::{Errand, Registry, SessionView},
        scratch::Scratch,
    },
    session::{Dialect, Session, Terms, Transport},
    wire::engineio::{error::EngineError, open::Sid},
};

/// What every session of this node obeys; replaced as a whole by a reload.
#[derive(Debug)]
pub struct Rules {
    /// Who may do what.
    pub policies: Policies,
    /// The times a session keeps.
    pub terms: Terms,
    /// How sessions reach the service.
    pub dialler: Dialler,
    /// How much may wait for a client that reads slowly, in bytes.
    pub send_buffer: usize,
    /// So many bytes of all sessions may wait for the service.
    pub queue_total: usize,
    /// May a sid be used from the address alone that it was given to?
    pub same_address: bool,
}

/// One thread and what its sessions share. Never leaves its thread.
#[derive(Debug)]
pub struct Worker {
    /// Lent to one session for one poll.
    pub scratch: RefCell<Scratch>,
    /// What happened here.
    pub tally: Arc<Tally>,
    /// Event names as numbers, the same on every thread.
    pub names: Arc<EventNames>,
    /// All workers, and which of them this is.
    pub registry: Registry,
    /// Who goes back to the service next, of all workers.
    pub pace: Arc<Pace>,
    /// Bytes that wait for the service, of all workers.
    queued: Arc<AtomicUsize>,
    index: usize,
    rules: RefCell<Arc<Rules>>,
    sessions: RefCell<BTreeMap<u64, Rc<SessionCell>>>,
    by_sid: RefCell<HashMap<Sid, Rc<SessionCell>>>,
    /// Sessions whose clients may come back, by what those will show.
    by_pid: RefCell<HashMap<Sid, Rc<SessionCell>>>,
    /// Sids of this worker that sessions of others go by, whose `pid` is this.
    moved: RefCell<HashMap<Sid, Sid>>,
    draining: Cell<bool>,
}

/// What the workers share of the service's absences.
#[derive(Debug, Default)]
pub struct Returns {
    pace: Arc<Pace>,
    queued: Arc<AtomicUsize>,
}

/// A session, as its worker holds it.
#[derive(Debug)]
pub struct SessionCell {
    /// Ascending over the life of the process.
    pub id: u64,
    /// The state machine. Borrowed for one poll, or for one look.
    pub session: RefCell<Session>,
    /// When the session was opened.
    pub opened: Instant,
    /// Packets from the client, and to it.
    pub packets: Cell<(u64, u64)>,
    /// Packets of the client that were refused.
    pub refused: Cell<u64>,
    /// When the sweep must wake the session.
    pub deadline: Cell<Instant>,
    /// Since when it has been without the service that it had.
    pub held_since: Cell<Option<Instant>>,
    /// Packets and bytes that wait for the service.
    pub queued: Cell<(usize, usize)>,
    sid: Cell<Option<Sid>>,
    pid: Option<Sid>,
    /// Whom the sid was given to, where a request may bring it.
    bearer: RefCell<Option<Box<Bearer>>>,
    /// Since when its client is away.
    pub away_since: Cell<Option<Instant>>,
    letters: RefCell<Vec<ClientRequest>>,
    transport: Cell<Option<Transport>>,
    upgraded: Cell<bool>,
    drain_at: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Worker {
    /// The worker of this number in the registry, without sessions.
    #[must_use]
    pub fn new(
        registry: Registry,
        index: usize,
        shared: &Returns,
        rules: Arc<Rules>,
        tally: Arc<Tally>,
        names: Arc<EventNames>,
    ) -> Rc<Self> {
        Rc::new(Self {
            scratch: RefCell::default(),
            tally,
            names,
            registry,
            pace: Arc::clone(&shared.pace),
            queued: Arc::clone(&shared.queued),
            index,
            rules: RefCell::new(rules),
            sessions: RefCell::default(),
            by_sid: RefCell::default(),
            by_pid: RefCell::default(),
            moved: RefCell::default(),
            draining: Cell::new(false),
        })
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.borrow())
    }

    /// New rules. Every session obeys them from its next packet on.
    pub fn adopt(&self, rules: Arc<Rules>) {
        self.rules.replace(rules);
    }

    /// Are these the rules in force?
    #[must_use]
    pub fn still_obeys(&self, rules: &Arc<Rules>) -> bool {
        Arc::ptr_eq(&self.rules.borrow(), rules)
    }

    /// A sid for a session of this worker, which nobody can guess.
    #[must_use]
    pub fn draw_sid(&self) -> Sid {
        Sid::owned_by(self.index, self.registry.workers(), rand::random)
    }

    /// Opens a session and drives it, as a task of this thread, until it ends. `bearer` is whom its sid was given to,
    /// where requests will bring it.
    pub fn spawn(
        self: &Rc<Self>,
        session: Session,
        client: ClientLeg,
        bearer: Option<Bearer>,
        now: Instant,
        driver: impl FnOnce(Rc<SessionCell>, ClientLeg) -> Driver,
    ) {
        let sid = match &session.dialect {
            Dialect::SocketIo(socketio) => Some(socketio.sid),
            Dialect::Plain(_) => None,
        };
        let pid = session.resume().map(|resume| resume.pid);
        let transport = client.transport();
        let cell = Rc::new(SessionCell {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            session: RefCell::new(session),
            opened: now,
            packets: Cell::default(),
            refused: Cell::default(),
            deadline: Cell::new(now),
            held_since: Cell::default(),
            queued: Cell::default(),
            sid: Cell::new(sid),
            pid,
            bearer: RefCell::new(bearer.map(Box::new)),
            away_since: Cell::default(),
            letters: RefCell::default(),
            transport: Cell::new(transport),
            upgraded: Cell::default(),
            drain_at: Cell::new(self.draining.get().then_some(now)),
            waker: RefCell::default(),
        });
        self.sessions.borrow_mut().insert(cell.id, Rc::clone(&cell));
        if let Some(sid) = sid {
            self.by_sid.borrow_mut().insert(sid, Rc::clone(&cell));
        }
        if let Some(pid) = pid {
            self.by_pid.borrow_mut().insert(pid, Rc::clone(&cell));
        }
        self.tally.opened();
        if transport == Some(Transport::Polling) {
            self.tally.polling(1);
        }
        tokio::task::spawn_local(driver(cell, client));
    }

    /// The session is no more.
    pub fn forget(&self, id: u64) {
        let Some(forgotten) = self.sessions.borrow_mut().remove(&id) else { return };
        self.queued(&forgotten.queued, 0, 0);
        if let Some(pid) = forgotten.pid {
            self.by_pid.borrow_mut().remove(&pid);
        }
        if let Some(sid) = forgotten.sid.get() {
            let known = self.by_sid.borrow_mut().remove(&sid);
            if known.is_none() {
                self.registry.send(sid, Errand::Forget(sid));
            }
        }
    }

    /// The client with this sid went over to the session with this `pid`.
    pub fn moved(&self, sid: Sid, pid: Sid) {
        self.moved.borrow_mut().insert(sid, pid);
    }

    /// So much waits in this session now. Bytes are summed over all workers.
    pub fn queued(&self, cell: &Cell<(usize, usize)>, packets: usize, bytes: usize) {
        let (packets_before, bytes_before) = cell.replace((packets, bytes));
        if (packets, bytes) == (packets_before, bytes_before) {
            return;
        }
        self.queued.fetch_add(bytes.wrapping_sub(bytes_before), Ordering::Relaxed);
        self.tally.queued(packets as i64 - packets_before as i64, bytes as i64 - bytes_before as i64);
    }

    /// Does more wait for the service than all sessions together may keep?
    #[must_use]
    pub fn queues_are_full(&self, total: usize) -> bool {
        self.queued.load(Ordering::Relaxed) > total
    }

    /// Does what the registry asks for.
    pub fn run(&self, errand: Errand) {
        match errand {
            Errand::List { after, limit, answer } => {
                // Whoever asked may have gone.
                let _ = answer.send(self.list(after, limit));
            }
            Errand::Deliver(sid, letter) => {
                let moved = self.moved.borrow().get(&sid).copied();
                match moved {
                    Some(pid) => self.registry.send(pid, Errand::Redeliver(pid, letter)),
                    None => self.deliver(self.by_sid.borrow().get(&sid), letter),
                }
            }
            Errand::Redeliver(pid, letter) => self.deliver(self.by_pid.borrow().get(&pid), letter),
            Errand::Resume(pid, request) => match self.by_pid.borrow().get(&pid) {
                Some(cell) => cell.post(request),
                None => request.refuse(EngineError::SessionUnknown),
            },
            Errand::Forget(sid) => {
                self.by_sid.borrow_mut().remove(&sid);
                self.moved.borrow_mut().remove(&sid);
            }
        }
    }

    fn deliver(&self, cell: Option<&Rc<SessionCell>>, letter: Letter) {
        let Some(cell) = cell else {
            self.tally.refused("session", EngineError::SessionUnknown.reason());
            return letter.request.refuse(EngineError::SessionUnknown);
        };
        let Letter { bearer, request } = letter;
        let same_address = self.rules().same_address;
        if cell.bearer.borrow_mut().as_mut().is_some_and(|owner| !owner.admits(&bearer, same_address)) {
            // To whoever has stolen a sid it is one that does not exist.
            self.tally.refused("session", "sid_mismatch");
            journal::refused_handshake(&RefusedHandshake {
                peer: bearer.address(),
                stage: "session",
                reason: "sid_mismatch",
                origin: bearer.origin(),
            });
            return request.refuse(EngineError::SessionUnknown);
        }
        cell.post(request);
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
        let now = Instant::now();
        for cell in self.sessions.borrow().values() {
            cell.drain_at.set(Some(now + grace.mul_f64(rand::rng().random_range(0.0..1.0))));
        }
    }

    /// Wakes the sessions whose time has come, each `tick`, for ever.
    pub async fn sweep(&self, started: Instant, tick: Duration) {
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            self.tally.tick(u64::try_from((now - started).as_millis()).unwrap_or(u64::MAX));
            let mut held = Held::default();
            let mut away = 0;
            for cell in self.sessions.borrow().values() {
                if cell.deadline.get() <= now || cell.drains(now) {
                    cell.wake();
                }
                if let Some(since) = cell.held_since.get() {
                    held.count(now.saturating_duration_since(since));
                }
                away += u64::from(cell.away_since.get().is_some());
            }
            self.tally.held(held);
            self.tally.away(away);
        }
    }

    /// At most `limit` sessions with an id above `after`, ascending.
    #[must_use]
    pub fn list(&self, after: u64, limit: usize) -> Vec<SessionView> {
        let now = Instant::now();
        let sessions = self.sessions.borrow();
        sessions.range(after.saturating_add(1)..).take(limit).map(|(_, cell)| cell.view(now)).collect()
    }
}

impl SessionCell {
    /// Remembers how to wake the session.
    pub fn woken_by(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    fn post(&self, request: ClientRequest) {
        self.letters.borrow_mut().push(request);
        self.wake();
    }

    /// What its client knows it by.
    #[must_use]
    pub fn sid(&self) -> Option<Sid> {
        self.sid.get()
    }

    /// Whom the sid was given to.
    #[must_use]
    pub fn bearer(&self) -> Option<Box<Bearer>> {
        self.bearer.borrow().clone()
    }

    /// Its client has come back, with another sid. The one before.
    pub fn goes_by(&self, sid: Sid, bearer: Option<Box<Bearer>>, transport: Option<Transport>) -> Option<Sid> {
        self.bearer.replace(bearer);
        self.transport.set(transport);
        self.away_since.set(None);
        self.sid.replace(Some(sid))
    }

    /// Its client is away.
    pub fn client_gone(&self, now: Instant) {
        self.transport.set(None);
        self.away_since.set(Some(now));
    }

    /// What the client asked for by other requests.
    #[must_use]
    pub fn take_letters(&self) -> Vec<ClientRequest> {
        self.letters.take()
    }

    /// The client went over from polling to a websocket.
    pub fn upgraded(&self) {
        self.transport.set(Some(Transport::Websocket));
        self.upgraded.set(true);
    }

    /// Has the moment come at which a drain sends this client away?
    #[must_use]
    pub fn drains(&self, now: Instant) -> bool {
        self.drain_at.get().is_some_and(|at| at <= now)
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Who is behind it, where that is known.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.session.borrow().peer()
    }

    fn view(&self, now: Instant) -> SessionView {
        let session = self.session.borrow();
        let (packets_received, packets_sent) = self.packets.get();
        let namespaces = match &session.dialect {
            Dialect::SocketIo(socketio) => socketio.namespaces.names().map(str::to_owned).collect(),
            Dialect::Plain(_) => Vec::new(),
        };
        SessionView {
            id: self.id,
            sid: self.sid.get().map(|sid| sid.to_string()),
            user: session.identity().and_then(|identity| identity.user()).map(str::to_owned),
            peer: session.peer(),
            namespaces,
            transport: self.transport.get().map_or("away", Transport::name),
            service: session.upstream().state(),
            waiting_packets: session.upstream().waiting().0,
            upgraded: self.upgraded.get(),
            age_seconds: now.saturating_duration_since(self.opened).as_secs_f64(),
            packets_received,
            packets_sent,
            packets_refused: self.refused.get(),
            rtt_ms: session.rtt().map(|rtt| rtt.as_secs_f64() * 1000.0),
        }
    }
}
