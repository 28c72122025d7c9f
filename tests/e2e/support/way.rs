//! The choices of transports that a stock client has.

use serde_json::{Value, json};

/// What a stock client travels by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As delivered: it begins with polling and upgrades.
    Upgrade,
    /// Polling alone.
    Polling,
    /// Websocket alone.
    Websocket,
}

impl Way {
    /// What holds over one holds over each.
    pub(crate) const ALL: [Self; 3] = [Self::Upgrade, Self::Polling, Self::Websocket];

    /// The options of the client's Manager.
    pub(crate) fn options(self) -> Value {
        match self {
            Self::Upgrade => json!({ "transports": ["polling", "websocket"] }),
            Self::Polling => json!({ "transports": ["polling"] }),
            Self::Websocket => json!({ "transports": ["websocket"] }),
        }
    }

    /// The transport that it ends up with.
    pub(crate) const fn transport(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::Upgrade | Self::Websocket => "websocket",
        }
    }
}
