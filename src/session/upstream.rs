//! Where a session stands with the service: never wanted, away, being asked again, there.
//!
//! ```text
//! Unwanted ──first CONNECT──> Away ──dial_at──> Dialling ──OPEN──> Rejoining ──every CONNECT answered──> Flowing
//!                              ^                    │                   │                                   │
//!                              └──── it failed ─────┴─────── lost ──────┴───────────────────────────────────┘
//! ```
//!
//! On a plain route the session begins in Flowing, and Dialling leads back there: nobody is to be asked for anything.
//!
//! Everywhere but in Flowing the packets of the client wait in the queue, and the client, which is pinged as ever, does
//! not notice. A CONNECT never waits there: which namespaces to ask for is known, and asked when the service is there.

use std::time::{Duration, Instant};

use crate::{
    session::{
        Action, Dialect, Session, Terms, backlog::Backlog, ended::Ended, queue::WholePacket, socketio::SocketIo,
    },
    wire::engineio::open::ServiceOpen,
};

/// A service that was there for less had not come back. Without this a client that makes the service hang up would have
/// it dialled for ever.
const STEADY: Duration = Duration::from_secs(1);

/// A session whose turn has come has so long to be let in again, even where `hold` is over.
const AT_ITS_TURN: Duration = Duration::from_secs(5);

/// The service and what waits for it.
#[derive(Debug)]
pub struct Upstream {
    pub(super) stage: Stage,
    /// Until when the service must have pinged; none: it has not said how often it does.
    pinged_by: Option<Instant>,
    /// From one ping of the service to the end of our patience for the next, in milliseconds, as it said.
    patience_ms: u32,
    /// Packets that were let go of.
    pub(super) dropped: u64,
    /// Nearly every session has none nearly always.
    pub(super) backlog: Option<Box<Backlog>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Unwanted,
    Away { dial_at: Instant },
    Dialling,
    Rejoining,
    Flowing,
}

/// An absence of the service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Away {
    since: Instant,
    /// What began it, and ends the session if it lasts too long.
    why: Ended,
    /// Dials that came to nothing, or to very little.
    failures: u32,
    /// When it is this session's turn to go back to a service that is there: whoever has a place in the queue is not
    /// given up in it.
    turn_at: Option<Instant>,
    /// Since when the service is there again; lost within [`STEADY`], it had not come back.
    back: Option<Instant>,
}

impl Away {
    fn steady_at(&self) -> Option<Instant> {
        self.back.map(|back| back + STEADY)
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self { stage: Stage::Unwanted, pinged_by: None, patience_ms: 0, dropped: 0, backlog: None }
    }
}

impl Upstream {
    /// Of a session that begins when the service is there.
    #[must_use]
    pub fn there() -> Self {
        Self { stage: Stage::Flowing, ..Self::default() }
    }

