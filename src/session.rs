//! One conversation as a state machine: no socket, no clock, no log, no metric.
//!
//! What happens goes in by [`message`](Session::message), [`event`](Session::event) and [`timeout`](Session::timeout), and
//! what must be done comes out of [`poll`](Session::poll). After each of the first three the caller polls until there is
//! nothing, and closes both legs once the session has [`ended`](Session::ended). Messages are judged one by one, and what
//! the session says instead of one, or of several, is said in the place of the last of them.
//!
//! Each leg has a speech of its own: [`ClientSpeech`] and [`ServiceSpeech`]. Everything that does not depend on it is in
//! `core` and `upstream`.

pub mod acks;
pub mod action;
pub mod answer;
mod client_packet;
mod connect;
pub mod control_rate;
mod conversation;
mod core;
pub mod ended;
pub mod engineio;
pub mod event;
pub mod flood;
pub mod heartbeat;
pub mod hold;
pub mod message;
pub mod namespaces;
pub mod now;
pub mod plain;
pub mod question;
pub mod queue;
pub mod replay;
mod resume;
pub mod rules;
mod service_packet;
mod socketio;
pub mod table;
pub mod upstream;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    action::{Action, Ready, Spoken},
    conversation::Conversation,
    core::Core,
    ended::Ended,
    engineio::{EngineIo, Handshake},
    event::Event,
    heartbeat::Beat,
    message::{Fate, Message, Note, Side},
    namespaces::Membership,
    now::Now,
    plain::{Plain, PlainRules},
    question::{Answer, Claim},
    queue::WholePacket,
    rules::SessionRules,
    socketio::SocketIo,
    upstream::{Due, Stage, Upstream, backoff},
};
use crate::{
    policy::identity::Identity,
    wire::{
        engineio::{
            id::{Pid, Sid},
            packet::EnginePacket,
        },
        websocket::{
            close::{self, CloseCode},
            frame::OpCode,
        },
    },
};

/// What a Close without a body says (RFC 6455 §7.1.5).
const NO_CLOSE: (CloseCode, &str) = (CloseCode::NO_STATUS, "");

/// The ping of Engine.IO.
const ENGINE_PING: &[u8] = &[EnginePacket::Ping.digit()];

/// One conversation.
#[derive(Debug)]
pub struct Session {
    core: Core,
    upstream: Upstream,
    client: ClientSpeech,
    service: ServiceSpeech,
}

/// What is spoken with the client.
#[derive(Debug)]
enum ClientSpeech {
    /// Socket.IO v5 inside Engine.IO v4.
    EngineIo(EngineIo),
    /// WebSocket messages, as they are.
    Plain,
}

/// What is spoken with the service.
#[derive(Debug)]
enum ServiceSpeech {
    /// Socket.IO v5 inside Engine.IO v4.
    SocketIo(SocketIo),
    /// WebSocket messages, as they are.
    Plain(Plain),
}

/// How the messages of a service must be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Whether each must be complete before it is judged.
    pub whole: bool,
    /// Whether text must be checked to be UTF-8 (RFC 6455 §8.1): where no parser behind the gate does it.
    pub checks_text: bool,
}

/// What every session begins with.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// What it obeys.
    pub rules: Arc<SessionRules>,
    /// The client's address.
    pub peer: IpAddr,
    /// Chance, for spreading dials in time. It protects nothing.
    pub seed: u32,
}

impl Session {
    /// A session of an Engine.IO client that has yet to join a namespace.
    #[must_use]
    pub fn socketio(beginning: Beginning, handshake: Handshake, now: Now) -> Self {
        let connect_by = now.instant + beginning.rules.connect_timeout;
        Self {
            core: Core::new(beginning.rules, beginning.peer, beginning.seed, now),
            upstream: Upstream::unwanted(),
            client: ClientSpeech::EngineIo(EngineIo::new(handshake, connect_by)),
            service: ServiceSpeech::SocketIo(SocketIo::default()),
        }
    }

