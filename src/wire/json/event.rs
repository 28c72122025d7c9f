//! The event that a message of a plain route names, as whoever reads the message may understand it.

use std::str::from_utf8;

use super::{
    Found, Scanner,
    check::{DEPTH_MAX, JsonBounds, JsonFault, JsonReading},
    string_or_other,
};
use crate::wire::socketio::packet::EventName;

/// UTF-8's byte order mark. Some readers pass over it.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The member of JavaScript that gives an object all members of another one, once it is copied.
const PROTOTYPE: &str = "__proto__";

/// What a message names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedEvent<'a> {
    /// This event, to every reader.
    One(EventName<'a>),
    /// None, to any reader.
    None,
    /// One reader may find an event in it, another one none, or another event.
    Unclear,
}

/// A message that would be JSON, and that readers understand in several ways, or cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It begins as an object and is none.
    #[error("the message is not JSON")]
    NotJson,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("objects and arrays are nested too deeply")]
    TooDeep,
    /// The object has the field twice. JavaScript takes the last, other readers the first.
    #[error("the field that names the event is repeated")]
    Repeated,
}

impl Unreadable {
    /// The rule as a metric label and log field.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotJson => "event_unreadable",
            Self::TooDeep => "event_depth",
            Self::Repeated => "event_field_repeated",
        }
    }
}

/// Reads the event that a whole text message names in this field.
///
/// Text that is neither JSON nor has a brace in it names none. With one in it, it is unclear: what is no JSON to one reader
/// may be an object to another.
///
/// # Errors
/// It begins as a JSON object and cannot be read.
pub fn event_in_text<'a>(text: &'a [u8], field: &str) -> Result<NamedEvent<'a>, Unreadable> {
    not_too_deep(text)?;
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip_space();
    if scanner.peek() == Some(b'{') {
        return scanner.event(field).unwrap_or(Err(Unreadable::NotJson));
    }
    let is_clear = memchr::memchr(b'{', text).is_none() || scanner.skip_only_value();
    Ok(if is_clear { NamedEvent::None } else { NamedEvent::Unclear })
}

/// The same for a binary message, which most services read as text. What is no JSON is unclear: it may be compressed, or of
/// another encoding.
///
/// # Errors
/// It is JSON that is nested too deeply or repeats the field.
pub fn event_in_binary<'a>(bytes: &'a [u8], field: &str) -> Result<NamedEvent<'a>, Unreadable> {
    not_too_deep(bytes)?;
    let mut scanner = Scanner { text: bytes, at: 0 };
    scanner.skip_space();
    let is_object = scanner.peek() == Some(b'{');
    match from_utf8(bytes) {
        Ok(_) if is_object => scanner.event(field).unwrap_or(Ok(NamedEvent::Unclear)),
        Ok(_) if scanner.skip_only_value() => Ok(NamedEvent::None),
        Ok(_) | Err(_) => Ok(NamedEvent::Unclear),
    }
}

/// Whatever is wrong with a message otherwise, it is not to be nested without end: not every reader looks at all of it.
fn not_too_deep(bytes: &[u8]) -> Result<(), Unreadable> {
    let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes).trim_ascii_start();
    let bounds = JsonBounds::new(JsonReading::Structure, DEPTH_MAX);
    match bounds.map_or(Ok(()), |bounds| bounds.check(bytes)) {
        Err(JsonFault::TooDeep) => Err(Unreadable::TooDeep),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl<'a> Scanner<'a> {
    /// Passes one value. True: nothing else was ahead.
    fn skip_only_value(&mut self) -> bool {
        let value = self.skip_value();
        self.skip_space();
        value.is_some() && self.at == self.text.len()
    }

    /// The event of the object that is ahead, with nothing behind it. `None`: it is malformed.
    fn event(&mut self, field: &str) -> Option<Result<NamedEvent<'a>, Unreadable>> {
        let (mut found, mut unclear) = (Found::Absent, false);
        self.expect(b'{')?;
        let mut more = !self.ends_at_once(b'}');
        while more {
            let name = self.name()?.decode();
            let begin = self.at;
            self.skip_value()?;
            match name.as_deref() {
                Some(name) if name == field => {
                    found = match found {
                        Found::Absent => string_or_other(&self.text[begin..self.at])?,
                        _ => Found::Repeated,
                    };
                }
                Some(PROTOTYPE) => unclear = true,
                Some(name) => unclear |= is_nearly(name, field),
                // Half a surrogate pair: no reader takes it for a field that is text.
                None => {}
            }
            self.skip_space();
            more = match self.next()? {
                b',' => true,
                b'}' => false,
                _ => return None,
            };
            self.skip_space();
        }
        self.skip_space();
        Some(match found {
            _ if self.at < self.text.len() => return None,
            Found::Repeated => Err(Unreadable::Repeated),
            Found::String(name) if !unclear => Ok(NamedEvent::One(name)),
            Found::Absent | Found::Null if !unclear => Ok(NamedEvent::None),
            // `{"type":["say"]}` is `say` to a JavaScript that looks it up in an object.
            _ => Ok(NamedEvent::Unclear),
        })
    }
}

/// Whether a reader that does not tell capital letters from small ones takes this name for the field. Go and C# have such
/// readers.
fn is_nearly(name: &str, field: &str) -> bool {
    if name.is_ascii() && field.is_ascii() {
        return name.eq_ignore_ascii_case(field);
    }
    // Some small letters are the same in capitals alone: ſ is S.
    let folded = |text: &str| text.to_uppercase().to_lowercase();
    folded(name) == folded(field)
}

#[cfg(test)]
mod tests;
