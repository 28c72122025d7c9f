//! Whether a payload is JSON, piece by piece as it arrives: in one pass, with one bit kept for each level of nesting.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire::websocket::mask;

/// The most levels that are ever read: a bit for each. What a service does with a value, it often does by a function that calls itself for
/// each level: Node overflows its stack beyond some 5,000.
pub const DEPTH_MAX: u32 = u64::BITS;

/// Bytes unmasked at once, on the stack.
const CHUNK: usize = 1024;

/// Bytes whose structure is read at once, a bit for each.
const BLOCK: usize = u64::BITS as usize;

/// With these bits set, all four brackets are the same, and the same as `Y`, `_` and `y`, which stand nowhere in JSON outside
/// of strings.
const ALIKE: u8 = 0x26;
const BRACKET: u8 = b'[' | ALIKE;

/// How closely the JSON of a client's packet is read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JsonReading {
    /// Its brackets and its strings: each is closed, by its own kind, and nothing stands behind the last.
    #[default]
    Structure,
    /// Every character, as `JSON.parse` reads it (RFC 8259).
    Full,
}

/// How JSON is read, and how deep it may be nested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonBounds {
    reading: JsonReading,
    levels: u8,
}

impl JsonBounds {
    /// Objects and arrays may be nested `levels` deep: 1 is an array without another one in it.
    ///
    /// `None`: `levels` is 0, or more than [`DEPTH_MAX`].
    #[must_use]
    pub fn new(reading: JsonReading, levels: u32) -> Option<Self> {
        let levels = u8::try_from(levels).ok().filter(|_| (1..=DEPTH_MAX).contains(&levels))?;
        Some(Self { reading, levels })
    }

    /// Reads a whole text: an object or array, and nothing around it but blanks behind it.
    ///
    /// # Errors
    /// The first fault.
    #[inline(never)]
    pub fn check(self, text: &[u8]) -> Result<(), JsonFault> {
        let mut check = JsonCheck::new(self);
        check.feed(text)?;
        check.finish()
    }
}

/// What is wrong with JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Nested deeper than allowed.
    #[error("objects and arrays are nested too deeply")]
    TooDeep,
    /// A bracket or a string that is not closed, a bracket of the wrong kind, something behind the last one that is no blank.
    #[error("a bracket or a string is not closed")]
    Structure,
    /// Not JSON for another reason.
    #[error("it is not JSON")]
    Grammar,
    /// `{"_placeholder":true}` without the number of an attachment of its packet.
    #[error("a placeholder names no attachment")]
    Placeholder,
}

impl JsonFault {
    /// The rule as a metric label and log field.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooDeep => "json_depth",
            Self::Structure => "json_structure",
            Self::Grammar => "json_grammar",
            Self::Placeholder => "json_placeholder",
        }
    }
}

/// The check of one object or array, with nothing around it but blanks behind it. It allocates nothing and needs no stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonCheck {
    bounds: JsonBounds,
    at: At,
    /// The string is the name of a member.
    in_name: bool,
    depth: u8,
    /// The objects and arrays around the position: 1 for an object, the innermost in the lowest bit.
    objects: u64,
}

/// What comes next. [`JsonReading::Structure`] needs only `Value` for everything outside of strings, the two of strings,
/// and `End`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Value,
    /// A value, or the end of an empty array.
    FirstValue,
    /// The name of a member, or the end of an empty object.
    FirstName,
    Name,
    Colon,
    /// A comma, or the end of the object or array.
    Behind,
    String,
    /// Behind a backslash.
    Escape,
    /// So many hexadecimal digits.
    Hex(u8),
    /// Behind the first letters of `true`, `false` or `null`.
    Literal(Literal, u8),
    Number(Number),
    /// Nothing but blanks.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Literal {
    True,
    False,
    Null,
}

impl Literal {
    const fn letters(self) -> &'static [u8] {
        match self {
            Self::True => b"true",
            Self::False => b"false",
            Self::Null => b"null",
        }
    }
}

/// Behind which part of a number (RFC 8259 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl Number {
    /// The part that ends with this byte. `None`: the number is over.
    const fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Self::Integer,
            (Self::Zero | Self::Integer, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::Sign,
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Self::Power,
            _ => return None,
        })
    }

    const fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::Power)
    }
}

impl JsonCheck {
    /// Nothing has been read.
    #[must_use]
    pub const fn new(bounds: JsonBounds) -> Self {
        Self { bounds, at: At::Value, in_name: false, depth: 0, objects: 0 }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// No JSON begins like this.
    #[inline]
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), JsonFault> {
        match self.bounds.reading {
            JsonReading::Structure => self.structure(bytes),
            JsonReading::Full => self.grammar(bytes),
        }
    }