    /// Has the service opened, so that something can be said to it?
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Rejoining | Stage::Flowing)
    }

    /// Do packets go to the service as they come?
    #[must_use]
    pub fn flows(&self) -> bool {
        self.stage == Stage::Flowing && self.backlog.as_ref().is_none_or(|backlog| backlog.queue.is_empty())
    }

    /// `away`, `joining` or `open`, for the operator; none: no namespace was asked for yet.
    #[must_use]
    pub const fn state(&self) -> Option<&'static str> {
        match self.stage {
            Stage::Unwanted => None,
            Stage::Away { .. } | Stage::Dialling => Some("away"),
            Stage::Rejoining => Some("joining"),
            Stage::Flowing => Some("open"),
        }
    }

    /// Since when the service is away; none: it is there, or was never wanted.
    #[must_use]
    pub fn away_since(&self) -> Option<Instant> {
        self.away().map(|away| away.since)
    }

    fn away(&self) -> Option<Away> {
        self.absence().filter(|_| self.stage != Stage::Flowing)
    }

    fn absence(&self) -> Option<Away> {
        self.backlog.as_ref().and_then(|backlog| backlog.away)
    }

    pub(super) fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }

    /// Dials that came to nothing, or to very little, since the service was last there.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.absence().map_or(0, |away| away.failures)
    }

    /// Has the service been there before in this session, or been dialled in vain?
    #[must_use]
    pub fn is_redial(&self) -> bool {
        self.away().is_some_and(|away| away.failures > 0 || away.why != Ended::ServiceUnreachable)
    }

    /// Has the service not pinged for longer than it said?
    #[must_use]
    pub fn is_silent(&self, now: Instant) -> bool {
        self.pinged_by.is_some_and(|at| now >= at)
    }

    /// Packets and bytes that wait.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        self.backlog.as_ref().map_or((0, 0), |backlog| (backlog.queue.len(), backlog.queue.bytes()))
    }

    /// Packets that were let go of.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn expect_ping(&mut self, now: Instant) {
        self.pinged_by = Some(now + Duration::from_millis(self.patience_ms.into()));
    }

    /// One packet was let go of.
    pub(super) const fn let_go(&mut self) {
        self.dropped += 1;
    }

    /// The packet that lacks attachments will not get them.
    pub(super) fn forget_begun(&mut self) {
        if let Some(backlog) = &mut self.backlog {
            backlog.begun = None;
        }
    }

    /// When [`Session::handle_timeout`] has something to do about the service.
    pub(super) fn due(&self, terms: &Terms) -> Option<Instant> {
        let dial_at = match self.stage {
            Stage::Away { dial_at } => Some(dial_at),
            _ => None,
        };
        let given_up = self.given_up_at(terms);
        let steady = self.absence().filter(|_| self.stage == Stage::Flowing).and_then(|away| away.steady_at());
        [dial_at, given_up, steady, self.pinged_by].into_iter().flatten().min()
    }

    fn given_up_at(&self, terms: &Terms) -> Option<Instant> {
        let (away, hold) = self.away().zip(terms.hold.hold)?;
        Some((away.since + hold).max(away.turn_at.map_or(away.since, |at| at + AT_ITS_TURN)))
    }

    /// The first CONNECT was accepted.
    pub(super) fn want(&mut self, now: Instant) {
        self.stage = Stage::Dialling;
        self.backlog().away =
            Some(Away { since: now, why: Ended::ServiceUnreachable, failures: 0, turn_at: None, back: None });
    }

    /// What time brings about: the next dial, or the end.
    pub(super) fn handle_timeout(&mut self, terms: &Terms, now: Instant) -> Option<Due> {
        if self.given_up_at(terms).is_some_and(|at| now >= at) {
            return self.away().map(|away| Due::GiveUp(away.why));
        }
        if let Stage::Away { dial_at } = self.stage
            && now >= dial_at
        {
            self.stage = Stage::Dialling;
            return Some(Due::Dial);
        }
        self.forget_absence(now);
        None
    }

    /// An absence is over when the service has been there for long enough.
    fn forget_absence(&mut self, now: Instant) {
        let Some(backlog) = self.backlog.as_mut().filter(|_| self.stage == Stage::Flowing) else { return };
        backlog.away = backlog.away.filter(|away| away.steady_at().is_none_or(|at| now < at));
        if backlog.is_empty() {
            self.backlog = None;
        }
    }

    /// The service is there, and has nothing to be asked first.
    pub(super) fn flow(&mut self, now: Instant) {
        self.stage = Stage::Flowing;
        self.is_back(now);
    }

    fn is_back(&mut self, now: Instant) {
        if let Some(away) = self.backlog.as_mut().and_then(|backlog| backlog.away.as_mut()) {
            away.back = Some(now);
        }
    }

    fn lose(&mut self, why: Ended, dial_at: Instant, now: Instant) {
        self.forget_absence(now);
        let dialled = self.stage == Stage::Dialling;
        let backlog = self.backlog();
        let away = backlog.away.get_or_insert(Away { since: now, why, failures: 0, turn_at: None, back: None });
        if dialled || away.back.take().is_some() {
            away.failures = away.failures.saturating_add(1);
        }
        // It had its turn.
        away.turn_at = None;
        self.stage = Stage::Away { dial_at };
        self.pinged_by = None;
    }
}

/// What time has brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Dial,
    GiveUp(Ended),
}

impl Session {
    /// The service cannot be dialled yet, for others go first.
    pub fn dial_later(&mut self, at: Instant) {
        self.upstream_mut().stage = Stage::Away { dial_at: at };
    }

    /// The service is there, and this session goes back to it then.
    pub fn dial_in_turn(&mut self, at: Instant) {
        self.dial_later(at);
        if let Some(away) = &mut self.upstream_mut().backlog().away {
            away.turn_at = Some(at);
        }
    }

    /// The service is gone, or did not come. True: the session goes on without it for a while. Else it ends: nothing is
    /// held, or a client that has no namespace has nothing to wait for.
    pub fn service_gone(&mut self, ended: Ended, terms: &Terms, dial_at: Instant, now: Instant) -> bool {
        let (dialect, common) = self.parts();
        let waits = match dialect {
            Dialect::SocketIo(socketio) => !socketio.namespaces.is_empty(),
            Dialect::Plain(plain) => plain.waits_after(ended),
        };
        if terms.hold.hold.is_none() || !waits {
            common.end(ended);
            return false;
        }
        if let Dialect::SocketIo(socketio) = dialect {
            socketio.service_gone(common, terms);
        }
        // A client that waits in vain hears of the absence, and not of the close that began it.
        let why = if matches!(ended, Ended::ServiceClosed(_)) { Ended::ServiceLost } else { ended };
        dialect.upstream_mut().lose(why, dial_at, now);
        true
    }

