//! Limits connections, in total and per address, and bounds each one.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    descriptors::{PER_ABSENT, SetAside},
    verdict::{Refusal, RefusalKind},
};
use crate::{
    fault::{Fault, Faults},
    network::Network,
    units::{ByteSize, Period},
};

/// A request head is held in memory until it is complete.
const HEADER_BYTES: std::ops::RangeInclusive<u64> = 1024..=1024 * 1024;

/// Node reads no more than 1000 header fields, and the gate adds some of its own behind those of the client. A service
/// on `ws` before 8.17.1 ends if there are more (CVE-2024-37890).
pub const HEADER_FIELDS_MAX: u16 = 900;
/// Browsers send about 20.
const HEADER_FIELDS: std::ops::RangeInclusive<u16> = 16..=HEADER_FIELDS_MAX;

/// With less memory than this a node would refuse its first sessions.
const MEMORY: std::ops::RangeInclusive<u64> = 32_000_000..=u64::MAX;

/// A balancer that needs longer to notice is mistaken.
const LAME_DUCK_MAX: Period = Period::from_secs(300);

/// `[limits]`: the bounds of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsTable {
    /// Connections open at once. One more gets 503. Each takes two file descriptors; where there are fewer, a warning at
    /// the start says so. It also bounds the sessions that wait for absent clients (`session.resume`).
    #[schemars(range(min = 1))]
    pub connections: u32,
    /// Connections open at once from one IPv4 address or one IPv6 /64 network. One more gets 429.
    #[schemars(range(min = 1))]
    pub connections_per_ip: u32,
    /// Sessions that wait for absent clients (`session.resume`) of one IPv4 address or one IPv6 /64 network. They do not
    /// count among its connections. One more is not kept: its client gets a new session. `0`: none is kept.
    pub absent_per_ip: u32,
    /// HTTP requests under way at once: those forwarded to the service, until their answer has been read, and payloads of
    /// polling clients. One more gets 503.
    #[schemars(range(min = 1))]
    pub requests: u32,
    /// The same from one IPv4 address or one IPv6 /64 network. One more gets 429.
    #[schemars(range(min = 1))]
    pub requests_per_ip: u32,
    /// TLS handshakes a second from one IPv4 address or one IPv6 /64 network, and four times as many at once; those of
    /// `listen.trusted_proxies` are not counted. One more is closed. `0`: any number.
    pub handshakes_per_ip: u32,
    /// How long a new connection may take until its request head is complete; half of it is for TLS.
    pub handshake_timeout: Period,
    /// The largest request head, and so the largest token in a header, a cookie or the query. Node refuses heads of more than
    /// 16KiB, as long as it is not started with another `--max-http-header-size`.
    pub header_bytes: ByteSize,
    /// How many header fields a request may have, 16 to 900.
    #[schemars(range(min = 16, max = HEADER_FIELDS_MAX))]
    pub header_fields: u16,
    /// Sessions without a packet from either side for this long are closed; heartbeats do not count. `"0s"`: never.
    pub idle_timeout: Period,
    /// How many bytes may wait for a client that reads slowly, beside one message of any size, before its session is closed.
    pub send_buffer: ByteSize,
    /// In how many rooms a session may be at once, by `[[room]]` and by other programs. The rooms of its sockets do not count.
    /// At the bound it gets into no further room. The same number bounds the rooms that it has asked for and has no answer
    /// about.
    pub rooms_per_session: u32,
    /// How many rooms there may be at once. Every socket that has joined a namespace has one of its own, and a room with
    /// clients on several `listen.workers` counts once for each. A client for which there would be one more is not in that room.
    #[schemars(range(min = 1))]
    pub rooms: u32,
    /// How many sessions of one of `listen.workers` may be in a room at once. One more is not in it. Without it, as many as
    /// `limits.connections`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), example = &10_000)]
    pub room_members: Option<u32>,
    /// How much memory all sessions together may keep for what was sent to them: packets that wait or are not
    /// complete, what slow readers have not taken, CONNECT packets. If there is more, the session that keeps most is closed.
    /// Polling payloads and answers to polls may take as much again. Never more than a quarter of the limit of memory.
    pub session_memory: ByteSize,
    /// The memory that this process may use. From 85 % of it on new sessions are refused, from 95 % on the sessions that keep
    /// most are closed. Without it, the limit of the control group, of the process or of the machine counts, whichever is
    /// used up most. `"0B"`: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"512MB")]
    pub memory: Option<ByteSize>,
    /// How long a node still serves after SIGTERM or SIGUSR1, new clients too, while `/readyz` is 503: as long as balancers may
    /// still send some. Then it drains. SIGINT and a second signal skip it. At most `"5m"`; `"0s"`: it drains at once.
    pub lame_duck: Period,
    /// The time over which clients are disconnected then. In Kubernetes `terminationGracePeriodSeconds` must be at least 5 s
    /// more than `lame_duck` and `shutdown_grace` together. A second signal leaves 2 s, a third none.
    pub shutdown_grace: Period,
}

