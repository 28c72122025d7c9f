//! One field per TOML table, each typed by its owner: the whole surface on one screen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    admin::AdminTable,
    cluster::table::{ClusterTable, RedisTable},
    gateway::{listener::ListenTable, websocket::WebsocketTable},
    mirror::table::{MirrorTable, RoomTable},
    observe::{MetricsTable, journal::LogTable},
    policy::{auth::AuthTable, connections::LimitsTable, origin::OriginsTable, rate_limit::RateLimitTable},
    relay::dial::UpstreamTable,
    session::{hold::SessionTable, quality::ping_rules::QualityTable, table::SocketioTable},
    tls::TlsTable,
};

/// The configuration of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients connect.
    pub listen: ListenTable,
    /// TLS at that address. Without the table clients speak plain HTTP, and TLS is handled elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsTable>,
    /// The operator's address: metrics, health, who is connected.
    pub admin: AdminTable,
    /// The service behind Tidegate.
    pub upstream: UpstreamTable,
    /// The web pages that may connect.
    pub origins: OriginsTable,
    /// Who may open a session.
    pub auth: AuthTable,
    /// The Socket.IO endpoint.
    pub socketio: SocketioTable,
    /// Plain WebSocket routes, a table each; none by default.
    pub websocket: Vec<WebsocketTable>,
    /// Limits on packets, a table each, judged in their order: so many at once, then one more each `per / messages`.
    /// Tables that are written replace this one; `rate_limit = []` before the first table of the file turns limits off.
    pub rate_limit: Vec<RateLimitTable>,
    /// When the service is down, or the client absent.
    pub session: SessionTable,
    /// How good connections are.
    pub quality: QualityTable,
    /// The Redis server that several nodes share. Without the table a node is alone; an empty one means the Redis at
    /// `127.0.0.1:6379`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisTable>,
    /// The nodes that serve one service.
    pub cluster: ClusterTable,
    /// Rooms, a table each: which clients receive what is sent to a room on another node.
    pub room: Vec<RoomTable>,
    /// Events of the service that the clients of other nodes get too, a table each; none by default.
    pub mirror: Vec<MirrorTable>,
    /// The bounds of one node.
    pub limits: LimitsTable,
    /// What is measured, and how finely.
    pub metrics: MetricsTable,
    /// The log, on standard error.
    pub log: LogTable,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ListenTable::default(),
            tls: None,
            admin: AdminTable::default(),
            upstream: UpstreamTable::default(),
            origins: OriginsTable::default(),
            auth: AuthTable::default(),
            socketio: SocketioTable::default(),
            websocket: Vec::new(),
            rate_limit: vec![RateLimitTable::default()],
            session: SessionTable::default(),
            quality: QualityTable::default(),
            redis: None,
            cluster: ClusterTable::default(),
            room: Vec::new(),
            mirror: Vec::new(),
            limits: LimitsTable::default(),
            metrics: MetricsTable::default(),
            log: LogTable::default(),
        }
    }
}
