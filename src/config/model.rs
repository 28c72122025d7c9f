//! One field per TOML table, each typed by its owner: the whole surface on one screen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    admin::AdminTable,
    gateway::{listener::ListenTable, websocket::WebsocketTable},
    observe::{MetricsTable, journal::LogTable},
    policy::{auth::AuthTable, connections::LimitsTable, origin::OriginsTable, rate_limit::RateLimitTable},
    relay::dial::UpstreamTable,
    session::SocketioTable,
};

/// The configuration of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients connect.
    pub listen: ListenTable,
    /// The operator's address.
    pub admin: AdminTable,
    /// The service.
    pub upstream: UpstreamTable,
    /// The web pages that may connect.
    pub origins: OriginsTable,
    /// Who may open a session.
    pub auth: AuthTable,
    /// The Socket.IO endpoint.
    pub socketio: SocketioTable,
    /// Plain WebSocket routes.
    pub websocket: Vec<WebsocketTable>,
    /// Limits on packets.
    pub rate_limit: Vec<RateLimitTable>,
    /// The bounds of one node.
    pub limits: LimitsTable,
    /// What is measured.
    pub metrics: MetricsTable,
    /// The log.
    pub log: LogTable,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ListenTable::default(),
            admin: AdminTable::default(),
            upstream: UpstreamTable::default(),
            origins: OriginsTable::default(),
            auth: AuthTable::default(),
            socketio: SocketioTable::default(),
            websocket: Vec::new(),
            rate_limit: vec![RateLimitTable::default()],
            limits: LimitsTable::default(),
            metrics: MetricsTable::default(),
            log: LogTable::default(),
        }
    }
}
