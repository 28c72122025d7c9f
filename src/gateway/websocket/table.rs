//! `[[websocket]]`: the table of one plain WebSocket route, and the route it compiles to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::Fault,
    session::{
        plain::{OnUpstreamLoss, PlainRules},
        replay::ReplayRules,
    },
};

/// One `[[websocket]]`: a plain WebSocket route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebsocketTable {
    /// The path, exactly.
    #[schemars(example = &"/ws")]
    pub path: String,
    /// The field of a JSON message that names the event, for limits and metrics. Without it every message is `message`. With
    /// it, a message is refused that begins as a JSON object and cannot be read, and binary that is no JSON counts in every
    /// limit.
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
    /// Compiles the route; `at` is its number in the file. `may_hold` is false where `session.hold` is zero.
    ///
    /// # Errors
    /// The replay makes no sense without a hold, has no bound, or has an invalid pattern.
    pub fn compile(&self, at: usize, may_hold: bool) -> Result<PlainRules, Fault> {
        let table = format!("websocket[{at}]");
        let fault = |key: &str, message: &str| Err(Fault::new(format!("{table}.{key}"), message));
        let holds = self.on_upstream_loss == OnUpstreamLoss::Hold;
        if holds && !may_hold {
            let message = "is \"hold\", but session.hold is \"0s\", which holds no client; give session.hold a time, or write \
                           \"close\"";
            return fault("on_upstream_loss", message);
        }
        let says_again = [("replay_first", self.replay_first > 0), ("replay_events", !self.replay_events.is_empty())];
        if let (false, Some((key, _))) = (holds, says_again.into_iter().find(|(_, given)| *given)) {
            let message = "is given, but no client is held here; write on_upstream_loss = \"hold\" beside it";
            return fault(key, message);
        }
        if !self.replay_events.is_empty() && self.event_field.is_none() {
            return fault("replay_events", "needs event_field, which says where a message names its event");
        }
        let replay = ReplayRules::compile(&table, self.replay_first.into(), &self.replay_events)?;
        Ok(PlainRules {
            event_field: self.event_field.as_deref().map(Into::into),
            on_upstream_loss: self.on_upstream_loss,
            replay,
        })
    }
}
