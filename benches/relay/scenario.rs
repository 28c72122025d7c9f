//! The scenarios: how many connections, how much traffic, plain or TLS, and the goals.

use std::time::Duration;

use crate::{bounds::Bound, peers::Peer};

/// One way to load a proxy.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// As `--only` has it.
    pub(crate) name: &'static str,
    /// What its figures are of.
    pub(crate) title: &'static str,
    /// What the clients do.
    pub(crate) load: Load,
    /// Whether they come over TLS. The service is always plain.
    pub(crate) tls: bool,
    /// Connections open at a time. [`Load::Idle`] is told how many on the command line.
    pub(crate) connections: usize,
    /// Events on each connection that have not been acknowledged yet.
    pub(crate) in_flight: usize,
    /// The text of one event, in bytes.
    pub(crate) event_bytes: usize,
    /// What it is judged by.
    pub(crate) figure: Figure,
    /// What tidegate must not exceed.
    pub(crate) goals: &'static [Goal],
}

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Each has its events in flight, always.
    Converse,
    /// Each connects, joins with a token of its own, sends one event and goes; then the next one comes.
    Churn,
    /// Each has sent one event and is then silent.
    Idle,
    /// Each sends an event every [`FLOOD_PAUSE`]; first alone, then while others do nothing but TLS handshakes.
    Flood,
}

/// What a reading is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// CPU time of the proxy per round trip or connection.
    Cpu,
    /// The same per megabyte.
    CpuPerMegabyte,
    /// By how much each connection made the proxy grow.
    Resident,
    /// The median round trip.
    P50,
    /// The slowest hundredth of the round trips of a tenth of a second with handshakes beside them, to that without.
    FloodedP99,
}

/// What tidegate must not exceed. The maxima above a goal are what the builds of today have in docs/performance.md, and what
/// other work of the machine adds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// Its own figure.
    Figure(Bound),
    /// The ratio to that of another.
    To(Peer, Bound),
}

/// Between two events of one session while handshakes come in.
pub(crate) const FLOOD_PAUSE: Duration = Duration::from_millis(20);
/// Between two such handshakes.
pub(crate) const HANDSHAKE_PAUSE: Duration = Duration::from_millis(2);

/// One small event in flight on each of many connections.
pub(crate) const SB: Scenario = Scenario {
    name: "sb",
    title: "64 connections x 1 in flight, 64 bytes: CPU-us per round trip",
    load: Load::Converse,
    tls: false,
    connections: 64,
    in_flight: 1,
    event_bytes: 64,
    figure: Figure::Cpu,
    goals: &[Goal::To(Peer::L4, Bound::above(1.15, 1.25)), Goal::To(Peer::Haproxy, Bound::above(1.10, 1.25))],
};

/// Many small events in flight on each.
pub(crate) const SC: Scenario = Scenario {
    name: "sc",
    title: "64 connections x 16 in flight, 64 bytes: CPU-us per round trip",
    in_flight: 16,
    goals: &[Goal::To(Peer::L4, Bound::above(1.25, 1.60))],
    ..SB
};

const BULK: Scenario = Scenario {
    name: "bulk",
    title: "16 connections x 2 in flight, 16 KiB: CPU-us per MB, both ways counted once",
    connections: 16,
    in_flight: 2,
    event_bytes: 16 * 1024,
    figure: Figure::CpuPerMegabyte,
    goals: &[Goal::To(Peer::L4, Bound::above(0.40, 0.90)), Goal::To(Peer::Haproxy, Bound::above(0.60, 1.20))],
    ..SB
};

const SF: Scenario = Scenario {
    name: "sf",
    title: "connect, OPEN, CONNECT with its own HS256 token, one event, close: CPU-us per connection",
    load: Load::Churn,
    connections: 16,
    goals: &[Goal::To(Peer::L4, Bound::above(1.35, 1.75))],
    ..SB
};

const SIDLE: Scenario = Scenario {
    name: "sidle",
    title: "connections that wait: KiB of resident memory each",
    load: Load::Idle,
    figure: Figure::Resident,
    goals: &[Goal::Figure(Bound::met(4.5))],
    ..SB
};

const LATENCY: Scenario = Scenario {
    name: "latency",
    title: "1 connection x 1 in flight, 64 bytes: p50 in us",
    connections: 1,
    figure: Figure::P50,
    goals: &[Goal::To(Peer::L4, Bound::above(1.10, 1.25))],
    ..SB
};

/// [`SB`] over TLS.
pub(crate) const TB: Scenario = Scenario {
    name: "tb",
    tls: true,
    goals: &[Goal::To(Peer::L4, Bound::above(1.15, 1.25)), Goal::To(Peer::Nginx, Bound::above(1.00, 1.30))],
    ..SB
};

const TD16K: Scenario = Scenario {
    name: "td16k",
    tls: true,
    goals: &[Goal::To(Peer::L4, Bound::above(0.55, 0.95)), Goal::To(Peer::Haproxy, Bound::above(0.60, 0.90))],
    ..BULK
};

const TF: Scenario =
    Scenario { name: "tf", tls: true, goals: &[Goal::To(Peer::Nginx, Bound::above(0.75, 0.85))], ..SF };

const TIDLE: Scenario = Scenario { name: "tidle", tls: true, goals: &[Goal::Figure(Bound::met(18.0))], ..SIDLE };

const FLOOD: Scenario = Scenario {
    name: "flood",
    title: "64 sessions, 3,200 events/s, with 500 full handshakes/s beside them: p99, as a multiple of that without",
    load: Load::Flood,
    figure: Figure::FloodedP99,
    goals: &[Goal::Figure(Bound::above(2.0, 2.5))],
    ..TB
};

/// All, in the order in which they are measured.
pub(crate) const ALL: &[Scenario] = &[SB, SC, BULK, SF, SIDLE, LATENCY, TB, TD16K, TF, TIDLE, FLOOD];

impl Scenario {
    /// By its name.
    ///
    /// # Errors
    /// For a name that none has.
    pub(crate) fn named(name: &str) -> Result<&'static Self, String> {
        ALL.iter().find(|scenario| scenario.name == name).ok_or_else(|| format!("there is no scenario {name}"))
    }
}
