//! Socket.IO v5 packets. The head is read exactly, the payload is not read.

pub mod encode;
pub mod packet;
pub mod peek;
