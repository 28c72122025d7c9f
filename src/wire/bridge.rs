//! The bridge: JSON messages of a plain WebSocket stand for Socket.IO packets of one namespace, and back.
//!
//! | JSON message | Socket.IO packet |
//! |---|---|
//! | `{"type":"say","text":"hi"}` | `42["say",{"text":"hi"}]` |
//! | `{"type":"say","args":["hi",1]}` | `42["say","hi",1]` |
//! | `{"type":"say","ackId":7,"text":"hi"}` | `427["say",{"text":"hi"}]` |
//! | `{"type":"ack","ackId":7,"args":["done"]}` | `437["done"]` |
//! | `{"type":"connected","sid":"…"}`, of the service alone | `40{"sid":"…"}` |
//! | `{"type":"connect_error","message":"…","data":…}`, of the service alone | `44{"message":"…","data":…}` |
//!
//! JSON is cut and joined, never written anew: numbers and strings stay as they came.

mod from_client;
mod to_client;
mod words;

pub use self::{
    from_client::{BridgeFault, packet_of},
    to_client::{Untranslatable, event, message_of},
};

#[cfg(test)]
mod tests;
