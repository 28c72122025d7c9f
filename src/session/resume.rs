//! The client is away: what it misses is kept, and said when it comes back with the `pid` that it was given.
//!
//! This is Socket.IO's connection state recovery (socket.io-protocol v5), done here for a service that does not do it:
//! its leg stays, and it never hears that the client was gone. Every event carries its number as one more argument,
//! which stock clients remember and say when they connect again.

use std::{
    borrow::Cow,
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

use serde::Deserialize;

use crate::{
    policy::{identity::Identity, policies::Policies},
    session::{
        Action, Common, Dialect, Session, Terms,
        ended::Ended,
        heartbeat::Heartbeat,
        hold::Overflow,
        namespaces::Membership,
        queue::{QueueBounds, WholePacket},
        socketio::SocketIo,
    },
    wire::{
        engineio::open::Sid,
        socketio::{encode, packet::PacketType, peek::PacketHead},
    },
};

/// A client that has come back joins its other namespaces within this, or has left them.
const OTHERS_COME_WITHIN: Duration = Duration::from_secs(10);

/// What it takes to go on with a client that comes back.
#[derive(Debug)]
pub struct Resume {
    /// What the client shows; nobody can guess it.
    pub pid: Sid,
    /// The number of the next event.
    next: u64,
    /// The highest number that is not kept any more.
    dropped: Option<u64>,
    events: VecDeque<Kept>,
    bytes: usize,
    /// Since when the client is away, and how that came.
    away: Option<(Instant, Ended)>,
    /// The namespaces that the client has joined and has not come back to, a bit for each number.
    absent: u32,
    /// Until when it must have.
    absent_until: Option<Instant>,
}

/// An event that the client may have missed.
#[derive(Debug)]
struct Kept {
    /// None: it asks for an ack, and the client certainly has not got it.
    number: Option<u64>,
    /// It was sent to the client, which may have got it or not.
    said: bool,
    packet: WholePacket,
}

/// What a client says in CONNECT of what it had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The session.
    pub pid: Sid,
    /// The number of the last event that it got.
    pub offset: Option<u64>,
}

impl Recovery {
    /// In the JSON of a CONNECT; none where it is not ours.
    #[must_use]
    pub fn read(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Said<'a> {
            #[serde(borrow)]
            pid: Cow<'a, str>,
            #[serde(borrow, default)]
            offset: Option<Cow<'a, str>>,
        }
        let said: Said<'_> = serde_json::from_slice(json).ok()?;
        let offset = said.offset.map(|offset| offset.parse()).transpose().ok()?;
        Some(Self { pid: Sid::parse(&said.pid)?, offset })
    }
}

impl Resume {
    /// With what the client will show.
    #[must_use]
    pub const fn new(pid: Sid) -> Self {
        Self {
            pid,
            next: 0,
            dropped: None,
            events: VecDeque::new(),
            bytes: 0,
            away: None,
            absent: 0,
            absent_until: None,
        }
    }

    /// Since when the client is away.
    #[must_use]
    pub fn away_since(&self) -> Option<Instant> {
        self.away.map(|(since, _)| since)
    }

    const fn is_absent(&self, namespace: u8) -> bool {
        self.absent & 1 << namespace != 0
    }

    /// Has everything been kept that came behind this number?
    fn has_all_behind(&self, offset: Option<u64>) -> bool {
        match (self.dropped, offset) {
            (None, _) => true,
            (Some(dropped), Some(offset)) => dropped <= offset,
            (Some(_), None) => false,
        }
    }

    fn keep(&mut self, packet: WholePacket, number: Option<u64>, said: bool) {
        self.bytes += packet.bytes();
        self.events.push_back(Kept { number, said, packet });
    }

    fn is_over(&self, bounds: &QueueBounds) -> bool {
        self.events.len() > bounds.packets || self.bytes > bounds.bytes
    }

    /// Lets go of the oldest. True: the client certainly has not got it.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.events.pop_front() else { return false };
        self.bytes -= oldest.packet.bytes();
        self.dropped = self.dropped.max(oldest.number);
        !oldest.said
    }

    /// What a client that got everything up to `offset` has missed of a namespace.
    fn missed(&mut self, namespace: u8, offset: Option<u64>) -> Vec<WholePacket> {
        let behind = |number: u64| offset.is_none_or(|offset| number > offset);
        let missed = self.events.iter().filter(|kept| kept.packet.namespace == namespace);
        let missed = missed.filter(|kept| kept.number.is_none_or(behind)).map(|kept| kept.packet.clone()).collect();
        // What asks for an ack is said once.
        self.events.retain(|kept| kept.packet.namespace != namespace || kept.number.is_some());
        for kept in self.events.iter_mut().filter(|kept| kept.packet.namespace == namespace) {
            kept.said = true;
        }
        self.bytes = self.events.iter().map(|kept| kept.packet.bytes()).sum();
        missed
    }

    pub(super) fn due(&self, terms: &Terms) -> Option<Instant> {
        let given_up = self.away.zip(terms.hold.resume).map(|((since, _), resume)| since + resume);
        given_up.into_iter().chain(self.absent_until).min()
    }
}

