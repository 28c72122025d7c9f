//! Reassembles a fragmented message, so that it is judged and forwarded as one frame.

use super::{frame::OpCode, mask};

/// A fragmented message so far, unmasked. [`FrameScan`](super::scan::FrameScan) bounds it: ask it before each push.
#[derive(Debug)]
pub struct Reassembly {
    opcode: OpCode,
    payload: Vec<u8>,
}

impl Reassembly {
    /// An empty message whose first fragment has this opcode.
    #[must_use]
    pub const fn new(opcode: OpCode) -> Self {
        Self { opcode, payload: Vec::new() }
    }

    /// Adds a piece of a fragment. `offset` is where the piece begins in its frame's payload, in bytes.
    pub fn push(&mut self, payload: &[u8], mask: Option<[u8; 4]>, offset: usize) {
        let begin = self.payload.len();
        self.payload.extend_from_slice(payload);
        if let Some(mask) = mask {
            mask::apply(&mut self.payload[begin..], mask, offset);
        }
    }

    /// Payload bytes so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.payload.len()
    }

    /// What the payload takes, in bytes of memory.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.payload.capacity()
    }

    /// No payload byte so far.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// The opcode and the payload, unmasked.
    #[must_use]
    pub fn finish(self) -> (OpCode, Vec<u8>) {
        (self.opcode, self.payload)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fragments_of_rfc_6455_section_5_7_make_hello() {
        let mut message = Reassembly::new(OpCode::Text);
        assert!(message.is_empty());
        message.push(b"Hel", None, 0);
        message.push(b"lo", None, 0);
        assert_eq!(message.len(), 5);
        assert_eq!(message.finish(), (OpCode::Text, b"Hello".to_vec()));
    }

    proptest! {
        #[test]
        fn fragments_with_masks_of_their_own_and_read_in_pieces_make_the_message(
            fragments in prop::collection::vec((any::<Vec<u8>>(), any::<[u8; 4]>(), any::<prop::sample::Index>()), 1..5),
        ) {
            let mut message = Reassembly::new(OpCode::Binary);
            let mut whole = Vec::new();
            for (payload, mask, cut) in &fragments {
                whole.extend_from_slice(payload);
                let mut masked = payload.clone();
                mask::apply(&mut masked, *mask, 0);
                let cut = cut.index(payload.len() + 1);
                message.push(&masked[..cut], Some(*mask), 0);
                message.push(&masked[cut..], Some(*mask), cut);
            }
            prop_assert_eq!(message.finish(), (OpCode::Binary, whole));
        }
    }
}