    /// Takes the next piece as it came, masked. `offset` is how far into its frame's payload it begins.
    ///
    /// # Errors
    /// As [`JsonCheck::feed`].
    pub fn feed_masked(&mut self, bytes: &[u8], mask: [u8; 4], offset: usize) -> Result<(), JsonFault> {
        let mut plain = [0; CHUNK];
        // CHUNK is a multiple of four, so the mask lies over every chunk as it lies over the first.
        for chunk in bytes.chunks(CHUNK) {
            let plain = &mut plain[..chunk.len()];
            mask::copy_unmasked(chunk, mask, offset, plain);
            self.feed(plain)?;
        }
        Ok(())
    }

    /// The text ends here.
    ///
    /// # Errors
    /// It is not complete.
    pub const fn finish(&self) -> Result<(), JsonFault> {
        match (self.at, self.bounds.reading) {
            (At::End, _) => Ok(()),
            (_, JsonReading::Structure) => Err(JsonFault::Structure),
            (_, JsonReading::Full) => Err(JsonFault::Grammar),
        }
    }

    fn structure(&mut self, bytes: &[u8]) -> Result<(), JsonFault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let plain = if let Some((block, behind)) = rest.split_first_chunk::<BLOCK>() {
                rest = behind;
                self.block(block, BLOCK)?
            } else {
                let mut block = [b' '; BLOCK];
                block[..rest.len()].copy_from_slice(rest);
                let len = std::mem::take(&mut rest).len();
                self.block(&block, len)?
            };
            if plain {
                // A string as long as that is likely to go on.
                let len = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                rest = &rest[len..];
            }
        }
        Ok(())
    }

    /// Takes a block of which `len` bytes are there, with blanks behind them. True: it lies inside of a string, and nothing
    /// in it has a meaning.
    #[inline]
    fn block(&mut self, block: &[u8; BLOCK], len: usize) -> Result<bool, JsonFault> {
        let mut quotes = bits(block, |byte| byte == b'"');
        let has_escapes = block.iter().fold(0, |any, byte| any | u8::from(*byte == b'\\')) != 0;
        let slashes = if has_escapes { bits(block, |byte| byte == b'\\') } else { 0 };
        let mut cut_in_escape = false;
        let begins_inside = match self.at {
            At::String if quotes | slashes == 0 => return Ok(true),
            At::String | At::Escape => true,
            At::End if is_blank(&block[..len]) => return Ok(false),
            At::End => return Err(JsonFault::Structure),
            _ if self.depth == 0 && !matches!(block[0], b'[' | b'{') => return Err(JsonFault::Structure),
            _ => false,
        };
        if slashes != 0 || self.at == At::Escape {
            (quotes, cut_in_escape) = unescaped(quotes, slashes, self.at == At::Escape, len);
        }
        let inside = up_to_each(quotes) ^ if begins_inside { u64::MAX } else { 0 };
        let misplaced = slashes & !inside;
        // What is wrong first is what is wrong, wherever the text is cut.
        let before = misplaced.wrapping_sub(1) & !misplaced;
        let mut brackets = bits(block, |byte| byte | ALIKE == BRACKET) & !inside & before;
        while brackets != 0 {
            let at = brackets.trailing_zeros() as usize;
            brackets &= brackets - 1;
            match block[at] {
                _ if self.at == At::End => return Err(JsonFault::Structure),
                b'[' => self.enter(false)?,
                b'{' => self.enter(true)?,
                b']' => self.leave(false).ok_or(JsonFault::Structure)?,
                b'}' => self.leave(true).ok_or(JsonFault::Structure)?,
                _ => {}
            }
            if self.at == At::End && !is_blank(&block[at + 1..len]) {
                return Err(JsonFault::Structure);
            }
        }
        if misplaced != 0 {
            return Err(JsonFault::Structure);
        }
        if self.at != At::End {
            self.at = match inside >> (BLOCK - 1) {
                _ if cut_in_escape => At::Escape,
                0 => At::Value,
                _ => At::String,
            };
        }
        Ok(false)
    }

    fn grammar(&mut self, bytes: &[u8]) -> Result<(), JsonFault> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.at == At::String {
                at += super::string::plain_len(&bytes[at..]);
                let Some(&byte) = bytes.get(at) else { break };
                self.at = match byte {
                    b'"' if self.in_name => At::Colon,
                    b'"' => At::Behind,
                    b'\\' => At::Escape,
                    _ => return Err(JsonFault::Grammar),
                };
                at += 1;
                continue;
            }
            let is_space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
            let between =
                matches!(self.at, At::Value | At::FirstValue | At::FirstName | At::Name | At::Colon | At::Behind);
            if is_space && ((between && self.depth > 0) || self.at == At::End) {
                at += 1;
                continue;
            }
            if let At::Number(part) = self.at {
                match part.next(byte) {
                    Some(part) => self.at = At::Number(part),
                    None if part.may_end() => {
                        self.at = At::Behind;
                        continue;
                    }
                    None => return Err(JsonFault::Grammar),
                }
            } else {
                self.step(byte)?;
            }
            at += 1;
        }
        Ok(())
    }

    /// Takes one byte that is neither inside of a string or number nor space between two tokens.
    fn step(&mut self, byte: u8) -> Result<(), JsonFault> {
        self.at = match (self.at, byte) {
            (At::Value | At::FirstValue, b'[') => return self.enter(false),
            (At::Value | At::FirstValue, b'{') => return self.enter(true),
            (At::FirstValue, b']') => return self.leave(false).ok_or(JsonFault::Grammar),
            (At::FirstName, b'}') => return self.leave(true).ok_or(JsonFault::Grammar),
            (At::Behind, b']') => return self.leave(false).ok_or(JsonFault::Grammar),
            (At::Behind, b'}') => return self.leave(true).ok_or(JsonFault::Grammar),
            (At::Value | At::FirstValue, _) if self.depth == 0 => return Err(JsonFault::Grammar),
            (At::FirstName | At::Name, b'"') => {
                self.in_name = true;
                At::String
            }
            (At::Value | At::FirstValue, b'"') => {
                self.in_name = false;
                At::String
            }
            (At::Value | At::FirstValue, b't') => At::Literal(Literal::True, 1),
            (At::Value | At::FirstValue, b'f') => At::Literal(Literal::False, 1),
            (At::Value | At::FirstValue, b'n') => At::Literal(Literal::Null, 1),
            (At::Value | At::FirstValue, b'-') => At::Number(Number::Minus),
            (At::Value | At::FirstValue, b'0') => At::Number(Number::Zero),
            (At::Value | At::FirstValue, b'1'..=b'9') => At::Number(Number::Integer),
            (At::Colon, b':') => At::Value,
            (At::Behind, b',') if self.objects & 1 == 1 => At::Name,
            (At::Behind, b',') => At::Value,
            (At::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => At::String,
            (At::Escape, b'u') => At::Hex(4),
            (At::Hex(1), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => At::String,
            (At::Hex(left), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => At::Hex(left - 1),
            (At::Literal(word, read), _) => match word.letters().split_at_checked(usize::from(read)) {
                Some((_, [letter])) if *letter == byte => At::Behind,
                Some((_, [letter, _, ..])) if *letter == byte => At::Literal(word, read + 1),
                _ => return Err(JsonFault::Grammar),
            },
            _ => return Err(JsonFault::Grammar),
        };
        Ok(())
    }

    #[inline]
    const fn enter(&mut self, object: bool) -> Result<(), JsonFault> {
        if self.depth == self.bounds.levels {
            return Err(JsonFault::TooDeep);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | object as u64;
        self.at = match (self.bounds.reading, object) {
            (JsonReading::Structure, _) => At::Value,
            (JsonReading::Full, true) => At::FirstName,
            (JsonReading::Full, false) => At::FirstValue,
        };
        Ok(())
    }

    /// `None`: what is innermost is of the other kind.
    #[inline]
    const fn leave(&mut self, object: bool) -> Option<()> {
        if self.depth == 0 || (self.objects & 1 == 1) != object {
            return None;
        }
        self.depth -= 1;
        self.objects >>= 1;
        self.at = match (self.depth, self.bounds.reading) {
            (0, _) => At::End,
            (_, JsonReading::Structure) => At::Value,
            (_, JsonReading::Full) => At::Behind,
        };
        Some(())
    }
}

/// Whether there is nothing but what JSON passes over between two tokens (RFC 8259 §2).
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

/// One bit for each byte of a block, the first byte in the lowest.
#[inline]
fn bits(block: &[u8; BLOCK], is_meant: impl Fn(u8) -> bool) -> u64 {
    /// Moves the lowest bit of each byte of a word into its highest byte, side by side.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut found = [0; BLOCK];
    // No branch depends on a byte, so this becomes vector instructions.
    block.iter().zip(&mut found).for_each(|(byte, found)| *found = u8::from(is_meant(*byte)));
    let words = found.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56);
    words.enumerate().fold(0, |bits, (at, word)| bits | (word << (8 * at)))
}

/// The quotes that no backslash precedes, and whether the byte behind the block is one that a backslash precedes.
fn unescaped(mut quotes: u64, mut slashes: u64, begins_escaped: bool, len: usize) -> (u64, bool) {
    if begins_escaped {
        (quotes, slashes) = (quotes & !1, slashes & !1);
    }
    while slashes != 0 {
        let at = slashes.trailing_zeros() as usize;
        if at + 1 == len {
            return (quotes, true);
        }
        let escaped = 2 << at;
        quotes &= !escaped;
        slashes &= slashes - 1;
        slashes &= !escaped;
    }
    (quotes, false)
}

/// A bit for each position with an odd number of these bits at or below it: those inside of strings.
const fn up_to_each(mut bits: u64) -> u64 {
    let mut by = 1;
    while by < u64::BITS {
        bits ^= bits << by;
        by *= 2;
    }
    bits
}

#[cfg(test)]
mod tests;
