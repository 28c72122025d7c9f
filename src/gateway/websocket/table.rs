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
    /// What becomes of a client when the service goes away: `"close"`, with code 1012, or `"hold"`: it stays, and its
    /// messages wait as `[session]` says. Only for services to which a new connection means the same as the old one, but
    /// for what is said again.
    #[serde(default)]
    #[schemars(example = OnUpstreamLoss::Hold)]
    pub on_upstream_loss: OnUpstreamLoss,
    /// With `"hold"`, so many of the client's first messages are said again to the service that is back, at most 8. Its
    /// answers to them reach the client.
    #[serde(default)]
    #[schemars(example = 1)]
    pub replay_first: u8,
    /// With `"hold"`, messages of these events are said again too, each text once: names, or patterns with `*`. At most 8
    /// messages are remembered, and 16 KiB; a client that said more is closed when the service goes away.
    #[serde(default)]
    #[schemars(example = ["subscribe"])]
    pub replay_events: Vec<String>,
}

impl WebsocketTable {
    /// The route, ready for use; `at` is its number in the file.
    ///
    /// # Errors
    /// [`CompileError::Pattern`] for an entry of `replay_events` that is no pattern.
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
