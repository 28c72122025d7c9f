//! How many connections, in all and per address, and the bounds of one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Period};

/// `[limits]`: the bounds of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsTable {
    /// Connections open at once. One more gets 503.
    pub connections: u32,
    /// Connections open at once from one IPv4 address or one IPv6 /64 network. One more gets 429.
    pub connections_per_ip: u32,
    /// How long a new connection may take until its request head is complete.
    pub handshake_timeout: Period,
    /// How large a request head may be.
    pub header_bytes: ByteSize,
    /// Sessions without a packet from either side for so long are closed; heartbeats do not count. `"0s"`: never.
    pub idle_timeout: Period,
    /// How much may wait for a client that reads slowly before its session is closed.
    pub send_buffer: ByteSize,
    /// On SIGTERM, the span over which the clients are sent away.
    pub shutdown_grace: Period,
}

impl Default for LimitsTable {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_ip: 200,
            handshake_timeout: Period::from_secs(10),
            header_bytes: ByteSize(16_000),
            idle_timeout: Period::OFF,
            send_buffer: ByteSize(1_000_000),
            shutdown_grace: Period::from_secs(30),
        }
    }
}