impl Default for LimitsTable {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_ip: 200,
            absent_per_ip: 200,
            requests: 1_000,
            requests_per_ip: 100,
            handshakes_per_ip: 50,
            handshake_timeout: Period::from_secs(10),
            header_bytes: ByteSize(16_000),
            header_fields: 100,
            idle_timeout: Period::OFF,
            send_buffer: ByteSize(1_000_000),
            rooms_per_session: 64,
            rooms: 100_000,
            room_members: None,
            session_memory: ByteSize(256_000_000),
            memory: None,
            lame_duck: Period::from_secs(5),
            shutdown_grace: Period::from_secs(30),
        }
    }
}

impl LimitsTable {
    /// Checks these limits.
    ///
    /// # Errors
    /// Each limit that admits nothing, and each size out of bounds.
    pub fn check(&self) -> Result<(), Vec<Fault>> {
        let mut faults = Faults::default();
        for (key, count) in
            [("limits.connections", self.connections), ("limits.connections_per_ip", self.connections_per_ip)]
        {
            if count == 0 {
                faults.add(key, "is 0, which refuses every connection");
            }
        }
        for (key, count) in [("limits.requests", self.requests), ("limits.requests_per_ip", self.requests_per_ip)] {
            if count == 0 {
                faults.add(key, "is 0, which refuses every request");
            }
        }
        for (key, count) in [("limits.rooms", Some(self.rooms)), ("limits.room_members", self.room_members)] {
            if count == Some(0) {
                faults.add(key, "is 0, which keeps every client out of every room");
            }
        }
        if self.lame_duck > LAME_DUCK_MAX {
            faults.add("limits.lame_duck", format!("is \"{}\"; it must be at most {LAME_DUCK_MAX}", self.lame_duck));
        }
        faults.keep(self.handshake_timeout.above_zero("limits.handshake_timeout"));
        faults.keep(self.header_bytes.within("limits.header_bytes", &HEADER_BYTES));
        if !HEADER_FIELDS.contains(&self.header_fields) {
            let (least, most) = (HEADER_FIELDS.start(), HEADER_FIELDS.end());
            let message = format!("is {}; it must be between {least} and {most}", self.header_fields);
            faults.add("limits.header_fields", message);
        }
        if let Some(memory) = self.memory.filter(|memory| memory.0 > 0) {
            faults.keep(memory.within("limits.memory", &MEMORY));
        }
        faults.finish(Some(()))
    }
}

/// Counts the connections of the process, and the sessions that wait for their clients. Called once for each accepted connection, so one lock is enough.
#[derive(Debug)]
pub struct Connections {
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    limit: u32,
    limit_per_ip: u32,
    absent_limit_per_ip: u32,
    all: Share,
    /// Networks without a connection or a session have no entry, so there are never more entries than those.
    per_network: HashMap<Network, Share>,
}

/// What is counted.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    open: u32,
    absent: u32,
}

/// Permission for one open connection; the connection counts until this is dropped.
#[derive(Debug)]
#[must_use = "the connection counts as closed as soon as this is dropped"]
pub struct Permit {
    connections: Arc<Connections>,
    network: Network,
    is_absent: bool,
    /// What the connection, and the service's behind it, are opened with.
    descriptors: Option<SetAside>,
}

