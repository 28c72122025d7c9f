//! RFC 6455 §5.3: masking a payload, which is also unmasking it.

/// Bytes done at once: as wide as the vector registers that every 64-bit processor has.
const BLOCK: usize = 16;

/// Masks `payload` in place. `offset` is where it begins in its frame's payload, in bytes.
pub fn apply(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    let mask = repeat(mask, offset);
    let (blocks, tail) = payload.as_chunks_mut::<BLOCK>();
    for block in blocks {
        *block = masked(block, mask);
    }
    apply_bytes(tail, mask);
}

/// Writes `src` without its mask to `dst`. `offset` is where `src` begins in its frame's payload, in bytes.
///
/// # Panics
/// If the two differ in length.
pub fn copy_unmasked(src: &[u8], mask: [u8; 4], offset: usize, dst: &mut [u8]) {
    assert_eq!(src.len(), dst.len());
    let whole = repeat(mask, offset);
    for (dst, src) in dst.as_chunks_mut::<BLOCK>().0.iter_mut().zip(src.as_chunks::<BLOCK>().0) {
        *dst = masked(src, whole);
    }
    // The last block overlaps the one before it, so that no bytes are left over.
    if let (Some(last), Some(dst)) = (src.last_chunk::<BLOCK>(), dst.last_chunk_mut::<BLOCK>()) {
        *dst = masked(last, repeat(mask, offset.wrapping_add(src.len())));
    } else {
        dst.copy_from_slice(src);
        apply_bytes(dst, whole);
    }
}

/// Whether `payload`, once unmasked, is ASCII. Nothing is copied. `offset` is where it begins in its frame's payload.
#[must_use]
pub fn is_ascii_under(payload: &[u8], mask: [u8; 4], offset: usize) -> bool {
    let mask = repeat(mask, offset) as u64;
    let add = |seen: &mut u64, word: &[u8; 8]| *seen |= u64::from_le_bytes(*word) ^ mask;
    // No branch depends on a byte, and each word of a group has a sum of its own: so this becomes vector instructions.
    let (groups, rest) = payload.as_chunks::<128>();
    let mut sums = [0; 16];
    for group in groups {
        group.as_chunks::<8>().0.iter().zip(&mut sums).for_each(|(word, sum)| add(sum, word));
    }
    let (words, tail) = rest.as_chunks::<8>();
    let mut seen = sums.iter().fold(0, |all, sum| all | sum);
    words.iter().for_each(|word| add(&mut seen, word));
    seen.to_ne_bytes().is_ascii() && tail.iter().zip(mask.to_le_bytes()).all(|(byte, mask)| (byte ^ mask).is_ascii())
}

const fn masked(block: &[u8; BLOCK], mask: u128) -> [u8; BLOCK] {
    (u128::from_le_bytes(*block) ^ mask).to_le_bytes()
}

fn apply_bytes(bytes: &mut [u8], mask: u128) {
    for (byte, mask) in bytes.iter_mut().zip(mask.to_le_bytes()) {
        *byte ^= mask;
    }
}

/// The mask for a block that begins at `offset`.
const fn repeat(mask: [u8; 4], offset: usize) -> u128 {
    let mask = u32::from_le_bytes(mask).rotate_right(8 * (offset % 4) as u32) as u128;
    let half = mask << 32 | mask;
    half << 64 | half
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
