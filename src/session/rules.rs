//! What a session obeys, as compiled from the configuration.

use std::{sync::Arc, time::Duration};

use crate::{
    event_names::EventNames,
    fault::{Fault, Faults},
    mirror::rules::MirrorRules,
    policy::policies::Policies,
    session::{
        heartbeat::PingTimes,
        hold::{HoldRules, SessionTable},
        join_rate::JoinLimit,
        quality::ping_rules::PingRules,
        queue::STORED_MESSAGE_MAX,
        route_answers::{Carries, RouteAnswers, RouteInForce},
        table::SocketioTable,
    },
    units::{ByteSize, Period},
    wire::json::check::{DEPTH_MAX, JsonBounds},
};

/// A fragmented message is put together in memory.
const MAX_PAYLOAD: std::ops::RangeInclusive<u64> = 1..=100 * 1024 * 1024;

/// Of the service. What is stored of it counts in the memory of its session.
const MAX_MESSAGE: std::ops::RangeInclusive<u64> = 1024..=1024 * 1024 * 1024;

/// What a client says to join a namespace is kept as long as it is in it.
const MAX_CONNECT: std::ops::RangeInclusive<u64> = 256..=1024 * 1024;

/// A namespace has a number of one byte, and one number stands for none.
pub(super) const NAMESPACES: std::ops::RangeInclusive<u32> = 1..=255;

/// What every session of a node obeys. A reload makes new ones.
#[derive(Debug)]
pub struct SessionRules {
    /// Who may do what.
    pub policies: Policies,
    /// Event names as numbers, for rules and counters.
    pub names: Arc<EventNames>,
    /// Between two pings.
    pub ping_interval: Duration,
    /// For the answer to one.
    pub ping_timeout: Duration,
    /// For the first namespace.
    pub connect_timeout: Duration,
    /// Without a packet from either side. `None`: no limit.
    pub idle_timeout: Option<Duration>,
    /// The largest message of a client, and the largest packet with its attachments, in bytes.
    pub max_payload: usize,
    /// The largest message of the service, and its largest packet with its attachments, in bytes.
    pub max_message: usize,
    /// The largest CONNECT of a client, in bytes.
    pub max_connect: usize,
    /// While the service is down or the client absent.
    pub hold: HoldRules,
    /// What the JSON of a client's packets must be.
    pub json: JsonBounds,
    /// How often a session may join a namespace.
    pub joins: JoinLimit,
    /// In how many namespaces a session may be at once.
    pub max_namespaces: usize,
    /// Which clients are in which room, and which events are mirrored to other nodes.
    pub mirror: MirrorRules,
    /// In how many rooms a session may be at once, beside those of its sockets.
    pub rooms_per_session: usize,
    /// By which event a client measures its connection.
    pub ping: PingRules,
    /// The plain WebSocket routes.
    pub routes: Box<[RouteInForce]>,
}

/// The part of the rules that only the tables `[socketio]` and `[session]` decide.
#[derive(Debug)]
pub struct Timing {
    /// See [`SessionRules::ping_interval`].
    pub ping_interval: Duration,
    /// See [`SessionRules::ping_timeout`].
    pub ping_timeout: Duration,
    connect_timeout: Duration,
    idle_timeout: Option<Duration>,
    max_payload: usize,
    max_connect: usize,
    hold: HoldRules,
    json: JsonBounds,
    joins: JoinLimit,
    max_namespaces: usize,
}

