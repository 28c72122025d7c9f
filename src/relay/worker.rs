//! One thread's sessions: its buffers, its counters, one sweep over all deadlines.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::IpAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::{Duration, Instant},
};

use rand::RngExt as _;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    event_names::EventNames,
    observe::tally::Tally,
    policy::policies::Policies,
    relay::{
        driver::Driver,
        registry::{self, SessionView},
        scratch::Scratch,
    },
    session::{Dialect, Session, Terms},
};

/// What every session of this node obeys; replaced as a whole by a reload.
#[derive(Debug)]
pub struct Rules {
    /// Who may do what.
    pub policies: Policies,
    /// The times a session keeps.
    pub terms: Terms,
    /// How much may wait for a client that reads slowly, in bytes.
    pub send_buffer: usize,
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
    rules: RefCell<Arc<Rules>>,
    sessions: RefCell<BTreeMap<u64, Rc<SessionCell>>>,
    draining: Cell<bool>,
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
    drain_at: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Worker {
    /// A worker without sessions.
    #[must_use]
    pub fn new(rules: Arc<Rules>, tally: Arc<Tally>, names: Arc<EventNames>) -> Rc<Self> {
        Rc::new(Self {
            scratch: RefCell::default(),
            tally,
            names,
            rules: RefCell::new(rules),
            sessions: RefCell::default(),
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

    /// Opens a session and drives it, as a task of this thread, until it ends.
    pub fn spawn<S>(self: &Rc<Self>, session: Session, now: Instant, driver: impl FnOnce(Rc<SessionCell>) -> Driver<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let cell = Rc::new(SessionCell {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            session: RefCell::new(session),
            opened: now,
            packets: Cell::default(),
            refused: Cell::default(),
            deadline: Cell::new(now),
            drain_at: Cell::new(self.draining.get().then_some(now)),
            waker: RefCell::default(),
        });
        self.sessions.borrow_mut().insert(cell.id, Rc::clone(&cell));
        self.tally.opened();
        tokio::task::spawn_local(driver(cell));
    }

    /// The session is no more.
    pub fn forget(&self, id: u64) {
        self.sessions.borrow_mut().remove(&id);
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
            for cell in self.sessions.borrow().values() {
                if cell.deadline.get() <= now || cell.drains(now) {
                    cell.wake();
                }
            }
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
        let (sid, namespaces) = match &session.dialect {
            Dialect::SocketIo(socketio) => {
                (Some(socketio.sid.to_string()), socketio.namespaces.names().map(str::to_owned).collect())
            }
            Dialect::Plain(_) => (None, Vec::new()),
        };
        SessionView {
            id: self.id,
            sid,
            user: session.identity().and_then(|identity| identity.user()).map(str::to_owned),
            peer: session.peer(),
            namespaces,
            transport: registry::WEBSOCKET,
            age_seconds: now.saturating_duration_since(self.opened).as_secs_f64(),
            packets_received,
            packets_sent,
            packets_refused: self.refused.get(),
            rtt_ms: session.rtt().map(|rtt| rtt.as_secs_f64() * 1000.0),
        }
    }
}
