//! A session as others see it: for the log, the gauges, `/sessions` and the relay's dials.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    policy::identity::Identity,
    session::{
        answer::{self, Close},
        core::Core,
        ended::Ended,
        engineio::EngineIo,
        quality::Quality,
        speech::{ClientSpeech, ServiceSpeech},
        upstream::{Backlog, Stage, Upstream},
    },
    wire::engineio::id::{Pid, Sid},
};

/// How the messages of a service must be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The longest message, in bytes.
    pub max: usize,
    /// Whether each must be complete before it is judged.
    pub whole: bool,
    /// Whether text must be checked to be UTF-8 (RFC 6455 §8.1): where no parser behind the gate does it.
    pub checks_text: bool,
}

/// A session as the log, the gauges, `/sessions` and the relay's dials see it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub(super) core: &'a Core,
    pub(super) upstream: &'a Upstream,
    pub(super) client: &'a ClientSpeech,
    pub(super) service: &'a ServiceSpeech,
}

impl<'a> View<'a> {
    /// The verified user, from the first accepted CONNECT or the handshake on; of several the first that is in a namespace
    /// still. `None` before.
    #[must_use]
    pub fn identity(self) -> Option<&'a Identity> {
        let users = &self.core.users;
        match self.service {
            ServiceSpeech::SocketIo(service) if users.are_several() => {
                let first = service.namespaces.logins().map(|(_, login)| login.user).min();
                users.get(first.unwrap_or_default())
            }
            _ => users.get(0),
        }
    }

    /// The names of all users that are in a namespace, where the session has had several.
    #[must_use]
    pub fn users(self) -> Vec<String> {
        let ServiceSpeech::SocketIo(service) = self.service else { return Vec::new() };
        let is_in = |user: u8| service.namespaces.logins().any(|(_, login)| login.user == user);
        let users = self.core.users.iter().filter(|(user, _)| self.core.users.are_several() && is_in(*user));
        users.filter_map(|(_, identity)| identity.user()).map(str::to_owned).collect()
    }

    /// Whether it is so of the name of a user or of a namespace that is joined.
    #[must_use]
    pub fn is_known_by(self, is_so: impl Fn(&str) -> bool) -> bool {
        let name = |identity: &'a Identity| identity.user();
        if self.identity().and_then(name).is_some_and(&is_so) {
            return true;
        }
        let ServiceSpeech::SocketIo(service) = self.service else { return false };
        service.namespaces.names().any(&is_so)
            || (self.core.users.are_several() && self.users().iter().any(|user| is_so(user)))
    }

    /// The client's address.
    #[must_use]
    pub const fn peer(self) -> IpAddr {
        self.core.peer
    }

    /// What the client knows the session by; on a bridged route nobody does. `None` on another plain WebSocket route.
    #[must_use]
    pub const fn sid(self) -> Option<Sid> {
        match self.client.of_socketio() {
            Some(client) => Some(client.sid),
            None => None,
        }
    }

    /// What the client shows to come back. `None`: it cannot.
    #[must_use]
    pub fn pid(self) -> Option<Pid> {
        self.client.of_socketio().and_then(|client| client.resume.as_ref()).map(|resume| resume.pid)
    }

    /// The path of the plain WebSocket route, as it is configured. `None` on the Socket.IO endpoint.
    #[must_use]
    pub fn route(self) -> Option<&'a str> {
        match (self.client, self.service) {
            (ClientSpeech::Json(client), _) => Some(&client.rules.path),
            (_, ServiceSpeech::SocketIo(_)) => None,
            (_, ServiceSpeech::Plain(plain)) => Some(&plain.rules.path),
        }
    }

    /// For how long the session waits for its client once that is lost. `None`: not at all.
    #[must_use]
    pub fn waits_for_client(self) -> Option<Duration> {
        self.core.rules.hold.resume
    }

    /// Whether a namespace is joined.
    #[must_use]
    pub fn has_joined(self) -> bool {
        match self.service {
            ServiceSpeech::SocketIo(service) => service.namespaces.names().next().is_some(),
            ServiceSpeech::Plain(_) => false,
        }
    }

    /// The namespaces that are joined.
    #[must_use]
    pub fn namespaces(self) -> Vec<String> {
        match self.service {
            ServiceSpeech::SocketIo(service) => service.namespaces.names().map(str::to_owned).collect(),
            ServiceSpeech::Plain(_) => Vec::new(),
        }
    }

    /// The last heartbeat's round trip.
    #[must_use]
    pub fn rtt(self) -> Option<Duration> {
        self.core.heartbeat.trips().last()
    }

    /// The average of the last ten that took at most 5 s. `None`: there is none.
    #[must_use]
    pub fn rtt_average(self) -> Option<Duration> {
        self.core.heartbeat.trips().average()
    }

    /// The mean deviation of those from their average. `None`: there are fewer than two.
    #[must_use]
    pub fn jitter(self) -> Option<Duration> {
        self.core.heartbeat.trips().jitter()
    }

    /// Which share of the last ten took longer than 5 s, in percent. `None`: no ping was answered yet.
    #[must_use]
    pub fn loss_percent(self) -> Option<u8> {
        self.core.heartbeat.trips().loss_percent()
    }

    /// How good the connection is or, while the client is absent, was. `None`: no ping was answered yet.
    #[must_use]
    pub fn quality(self) -> Option<Quality> {
        self.core.heartbeat.trips().quality()
    }

    /// How the messages of the service must be read.
    #[must_use]
    pub fn service_reading(self) -> Reading {
        let max = self.core.rules.max_message;
        match self.service {
            ServiceSpeech::SocketIo(_) => Reading { max, whole: false, checks_text: false },
            ServiceSpeech::Plain(service) => Reading { max, whole: service.rules.reads_messages(), checks_text: true },
        }
    }

    /// The side of the service: `down`, `joining` or `open`. `None`: it was never dialled.
    #[must_use]
    pub const fn service(self) -> Option<&'static str> {
        match self.upstream.stage() {
            Stage::Unwanted => None,
            Stage::Down { .. } | Stage::Dialling => Some("down"),
            Stage::Rejoining => Some("joining"),
            Stage::Flowing => Some("open"),
        }
    }

    /// Since when the session is without the service that it had, or could not reach. `None`: it has it, or dials it for the
    /// first time.
    #[must_use]
    pub fn service_down_since(self) -> Option<Instant> {
        self.upstream.down_since().filter(|_| self.upstream.is_redial())
    }

    /// Packets of the client that wait for the service, and their bytes.
    #[must_use]
    pub fn waiting(self) -> (usize, usize) {
        self.upstream.backlog().map_or((0, 0), |backlog| (backlog.queue.len(), backlog.queue.bytes()))
    }

    /// What the session keeps whose length a side has decided, in bytes of memory: packets that wait, are sent again or lack
    /// attachments, events for a client that may come back, CONNECT packets, acks in flight.
    #[must_use]
    pub fn memory(self) -> usize {
        let backlog = self.upstream.backlog().map_or(0, Backlog::memory);
        let client = self.client.of_socketio().map_or(0, EngineIo::memory);
        let service = match self.service {
            ServiceSpeech::SocketIo(service) => service.memory(),
            ServiceSpeech::Plain(service) => service.memory(),
        };
        backlog + client + service
    }

    /// Packets that were dropped from a queue.
    #[must_use]
    pub const fn dropped(self) -> u64 {
        self.upstream.dropped()
    }

    /// Packets of the client that were dropped or wait, and would not reach the service if the session ended now.
    #[must_use]
    pub fn unsent(self) -> u64 {
        self.dropped() + self.waiting().0 as u64
    }

    /// Events for the client that it has missed for good, or may have.
    #[must_use]
    pub fn lost(self) -> u64 {
        let resume = self.client.of_socketio().and_then(|client| client.resume.as_ref());
        resume.map_or(0, |resume| resume.lost())
    }

    /// The queue that was full in this outage or absence, `hold` or `resume`, and the event that filled it.
    #[must_use]
    pub fn filled(self) -> Option<(&'static str, &'a str)> {
        self.core.filled.as_ref().map(|filled| (filled.queue, self.core.rules.names.name(filled.event)))
    }

    /// What the side that closed said of it.
    #[must_use]
    pub fn close_reason(self) -> &'a str {
        self.core.close_reason()
    }

    /// The Close for the client after this end.
    #[must_use]
    pub fn close_of_client(self, ended: Ended) -> Close<'a> {
        let close = answer::to_client(ended, self.close_reason());
        match (self.client, self.service) {
            (ClientSpeech::Json(client), _) => client.close(ended, close),
            (_, ServiceSpeech::SocketIo(_)) => close,
            (_, ServiceSpeech::Plain(service)) => service.answers.close(ended, close),
        }
    }
}
