//! Tracks which events are known to have reached the client.

use serde::{Deserialize, Serialize};

/// How far an event is known to have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reach {
    /// It waits for the client to come back to its namespace.
    Kept,
    /// It was said to the client, which may have got it or not: a connection that has died takes what is written to it.
    Said,
    /// It was said, and a ping behind it.
    Pinged,
    /// The client has got it, because it answered it or something that was said behind it.
    Heard,
}
