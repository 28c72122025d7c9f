//! Which web pages may open a session: the `Origin` of browsers against a list.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[origins]`: the web pages that may connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OriginsTable {
    /// Origins allowed, `scheme://host[:port]` exactly as the browser sends it, or `"*"`. A request without an
    /// `Origin` does not come from a page and is allowed.
    pub allow: Vec<String>,
}

impl Default for OriginsTable {
    fn default() -> Self {
        Self { allow: vec!["http://localhost:3000".to_owned()] }
    }
}
