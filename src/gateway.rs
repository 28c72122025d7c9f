//! The edge towards clients: listeners, HTTP, and the endpoints.

mod admission;
mod client_script;
mod cors;
pub mod drain;
pub mod edge;
mod engineio;
pub mod forward;
pub mod head_guard;
pub mod http2;
pub mod listener;
mod path;
pub mod patience;
pub mod peer;
pub mod reply;
pub mod request_summary;
pub mod router;
pub mod serve;
pub mod service_body;
pub mod trust_headers;
mod upgrade;
pub mod websocket;
