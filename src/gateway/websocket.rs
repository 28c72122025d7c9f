//! The plain WebSocket endpoint: a `[[websocket]]` route, its handshake, then the same relay.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One `[[websocket]]`: a plain WebSocket route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebsocketTable {
    /// The path, exactly.
    pub path: String,
    /// The field of a JSON message that names the event, for limits and metrics. Without it every message is `message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_field: Option<String>,
}
