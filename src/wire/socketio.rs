//! Socket.IO v5 packets: what stands before the payload is read exactly, the payload itself is not.

pub mod encode;
pub mod packet;
pub mod peek;
