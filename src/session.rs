//! One conversation as a state machine: no socket, no clock, no log, no metric.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Period};

/// `[socketio]`: the Socket.IO endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SocketioTable {
    /// The path of the endpoint, with the slash at its end.
    pub path: String,
    /// The transports clients may use.
    pub transports: Vec<Transport>,
    /// The namespaces clients may join: names, or patterns with `*`.
    pub namespaces: Vec<String>,
    /// How often a client is pinged.
    pub ping_interval: Period,
    /// How long a client may take to answer a ping.
    pub ping_timeout: Period,
    /// How long a client may take to join its first namespace.
    pub connect_timeout: Period,
    /// The largest message a client may send. Socket.IO's own default is 1MB.
    pub max_payload: ByteSize,
}

/// Engine.IO's transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// A WebSocket connection.
    Websocket,
}

impl Default for SocketioTable {
    fn default() -> Self {
        Self {
            path: "/socket.io/".to_owned(),
            transports: vec![Transport::Websocket],
            namespaces: vec!["*".to_owned()],
            ping_interval: Period::from_secs(25),
            ping_timeout: Period::from_secs(20),
            connect_timeout: Period::from_secs(45),
            max_payload: ByteSize(1_000_000),
        }
    }
}