impl Session {
    /// Who asks with this CONNECT, as far as its token says? Nothing is changed by asking.
    #[must_use]
    pub fn who(&self, payload: &[u8], policies: &Policies, wall: SystemTime) -> Option<Identity> {
        match &self.dialect {
            Dialect::SocketIo(socketio) => socketio.who(payload, policies, wall),
            Dialect::Plain(_) => None,
        }
    }

    /// May the client come back after this end of its connection? A page that is left does not come back, nor does
    /// a client that is in no namespace.
    #[must_use]
    pub fn may_return(&self, ended: Ended, terms: &Terms) -> bool {
        let Dialect::SocketIo(socketio) = &self.dialect else { return false };
        let kept = terms.hold.resume.is_some() && socketio.resume.as_ref().is_some_and(|resume| resume.away.is_none());
        kept && ended.is_client_gone() && socketio.namespaces.names().next().is_some()
    }

    /// The client is gone, for a while.
    pub fn client_gone(&mut self, ended: Ended, now: Instant) {
        let (Dialect::SocketIo(socketio), common) = self.parts() else { return };
        common.ended = None;
        socketio.forget_unfinished();
        let joined = socketio.namespaces.numbers(Membership::Joined);
        if let Some(resume) = &mut socketio.resume {
            resume.absent = joined.fold(0, |absent, number| absent | 1 << number);
            resume.away = Some((now, ended));
        }
    }

    /// Would a client of this user that has got everything up to `offset` get all that it has missed of a namespace?
    #[must_use]
    pub fn takes_back(&self, user: Option<&str>, namespace: &str, offset: Option<u64>) -> bool {
        let Dialect::SocketIo(socketio) = &self.dialect else { return false };
        let is_owner = self.identity().is_some_and(|identity| identity.user() == user);
        let joined = matches!(socketio.namespaces.find(namespace), Some((_, Membership::Joined)));
        let complete = socketio.resume.as_ref().is_some_and(|resume| resume.has_all_behind(offset));
        is_owner && joined && complete && self.ended().is_none()
    }

    /// The client is back, with another connection and perhaps a fresh token.
    pub fn client_back(&mut self, back: Back, terms: &Terms, wall: SystemTime, now: Instant) {
        let (Dialect::SocketIo(socketio), common) = self.parts() else { return };
        let Back { sid, peer, identity } = back;
        socketio.sid = sid;
        common.peer = peer;
        common.heartbeat = Heartbeat::new(now, terms.ping_interval);
        common.expires = None;
        common.identity = None;
        common.know(identity, wall, now);
        if let Some(resume) = &mut socketio.resume {
            resume.away = None;
            resume.absent_until = Some(now + OTHERS_COME_WITHIN);
        }
    }

    /// The client is back in a namespace: it hears what it has missed, and then that it is in.
    pub fn namespace_back(&mut self, namespace: &str, offset: Option<u64>) {
        let (Dialect::SocketIo(socketio), common) = self.parts() else { return };
        let (Some((number, _)), Some(resume)) = (socketio.namespaces.find(namespace), &mut socketio.resume) else {
            return;
        };
        // Without all of it the client is in as well, but must not believe that it has missed nothing.
        let recovered = resume.has_all_behind(offset).then_some(resume.pid);
        for packet in resume.missed(number, offset) {
            common.actions.push_back(Action::SayPacket(Box::new(packet)));
        }
        resume.absent &= !(1 << number);
        if resume.absent == 0 {
            resume.absent_until = None;
        }
        let mut text = Vec::new();
        encode::connected(namespace, socketio.namespaces.socket_id(namespace), recovered, &mut text);
        common.actions.push_back(Action::SendClient(text.into()));
    }

