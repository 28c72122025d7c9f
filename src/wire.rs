//! Protocols: bytes to values and back. No I/O, no clock; a packet in one frame is read without an allocation.

pub mod bridge;
pub mod engineio;
pub mod json;
pub mod query;
pub mod redis_adapter;
pub mod socketio;
pub mod websocket;
