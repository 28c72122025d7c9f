//! Engine.IO v4: the digit before each packet, and what a session opens with.

pub mod open;
pub mod packet;
