//! `[[websocket]]`: the table of one plain WebSocket route, and the route it compiles to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    policy::compile_error::CompileError,
    session::{
        plain::{OnUpstreamLoss, PlainRoute},
        replay::ReplayTerms,
    },
};

/// One `[[websocket]]`: a plain WebSocket route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebsocketTable {
    /// The path, exactly.
    #[schemars(example = &"/ws")]
    pub path: String,
    /// The field of a JSON message that names the event, for limits and metrics. Without it every message is `message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"type")]
    pub event_field: Option<String>,
    /// What happens to a client when the service is lost: `"close"` closes it with code 1012; `"hold"` keeps it, and
    /// its messages wait as `[session]` says. Use `"hold"` only if the service treats a new connection like the old
    /// one, apart from the messages that are replayed.
    #[serde(default)]
    #[schemars(example = OnUpstreamLoss::Hold)]
    pub on_upstream_loss: OnUpstreamLoss,
    /// With `"hold"`, how many of the client's first messages are replayed when the service is back, at most 8. The
    /// answers to them reach the client.
    #[serde(default)]
    #[schemars(example = 1)]
    pub replay_first: u8,
    /// With `"hold"`, messages of these events are replayed too, each text once: names, or patterns with `*`. At most 8
    /// messages and 16 KiB are kept; a client that sent more is closed when the service is lost.
    #[serde(default)]
    #[schemars(example = ["subscribe"])]
    pub replay_events: Vec<String>,
}

impl WebsocketTable {
    /// Compiles the route; `at` is its number in the file.
    ///
    /// # Errors
    /// [`CompileError::Pattern`] for an invalid pattern in `replay_events`.
    pub fn compile(&self, at: usize) -> Result<PlainRoute, CompileError> {
        let replay = ReplayTerms::new(self.replay_first.into(), &self.replay_events).map_err(|(event, error)| {
            CompileError::Pattern { key: format!("websocket[{at}].replay_events[{event}]"), error }
        })?;
        Ok(PlainRoute {
            event_field: self.event_field.as_deref().map(Into::into),
            on_upstream_loss: self.on_upstream_loss,
            replay,
        })
    }
}
