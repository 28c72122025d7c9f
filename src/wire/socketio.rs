//! Socket.IO v5 packets. The head is read exactly, the payload is not read. A head in another spelling goes on in the official one.

pub mod canonical;
pub mod encode;
pub mod other_parsers;
pub mod packet;
pub mod peek;
