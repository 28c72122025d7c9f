//! Connects to the service and upgrades.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// `[upstream]`: the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTable {
    /// Scheme, host and port of the service, `http://127.0.0.1:4003` for example.
    pub url: String,
    /// How long a connection to the service, with its handshake, may take.
    pub connect_timeout: Period,
    /// How long the service may take to begin its answer to an ordinary HTTP request.
    pub response_timeout: Period,
}

impl Default for UpstreamTable {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:4003".to_owned(),
            connect_timeout: Period::from_secs(5),
            response_timeout: Period::from_secs(60),
        }
    }
}
