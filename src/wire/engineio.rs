//! Engine.IO v4: the digit before each packet, what a session opens with, the payloads of long-polling.

pub mod error;
pub mod id;
pub mod open;
pub mod packet;
pub mod payload;
