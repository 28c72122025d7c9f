//! What the relay obeys, as compiled from the configuration.

use std::sync::Arc;

use crate::{
    relay::{dial::Dialler, room_index::RoomBounds},
    session::rules::SessionRules,
};

/// What every session of this node obeys, with its I/O. Replaced as a whole by a reload.
#[derive(Debug)]
pub struct RelayRules {
    /// What is decided.
    pub session: Arc<SessionRules>,
    /// How sessions reach the service.
    pub dialler: Dialler,
    /// How much may wait for a client that reads slowly, in bytes. As much of events from other nodes may wait for one
    /// session.
    pub send_buffer: usize,
    /// Of rooms, and of those in one.
    pub rooms: RoomBounds,
    /// So many bytes of memory may all sessions keep together.
    pub session_memory: usize,
    /// So many bytes of requests may wait for one session.
    pub mailbox: usize,
    /// May a sid be used from the address alone that it was given to?
    pub same_address: bool,
    /// May a polling client upgrade without the token that its handshake showed?
    pub upgrade_without_token: bool,
}
