//! `[socketio]`: the Socket.IO endpoint.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    units::{ByteSize, Period},
    wire::json::check::{DEPTH_MAX, JsonReading},
};

/// `[socketio]`: the Socket.IO endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SocketioTable {
    /// The path of the endpoint. Clients may write it with the slash at its end or without
    /// (`addTrailingSlash: false`), and the service is asked for what they write.
    pub path: String,
    /// The transports clients may use. With both, a client that polls is offered an upgrade to WebSocket.
    pub transports: Vec<Transport>,
    /// The namespaces clients may join: names, or patterns with `*`.
    pub namespaces: Vec<String>,
    /// In how many namespaces a session may be at once, at most 255; a place for `/` is always kept. A CONNECT for one more is
    /// refused by a CONNECT_ERROR with the code `too_many_namespaces`, and the session goes on.
    #[schemars(range(min = 1, max = 255))]
    pub max_namespaces: u32,
    /// How many times a session may join a namespace at once, after its first join. Then one more each `joins_per / joins`. A
    /// join beyond that ends the session. The rate limits count events alone, and to the service a join is a new
    /// connection.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub joins: u32,
    /// The span of time of `joins`.
    pub joins_per: Period,
    /// How often a client is pinged.
    pub ping_interval: Period,
    /// How long a client may take to answer a ping.
    pub ping_timeout: Period,
    /// How long a client may take to join its first namespace.
    pub connect_timeout: Period,
    /// When the service is dialled: `"connect"`, once a client may join a namespace; `"first"`, at the client's handshake, so
    /// that headers and refusals of the service reach the client with the gate's own answer. Only a client whose token comes
    /// with the handshake (header, query, cookie, certificate), or where no key is configured, has the service dialled first.
    pub dial: DialAt,
    /// The largest message a client may send, counted with its attachments, and the largest payload it may post.
    /// Socket.IO's own default is 1MB.
    pub max_payload: ByteSize,
    /// How many packets one payload of a polling client may have. A client sends in one payload what it has to say while another
    /// one is on its way, and after a reconnect what it had to say meanwhile.
    #[schemars(range(min = 1))]
    pub payload_packets: u32,
    /// How the JSON of a client's packets is read before they pass: `"structure"` or `"full"`. What is refused ends the
    /// session.
    pub json: JsonReading,
    /// How many objects and arrays may be nested in each other in it, at most 64. Services read values by functions that call
    /// themselves for each level.
    #[schemars(range(min = 1, max = DEPTH_MAX))]
    pub json_depth: u32,
    /// The largest packet that may ask for a namespace, with the token in it. It is kept as long as the client is in the
    /// namespace; those of one session together may be four times as large.
    pub max_connect: ByteSize,
    /// Whether a session that polls accepts requests only from the address that opened it. The origin must be the same in any
    /// case, and the token too or another one of the same user; the address of a phone changes.
    pub same_address: bool,
    /// Whether a polling client may upgrade without the token that its other requests show, from the same origin and address:
    /// a browser sets no header on a WebSocket. With `false` a client whose token is in the `Authorization` header alone is
    /// not offered an upgrade.
    pub upgrade_without_token: bool,
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
    /// Long-polling: HTTP requests; a GET waits for packets and a POST sends them.
    Polling,
}

/// When the service is dialled for a Socket.IO client.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DialAt {
    /// When the client has asked for a namespace that it may join.
    #[default]
    Connect,
    /// At the client's handshake, where that says who it is.
    First,
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
            max_namespaces: 64,
            joins: 64,
            joins_per: Period::from_secs(60),
            ping_interval: Period::from_secs(25),
            ping_timeout: Period::from_secs(20),
            connect_timeout: Period::from_secs(45),
            dial: DialAt::Connect,
            max_payload: ByteSize(1_000_000),
            payload_packets: 1000,
            json: JsonReading::Structure,
            json_depth: DEPTH_MAX,
            max_connect: ByteSize(16 * 1024),
            same_address: false,
            upgrade_without_token: true,
            cookie: None,
        }
    }
}
