//! Which packets of the service other nodes shall have, and which clients are in which room.
//!
//! No I/O, no clock, no log: neither a session nor a connection is known here.

pub mod confirm;
pub mod copies;
pub mod rules;
pub mod table;
pub mod template;
