//! What travels between nodes, whichever way it does.

use bytes::Bytes;

/// What a message is for. A backend makes a channel of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// A broadcast.
    Broadcast {
        /// The namespace.
        namespace: Box<str>,
        /// The one room that it is for. `None`: several, or all of the namespace.
        room: Option<Box<str>>,
    },
    /// A request of the adapter or the emitter.
    Request {
        /// The namespace.
        namespace: Box<str>,
    },
}

/// A message with its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What it is for.
    pub topic: Topic,
    /// Of a [`Broadcast`](crate::wire::redis_adapter::broadcast::Broadcast) or a
    /// [`Request`](crate::wire::redis_adapter::request::Request).
    pub payload: Bytes,
}
