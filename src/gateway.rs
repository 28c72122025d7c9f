//! The edge: sockets and HTTP.

pub mod forward;
pub mod head_guard;
pub mod listener;
pub mod peer;
pub mod reply;
pub mod router;
pub mod websocket;
