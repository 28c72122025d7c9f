//! What legs are made of: a websocket, long-polling, and the upgrade from one to the other.

pub mod polling;
pub mod probe;
mod untaken;
pub mod websocket;
