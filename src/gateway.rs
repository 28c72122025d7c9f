//! The edge: sockets and HTTP.

pub mod acme;
mod cors;
pub mod drain;
pub mod edge;
mod engineio;
pub mod forward;
pub mod head_guard;
mod http2;
pub mod jwks;
pub mod listener;
pub mod peer;
pub mod reply;
pub mod router;
pub mod tls;
mod upgrade;
pub mod upstream_tls;
pub mod websocket;