    /// The client, which is back, asks for a namespace that it was in. False: it does not mean the same session, so that
    /// it is to be treated as new there.
    pub fn comes_back_to(
        &mut self,
        head: &PacketHead<'_>,
        payload: &[u8],
        policies: &Policies,
        wall: SystemTime,
    ) -> bool {
        let (Dialect::SocketIo(socketio), common) = self.parts() else { return false };
        let pid = socketio.resume.as_ref().map(|resume| resume.pid);
        let recovery = Recovery::read(payload).filter(|recovery| Some(recovery.pid) == pid);
        let user = common.identity.as_ref().and_then(Identity::user);
        let is_owner = match policies.token_sources.from_connect(payload) {
            Ok(None) => true,
            Ok(token) => socketio.is(user, token.as_ref(), policies, wall),
            Err(_) => false,
        };
        if let Some(recovery) = recovery.filter(|_| is_owner) {
            self.namespace_back(head.namespace, recovery.offset);
            return true;
        }
        socketio.leave_at_service(common, head.namespace);
        false
    }

    /// Is the client expected back in this namespace?
    #[must_use]
    pub fn is_absent_from(&self, namespace: &str) -> bool {
        let Dialect::SocketIo(socketio) = &self.dialect else { return false };
        let number = socketio.namespaces.find(namespace).map(|(number, _)| number);
        socketio.resume.as_ref().zip(number).is_some_and(|(resume, number)| resume.is_absent(number))
    }

    /// The number of a namespace.
    #[must_use]
    pub fn namespace_number(&self, name: &str) -> u8 {
        match &self.dialect {
            Dialect::SocketIo(socketio) => socketio.namespaces.find(name).map_or(0, |(number, _)| number),
            Dialect::Plain(_) => 0,
        }
    }

    /// Takes a packet of the service for the client, to be said now or, where it is an event, kept. True: now.
    pub fn say_or_keep(&mut self, packet: &WholePacket, terms: &Terms) -> bool {
        let (Dialect::SocketIo(socketio), common) = self.parts() else { return true };
        let Some(resume) = &mut socketio.resume else { return true };
        let absent = resume.is_absent(packet.namespace);
        if !packet.is_event() {
            return !absent;
        }
        let number = packet.ack_id.is_none().then_some(resume.next);
        if number.is_some() {
            resume.next += 1;
        }
        if number.is_some() || absent {
            resume.keep(packet.clone(), number, !absent);
        }
        while resume.is_over(&terms.hold.bounds) {
            if resume.drop_oldest() {
                socketio.upstream.let_go();
                if terms.hold.overflow == Overflow::Close {
                    common.end(Ended::QueueFull);
                }
            }
        }
        !absent
    }

    /// What a packet of the service becomes on its way to a client that may come back: the text to be said.
    #[must_use]
    pub fn for_returning(&self, head: &PacketHead<'_>, text: &[u8]) -> Option<Vec<u8>> {
        let Dialect::SocketIo(socketio) = &self.dialect else { return None };
        let resume = socketio.resume.as_ref()?;
        let mut changed = Vec::with_capacity(text.len() + 24);
        match head.kind {
            PacketType::Event | PacketType::BinaryEvent if head.ack_id.is_none() => {
                encode::with_argument(text, resume.next, &mut changed);
            }
            PacketType::Connect => {
                let socket_id = socketio.namespaces.socket_id(head.namespace);
                encode::connected(head.namespace, socket_id, Some(resume.pid), &mut changed);
            }
            _ => return None,
        }
        Some(changed)
    }
}

/// A client that has come back.
#[derive(Debug)]
pub struct Back {
    /// Its new sid.
    pub sid: Sid,
    /// Its address.
    pub peer: std::net::IpAddr,
    /// Who it is, by the token that it shows now.
    pub identity: Identity,
}

impl SocketIo {
    /// Time has come: the client does not come back, or not to all of its namespaces.
    pub(super) fn handle_absence(&mut self, common: &mut Common, terms: &Terms, now: Instant) {
        let Some(resume) = &mut self.resume else { return };
        if let (Some((since, why)), Some(longest)) = (resume.away, terms.hold.resume)
            && now >= since + longest
        {
            return common.end(why);
        }
        if resume.absent_until.is_none_or(|until| now < until) {
            return;
        }
        resume.absent_until = None;
        let absent = std::mem::take(&mut resume.absent);
        let left: Vec<String> = (0..u8::try_from(u32::BITS).unwrap_or(u8::MAX))
            .filter(|number| absent & 1 << number != 0)
            .filter_map(|number| self.namespaces.name(number).map(str::to_owned))
            .collect();
        for namespace in left {
            self.leave_at_service(common, &namespace);
        }
    }

    fn leave_at_service(&mut self, common: &mut Common, namespace: &str) {
        if let (Some((number, _)), Some(resume)) = (self.namespaces.find(namespace), &mut self.resume) {
            resume.absent &= !(1 << number);
        }
        if self.upstream.is_open() {
            let mut text = Vec::new();
            encode::disconnect(namespace, &mut text);
            common.actions.push_back(Action::SendService(text.into()));
        }
        self.leave(namespace);
    }
}