impl Permit {
    /// The same with these descriptors, kept as long.
    pub fn with(self, descriptors: SetAside) -> Self {
        let mut permit = self;
        permit.descriptors = Some(descriptors);
        permit
    }
}

/// A session whose client is absent is not kept, because too many are: the code of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyAbsent {
    /// As metrics and log name it.
    pub code: &'static str,
    /// The setting.
    pub key: &'static str,
}

impl Connections {
    /// No connection is open yet.
    #[must_use]
    pub fn new(limits: &LimitsTable) -> Arc<Self> {
        let counts = Counts {
            limit: limits.connections,
            limit_per_ip: limits.connections_per_ip,
            absent_limit_per_ip: limits.absent_per_ip,
            all: Share::default(),
            per_network: HashMap::new(),
        };
        Arc::new(Self { counts: Mutex::new(counts) })
    }

    /// Permission for one more connection from `ip`.
    ///
    /// # Errors
    /// `limit.connections` (unavailable) when the node is full, else `limit.connections_per_ip` (too many) when the
    /// address, or the IPv6 /64 around it, has reached its limit.
    pub fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<Permit, Refusal> {
        const FULL: Refusal = Refusal {
            kind: RefusalKind::Unavailable,
            code: "limit.connections",
            message: "Too many connections. Please try again later.",
            rule: None,
            fault: None,
        };
        const SHARE_TAKEN: Refusal = Refusal {
            kind: RefusalKind::TooMany,
            code: "limit.connections_per_ip",
            message: "Too many connections from your address.",
            rule: None,
            fault: None,
        };
        let network = Network::from(ip);
        let mut counts = self.counts();
        if counts.all.open >= counts.limit {
            return Err(FULL);
        }
        let from_network = counts.per_network.get(&network).copied().unwrap_or_default();
        if from_network.open >= counts.limit_per_ip {
            return Err(SHARE_TAKEN);
        }
        counts.all.open += 1;
        counts.per_network.entry(network).or_default().open += 1;
        Ok(Permit { connections: Arc::clone(self), network, is_absent: false, descriptors: None })
    }

    /// Replaces the limits. Connections open beyond them stay open.
    pub fn set_limits(&self, limits: &LimitsTable) {
        let mut counts = self.counts();
        counts.limit = limits.connections;
        counts.limit_per_ip = limits.connections_per_ip;
        counts.absent_limit_per_ip = limits.absent_per_ip;
    }

