//! A session as its worker holds it: the state machine, its mailbox, and what is told of it without waking it.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use crate::{
    policy::{
        auth::{AuthError, OTHER_USER},
        sid_owner::{Requester, Shown, SidOwner, SidRules},
    },
    relay::{
        registry::SessionView,
        request::Incoming,
        room_index::OwnRooms,
        room_mail::{MailEntry, RoomMailbox, RoomNames},
    },
    session::{Session, ended::Shortage, now::Now, quality::Quality, table::Transport},
    wire::engineio::id::{Pid, Sid},
};

/// One session of a worker.
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
    pub service_down_since: Cell<Option<Instant>>,
    /// Since when it has the service, and reads what that sends. `None`: it has not, or would not notice that it lost it.
    pub flows_since: Cell<Option<Instant>>,
    /// Packets and bytes that wait for the service.
    pub queued: Cell<(usize, usize)>,
    /// What the session and its legs keep, in bytes of memory. 0 once it is to end for that.
    pub kept: Cell<usize>,
    /// Whether the legs kept something when that was counted.
    pub kept_in_legs: Cell<bool>,
    /// The session is to end for want of this.
    pub shortage: Cell<Option<Shortage>>,
    /// The rooms that it is in.
    pub rooms: RefCell<OwnRooms>,
    /// How good the client's connection is, as far as it is known.
    pub quality: Cell<Option<Quality>>,
    /// It has offered an event to other nodes.
    pub has_offered: Cell<bool>,
    /// What the client shows to come back.
    pid: Option<Box<Pid>>,
    sid: Cell<Option<Sid>>,
    /// Whom the sid was given to, where a request may bring it.
    owner: RefCell<Option<Box<SidOwner>>>,
    client_absent: Cell<bool>,
    /// `None`: nothing has come.
    mailbox: RefCell<Option<Box<Mailbox>>>,
    /// `None`: no other node has wanted anything yet.
    room_mail: RefCell<Option<Box<RoomMailbox>>>,
    transport: Cell<Option<Transport>>,
    upgraded: Cell<bool>,
    drain_at: Cell<Option<Instant>>,
    revoked: Cell<bool>,
    closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// What has come and was not looked at yet.
#[derive(Debug, Default)]
struct Mailbox {
    incoming: Vec<Incoming>,
    bytes: usize,
}

impl SessionCell {
    /// A session that is opened now. `owner`: the client that its sid was given to, if requests will name it by
    /// the sid.
    #[must_use]
    pub fn new(
        id: u64,
        session: Session,
        owner: Option<SidOwner>,
        transport: Option<Transport>,
        opened: Instant,
    ) -> Self {
        let (sid, pid) = (session.view().sid(), session.view().pid());
        Self {
            id,
            session: RefCell::new(session),
            opened,
            packets: Cell::default(),
            refused: Cell::default(),
            deadline: Cell::new(opened),
            service_down_since: Cell::default(),
            flows_since: Cell::default(),
            queued: Cell::default(),
            kept: Cell::default(),
            kept_in_legs: Cell::default(),
            shortage: Cell::default(),
            rooms: RefCell::default(),
            quality: Cell::default(),
            has_offered: Cell::default(),
            pid: pid.map(Box::new),
            sid: Cell::new(sid),
            owner: RefCell::new(owner.map(Box::new)),
            client_absent: Cell::default(),
            mailbox: RefCell::default(),
            room_mail: RefCell::default(),
            transport: Cell::new(transport),
            upgraded: Cell::default(),
            drain_at: Cell::default(),
            revoked: Cell::default(),
            closed: Cell::default(),
            waker: RefCell::default(),
        }
    }

    /// Remembers how to wake the session.
    pub fn woken_by(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Wakes the session.
    pub fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Puts something into the mailbox, which holds at most `max` bytes.
    ///
    /// # Errors
    /// What does not fit.
    pub fn post(&self, incoming: Incoming, max: usize) -> Result<(), Incoming> {
        let mut mailbox = self.mailbox.borrow_mut();
        let held = mailbox.as_ref().map_or(0, |mailbox| mailbox.bytes);
        let bytes = held.saturating_add(incoming.bytes());
        if bytes > max {
            return Err(incoming);
        }
        let to = mailbox.get_or_insert_default();
        to.bytes = bytes;
        to.incoming.push(incoming);
        drop(mailbox);
        self.wake();
        Ok(())
    }

    /// Whether something has come.
    #[inline]
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.mailbox.borrow().is_some()
    }

    /// Empties the mailbox.
    #[must_use]
    pub fn take_mail(&self) -> Vec<Incoming> {
        self.mailbox.take().map_or_else(Vec::new, |mailbox| mailbox.incoming)
    }

    /// Puts what another node wants into a mailbox of its own, which holds at most `max` bytes of events beside one of any
    /// size. False: there is no room for it.
    pub fn post_of_room(&self, entry: MailEntry, max: usize) -> bool {
        let taken = self.room_mail.borrow_mut().get_or_insert_default().post(entry, max);
        self.wake();
        taken
    }

