//! Decisions: packets and handshakes to verdicts. Pure: time and identity come in as arguments.

pub mod auth;
pub mod connections;
pub mod origin;
pub mod rate_limit;
pub mod verdict;
