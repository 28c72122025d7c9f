//! Decides which service packets are mirrored to other nodes, and which clients are in which room.
//!
//! No I/O, no clock, no log: neither a session nor a connection is known here.

pub mod confirm;
pub mod copies;
pub mod rules;
pub mod table;
pub mod template;
