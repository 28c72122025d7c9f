//! One conversation as a state machine: no socket, no clock, no log, no metric.

//!
//! A [`Session`] has four kinds of method: getters; `client_*` and `service_*` for what happened; commands
//! ([`drain`](Session::drain)); [`poll_action`](Session::poll_action) and [`next_deadline`](Session::next_deadline)
//! for what must be done. After any of the first three kinds the caller polls actions until there are none, and closes
//! both legs where the session has [`ended`](Session::ended).

pub mod acks;
pub mod answer;
mod backlog;
mod compile;
pub mod control_frames;
pub mod control_rate;
pub mod ended;
pub mod flood;
pub mod heartbeat;
pub mod hold;
pub mod namespaces;
pub mod plain;
pub mod queue;
pub mod replay;
pub mod resume;
pub mod socketio;
pub mod upstream;

use std::{
    borrow::Cow,
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    policy::{identity::Identity, policies::Policies, rate_limit::Meters},
    session::{
        control_rate::ControlRate,
        ended::Ended,
        flood::Flood,
        heartbeat::{Beat, Heartbeat},
        hold::HoldTerms,
        plain::Plain,
        queue::WholePacket,
        resume::Resume,
        socketio::SocketIo,
        upstream::Due,
    },
    units::{ByteSize, Period},
    wire::websocket::close::CloseCode,
};

/// The time a client has for the fragments of one message: until it is whole it is held here and judged by nobody.
const FRAGMENTS_PATIENCE: Duration = Duration::from_secs(30);

/// `[socketio]`: the Socket.IO endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SocketioTable {
    /// The path of the endpoint, with the slash at its end.
    pub path: String,
    /// The transports clients may use. With both, a client that polls is offered to go over to WebSocket.
    pub transports: Vec<Transport>,
    /// The namespaces clients may join: names, or patterns with `*`.
    pub namespaces: Vec<String>,
    /// How often a client is pinged.
    pub ping_interval: Period,
    /// How long a client may take to answer a ping.
    pub ping_timeout: Period,
    /// How long a client may take to join its first namespace.
    pub connect_timeout: Period,
    /// The largest message a client may send, and the largest payload it may post. Socket.IO's own default is 1MB.
    pub max_payload: ByteSize,
    /// May a session that polls be used from the address alone that opened it? Token and origin must be the same
    /// always; the address of a phone changes.
    pub same_address: bool,
    /// The name of a cookie with the session id, for a load balancer in front that needs one. Without it none is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"io")]
    pub cookie: Option<String>,
}

/// Engine.IO's transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// A WebSocket connection.
    Websocket,
    /// Long-polling: HTTP requests, one waiting for packets and one bringing them.
    Polling,
}

impl Transport {
    /// The name in URLs, metrics and the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Websocket => "websocket",
            Self::Polling => "polling",
        }
    }
}

impl Default for SocketioTable {
    fn default() -> Self {
        Self {
            path: "/socket.io/".to_owned(),
            transports: vec![Transport::Websocket, Transport::Polling],
            namespaces: vec!["*".to_owned()],
            ping_interval: Period::from_secs(25),
            ping_timeout: Period::from_secs(20),
            connect_timeout: Period::from_secs(45),
            max_payload: ByteSize(1_000_000),
            same_address: false,
            cookie: None,
        }
    }
}

/// The times a session keeps, and what it does while the service is away, as configured.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Between two pings.
    pub ping_interval: Duration,
    /// For the answer to one.
    pub ping_timeout: Duration,
    /// For the first namespace.
    pub connect_timeout: Duration,
    /// Without a packet from either side; none: no limit.
    pub idle_timeout: Option<Duration>,
    /// While the service is away.
    pub hold: HoldTerms,
}