    /// Whether another node wants something.
    #[inline]
    #[must_use]
    pub fn has_room_mail(&self) -> bool {
        self.room_mail.borrow().as_ref().is_some_and(|mail| !mail.is_empty())
    }

    /// Whether it has rooms to enter or to leave that another node has named.
    #[must_use]
    pub fn has_room_changes(&self) -> bool {
        self.room_mail.borrow().as_ref().is_some_and(|mail| mail.has_changes())
    }

    /// Whether some of these are among them.
    #[must_use]
    pub fn changes_rooms(&self, names: &RoomNames<'_>) -> bool {
        self.room_mail.borrow().as_ref().is_some_and(|mail| mail.changes(names))
    }

    /// What another node wants first.
    #[must_use]
    pub fn next_room_mail(&self) -> Option<MailEntry> {
        self.room_mail.borrow_mut().as_mut()?.take()
    }

    /// What its client shows to come back. `None`: it cannot.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        self.pid.as_deref().copied()
    }

    /// What its client knows it by.
    #[must_use]
    pub fn sid(&self) -> Option<Sid> {
        self.sid.get()
    }

    /// Whom the sid was given to. `None`: no request brings it.
    #[must_use]
    pub fn owner(&self) -> Option<Box<SidOwner>> {
        self.owner.borrow().clone()
    }

    /// Whether a request with the sid may come from there. Another token than before is verified, and shown from then on.
    ///
    /// # Errors
    /// It may not, or that cannot be told before the keys have come.
    pub fn admits(&self, from: &Requester, rules: SidRules, now: Now) -> Result<(), AuthError> {
        let mut owner = self.owner.borrow_mut();
        let Some(owner) = owner.as_mut() else { return Ok(()) };
        match owner.judge(from, rules) {
            Shown::Owner => Ok(()),
            Shown::Stranger => Err(OTHER_USER.into()),
            Shown::AnotherToken(token) => {
                self.session.borrow_mut().shows(token, now)?;
                owner.renewed(from);
                Ok(())
            }
        }
    }

    /// The client is back, with another sid. The one before.
    pub fn client_returned(&self, sid: Sid, owner: Option<Box<SidOwner>>, transport: Option<Transport>) -> Option<Sid> {
        self.owner.replace(owner);
        self.transport.set(transport);
        self.client_absent.set(false);
        self.sid.replace(Some(sid))
    }

    /// The client is absent, and may come back.
    pub fn client_lost(&self) {
        self.transport.set(None);
        self.client_absent.set(true);
    }

    /// Whether the client is absent, and may come back.
    #[must_use]
    pub const fn is_client_absent(&self) -> bool {
        self.client_absent.get()
    }

    /// Whether the client is there, and polls.
    #[must_use]
    pub fn polls(&self) -> bool {
        self.transport.get() == Some(Transport::Polling)
    }

    /// The client went over from polling to a websocket.
    pub fn upgraded(&self) {
        self.transport.set(Some(Transport::Websocket));
        self.upgraded.set(true);
    }

    /// Something of the session is revoked: it has to look at that.
    pub fn revoke(&self) {
        self.revoked.set(true);
        self.wake();
    }

    /// Whether something was revoked since it was asked last.
    #[must_use]
    pub fn take_revocation(&self) -> bool {
        self.revoked.take()
    }

    /// The operator ends the session.
    pub fn close(&self) {
        self.closed.set(true);
        self.wake();
    }

    /// Whether the operator has ended the session since this was asked last.
    #[must_use]
    pub fn take_close(&self) -> bool {
        self.closed.take()
    }

    /// From then on the session ends because this node is drained.
    pub fn drain_at(&self, at: Instant) {
        self.drain_at.set(Some(at));
    }

    /// Whether the moment has come at which a drain sends this client away.
    #[must_use]
    pub fn drains(&self, now: Instant) -> bool {
        self.drain_at.get().is_some_and(|at| at <= now)
    }

    /// The session for the operator.
    #[must_use]
    pub fn view(&self, now: Instant) -> SessionView {
        let session = self.session.borrow();
        let view = session.view();
        let (packets_received, packets_sent) = self.packets.get();
        let ms = |took: Option<Duration>| took.map(|took| took.as_secs_f64() * 1000.0);
        SessionView {
            id: self.id,
            sid_hash: self.sid.get().map(|sid| sid.hash().to_string()),
            user: view.identity().and_then(|identity| identity.user()).map(str::to_owned),
            users: view.users(),
            peer: view.peer(),
            namespaces: view.namespaces(),
            transport: self.transport.get().map_or("absent", Transport::name),
            service: view.service(),
            waiting_packets: view.waiting().0,
            upgraded: self.upgraded.get(),
            age_seconds: now.saturating_duration_since(self.opened).as_secs_f64(),
            packets_received,
            packets_sent,
            packets_refused: self.refused.get(),
            quality: view.quality().map(Quality::name),
            rtt_ms: ms(view.rtt()),
            rtt_avg_ms: ms(view.rtt_average()),
            jitter_ms: ms(view.jitter()),
            loss_percent: view.loss_percent(),
        }
    }
}
