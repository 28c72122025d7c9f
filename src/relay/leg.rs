//! The two legs of a session: what the client holds, what the service holds.

pub mod upstream;
pub mod websocket;