    /// A session on a plain WebSocket route, whose user is known from the handshake and whose service has been dialled and
    /// has chosen `protocol`.
    #[must_use]
    pub fn plain(
        beginning: Beginning,
        rules: Arc<PlainRules>,
        protocol: Option<&str>,
        identity: Identity,
        now: Now,
    ) -> Self {
        let mut core = Core::new(beginning.rules, beginning.peer, beginning.seed, now);
        core.identify(identity, now);
        Self {
            core,
            upstream: Upstream::flowing(),
            client: ClientSpeech::Plain,
            service: ServiceSpeech::Plain(Plain::new(rules, protocol)),
        }
    }

    /// What happens to a message of one side, and what was learned from it. It is judged again whenever its fate was
    /// [`Fate::Gather`] or [`Fate::Wait`].
    pub fn message(&mut self, from: Side, message: &Message<'_>, now: Now) -> (Fate, Note) {
        let (fate, note) = match from {
            Side::Client => self.client_message(message, now),
            Side::Service => self.service_message(message, now),
        };
        self.conclude(now);
        (fate, note)
    }

    fn client_message(&mut self, message: &Message<'_>, now: Now) -> (Fate, Note) {
        if let Some(until) = self.core.client_spoke(now) {
            return (Fate::Wait(message::Until::Time(until)), Note::None);
        }
        let Self { core, upstream, client, service } = self;
        match (client, service) {
            (ClientSpeech::EngineIo(client), ServiceSpeech::SocketIo(service)) => {
                client_packet::judge(&mut Conversation { client, service, upstream, core }, message, now)
            }
            (_, ServiceSpeech::Plain(service)) => service.from_client(message, core, upstream, now),
            // No constructor pairs these.
            (ClientSpeech::Plain, ServiceSpeech::SocketIo(_)) => (Fate::Drop, Note::None),
        }
    }

    fn service_message(&mut self, message: &Message<'_>, now: Now) -> (Fate, Note) {
        let Self { core, upstream, client, service } = self;
        let judged = match (client, service) {
            (ClientSpeech::EngineIo(client), ServiceSpeech::SocketIo(service)) => {
                service_packet::judge(&mut Conversation { client, service, upstream, core }, message, now)
            }
            (_, ServiceSpeech::Plain(service)) => Ok(service.from_service(message, core, now)),
            (ClientSpeech::Plain, ServiceSpeech::SocketIo(_)) => Ok((Fate::Drop, Note::None)),
        };
        judged.unwrap_or_else(|why| {
            self.lost(why, now);
            (Fate::Drop, Note::None)
        })
    }

    /// Takes note of what has happened beside messages and time.
    pub fn event(&mut self, event: Event<'_>, now: Now) -> Note {
        let mut note = Note::None;
        match event {
            Event::Lost(why) => self.lost(why, now),
            Event::DialLater { at, reserved } => self.upstream.dial_later(at, reserved),
            Event::Connected(protocol) => {
                if let ServiceSpeech::Plain(service) = &self.service {
                    service.connected(protocol, &mut self.core, &mut self.upstream, now);
                }
            }
            Event::Control(from, OpCode::Close, payload) => self.closed(from, payload, now),
            Event::Control(from, OpCode::Ping, payload) => self.core.ping(from, payload, now),
            Event::Control(Side::Client, ..) => note = self.client_pong(now),
            // A pong of the service that nobody asked for.
            Event::Control(Side::Service, ..) => {}
            Event::Fragments(begun) => self.core.fragments(begun, now),
            Event::Answer(ticket, answer) => {
                if let (ClientSpeech::EngineIo(client), Answer::Claim(granted)) = (&mut self.client, answer) {
                    client.answered(ticket, granted);
                }
            }
            Event::Returned(returning) => {
                if let Some(mut talk) = self.conversation() {
                    talk.client_returned(returning, now);
                }
            }
            Event::Unsent(packet) => self.upstream.backlog_mut().queue.put_back(std::iter::once(*packet)),
            Event::NewRules(rules) => self.core.adopt(rules, now),
            Event::Drain => self.core.end(Ended::Drained),
        }
        self.conclude(now);
        note
    }

