//! The data of an event: from MessagePack to the JSON that `socket.io-parser` writes for it.

use std::borrow::Cow;

use super::{
    DEPTH_MAX, javascript,
    malformed::Malformed,
    reader::{Reader, Token},
};
use crate::wire::socketio::packet::{ATTACHMENTS_MAX, is_reserved};

/// An object with this member is the place of an attachment.
pub(super) const PLACEHOLDER: &str = "_placeholder";

/// Setting this member of an object sets none, but what the object inherits from; nothing of it is written.
pub(super) const PROTOTYPE: &str = "__proto__";

/// JavaScript counts exactly up to here.
const EXACT_MAX: u64 = 1 << 53;

/// The JSON array of an event, and its attachments.
#[derive(Debug, Default)]
pub(super) struct Event {
    pub(super) json: Vec<u8>,
    pub(super) attachments: Vec<Vec<u8>>,
    /// An object of the payload itself is a placeholder.
    says_placeholder: bool,
}

impl Event {
    /// Reads the next value, the array of an event: its name, then its arguments.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let Token::Array(items @ 1..) = reader.next()? else { return Err(Malformed::EventName) };
        let mut event = Self { json: Vec::with_capacity(reader.left()), ..Self::default() };
        let name = reader.next()?;
        check_name(name)?;
        event.json.push(b'[');
        event.write(reader, name, DEPTH_MAX - 1)?;
        for _ in 1..items {
            event.json.push(b',');
            let item = reader.next()?;
            event.write(reader, item, DEPTH_MAX - 1)?;
        }
        event.json.push(b']');
        // Where there are no attachments, a client looks for no placeholder.
        if event.says_placeholder && !event.attachments.is_empty() {
            return Err(Malformed::Placeholder);
        }
        Ok(event)
    }

    /// Writes the value that this token begins. It may be so many levels deep; each is a call.
    fn write(&mut self, reader: &mut Reader<'_>, token: Token<'_>, levels: u32) -> Result<(), Malformed> {
        match token {
            Token::Nil | Token::Undefined => self.json.extend_from_slice(b"null"),
            Token::Bool(true) => self.json.extend_from_slice(b"true"),
            Token::Bool(false) => self.json.extend_from_slice(b"false"),
            Token::Unsigned(number) if number > EXACT_MAX => javascript::write_number(number as f64, &mut self.json),
            Token::Signed(number) if number.unsigned_abs() > EXACT_MAX => {
                javascript::write_number(number as f64, &mut self.json);
            }
            Token::Unsigned(number) => write_json(&number, &mut self.json),
            Token::Signed(number) => write_json(&number, &mut self.json),
            Token::Float(number) => javascript::write_number(number, &mut self.json),
            Token::Date(milliseconds) => javascript::write_date(milliseconds, &mut self.json),
            Token::Text(text) => write_json(text, &mut self.json),
            Token::Bytes(bytes) => self.attach(bytes)?,
            Token::Array(items) => self.write_array(reader, items, deeper(levels)?)?,
            Token::Map(members) => self.write_object(reader, members, deeper(levels)?)?,
        }
        Ok(())
    }

    fn write_array(&mut self, reader: &mut Reader<'_>, items: usize, levels: u32) -> Result<(), Malformed> {
        self.json.push(b'[');
        for item in 0..items {
            if item > 0 {
                self.json.push(b',');
            }
            let item = reader.next()?;
            self.write(reader, item, levels)?;
        }
        self.json.push(b']');
        Ok(())
    }

    fn write_object(&mut self, reader: &mut Reader<'_>, members: usize, levels: u32) -> Result<(), Malformed> {
        self.json.push(b'{');
        let mut is_first = true;
        for _ in 0..members {
            let name = name(reader.next()?)?;
            let value = reader.next()?;
            if name == PROTOTYPE || value == Token::Undefined {
                reader.skip(value)?;
                continue;
            }
            self.says_placeholder |= name == PLACEHOLDER && value == Token::Bool(true);
            if !std::mem::take(&mut is_first) {
                self.json.push(b',');
            }
            write_json(&*name, &mut self.json);
            self.json.push(b':');
            self.write(reader, value, levels)?;
        }
        self.json.push(b'}');
        Ok(())
    }

    fn attach(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let number = self.attachments.len();
        if number >= ATTACHMENTS_MAX.into() {
            return Err(Malformed::TooManyAttachments);
        }
        self.attachments.push(bytes.to_vec());
        self.json.extend_from_slice(br#"{"_placeholder":true,"num":"#);
        write_json(&number, &mut self.json);
        self.json.push(b'}');
        Ok(())
    }
}

/// The name of an event is a string that Socket.IO does not use itself, or a number.
fn check_name(name: Token<'_>) -> Result<(), Malformed> {
    match name {
        Token::Text(name) if is_reserved(name.as_bytes()) => Err(Malformed::EventReserved),
        Token::Float(number) if !number.is_finite() => Err(Malformed::EventName),
        Token::Text(_) | Token::Float(_) | Token::Unsigned(_) | Token::Signed(_) => Ok(()),
        _ => Err(Malformed::EventName),
    }
}

/// A string, or a number as JavaScript makes a string of it: the name of a member, or of a room.
pub(super) fn name(token: Token<'_>) -> Result<Cow<'_, str>, Malformed> {
    let number = match token {
        Token::Text(name) => return Ok(Cow::Borrowed(name)),
        Token::Unsigned(number) => number as f64,
        Token::Signed(number) => number as f64,
        Token::Float(number) if number.is_finite() => number,
        _ => return Err(Malformed::MemberName),
    };
    let mut written = Vec::new();
    javascript::write_number(number, &mut written);
    String::from_utf8(written).map(Cow::Owned).map_err(|_| Malformed::MemberName)
}

fn deeper(levels: u32) -> Result<u32, Malformed> {
    levels.checked_sub(1).ok_or(Malformed::TooDeep)
}

/// `serde_json` escapes strings as `JSON.stringify` does.
fn write_json(value: &(impl serde::Serialize + ?Sized), json: &mut Vec<u8>) {
    serde_json::to_writer(json, value).expect("strings and numbers can be written, and a Vec has room");
}
