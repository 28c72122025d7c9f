//! The membership of a session in one namespace.

use serde::{Deserialize, Serialize};

/// The membership of a session in one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Membership {
    /// Never joined, refused, or left.
    #[default]
    Apart,
    /// CONNECT was sent to the service; its answer is awaited.
    Connecting,
    /// The service answered with a socket id.
    Joined,
}
