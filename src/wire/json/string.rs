//! One JSON string in its text: where it ends, and what it means.

use std::borrow::Cow;

/// The bytes are not a JSON string (RFC 8259 §7).
#[derive(Debug, PartialEq, Eq)]
pub(in crate::wire) struct NotAString;

/// A JSON string as it was written. Its escapes are well-formed; [`StringToken::decode`] checks that it is UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wire) struct StringToken<'a> {
    /// With its quotes.
    quoted: &'a [u8],
    escaped: bool,
}

impl<'a> StringToken<'a> {
    /// Reads the string at the start of `bytes`, which begin with its quote. `None`: it is longer than `bytes`.
    pub(in crate::wire) fn read(bytes: &'a [u8]) -> Result<Option<Self>, NotAString> {
        if bytes.first() != Some(&b'"') {
            return Err(NotAString);
        }
        let mut at = 1;
        let mut escaped = false;
        loop {
            at += plain_len(&bytes[at..]);
            match bytes.get(at) {
                None => return Ok(None),
                Some(b'"') => return Ok(Some(Self { quoted: &bytes[..=at], escaped })),
                Some(b'\\') => {
                    escaped = true;
                    let Some(escape_len) = escape_len(&bytes[at + 1..])? else { return Ok(None) };
                    at += 1 + escape_len;
                }
                Some(_) => return Err(NotAString),
            }
        }
    }

    /// How many bytes it takes in the text, its quotes included.
    pub(in crate::wire) const fn written_len(self) -> usize {
        self.quoted.len()
    }

    /// As it was written, with its quotes.
    pub(in crate::wire) const fn written(self) -> &'a [u8] {
        self.quoted
    }

    /// The text of the string. `None`: it is not UTF-8, or an escape is half a surrogate pair.
    ///
    /// Allocates only if there are escapes.
    pub(in crate::wire) fn decode(self) -> Option<Cow<'a, str>> {
        if self.escaped {
            return serde_json::from_slice(self.quoted).ok().map(Cow::Owned);
        }
        std::str::from_utf8(&self.quoted[1..self.quoted.len() - 1]).ok().map(Cow::Borrowed)
    }

    /// The text of the string, with U+FFFD in the place of each escape that is half a surrogate pair. `None`: it is not
    /// UTF-8.
    pub(in crate::wire) fn decode_lossy(self) -> Option<Cow<'a, str>> {
        self.decode().or_else(|| serde_json::from_slice(&with_whole_characters(self.quoted)).ok().map(Cow::Owned))
    }
}

/// The same string, each half of a surrogate pair replaced by U+FFFD.
fn with_whole_characters(quoted: &[u8]) -> Vec<u8> {
    const REPLACED: &[u8] = br"\ufffd";
    let unit = |at: usize| {
        let digits = quoted.get(at..at + 6)?.strip_prefix(br"\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut whole = Vec::with_capacity(quoted.len());
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &quoted[at..]) {
        whole.extend_from_slice(&quoted[at..at + found]);
        at += found;
        let len = match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                whole.extend_from_slice(REPLACED);
                at += REPLACED.len();
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 2,
        };
        whole.extend_from_slice(&quoted[at..at + len]);
        at += len;
    }
    whole.extend_from_slice(&quoted[at..]);
    whole
}

/// How many bytes stand for themselves, up to the quote, backslash or control character that does not.
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    let end = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
    let is_control = |byte: &u8| *byte < b' ';
    // Without a branch for each byte this becomes vector instructions; texts of megabytes pass here.
    let any_control = bytes[..end].iter().fold(false, |any, byte| any | is_control(byte));
    if any_control { bytes.iter().position(is_control).unwrap_or(end) } else { end }
}

/// How many bytes follow the backslash of an escape. `None`: more than there are.
fn escape_len(after: &[u8]) -> Result<Option<usize>, NotAString> {
    match after.first() {
        None => Ok(None),
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(Some(1)),
        Some(b'u') => {
            let digits = &after[1..after.len().min(5)];
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return Err(NotAString);
            }
            Ok((digits.len() == 4).then_some(5))
        }
        Some(_) => Err(NotAString),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_string_ends_at_its_quote_and_says_what_its_escapes_say() {
        let rows: &[(&[u8], usize, Option<&str>)] = &[
            (br#""join","#, 6, Some("join")),
            (br#""""#, 2, Some("")),
            ("\"é\"".as_bytes(), 4, Some("é")),
            (br#""\u006a\u006fin""#, 16, Some("join")),
            (br#""\"\\\/\b\f\n\r\t""#, 18, Some("\"\\/\u{8}\u{c}\n\r\t")),
            (br#""\ud83d\ude00""#, 14, Some("😀")),
            // JSON.parse of Node takes these; they are no characters.
            (br#""\ud800""#, 8, None),
            (b"\"\xff\"", 3, None),
        ];
        for (bytes, len, says) in rows {
            let token = StringToken::read(bytes).unwrap().unwrap();
            assert_eq!((token.written_len(), token.decode().as_deref()), (*len, *says));
        }
    }

    #[test]
    fn half_a_surrogate_pair_can_be_replaced() {
        let rows: &[(&[u8], Option<&str>)] = &[
            (br#""a\ud800b""#, Some("a\u{fffd}b")),
            (br#""\ud800\ud83d\ude00\n\udc00""#, Some("\u{fffd}😀\n\u{fffd}")),
            (br#""\ud800\u0041\\ud800""#, Some("\u{fffd}A\\ud800")),
            (br#""\uD800""#, Some("\u{fffd}")),
            (br#""whole\t""#, Some("whole\t")),
            (b"\"\xff\"", None),
            (b"\"\\ud800\xff\"", None),
        ];
        for (bytes, says) in rows {
            let token = StringToken::read(bytes).unwrap().unwrap();
            assert_eq!(token.decode_lossy().as_deref(), *says, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_string() {
        for bytes in [&b""[..], b"1", b"'a'", b"\"a\nb\"", b"\"\\x\"", b"\"\\u12g4\"", b"\"\\u1\""] {
            assert_eq!(StringToken::read(bytes), Err(NotAString), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_comes_back_and_any_shorter_part_is_not_enough(says in any::<String>()) {
            let written = serde_json::to_vec(&says).unwrap();
            let token = StringToken::read(&written).unwrap().unwrap();
            prop_assert_eq!(token.decode(), Some(Cow::Borrowed(says.as_str())));
            for end in 1..written.len() {
                prop_assert_eq!(StringToken::read(&written[..end]), Ok(None));
            }
        }
    }
}
