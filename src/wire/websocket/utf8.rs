//! RFC 6455 §8.1: whether text is UTF-8, piece by piece as it arrives, through its mask, nothing kept or copied away.

use super::{frame::FrameError, mask};

/// Bytes unmasked at once, on the stack.
const CHUNK: usize = 256;

/// The check of one message's text. What it keeps between pieces is the code point that a piece broke off in.
///
/// It fails at the first byte that no valid text could have there, also in the middle of a code point.
#[derive(Debug, Clone, Default)]
pub struct Utf8Check {
    begun: [u8; 3],
    begun_len: u8,
}

impl Utf8Check {
    /// Takes the next piece of the text.
    ///
    /// # Errors
    /// [`FrameError::NotUtf8`]: no text that begins so is UTF-8.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        if self.begun_len == 0 && is_ascii(bytes) {
            return Ok(());
        }
        let rest = self.end_code_point(bytes)?;
        match std::str::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(FrameError::NotUtf8),
            Err(error) => {
                for byte in &rest[error.valid_up_to()..] {
                    self.begin_with(*byte)?;
                }
                Ok(())
            }
        }
    }

    /// Takes the next piece of the text as it came, masked. `offset` is how far into its frame's payload it begins.
    ///
    /// # Errors
    /// As [`Utf8Check::feed`].
    pub fn feed_masked(&mut self, bytes: &[u8], mask: [u8; 4], offset: usize) -> Result<(), FrameError> {
        if self.begun_len == 0 && mask::is_ascii_under(bytes, mask, offset) {
            return Ok(());
        }
        let mut plain = [0; CHUNK];
        // CHUNK is a multiple of four, so the mask lies over every chunk as it lies over the first.
        for chunk in bytes.chunks(CHUNK) {
            let plain = &mut plain[..chunk.len()];
            mask::copy_unmasked(chunk, mask, offset, plain);
            self.feed(plain)?;
        }
        Ok(())
    }

    /// The text ends here. Afterwards the check is ready for another.
    ///
    /// # Errors
    /// [`FrameError::NotUtf8`]: it ends within a code point.
    pub fn finish(&mut self) -> Result<(), FrameError> {
        if std::mem::take(self).begun_len == 0 { Ok(()) } else { Err(FrameError::NotUtf8) }
    }

    /// Ends the code point that the last piece broke off in; gives back what comes after it.
    fn end_code_point<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], FrameError> {
        while self.begun_len != 0 {
            let Some((&byte, rest)) = bytes.split_first() else { break };
            self.begin_with(byte)?;
            bytes = rest;
        }
        Ok(bytes)
    }

    /// Adds a byte to the code point begun, and forgets it when it is whole.
    fn begin_with(&mut self, byte: u8) -> Result<(), FrameError> {
        let len = usize::from(self.begun_len);
        let mut point = [0; 4];
        point[..len].copy_from_slice(&self.begun[..len]);
        point[len] = byte;
        match std::str::from_utf8(&point[..=len]) {
            Ok(_) => self.begun_len = 0,
            Err(error) if error.error_len().is_some() => return Err(FrameError::NotUtf8),
            // Not whole yet, hence at most three bytes.
            Err(_) => {
                self.begun[len] = byte;
                self.begun_len += 1;
            }
        }
        Ok(())
    }
}

/// As `<[u8]>::is_ascii`, in fewer instructions for a message of some fifty bytes.
fn is_ascii(bytes: &[u8]) -> bool {
    const TOP_BITS: u128 = u128::from_ne_bytes([0x80; 16]);
    let Some(last) = bytes.last_chunk::<16>() else { return bytes.is_ascii() };
    let last = u128::from_ne_bytes(*last);
    let (blocks, _) = bytes.as_chunks::<16>();
    blocks.iter().fold(last, |seen, block| seen | u128::from_ne_bytes(*block)) & TOP_BITS == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pieces: &[&[u8]]) -> Result<(), FrameError> {
        let mut check = Utf8Check::default();
        for piece in pieces {
            check.feed(piece)?;
        }
        check.finish()
    }

    #[test]
    fn its_state_is_one_code_point() {
        assert_eq!(size_of::<Utf8Check>(), 4);
    }

    #[test]
    fn text_and_what_is_none() {
        let rows: &[(&[u8], bool)] = &[
            // Autobahn 6.2 to 6.11 and 6.22: bounds of each length, noncharacters are characters.
            ("κόσμε".as_bytes(), true),
            (b"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", true),
            // Autobahn 6.12 to 6.21: lone continuations, lone starts, overlong, surrogates, beyond U+10FFFF.
            (b"\x80", false),
            (b"\xbf\x80", false),
            (b"\xc0 ", false),
            (b"\xc0\xaf", false),
            (b"\xe0\x80\xaf", false),
            (b"\xf0\x80\x80\xaf", false),
            (b"\xed\xa0\x80", false),
            (b"\xed\xbf\xbf", false),
            (b"\xf4\x90\x80\x80", false),
            (b"\xfe\xff", false),
            // It ends within a code point.
            (b"ab\xce", false),
            (b"\xf0\x90\x80", false),
        ];
        for (bytes, text) in rows {
            assert_eq!(check(&[bytes]).is_ok(), *text, "{bytes:02x?}");
            let singly: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(check(&singly).is_ok(), *text, "{bytes:02x?} byte by byte");
        }
    }

    #[test]
    fn it_fails_inside_a_code_point_that_cannot_become_one() {
        // Autobahn 6.4.*: F4 begins a code point, F4 90 cannot go on.
        let mut check = Utf8Check::default();
        assert_eq!(check.feed("κόσμε".as_bytes()), Ok(()));
        assert_eq!(check.feed(b"\xf4"), Ok(()));
        assert_eq!(check.feed(b"\x90"), Err(FrameError::NotUtf8));
    }

    #[test]
    fn it_can_be_used_again() {
        let mut check = Utf8Check::default();
        check.feed(b"\xf0\x90").unwrap();
        assert_eq!(check.finish(), Err(FrameError::NotUtf8));
        check.feed(b"next").unwrap();
        assert_eq!(check.finish(), Ok(()));
    }

    fn text_or_noise() -> impl Strategy<Value = Vec<u8>> {
        let nearly = ("\\PC{0,300}", any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
            let mut bytes = text.into_bytes();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        });
        prop_oneof!["\\PC{0,400}".prop_map(String::into_bytes), nearly, any::<Vec<u8>>()]
    }

    proptest! {
        #[test]
        fn it_says_what_the_standard_library_says_however_the_text_is_cut(
            bytes in text_or_noise(), mask in any::<[u8; 4]>(), cuts in any::<[prop::sample::Index; 3]>(),
        ) {
            let mut cuts = cuts.map(|cut| cut.index(bytes.len() + 1));
            cuts.sort_unstable();
            let [a, b, c] = cuts;
            let text = std::str::from_utf8(&bytes).is_ok();
            prop_assert_eq!(check(&[&bytes[..a], &bytes[a..b], &bytes[b..c], &bytes[c..]]).is_ok(), text);

            let mut masked = bytes.clone();
            mask::apply(&mut masked, mask, 0);
            let mut check = Utf8Check::default();
            let fed = [(0, a), (a, b), (b, c), (c, bytes.len())]
                .into_iter()
                .try_for_each(|(from, to)| check.feed_masked(&masked[from..to], mask, from));
            prop_assert_eq!(fed.and_then(|()| check.finish()).is_ok(), text);
        }
    }
}