    /// The number of open connections.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.counts().all.open
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The connection is closed, and its session waits for the client. It counts among the absent from now on, so that the
    /// client finds a place when it comes back, with a connection that has a permit of its own. Its descriptor is free.
    ///
    /// # Errors
    /// Too many sessions wait already, in total or for this address. Then this still counts as open.
    pub fn leave(&mut self) -> Result<(), TooManyAbsent> {
        const FULL: TooManyAbsent = TooManyAbsent { code: "limit.absent", key: "limits.connections" };
        const SHARE_TAKEN: TooManyAbsent = TooManyAbsent { code: "limit.absent_per_ip", key: "limits.absent_per_ip" };
        let mut counts = self.connections.counts();
        if self.is_absent {
            return Ok(());
        }
        if counts.all.absent >= counts.limit {
            return Err(FULL);
        }
        let (limit, share) = (counts.absent_limit_per_ip, counts.per_network.entry(self.network).or_default());
        if share.absent >= limit {
            return Err(SHARE_TAKEN);
        }
        share.open -= 1;
        share.absent += 1;
        counts.all.open -= 1;
        counts.all.absent += 1;
        self.is_absent = true;
        drop(counts);
        if let Some(descriptors) = &mut self.descriptors {
            descriptors.keep(PER_ABSENT);
        }
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.connections.counts();
        let counts = &mut *counts;
        let release = |share: &mut Share| if self.is_absent { share.absent -= 1 } else { share.open -= 1 };
        release(&mut counts.all);
        if let Some(share) = counts.per_network.get_mut(&self.network) {
            release(share);
            if share.open + share.absent == 0 {
                counts.per_network.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::descriptors::{Descriptors, PER_CLIENT};

    fn limits(connections: u32, connections_per_ip: u32) -> LimitsTable {
        LimitsTable { connections, connections_per_ip, ..LimitsTable::default() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_full_node_admits_again_when_a_connection_closes() {
        let connections = Connections::new(&limits(2, 2));
        let first = connections.admit(ip("192.0.2.1")).unwrap();
        let _second = connections.admit(ip("192.0.2.2")).unwrap();
        assert_eq!(connections.admit(ip("192.0.2.3")).unwrap_err().code, "limit.connections");
        drop(first);
        assert!(connections.admit(ip("192.0.2.3")).is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_limit() {
        let connections = Connections::new(&limits(10, 2));
        let _first = connections.admit(ip("2001:db8::1")).unwrap();
        let second = connections.admit(ip("2001:db8::2")).unwrap();
        let refusal = connections.admit(ip("2001:db8::3")).unwrap_err();
        assert_eq!((refusal.kind, refusal.code), (RefusalKind::TooMany, "limit.connections_per_ip"));
        assert!(connections.admit(ip("2001:db8:0:1::1")).is_ok());
        drop(second);
        assert!(connections.admit(ip("2001:db8::3")).is_ok());
    }

    #[test]
    fn nothing_is_remembered_of_closed_connections() {
        let connections = Connections::new(&limits(1000, 10));
        let permits: Vec<_> =
            (0..=255).map(|last| connections.admit(ip(&format!("192.0.2.{last}"))).unwrap()).collect();
        assert_eq!(connections.open(), 256);
        drop(permits);
        assert_eq!(connections.open(), 0);
        assert!(connections.counts().per_network.is_empty());
    }

    #[test]
    fn new_limits_hold_at_once_for_new_connections() {
        let connections = Connections::new(&limits(2, 2));
        let _first = connections.admit(ip("192.0.2.1")).unwrap();
        let _second = connections.admit(ip("192.0.2.1")).unwrap();
        connections.set_limits(&limits(1, 1));
        assert_eq!(connections.open(), 2);
        assert!(connections.admit(ip("192.0.2.2")).is_err());
        connections.set_limits(&limits(3, 3));
        assert!(connections.admit(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn an_absent_client_has_the_descriptor_of_the_service_alone() {
        let connections = Connections::new(&LimitsTable { absent_per_ip: 1, ..limits(3, 3) });
        let descriptors = Descriptors::new(4);
        let admit = || connections.admit(ip("192.0.2.1")).unwrap().with(descriptors.set_aside(PER_CLIENT).unwrap());
        let (mut kept, mut not_kept) = (admit(), admit());
        assert_eq!((kept.leave(), kept.leave(), descriptors.used()), (Ok(()), Ok(()), 3));
        assert!(not_kept.leave().is_err());
        assert_eq!(descriptors.used(), 3);
        drop((kept, not_kept));
        assert_eq!(descriptors.used(), 0);
    }

    #[test]
    fn an_absent_client_leaves_its_place_to_others_and_is_bounded_itself() {
        let limits = LimitsTable { absent_per_ip: 2, ..limits(3, 1) };
        let connections = Connections::new(&limits);
        let mut permits = Vec::new();
        for _ in 0..2 {
            let mut permit = connections.admit(ip("192.0.2.1")).unwrap();
            assert_eq!((permit.leave(), permit.leave()), (Ok(()), Ok(())), "it leaves once");
            permits.push(permit);
        }
        let mut third = connections.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(third.leave().unwrap_err().code, "limit.absent_per_ip");
        assert!(connections.admit(ip("192.0.2.1")).is_err(), "it counts as open still");
        let mut other = connections.admit(ip("192.0.2.2")).unwrap();
        assert_eq!((connections.open(), other.leave(), connections.open()), (2, Ok(()), 1));
        let mut another = connections.admit(ip("192.0.2.3")).unwrap();
        assert_eq!(another.leave().unwrap_err().key, "limits.connections");
        drop((permits, third, other, another));
        assert_eq!((connections.open(), connections.counts().all.absent), (0, 0));
        assert!(connections.counts().per_network.is_empty());
    }
}
