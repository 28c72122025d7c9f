//! The data of an event: from the JSON of its packet to the MessagePack that `notepack.io` writes for it.

use std::fmt::Debug;

use rmp::encode;

use super::{
    DEPTH_MAX, PAYLOAD_BYTES_MAX,
    malformed::Malformed,
    to_json::{PLACEHOLDER, PROTOTYPE},
};
use crate::wire::json::{Scanner, string::StringToken};

/// The member of a placeholder that numbers its attachment.
const NUMBER: &str = "num";

/// The bounds of the whole numbers of MessagePack as floating-point numbers: from the first to below the second.
const SIGNED_MIN: f64 = -9_223_372_036_854_775_808.0;
const UNSIGNED_END: f64 = 18_446_744_073_709_551_616.0;

/// The header of an array or a map: its kind, and a length of 32 bits.
const HEADER_BYTES_MAX: usize = 5;

/// Appends the event. In the place of placeholders it has the attachments.
///
/// Numbers keep what they say as far as MessagePack can say it, which is farther than JavaScript reads it. Half a surrogate
/// pair, which UTF-8 does not have, becomes U+FFFD, as in Node. A member `__proto__` is left out: where a node reads it, it
/// gives the object a prototype, and a prototype of bytes ends the node.
///
/// # Errors
/// It is not JSON, no array, nested deeper than [`DEPTH_MAX`], longer than [`PAYLOAD_BYTES_MAX`], or has a placeholder of an
/// attachment that is not there.
pub(super) fn write_event(json: &[u8], attachments: &[Vec<u8>], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut scanner = Scanner::new(json);
    scanner.skip_space();
    if scanner.peek() != Some(b'[') {
        return Err(Malformed::Json);
    }
    let mut writer = Writer { scanner, attachments, out };
    writer.value(DEPTH_MAX)?;
    writer.scanner.skip_space();
    if writer.scanner.is_at_end() { Ok(()) } else { Err(Malformed::Json) }
}

struct Writer<'a> {
    scanner: Scanner<'a>,
    attachments: &'a [Vec<u8>],
    out: &'a mut Vec<u8>,
}

/// What makes an object a placeholder.
#[derive(Default)]
struct Marks {
    is_marked: bool,
    number: Option<usize>,
}

impl<'a> Writer<'a> {
    /// Writes one value. It may be so many levels deep; each is a call.
    fn value(&mut self, levels: u32) -> Result<(), Malformed> {
        if self.out.len() > PAYLOAD_BYTES_MAX {
            return Err(Malformed::TooLarge);
        }
        match self.scanner.peek() {
            Some(b'[') => self.array(levels.checked_sub(1).ok_or(Malformed::TooDeep)?)?,
            Some(b'{') => self.object(levels.checked_sub(1).ok_or(Malformed::TooDeep)?)?,
            Some(b'"') => {
                let token = self.scanner.string().ok_or(Malformed::Json)?;
                self.string(token)?;
            }
            Some(b't') => {
                self.scanner.literal(b"true").ok_or(Malformed::Json)?;
                written(encode::write_bool(self.out, true));
            }
            Some(b'f') => {
                self.scanner.literal(b"false").ok_or(Malformed::Json)?;
                written(encode::write_bool(self.out, false));
            }
            Some(b'n') => {
                self.scanner.literal(b"null").ok_or(Malformed::Json)?;
                written(encode::write_nil(self.out));
            }
            _ => {
                let text = self.scanner.number_text().ok_or(Malformed::Json)?;
                self.number(text)?;
            }
        }
        Ok(())
    }

    fn array(&mut self, levels: u32) -> Result<(), Malformed> {
        let begin = self.begin();
        let mut items = 0;
        let mut more = !self.scanner.enters(b']');
        while more {
            self.value(levels)?;
            items += 1;
            more = !self.scanner.closes(b']').ok_or(Malformed::Json)?;
        }
        self.end(begin, |mut header| {
            written(encode::write_array_len(&mut header, items));
            header.len()
        });
        Ok(())
    }

    fn object(&mut self, levels: u32) -> Result<(), Malformed> {
        let begin = self.begin();
        let (mut members, mut marks) = (0, Marks::default());
        let mut more = !self.scanner.enters(b'}');
        while more {
            let name = self.scanner.name().ok_or(Malformed::Json)?.decode_lossy().ok_or(Malformed::NotUtf8)?;
            let (before, at) = (self.out.len(), self.scanner.position());
            written(encode::write_str(self.out, &name));
            self.value(levels)?;
            if name == PROTOTYPE {
                self.out.truncate(before);
            } else {
                members += 1;
                marks.note(&name, self.scanner.since(at));
            }
            more = !self.scanner.closes(b'}').ok_or(Malformed::Json)?;
        }
        if marks.is_marked && !self.attachments.is_empty() {
            self.out.truncate(begin);
            return self.attachment(marks.number);
        }
        self.end(begin, |mut header| {
            written(encode::write_map_len(&mut header, members));
            header.len()
        });
        Ok(())
    }

    /// Leaves room for the header of what begins here, whose length is known at its end.
    fn begin(&mut self) -> usize {
        self.out.push(0);
        self.out.len() - 1
    }

    /// Writes the header of what began there. `write` says how many bytes of it are left over.
    fn end(&mut self, begin: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        let mut header = [0; HEADER_BYTES_MAX];
        let unused = write(&mut header);
        self.out.splice(begin..=begin, header.into_iter().take(HEADER_BYTES_MAX - unused));
    }

    fn attachment(&mut self, number: Option<usize>) -> Result<(), Malformed> {
        let attachment = number.and_then(|number| self.attachments.get(number)).ok_or(Malformed::Placeholder)?;
        if attachment.len() > PAYLOAD_BYTES_MAX {
            return Err(Malformed::TooLarge);
        }
        written(encode::write_bin(self.out, attachment));
        Ok(())
    }

    fn string(&mut self, token: StringToken<'a>) -> Result<(), Malformed> {
        let text = token.decode_lossy().ok_or(Malformed::NotUtf8)?;
        written(encode::write_str(self.out, &text));
        Ok(())
    }

    fn number(&mut self, text: &str) -> Result<(), Malformed> {
        if let Ok(number) = text.parse::<u64>() {
            written(encode::write_uint(self.out, number));
        } else if let Ok(number) = text.parse::<i64>() {
            written(encode::write_sint(self.out, number));
        } else {
            let number = text.parse::<f64>().map_err(|_| Malformed::Json)?;
            let is_whole = number.fract() == 0.0;
            if is_whole && (0.0..UNSIGNED_END).contains(&number) {
                written(encode::write_uint(self.out, number as u64));
            } else if is_whole && (SIGNED_MIN..0.0).contains(&number) {
                written(encode::write_sint(self.out, number as i64));
            } else {
                written(encode::write_f64(self.out, number));
            }
        }
        Ok(())
    }
}

impl Marks {
    /// Of two members with one name JavaScript takes the last.
    fn note(&mut self, name: &str, value: &[u8]) {
        match name {
            PLACEHOLDER => self.is_marked = value == b"true",
            NUMBER => {
                let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<f64>().ok());
                let whole = number.filter(|number| number.fract() == 0.0 && (0.0..256.0).contains(number));
                self.number = whole.map(|number| number as usize);
            }
            _ => {}
        }
    }
}

fn written<T, E: Debug>(result: Result<T, E>) {
    result.expect("writing to a Vec cannot fail");
}
