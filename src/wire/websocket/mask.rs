//! RFC 6455 §5.3: masking a payload, which is also unmasking it.

/// Bytes done at once: as wide as the vector registers that every 64-bit processor has.
const BLOCK: usize = 16;

/// Masks `payload` in place. `offset` is how far into its frame's payload it begins, in bytes.
pub fn apply(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    let mask = repeat::<BLOCK>(mask, offset);
    let (blocks, tail) = payload.as_chunks_mut::<BLOCK>();
    for block in blocks {
        for (byte, mask) in block.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
    for (byte, mask) in tail.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// Writes `src` without its mask to `dst`. `offset` is how far into its frame's payload `src` begins, in bytes.
///
/// # Panics
/// If the two differ in length.
pub fn copy_unmasked(src: &[u8], mask: [u8; 4], offset: usize, dst: &mut [u8]) {
    dst.copy_from_slice(src);
    apply(dst, mask, offset);
}

/// Is `payload`, once unmasked, ASCII alone? Nothing is copied. `offset` is how far into its frame's payload it begins.
#[must_use]
pub fn is_ascii_under(payload: &[u8], mask: [u8; 4], offset: usize) -> bool {
    let mask = repeat::<8>(mask, offset);
    let (words, tail) = payload.as_chunks::<8>();
    // Every word is gone over and none is asked by itself: only so does the loop become vector instructions.
    let seen = words.iter().fold(0, |seen, word| seen | (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(mask)));
    seen.to_ne_bytes().is_ascii() && tail.iter().zip(mask).all(|(byte, mask)| (byte ^ mask).is_ascii())
}

/// The mask as it lies over so many bytes that begin at `offset`.
fn repeat<const BYTES: usize>(mask: [u8; 4], offset: usize) -> [u8; BYTES] {
    std::array::from_fn(|at| mask[offset.wrapping_add(at) % 4])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hello_of_rfc_6455_section_5_7() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let masked = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let mut payload = *b"Hello";
        apply(&mut payload, mask, 0);
        assert_eq!(payload, masked);
        let mut plain = [0; 3];
        copy_unmasked(&masked[2..], mask, 2, &mut plain);
        assert_eq!(&plain, b"llo");
    }

    #[test]
    fn ascii_is_told_through_the_mask_wherever_the_other_byte_stands() {
        let mask = [0x37, 0xfa, 0x21, 0xbd];
        for at in 0..40 {
            let mut payload = [b'a'; 40];
            apply(&mut payload, mask, 3);
            assert!(is_ascii_under(&payload, mask, 3));
            payload[at] ^= 0x80;
            assert!(!is_ascii_under(&payload, mask, 3), "{at}");
        }
    }

    proptest! {
        #[test]
        fn every_part_of_a_payload_is_masked_as_the_whole_is(
            payload in any::<Vec<u8>>(), mask in any::<[u8; 4]>(), cut in any::<prop::sample::Index>(),
        ) {
            let by_the_letter: Vec<u8> = payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
            let mut masked = payload.clone();
            let cut = cut.index(payload.len() + 1);
            let (head, tail) = masked.split_at_mut(cut);
            apply(head, mask, 0);
            apply(tail, mask, cut);
            prop_assert_eq!(&masked, &by_the_letter);
            let mut plain = vec![0; masked.len() - cut];
            copy_unmasked(&masked[cut..], mask, cut, &mut plain);
            prop_assert_eq!(&plain, &payload[cut..]);
            prop_assert_eq!(is_ascii_under(&masked[cut..], mask, cut), payload[cut..].is_ascii());
        }
    }
}