    /// Does what is due, once time has come to [`deadline`](Self::deadline).
    pub fn timeout(&mut self, now: Now) {
        self.core.timeout(now);
        if let ClientSpeech::EngineIo(client) = &self.client
            && client.connect_by().is_some_and(|at| now.instant >= at)
        {
            self.core.end(Ended::ConnectTimeout);
        }
        match self.upstream.timeout(&self.core.rules.hold, now.instant) {
            Some(Due::Dial) => self.core.actions.push(Action::Dial { again: self.upstream.is_redial() }),
            Some(Due::GiveUp(why)) => self.core.end(why),
            None if self.upstream.is_silent(now.instant) => self.lost(Ended::ServiceSlow, now),
            None => {}
        }
        if let Some(mut talk) = self.conversation() {
            talk.timeout(now);
        }
        if self.absent_since().is_none() {
            self.beat(now);
        }
        self.conclude(now);
    }

    fn beat(&mut self, now: Now) {
        match self.core.heartbeat.beat(now.instant, self.core.rules.ping_timeout) {
            Beat::Wait => {}
            Beat::Dead => self.core.end(Ended::PingTimeout),
            Beat::Ping => {
                let ping = match self.client {
                    ClientSpeech::EngineIo(_) => Spoken::text(ENGINE_PING),
                    ClientSpeech::Plain => Spoken::Own(OpCode::Ping, b"".into()),
                };
                self.core.actions.say(Side::Client, ping);
            }
        }
    }

    /// What must be done next, as far as that can be done now. What waits for a side that is not `ready` waits on.
    pub fn poll(&mut self, ready: Ready) -> Option<Action> {
        if let Some(action) = self.core.actions.next(ready) {
            return Some(action);
        }
        if !ready.service || self.core.ended().is_some() {
            return None;
        }
        let mut packet = self.upstream.next_packet()?;
        packet.sent = packet.sent.saturating_add(1);
        match &mut self.service {
            ServiceSpeech::Plain(service) => service.remember(&packet),
            ServiceSpeech::SocketIo(_) if packet.may_be_sent_again => self.keep(packet.clone()),
            ServiceSpeech::SocketIo(_) => {}
        }
        Some(Action::Say(Side::Service, Spoken::Packet(Box::new(packet))))
    }

    /// Until its ack comes.
    fn keep(&mut self, packet: WholePacket) {
        let kept = &mut self.upstream.backlog_mut().kept;
        if kept.has_room(packet.bytes(), &self.core.rules.hold.bounds) {
            kept.push(packet);
        }
    }

