//! Decisions: packets and handshakes to verdicts. Pure: time and identity come in as arguments.

pub mod auth;
pub mod connections;
pub mod descriptors;
pub mod event_masks;
pub mod gcra;
pub mod handshake_rate;
pub mod identity;
pub mod namespaces;
pub mod origin;
pub mod pattern;
pub mod policies;
pub mod rate_limit;
pub mod requests;
pub mod sid_owner;
pub mod token_fault;
pub mod token_source;
pub mod verdict;
