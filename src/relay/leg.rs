//! What the legs of a session are made of: a websocket, long-polling, the way from one to the other, the service's.

pub mod polling;
pub mod probe;
pub mod upstream;
pub mod websocket;