    /// When [`timeout`](Self::timeout) has something to do.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let hold = &self.core.rules.hold;
        let (connect_by, resume) = match &self.client {
            ClientSpeech::EngineIo(client) => {
                (client.connect_by(), client.resume.as_ref().and_then(|resume| resume.deadline(hold)))
            }
            ClientSpeech::Plain => (None, None),
        };
        let beat = self.absent_since().is_none().then(|| self.core.heartbeat.due());
        let others = [connect_by, resume, self.upstream.deadline(hold), beat];
        let deadline = self.core.deadlines().into_iter().chain(others).flatten().min();
        // An absent client always has a timeout, so a deadline always exists.
        deadline.unwrap_or_else(|| self.core.heartbeat.due())
    }

    /// Why both legs are to be closed, once the actions are done that can be.
    #[must_use]
    pub const fn ended(&self) -> Option<Ended> {
        self.core.ended()
    }

    /// Whether this session takes back a client with this claim, and has everything that it has missed of the namespace.
    #[must_use]
    pub fn takes_back(&self, claim: &Claim) -> bool {
        let (ClientSpeech::EngineIo(client), ServiceSpeech::SocketIo(service)) = (&self.client, &self.service) else {
            return false;
        };
        let is_owner = self.core.identity.as_ref().is_some_and(|identity| identity.user() == claim.user.as_deref());
        let joined = matches!(service.namespaces.find(&claim.namespace), Some((_, Membership::Joined)));
        let complete = client.resume.as_ref().is_some_and(|resume| resume.has_all_after(claim.offset));
        is_owner && joined && complete && self.ended().is_none()
    }

    /// The session is over: what still waited is wiped. So many packets of the client never reached the service.
    pub fn abandon(&mut self) -> u64 {
        let unsent = self.view().unsent();
        self.upstream.forget_backlog();
        unsent
    }

    /// The session as others see it.
    #[must_use]
    pub const fn view(&self) -> View<'_> {
        View(self)
    }

    const fn conversation(&mut self) -> Option<Conversation<'_>> {
        match (&mut self.client, &mut self.service) {
            (ClientSpeech::EngineIo(client), ServiceSpeech::SocketIo(service)) => {
                Some(Conversation { client, service, upstream: &mut self.upstream, core: &mut self.core })
            }
            _ => None,
        }
    }

    fn absent_since(&self) -> Option<Instant> {
        match &self.client {
            ClientSpeech::EngineIo(client) => client.absent_since(),
            ClientSpeech::Plain => None,
        }
    }

    /// A side sent a Close.
    fn closed(&mut self, from: Side, payload: &[u8], now: Now) {
        let (code, reason) = match close::parse_close(payload) {
            Ok(said) => said.unwrap_or(NO_CLOSE),
            Err(error) => return self.core.end(Ended::broken_frame(from, error.close_code())),
        };
        self.core.close_reason = reason.into();
        self.lost(if from == Side::Client { Ended::ClientClosed(code) } else { Ended::ServiceClosed(code) }, now);
    }

    /// The client sent a WebSocket pong.
    fn client_pong(&mut self, now: Now) -> Note {
        if !self.core.admits_control(Side::Client, now) || !matches!(self.client, ClientSpeech::Plain) {
            return Note::None;
        }
        let interval = self.core.rules.ping_interval;
        self.core.heartbeat.answered(now.instant, interval).map_or(Note::None, Note::RoundTrip)
    }

    /// A side is lost. Where that is the service, the session may go on without it for a while.
    fn lost(&mut self, why: Ended, now: Now) {
        let is_known = match self.upstream.stage() {
            Stage::Down { .. } => why.service_may_return(),
            _ => why.client_may_return() && self.absent_since().is_some(),
        };
        if self.ended().is_some() || is_known {
            return;
        }
        if !why.service_may_return() || self.core.rules.hold.hold.is_none() || !self.holds_after(why) {
            return self.core.end(why);
        }
        if let ServiceSpeech::SocketIo(service) = &mut self.service {
            service.service_lost(&mut self.core, &mut self.upstream);
        }
        // A client that waits in vain hears of the outage, and not of the Close that began it.
        let outage = if matches!(why, Ended::ServiceClosed(_)) { Ended::ServiceLost } else { why };
        let dial_at = now.instant + backoff(self.upstream.failures(), self.core.spread());
        self.upstream.lose(outage, dial_at, now.instant);
        self.core.close_reason = Box::default();
        self.core.actions.push(Action::Detach(Side::Service, why));
    }

    /// Whether the client has something to wait for.
    fn holds_after(&self, why: Ended) -> bool {
        match &self.service {
            ServiceSpeech::SocketIo(service) => !service.namespaces.is_empty(),
            ServiceSpeech::Plain(service) => service.holds_after(why),
        }
    }

    /// An end that concerns the client's connection alone: the client may come back. A page that is left does not come
    /// back, nor does a client that is in no namespace.
    fn conclude(&mut self, now: Now) {
        let Some(why) = self.core.ended().filter(|why| why.client_may_return()) else { return };
        let is_kept = self.core.rules.hold.resume.is_some();
        let Some(mut talk) = self.conversation().filter(|_| is_kept) else { return };
        let is_present = talk.client.resume.as_ref().is_some_and(|resume| resume.absent_since().is_none());
        if is_present && talk.service.namespaces.names().next().is_some() {
            talk.client_lost(why, now);
        }
    }
}

