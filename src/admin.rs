//! The operator's side: metrics, health, sessions.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::SecretSource;

/// `[admin]`: the operator's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminTable {
    /// Address and port of `/metrics`, `/metrics/prometheus`, `/livez`, `/readyz`, `/sessions`.
    pub address: SocketAddr,
    /// The bearer token for what tells about users (`/sessions`). Without it that is off unless `address` is loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretSource>,
}

impl Default for AdminTable {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 9464)), token: None }
    }
}
