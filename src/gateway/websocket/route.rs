//! What a `[[websocket]]` route compiles to.

use std::sync::Arc;

use crate::session::{json::BridgeRules, plain::PlainRules};

/// A `[[websocket]]` route: what its clients and the service speak.
#[derive(Debug, Clone)]
pub enum PlainRoute {
    /// Both speak the same.
    Plain(Arc<PlainRules>),
    /// The client speaks JSON, and the service Socket.IO.
    Bridge(Arc<BridgeRules>),
}

impl PlainRoute {
    /// Its path, as it is configured.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Plain(rules) => &rules.path,
            Self::Bridge(rules) => &rules.path,
        }
    }
}
