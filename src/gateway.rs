//! The edge: sockets and HTTP.

pub mod listener;
pub mod websocket;
