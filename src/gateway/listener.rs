//! Accepts connections: one listener per worker, back-off when descriptors run out.

use std::net::SocketAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[listen]`: where clients connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenTable {
    /// Address and port.
    pub address: SocketAddr,
    /// The networks of proxies in front of Tidegate, whose `X-Forwarded-For` is believed.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// Worker threads; a connection stays on its thread. `0`: one per processor.
    pub workers: usize,
}

impl Default for ListenTable {
    fn default() -> Self {
        Self { address: SocketAddr::from(([0, 0, 0, 0], 8443)), trusted_proxies: Vec::new(), workers: 0 }
    }
}
