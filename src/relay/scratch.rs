//! The worker's buffers, lent to one session for one poll: an idle connection owns none.

use crate::wire::socketio::packet::PEEK_BYTES;

/// One receive. 64 KiB: larger ones gained nothing, smaller ones cost system calls on bulk.
const READ_BYTES: usize = 64 * 1024;

/// The buffers of one worker.
#[derive(Debug)]
pub struct Scratch {
    /// The bytes of one receive.
    pub read: Box<[u8]>,
    /// The beginning of one message, unmasked: a copy, so that the message itself passes unchanged.
    pub peek: Box<[u8; PEEK_BYTES]>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { read: vec![0; READ_BYTES].into_boxed_slice(), peek: Box::new([0; PEEK_BYTES]) }
    }
}
