//! Where a session stands with one namespace.

use serde::{Deserialize, Serialize};

/// Where a session stands with one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Membership {
    /// Never asked for, refused, or left.
    #[default]
    Apart,
    /// CONNECT was sent to the service, its answer is awaited.
    Connecting,
    /// The service answered with a socket id.
    Joined,
}
