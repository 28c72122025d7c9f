//! Whether a payload is JSON, piece by piece as it arrives: in one pass, with one bit kept for each level of nesting.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire::websocket::mask;

/// The most levels that are ever read: a bit for each. What a service does with a value, it often does by a function that calls itself for
/// each level: Node overflows its stack beyond some 5,000.
pub const DEPTH_MAX: u32 = u64::BITS;

/// Bytes unmasked at once, on the stack.
const CHUNK: usize = 1024;

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

    /// Reads a whole text: an object or array, and nothing around it.
    ///
    /// # Errors
    /// The first fault.
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
    /// A bracket or a string that is not closed, a bracket of the wrong kind, something behind the last one.
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

/// The check of one object or array, without anything around it. It allocates nothing and needs no stack.
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
    /// Nothing.
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
        let mut at = 0;
        if self.at == At::Escape && !bytes.is_empty() {
            (self.at, at) = (At::String, 1);
        }
        while at < bytes.len() {
            if self.at == At::String {
                at += string_len(&bytes[at..]);
                match bytes.get(at) {
                    None => break,
                    Some(b'"') => self.at = At::Value,
                    // The byte behind it has no meaning, whatever it is.
                    Some(_) => at += 1,
                }
            } else if self.at == At::End {
                return Err(JsonFault::Structure);
            } else {
                if self.depth > 0 {
                    at += plain_len(&bytes[at..]);
                }
                match bytes.get(at) {
                    None => break,
                    Some(b'"') if self.depth > 0 => self.at = At::String,
                    Some(b'[') => self.enter(false)?,
                    Some(b'{') => self.enter(true)?,
                    Some(b']') => self.leave(false).ok_or(JsonFault::Structure)?,
                    Some(b'}') => self.leave(true).ok_or(JsonFault::Structure)?,
                    Some(_) if self.depth > 0 => {}
                    Some(_) => return Err(JsonFault::Structure),
                }
            }
            at += 1;
        }
        if at > bytes.len() {
            self.at = At::Escape;
        }
        Ok(())
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
            if is_space && between && self.depth > 0 {
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

const ONES: u64 = u64::from_le_bytes([1; 8]);
const TOPS: u64 = u64::from_le_bytes([0x80; 8]);

/// The top bit of each byte that is zero. Bits above the lowest one may be wrong, because a subtraction borrows.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & TOPS
}

/// How many bytes come before the first quote or backslash.
#[inline]
fn string_len(bytes: &[u8]) -> usize {
    /// Words looked at before a call that is faster for long strings.
    const SHORT: usize = 4;
    let words = bytes.as_chunks::<8>().0;
    let words = &words[..words.len().min(SHORT)];
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64));
        if found != 0 {
            return 8 * at + found.trailing_zeros() as usize / 8;
        }
    }
    let rest = &bytes[8 * words.len()..];
    let is_end = |byte: &u8| matches!(byte, b'"' | b'\\');
    let len = if rest.len() < 8 { rest.iter().position(is_end) } else { memchr::memchr2(b'"', b'\\', rest) };
    8 * words.len() + len.unwrap_or(rest.len())
}

/// How many bytes come before the first quote, before the first bracket, or before one of the few characters that are one
/// bit away from a bracket and stand nowhere in JSON outside of strings.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    /// With these bits set, all four brackets are the same.
    const ALIKE: u8 = 0x26;
    const BRACKET: u8 = b'[' | ALIKE;
    let (words, tail) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found =
            zeros(word ^ (ONES * b'"' as u64)) | zeros((word | (ONES * ALIKE as u64)) ^ (ONES * BRACKET as u64));
        if found != 0 {
            return 8 * at + found.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &&u8| **byte != b'"' && (**byte | ALIKE) != BRACKET;
    8 * words.len() + tail.iter().take_while(is_plain).count()
}

#[cfg(test)]
mod tests;
