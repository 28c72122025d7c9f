//! What is measured: how many connections, how much on each, and what is promised of it.

use clap::ValueEnum;

/// One way to load a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// 64 connections, one 64-byte event in flight on each.
    Sb,
    /// 64 connections, 16 64-byte events in flight on each.
    Sc,
    /// 16 connections, two events of 16 KiB in flight on each.
    Bulk,
    /// Connect, OPEN, CONNECT with a token of its own, one event, close; 16 at a time.
    Sf,
    /// Many connections that have said one thing and then say nothing.
    Sidle,
    /// One connection, one 64-byte event in flight.
    Latency,
}

impl Scenario {
    /// All, in the order in which they are measured.
    pub(crate) const ALL: [Self; 6] = [Self::Sb, Self::Sc, Self::Bulk, Self::Sf, Self::Sidle, Self::Latency];

    /// As `--only` has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sb => "sb",
            Self::Sc => "sc",
            Self::Bulk => "bulk",
            Self::Sf => "sf",
            Self::Sidle => "sidle",
            Self::Latency => "latency",
        }
    }

    /// What its figures are of.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Sb => "64 connections x 1 in flight, 64 bytes: CPU-us per round trip",
            Self::Sc => "64 connections x 16 in flight, 64 bytes: CPU-us per round trip",
            Self::Bulk => "16 connections x 2 in flight, 16 KiB: CPU-us per MB, both ways counted once",
            Self::Sf => "connect, OPEN, CONNECT with its own HS256 token, one event, close: CPU-us per connection",
            Self::Sidle => "connections that wait: KiB of resident memory each",
            Self::Latency => "1 connection x 1 in flight, 64 bytes: p50 in us",
        }
    }

    /// Connections open at a time. [`Scenario::Sidle`] is told how many on the command line.
    pub(crate) const fn connections(self) -> usize {
        match self {
            Self::Sb | Self::Sc | Self::Sidle => 64,
            Self::Bulk | Self::Sf => 16,
            Self::Latency => 1,
        }
    }

    /// Events on each connection that have not been acknowledged yet.
    pub(crate) const fn in_flight(self) -> usize {
        match self {
            Self::Sc => 16,
            Self::Bulk => 2,
            Self::Sb | Self::Sf | Self::Sidle | Self::Latency => 1,
        }
    }

    /// The text of one event, in bytes.
    pub(crate) const fn event_bytes(self) -> usize {
        match self {
            Self::Bulk => 16 * 1024,
            Self::Sb | Self::Sc | Self::Sf | Self::Sidle | Self::Latency => 64,
        }
    }

    /// What tidegate's ratio to `l4` must not exceed.
    pub(crate) const fn ratio_max(self) -> Option<f64> {
        match self {
            Self::Sb => Some(1.15),
            Self::Sc => Some(1.25),
            Self::Bulk => Some(0.40),
            Self::Sf => Some(1.35),
            Self::Latency => Some(1.10),
            Self::Sidle => None,
        }
    }

    /// What tidegate's own figure must not exceed.
    pub(crate) const fn figure_max(self) -> Option<f64> {
        match self {
            Self::Sidle => Some(4.5),
            _ => None,
        }
    }
}