/// A session as the log, the gauges, `/sessions` and the relay's dials see it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a>(&'a Session);

impl<'a> View<'a> {
    /// The verified user, from the first accepted CONNECT or the handshake on. `None` before.
    #[must_use]
    pub const fn identity(self) -> Option<&'a Identity> {
        self.0.core.identity.as_ref()
    }

    /// The client's address.
    #[must_use]
    pub const fn peer(self) -> IpAddr {
        self.0.core.peer
    }

    /// What the client knows the session by. `None` on a plain WebSocket route.
    #[must_use]
    pub const fn sid(self) -> Option<Sid> {
        match &self.0.client {
            ClientSpeech::EngineIo(client) => Some(client.sid),
            ClientSpeech::Plain => None,
        }
    }

    /// What the client shows to come back. `None`: it cannot.
    #[must_use]
    pub fn pid(self) -> Option<Pid> {
        match &self.0.client {
            ClientSpeech::EngineIo(client) => client.resume.as_ref().map(|resume| resume.pid),
            ClientSpeech::Plain => None,
        }
    }

    /// The namespaces that are joined.
    #[must_use]
    pub fn namespaces(self) -> Vec<String> {
        match &self.0.service {
            ServiceSpeech::SocketIo(service) => service.namespaces.names().map(str::to_owned).collect(),
            ServiceSpeech::Plain(_) => Vec::new(),
        }
    }

    /// The last heartbeat's round trip.
    #[must_use]
    pub const fn rtt(self) -> Option<Duration> {
        self.0.core.heartbeat.rtt()
    }

    /// How the messages of the service must be read.
    #[must_use]
    pub fn service_reading(self) -> Reading {
        match &self.0.service {
            ServiceSpeech::SocketIo(_) => Reading { whole: false, checks_text: false },
            ServiceSpeech::Plain(service) => Reading { whole: service.rules.reads_messages(), checks_text: true },
        }
    }

    /// The side of the service: `away`, `joining` or `open`. `None`: it was never dialled.
    #[must_use]
    pub const fn service(self) -> Option<&'static str> {
        match self.0.upstream.stage() {
            Stage::Unwanted => None,
            Stage::Down { .. } | Stage::Dialling => Some("away"),
            Stage::Rejoining => Some("joining"),
            Stage::Flowing => Some("open"),
        }
    }

    /// Since when the session is without the service that it had, or could not reach. `None`: it has it, or dials it for the
    /// first time.
    #[must_use]
    pub fn service_down_since(self) -> Option<Instant> {
        self.0.upstream.down_since().filter(|_| self.0.upstream.is_redial())
    }

    /// Packets of the client that wait for the service, and their bytes.
    #[must_use]
    pub fn waiting(self) -> (usize, usize) {
        self.0.upstream.backlog().map_or((0, 0), |backlog| (backlog.queue.len(), backlog.queue.bytes()))
    }

    /// Packets that were dropped from a queue.
    #[must_use]
    pub const fn dropped(self) -> u64 {
        self.0.upstream.dropped()
    }

    /// Packets of the client that were dropped or wait, and would not reach the service if the session ended now.
    #[must_use]
    pub fn unsent(self) -> u64 {
        self.dropped() + self.waiting().0 as u64
    }

    /// What the side that closed said of it.
    #[must_use]
    pub fn close_reason(self) -> &'a str {
        &self.0.core.close_reason
    }
}

#[cfg(test)]
mod tests;
