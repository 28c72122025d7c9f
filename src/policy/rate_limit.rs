//! How many packets: rules by scope and event pattern, counted with GCRA.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// One `[[rate_limit]]`: so many packets at once, then one more each `per / messages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitTable {
    /// Whose packets are counted together.
    pub scope: Scope,
    /// The events it counts: names, or patterns with `*`.
    pub events: Vec<String>,
    /// How many packets in `per`.
    pub messages: u32,
    /// The span of time of `messages`.
    pub per: Period,
    /// What becomes of a packet over the limit.
    pub exceeded: Exceeded,
}

/// Whose packets are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Those of one session.
    Connection,
    /// Those of one user on this node.
    User,
    /// Those of one IPv4 address or one IPv6 /64 network on this node.
    Ip,
}

/// What becomes of a packet over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exceeded {
    /// It is answered with an error, and the service does not see it.
    Reply,
    /// It vanishes.
    Drop,
    /// It, and what follows it, waits its turn.
    Delay,
    /// The session is closed.
    Close,
}

impl Default for RateLimitTable {
    fn default() -> Self {
        Self {
            scope: Scope::Connection,
            events: vec!["*".to_owned()],
            messages: 100,
            per: Period::from_secs(60),
            exceeded: Exceeded::Reply,
        }
    }
}
