//! JSON, as little of it as the gate reads itself: one field of an object, and whether a member is repeated.

pub mod check;
pub mod event;
pub mod members;
pub mod path;
pub mod placeholders;
pub mod scalar;
pub(in crate::wire) mod string;

use std::collections::HashSet;

use self::{check::DEPTH_MAX, string::StringToken};
use super::socketio::packet::EventName;

/// The result of a search for a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    /// The text is not an object.
    NotAnObject,
    /// The object has no such field.
    Absent,
    /// The field's value is this string.
    String(EventName<'a>),
    /// The field's value is `null`.
    Null,
    /// The field's value is anything else, or a string that is no text (half a surrogate pair).
    Other,
    /// The object has the field twice. Parsers differ in which one they take, so neither is returned.
    Repeated,
    /// The text is not JSON, or nested deeper than [`DEPTH_MAX`].
    Malformed,
}

/// The value of one field at the top level of a JSON object, when it is a string.
///
/// The whole text is read, so that what follows the field cannot change its meaning. Field names are compared after
/// un-escaping. Only strings with escapes are copied: names at the top level, and the value.
#[must_use]
pub fn top_level_string<'a>(text: &'a [u8], field: &str) -> Found<'a> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip_space();
    if scanner.peek() != Some(b'{') {
        return Found::NotAnObject;
    }
    scanner.find(field).unwrap_or(Found::Malformed)
}

/// Whether `text` is one JSON value in which no object has a member twice, after un-escaping, and objects and arrays
/// are nested at most `levels` deep. Of two members with one name parsers take either one.
#[must_use]
pub fn has_one_reading(text: &[u8], levels: u32) -> bool {
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip_space();
    let value = scanner.skip_unrepeated(levels);
    scanner.skip_space();
    value.is_some() && scanner.at == text.len()
}

/// Reads JSON step by step.
pub(in crate::wire) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

/// Each step is `None` if the text is malformed.
impl<'a> Scanner<'a> {
    pub(in crate::wire) const fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    pub(in crate::wire) const fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Where it is in the text, in bytes.
    pub(in crate::wire) const fn position(&self) -> usize {
        self.at
    }