impl Timing {
    /// As the tables say; `idle_timeout` may be off.
    ///
    /// # Errors
    /// Each value out of bounds.
    pub fn compile(socketio: &SocketioTable, session: &SessionTable, idle_timeout: Period) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        faults.keep(socketio.max_payload.within("socketio.max_payload", &MAX_PAYLOAD));
        if socketio.payload_packets == 0 {
            faults.add("socketio.payload_packets", "is 0; a payload has at least one packet");
        }
        faults.keep(socketio.max_connect.within("socketio.max_connect", &MAX_CONNECT));
        let ping_interval = faults.keep(socketio.ping_interval.above_zero("socketio.ping_interval"));
        let ping_timeout = faults.keep(socketio.ping_timeout.above_zero("socketio.ping_timeout"));
        let connect_timeout = faults.keep(socketio.connect_timeout.above_zero("socketio.connect_timeout"));
        let hold = faults.keep(HoldRules::compile(session));
        let json = JsonBounds::new(socketio.json, socketio.json_depth).ok_or_else(|| {
            let message = format!("is {}; it must be between 1 and {DEPTH_MAX}", socketio.json_depth);
            Fault::new("socketio.json_depth", message)
        });
        let json = faults.keep(json);
        let joins = faults.keep(JoinLimit::compile(socketio));
        if !NAMESPACES.contains(&socketio.max_namespaces) {
            let (least, most) = (NAMESPACES.start(), NAMESPACES.end());
            let message = format!("is {}; it must be between {least} and {most}", socketio.max_namespaces);
            faults.add("socketio.max_namespaces", message);
        }
        let timing = || {
            Some(Self {
                ping_interval: ping_interval?,
                ping_timeout: ping_timeout?,
                connect_timeout: connect_timeout?,
                idle_timeout: Some(idle_timeout.0).filter(|idle| !idle.is_zero()),
                max_payload: usize::try_from(socketio.max_payload.0).unwrap_or(usize::MAX),
                max_connect: usize::try_from(socketio.max_connect.0).unwrap_or(usize::MAX),
                hold: hold?,
                json: json?,
                joins: joins?,
                max_namespaces: usize::try_from(socketio.max_namespaces).unwrap_or(usize::MAX),
            })
        };
        faults.finish(timing())
    }
}

impl SessionRules {
    /// From one ping to the latest answer to it.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.ping_interval + self.ping_timeout
    }

    /// What a client that comes now is told.
    pub(super) const fn pings(&self) -> PingTimes {
        PingTimes { interval: self.ping_interval, timeout: self.ping_timeout }
    }

    /// All of them.
    #[must_use]
    pub fn new(policies: Policies, names: Arc<EventNames>, timing: Timing) -> Self {
        let Timing {
            ping_interval,
            ping_timeout,
            connect_timeout,
            idle_timeout,
            max_payload,
            max_connect,
            hold,
            json,
            joins,
            max_namespaces,
        } = timing;
        Self {
            policies,
            names,
            ping_interval,
            ping_timeout,
            connect_timeout,
            idle_timeout,
            max_payload,
            max_message: STORED_MESSAGE_MAX,
            max_connect,
            hold,
            json,
            joins,
            max_namespaces,
            mirror: MirrorRules::default(),
            rooms_per_session: 0,
            ping: PingRules::default(),
            routes: Box::default(),
        }
    }

    /// With plain WebSocket routes, for the sessions that they have already.
    #[must_use]
    pub fn with_routes(self, routes: Box<[RouteInForce]>) -> Self {
        Self { routes, ..self }
    }

    /// The answers of the route that is at this path now. `None`: there is none, or it carries something else.
    pub(super) fn answers_of(&self, path: &str, carries: Carries) -> Option<&Arc<RouteAnswers>> {
        let route = self.routes.iter().find(|route| *route.path == *path && route.carries == carries);
        route.map(|route| &route.answers)
    }

    /// With other nodes: rooms, of which a session may have so many, and what is published.
    #[must_use]
    pub fn with_others(self, mirror: MirrorRules, rooms_per_session: usize) -> Self {
        Self { mirror, rooms_per_session, ..self }
    }

    /// With an event by which clients measure their connections; without it there is none.
    #[must_use]
    pub fn with_ping(self, ping: PingRules) -> Self {
        Self { ping, ..self }
    }

    /// With messages of the service of at most so many bytes; without it they have [`STORED_MESSAGE_MAX`].
    ///
    /// # Errors
    /// The value is out of bounds.
    pub fn with_max_message(self, max_message: ByteSize) -> Result<Self, Fault> {
        let bytes = max_message.within("upstream.max_message", &MAX_MESSAGE)?;
        Ok(Self { max_message: usize::try_from(bytes).unwrap_or(usize::MAX), ..self })
    }
}
