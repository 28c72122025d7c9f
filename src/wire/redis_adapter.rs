//! What the Redis adapter of Socket.IO (`@socket.io/redis-adapter` 8, not the sharded one) and `@socket.io/redis-emitter` 5
//! publish, both ways: MessagePack on Redis, the JSON of a packet in the gate. It is copied on its way in, within bounds.

pub mod broadcast;
pub mod channel;
pub mod malformed;
pub mod request;

mod from_json;
mod javascript;
mod reader;
mod to_json;

/// The largest payload that is read or written, in bytes: 1 MiB. As JSON it is at most six times as long.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// How deep the objects and arrays of an event may be nested, its own array included. Each level is a call.
pub const DEPTH_MAX: u32 = 32;

/// The most names of rooms in one list.
pub const ROOMS_MAX: usize = 4096;