/// What must be done. The relay does it, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to the service.
    Dial,
    /// Send this text message to the client, between two packets of the service.
    SendClient(Cow<'static, [u8]>),
    /// Send this packet of the service to the client, which has missed it.
    SayPacket(Box<WholePacket>),
    /// Send a WebSocket ping to the client.
    PingClient,
    /// Answer the client's WebSocket ping.
    PongClient(Box<[u8]>),
    /// Answer the service's WebSocket ping.
    PongService(Box<[u8]>),
    /// Send this text message to the service, between two messages of the client.
    SendService(Cow<'static, [u8]>),
    /// Send this message of the client to the service again, which is another one.
    RepeatToService(Box<WholePacket>),
    /// The user is known now.
    Authenticated,
}

/// One conversation.
#[derive(Debug)]
pub struct Session {
    /// What is spoken on it.
    pub dialect: Dialect,
    common: Common,
}

/// What is spoken on a session.
#[derive(Debug)]
pub enum Dialect {
    /// Socket.IO v5 inside Engine.IO v4.
    SocketIo(SocketIo),
    /// Messages of a plain WebSocket route.
    Plain(Plain),
}

/// What both dialects have.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) identity: Option<Identity>,
    pub(crate) peer: std::net::IpAddr,
    pub(crate) meters: Meters,
    pub(crate) expires: Option<Instant>,
    pub(crate) actions: VecDeque<Action>,
    heartbeat: Heartbeat,
    client_control_rate: ControlRate,
    service_control_rate: ControlRate,
    flood: Flood,
    /// When the fragmented message of the client must be whole.
    fragments_until: Option<Instant>,
    last_packet: Instant,
    told: Option<Instant>,
    ended: Option<Ended>,
}

impl Session {
    /// A session of a client at `peer` that has yet to join a namespace.
    #[must_use]
    pub fn socketio(
        peer: std::net::IpAddr,
        socketio: SocketIo,
        policies: &Policies,
        terms: &Terms,
        now: Instant,
    ) -> Self {
        let meters = policies.open_meters(&Identity::anonymous(), peer, now);
        Self { dialect: Dialect::SocketIo(socketio), common: Common::new(peer, meters, terms, now) }
    }

    /// A session on a plain WebSocket route, whose user is known from the handshake.
    #[must_use]
    pub fn plain(
        peer: std::net::IpAddr,
        plain: Plain,
        identity: Identity,
        policies: &Policies,
        terms: &Terms,
        wall: SystemTime,
        now: Instant,
    ) -> Self {
        let meters = policies.open_meters(&identity, peer, now);
        let mut common = Common::new(peer, meters, terms, now);
        common.know(identity, wall, now);
        Self { dialect: Dialect::Plain(plain), common }
    }