    /// The service has opened: every namespace is asked for, with what the client said.
    pub fn service_opened(&mut self, open: &ServiceOpen, now: Instant) {
        let (Dialect::SocketIo(socketio), common) = self.parts() else { return };
        let upstream = &mut socketio.upstream;
        upstream.stage = Stage::Rejoining;
        let patience_ms = open.ping_interval_ms.saturating_add(open.ping_timeout_ms);
        upstream.patience_ms = u32::try_from(patience_ms).unwrap_or(u32::MAX);
        upstream.expect_ping(now);
        upstream.is_back(now);
        for packet in socketio.namespaces.ask_again() {
            common.actions.push_back(Action::SendService(packet.into()));
        }
        // Of a client that has left every namespace meanwhile no answer will come.
        socketio.settle();
    }

    /// The last attachment of a packet of the service in this namespace has come.
    pub fn service_packet_whole(&mut self, namespace: u8) {
        if let Dialect::SocketIo(socketio) = &mut self.dialect {
            socketio.namespaces.got_whole(namespace);
        }
    }

    /// The service sent an Engine.IO ping.
    pub fn service_beat(&mut self, now: Instant) {
        let (Dialect::SocketIo(socketio), common) = self.parts() else { return };
        socketio.upstream.expect_ping(now);
        common.actions.push_back(Action::SendService(b"3".into()));
    }

    /// Takes a packet of the client that was let through, or an attachment of it. It goes where
    /// [`next_packet`](Self::next_packet) finds it: at once, or when the service is there.
    pub fn take_packet(&mut self, message: Onward, terms: &Terms) {
        let (dialect, common) = self.parts();
        let upstream = dialect.upstream_mut();
        let begun = match message {
            Onward::Packet(packet) => packet,
            Onward::Attachment(bytes) => {
                let Some(mut packet) = upstream.backlog().begun.take() else { return };
                packet.attach(bytes);
                packet
            }
        };
        if !begun.is_whole() {
            upstream.backlog().begun = Some(begun);
            return;
        }
        let room = upstream.enqueue(begun, terms);
        if let Dialect::SocketIo(socketio) = dialect {
            socketio.fail_acks_of(&room.dropped, common);
        }
        if room.is_full {
            common.end(Ended::QueueFull);
        }
    }

    /// The next packet for the service, in order; none while it is not there.
    pub fn next_packet(&mut self) -> Option<WholePacket> {
        let upstream = self.upstream_mut();
        if upstream.stage != Stage::Flowing {
            return None;
        }
        let backlog = upstream.backlog.as_mut()?;
        let packet = backlog.queue.pop();
        if packet.is_none() && backlog.is_empty() {
            upstream.backlog = None;
        }
        packet
    }

    /// A packet is sent. It is kept until its ack comes, where its event is one that may be sent again.
    pub fn packet_sent(&mut self, mut packet: WholePacket, terms: &Terms) {
        packet.sent = packet.sent.saturating_add(1);
        if let Dialect::Plain(plain) = &mut self.dialect {
            return plain.remember(packet);
        }
        if packet.may_be_sent_again {
            let kept = &mut self.upstream_mut().backlog().kept;
            if kept.has_room(packet.bytes(), &terms.hold.bounds) {
                kept.push(packet);
            }
        }
    }

    /// The connection broke before all of a packet was taken: no service has got it, and the next one shall.
    pub fn packet_unsent(&mut self, packet: WholePacket) {
        self.upstream_mut().backlog().queue.put_back(std::iter::once(packet));
    }

    /// The session is over, and nothing waits any more: what did is wiped.
    pub fn forget_backlog(&mut self) {
        self.upstream_mut().backlog = None;
    }

    /// Where the session stands with the service.
    #[must_use]
    pub const fn upstream(&self) -> &Upstream {
        match &self.dialect {
            Dialect::SocketIo(socketio) => &socketio.upstream,
            Dialect::Plain(plain) => &plain.upstream,
        }
    }

    const fn upstream_mut(&mut self) -> &mut Upstream {
        self.dialect.upstream_mut()
    }
}

impl Dialect {
    pub(super) const fn upstream_mut(&mut self) -> &mut Upstream {
        match self {
            Self::SocketIo(socketio) => &mut socketio.upstream,
            Self::Plain(plain) => &mut plain.upstream,
        }
    }
}

/// A message of the client that was let through, whole.
#[derive(Debug)]
pub enum Onward {
    /// A packet.
    Packet(WholePacket),
    /// The next attachment of the packet before.
    Attachment(Vec<u8>),
}

impl SocketIo {
    /// Every CONNECT has been answered: packets flow.
    pub(super) fn settle(&mut self) {
        if self.upstream.stage == Stage::Rejoining && self.namespaces.is_settled() {
            self.upstream.stage = Stage::Flowing;
            // Nearly every session ends without ever having lost the service: it remembers nothing.
            if let Some(backlog) = &mut self.upstream.backlog {
                backlog.away = backlog.away.filter(|away| away.failures > 0 || away.why != Ended::ServiceUnreachable);
            }
        }
    }
}
