//! Why a client is in a room.

use serde::{Deserialize, Serialize};

/// Why a client is in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reason {
    /// It is the room of its own socket.
    Own,
    /// A `[[room]]` without `join_on` names it.
    Rule,
    /// It has asked for it as the `[[room]]` with this number says.
    Asked(u8),
    /// Another program has put it there.
    Outside,
}
