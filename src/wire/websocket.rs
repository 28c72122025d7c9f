//! RFC 6455: frames, what a sequence of them may be, and the handshake before the first. No extension is ever agreed.

pub mod close;
pub mod close_code;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod reassembly;
pub mod scan;
pub mod utf8;