    /// What has been read since it was there.
    pub(in crate::wire) fn since(&self, position: usize) -> &'a [u8] {
        &self.text[position..self.at]
    }

    /// Steps into the object or array that is ahead. True: it is empty, and `end` has been read.
    pub(in crate::wire) fn enters(&mut self, end: u8) -> bool {
        self.at += 1;
        self.ends_at_once(end)
    }

    /// Behind a value: whether the object or array ends here. Otherwise another value is ahead.
    pub(in crate::wire) fn closes(&mut self, end: u8) -> Option<bool> {
        self.skip_space();
        match self.next()? {
            b',' => self.skip_space(),
            byte => return (byte == end).then_some(true),
        }
        Some(false)
    }

    /// A number as it is written.
    pub(in crate::wire) fn number_text(&mut self) -> Option<&'a str> {
        let begin = self.at;
        self.number()?;
        std::str::from_utf8(self.since(begin)).ok()
    }

    fn find(&mut self, field: &str) -> Option<Found<'a>> {
        let mut found = Found::Absent;
        self.expect(b'{')?;
        if !self.ends_at_once(b'}') {
            loop {
                let name = self.name()?;
                let begin = self.at;
                self.skip_value()?;
                if name.decode().as_deref() == Some(field) {
                    found = match found {
                        Found::Absent => string_or_other(&self.text[begin..self.at])?,
                        _ => Found::Repeated,
                    };
                }
                self.skip_space();
                match self.next()? {
                    b',' => self.skip_space(),
                    b'}' => break,
                    _ => return None,
                }
            }
        }
        self.skip_space();
        (self.at == self.text.len()).then_some(found)
    }

    /// Passes over one value. `None` also where a member is repeated or the value is nested deeper than `levels`. Each
    /// level is a call, so `levels` is to be small.
    fn skip_unrepeated(&mut self, levels: u32) -> Option<()> {
        let (end, is_object) = match self.peek()? {
            b'{' => (b'}', true),
            b'[' => (b']', false),
            _ => return self.skip_value(),
        };
        let levels = levels.checked_sub(1)?;
        self.at += 1;
        let mut names = HashSet::new();
        if self.ends_at_once(end) {
            return Some(());
        }
        loop {
            if is_object && !names.insert(self.name()?.decode()?) {
                return None;
            }
            self.skip_unrepeated(levels)?;
            self.skip_space();
            match self.next()? {
                b',' => self.skip_space(),
                byte if byte == end => return Some(()),
                _ => return None,
            }
        }
    }

    /// A field's name, its colon, and the space around it.
    pub(in crate::wire) fn name(&mut self) -> Option<StringToken<'a>> {
        let name = self.string()?;
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Some(name)
    }

    pub(in crate::wire) fn string(&mut self) -> Option<StringToken<'a>> {
        let token = StringToken::read(&self.text[self.at..]).ok()??;
        self.at += token.written_len();
        Some(token)
    }

    /// Passes over one value and all that is in it.
    pub(in crate::wire) fn skip_value(&mut self) -> Option<()> {
        let mut nesting = Nesting::default();
        loop {
            if self.skip_scalar_or_enter(&mut nesting)? {
                continue;
            }
            while !nesting.is_empty() {
                self.skip_space();
                match (self.next()?, nesting.in_object()) {
                    (b',', in_object) => {
                        self.skip_space();
                        if in_object {
                            self.name()?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => nesting.leave(),
                    _ => return None,
                }
            }
            if nesting.is_empty() {
                return Some(());
            }
        }
    }

    /// `true`: the scanner is inside an object or array, before its first value. `false`: it is behind a value.
    fn skip_scalar_or_enter(&mut self, nesting: &mut Nesting) -> Option<bool> {
        match self.peek()? {
            b'{' => {
                self.at += 1;
                if self.ends_at_once(b'}') {
                    return Some(false);
                }
                nesting.enter(true)?;
                self.name()?;
                return Some(true);
            }
            b'[' => {
                self.at += 1;
                if self.ends_at_once(b']') {
                    return Some(false);
                }
                nesting.enter(false)?;
                return Some(true);
            }
            b'"' => drop(self.string()?),
            b't' => self.literal(b"true")?,
            b'f' => self.literal(b"false")?,
            b'n' => self.literal(b"null")?,
            _ => self.number()?,
        }
        Some(false)
    }

    pub(in crate::wire) fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(literal).then(|| self.at += literal.len())
    }

    /// RFC 8259 §6.
    fn number(&mut self) -> Option<()> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        (digits > 0).then_some(())
    }

    /// Passes over space, and over `end` if it follows. Then the object or array is empty.
    fn ends_at_once(&mut self, end: u8) -> bool {
        self.skip_space();
        self.take(end)
    }

    pub(in crate::wire) fn skip_space(&mut self) {
        let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += self.text[self.at..].iter().take_while(is_space).count();
    }

    pub(in crate::wire) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }
}

fn string_or_other(value: &[u8]) -> Option<Found<'_>> {
    match value.first() {
        Some(b'"') => {}
        Some(b'n') => return Some(Found::Null),
        _ => return Some(Found::Other),
    }
    let token = StringToken::read(value).ok()??;
    Some(EventName::from_json(token).map_or(Found::Other, Found::String))
}

/// The objects and arrays around a position, as a stack of bits: 1 for an object.
#[derive(Default)]
struct Nesting {
    bits: u64,
    depth: u32,
}

impl Nesting {
    /// `None`: too deep. The object at the top level counts, but is not in `bits`.
    fn enter(&mut self, object: bool) -> Option<()> {
        self.depth += 1;
        self.bits = self.bits << 1 | u64::from(object);
        (self.depth < DEPTH_MAX).then_some(())
    }

    const fn leave(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
    }

    const fn in_object(&self) -> bool {
        self.bits & 1 == 1
    }

    const fn is_empty(&self) -> bool {
        self.depth == 0
    }
}

#[cfg(test)]
mod tests;
