//! What a `[[websocket]]` route compiles to.

use std::sync::Arc;

use crate::session::{
    json::BridgeRules,
    plain::PlainRules,
    route_answers::{Carries, RouteInForce},
};

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

    /// What the sessions follow that it has already.
    #[must_use]
    pub fn in_force(&self) -> RouteInForce {
        let (path, carries, answers) = match self {
            Self::Plain(rules) => (&rules.path, rules.carries(), &rules.answers),
            Self::Bridge(rules) => (&rules.path, Carries::Bridged, &rules.answers),
        };
        RouteInForce { path: path.clone(), carries, answers: Arc::clone(answers) }
    }
}