    /// The verified user, from the first accepted CONNECT or the handshake on.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        self.common.identity.as_ref()
    }

    /// The client's address.
    #[must_use]
    pub const fn peer(&self) -> std::net::IpAddr {
        self.common.peer
    }

    /// The last heartbeat's round trip.
    #[must_use]
    pub const fn rtt(&self) -> Option<Duration> {
        self.common.heartbeat.rtt()
    }

    /// The rules were changed: count anew by the new ones.
    pub fn adopt(&mut self, policies: &Policies, now: Instant) {
        let anonymous = Identity::anonymous();
        let identity = self.common.identity.as_ref().unwrap_or(&anonymous);
        self.common.meters = policies.open_meters(identity, self.common.peer, now);
    }

    /// A message came from the client, be it a heartbeat.
    pub fn client_heard(&mut self, terms: &Terms, now: Instant) {
        self.common.fragments_until = None;
        self.common.heartbeat.heard(now, terms.ping_timeout);
    }

    /// After what was received: has a fragmented message of the client begun and not ended?
    pub fn client_fragments(&mut self, begun: bool, now: Instant) {
        if begun {
            self.common.fragments_until.get_or_insert(now + FRAGMENTS_PATIENCE);
        }
    }

    /// A message that is no heartbeat came from either side.
    pub const fn used(&mut self, now: Instant) {
        self.common.last_packet = now;
    }

    /// The client answered a ping: the round trip. An answer that nobody asked for means nothing.
    pub fn client_pong(&mut self, terms: &Terms, now: Instant) -> Option<Duration> {
        self.common.heartbeat.answered(now, terms.ping_interval)
    }

    /// Time has come to [`next_deadline`](Self::next_deadline).
    pub fn handle_timeout(&mut self, terms: &Terms, now: Instant) {
        if self.common.expires.is_some_and(|at| now >= at) {
            self.common.end(Ended::TokenExpired);
        }
        if let Dialect::SocketIo(socketio) = &self.dialect
            && socketio.connect_by().is_some_and(|at| now >= at)
        {
            self.common.end(Ended::ConnectTimeout);
        }
        if self.common.fragments_until.is_some_and(|at| now >= at) {
            self.common.end(Ended::ClientFrame(CloseCode::POLICY, "frame_fragments"));
        }
        if self.common.idle_until(terms).is_some_and(|at| now >= at) {
            self.common.end(Ended::IdleTimeout);
        }
        let due = self.dialect.upstream_mut().handle_timeout(terms, now);
        if let Dialect::SocketIo(socketio) = &mut self.dialect {
            socketio.handle_absence(&mut self.common, terms, now);
        }
        match due {
            Some(Due::Dial) => self.common.actions.push_back(Action::Dial),
            Some(Due::GiveUp(why)) => self.common.end(why),
            None => {}
        }
        if self.is_away() {
            return;
        }
        match self.common.heartbeat.beat(now, terms.ping_timeout) {
            Beat::Wait => {}
            Beat::Dead => self.common.end(Ended::PingTimeout),
            Beat::Ping => self.common.actions.push_back(match self.dialect {
                Dialect::SocketIo(_) => Action::SendClient(Cow::Borrowed(b"2")),
                Dialect::Plain(_) => Action::PingClient,
            }),
        }
    }

    /// One side broke a rule, or closed.
    pub fn end(&mut self, ended: Ended) {
        self.common.end(ended);
    }

    /// This node goes away: send the client elsewhere.
    pub fn drain(&mut self) {
        self.common.end(Ended::Drained);
    }

    /// Why both legs are to be closed, once what can still be said has been said.
    #[must_use]
    pub const fn ended(&self) -> Option<Ended> {
        self.common.ended
    }

    /// What must be done next, without taking it.
    #[must_use]
    pub fn next_action(&self) -> Option<&Action> {
        self.common.actions.front()
    }

    /// What must be done next, until there is nothing.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.common.actions.pop_front();
        if self.common.actions.is_empty() && self.common.actions.capacity() > 0 {
            self.common.actions = VecDeque::new();
        }
        action
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn next_deadline(&self, terms: &Terms) -> Instant {
        let connect_by = match &self.dialect {
            Dialect::SocketIo(socketio) => socketio.connect_by(),
            Dialect::Plain(_) => None,
        };
        let upstream = self.upstream().due(terms);
        let resume = self.resume().and_then(|resume| resume.due(terms));
        let fragments_until = self.common.fragments_until;
        let others =
            [self.common.expires, connect_by, upstream, resume, fragments_until, self.common.idle_until(terms)];
        let beat = (!self.is_away()).then(|| self.common.heartbeat.due());
        // Whoever is away is given up some time, so there always is one.
        others.into_iter().flatten().chain(beat).min().unwrap_or_else(|| self.common.heartbeat.due())
    }

    /// What it takes to go on with a client that comes back.
    #[must_use]
    pub fn resume(&self) -> Option<&Resume> {
        match &self.dialect {
            Dialect::SocketIo(socketio) => socketio.resume.as_deref(),
            Dialect::Plain(_) => None,
        }
    }

    /// Is the client away?
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.resume().is_some_and(|resume| resume.away_since().is_some())
    }

    pub(crate) const fn parts(&mut self) -> (&mut Dialect, &mut Common) {
        (&mut self.dialect, &mut self.common)
    }
}

impl Common {
    fn new(peer: std::net::IpAddr, meters: Meters, terms: &Terms, now: Instant) -> Self {
        Self {
            identity: None,
            peer,
            meters,
            expires: None,
            actions: VecDeque::new(),
            heartbeat: Heartbeat::new(now, terms.ping_interval),
            client_control_rate: ControlRate::new(now),
            service_control_rate: ControlRate::new(now),
            flood: Flood::new(now),
            fragments_until: None,
            last_packet: now,
            told: None,
            ended: None,
        }
    }

    /// A token was verified. The earliest end of several holds.
    pub(crate) fn know(&mut self, identity: Identity, wall: SystemTime, now: Instant) {
        if let Some(end) = identity.expires_at() {
            let at = now + end.duration_since(wall).unwrap_or_default();
            self.expires = Some(self.expires.map_or(at, |earlier| earlier.min(at)));
        }
        if self.identity.is_none() {
            self.identity = Some(identity);
            self.actions.push_back(Action::Authenticated);
        }
    }

    /// The first end counts.
    pub(crate) fn end(&mut self, ended: Ended) {
        self.ended.get_or_insert(ended);
    }

    /// May the client be told again of refused packets that have no ack?
    pub(crate) fn may_tell(&mut self, once_per: Duration, now: Instant) -> bool {
        let may = self.told.is_none_or(|at| now.saturating_duration_since(at) >= once_per);
        if may {
            self.told = Some(now);
        }
        may
    }

    fn idle_until(&self, terms: &Terms) -> Option<Instant> {
        terms.idle_timeout.map(|idle| self.last_packet + idle)
    }
}

#[cfg(test)]
mod tests;
