//! MessagePack, value by value, as notepack.io 2 and 3 write it. No length that it says is believed before the bytes are there.

use rmp::Marker;

use super::malformed::Malformed;

/// A value, or the beginning of one that has others in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    Nil,
    /// JavaScript's `undefined`: notepack.io 2 says it by an extension.
    Undefined,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
    /// Also an `ArrayBuffer`, for which notepack.io 2 has an extension.
    Bytes(&'a [u8]),
    /// Milliseconds since 1970, as JavaScript counts them.
    Date(f64),
    /// So many values follow.
    Array(usize),
    /// So many pairs of a name and a value follow.
    Map(usize),
}

/// The types of extensions: MessagePack's own for a time, and notepack.io 2's for all that JavaScript has beside.
const TIMESTAMP: i8 = -1;
const JAVASCRIPT: i8 = 0;

/// Reads the values of a payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    /// The bytes that are left.
    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn next(&mut self) -> Result<Token<'a>, Malformed> {
        let [byte] = self.array()?;
        Ok(match Marker::from_u8(byte) {
            Marker::Null => Token::Nil,
            Marker::False => Token::Bool(false),
            Marker::True => Token::Bool(true),
            Marker::FixPos(number) => Token::Unsigned(number.into()),
            Marker::U8 => Token::Unsigned(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Token::Unsigned(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Token::Unsigned(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Token::Unsigned(u64::from_be_bytes(self.array()?)),
            Marker::FixNeg(number) => Token::Signed(number.into()),
            Marker::I8 => Token::Signed(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Token::Signed(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Token::Signed(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Token::Signed(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Token::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(bytes) => self.text(bytes.into())?,
            Marker::Str8 => self.len8().and_then(|bytes| self.text(bytes))?,
            Marker::Str16 => self.len16().and_then(|bytes| self.text(bytes))?,
            Marker::Str32 => self.len32().and_then(|bytes| self.text(bytes))?,
            Marker::Bin8 => self.len8().and_then(|bytes| self.bytes(bytes)).map(Token::Bytes)?,
            Marker::Bin16 => self.len16().and_then(|bytes| self.bytes(bytes)).map(Token::Bytes)?,
            Marker::Bin32 => self.len32().and_then(|bytes| self.bytes(bytes)).map(Token::Bytes)?,
            Marker::FixArray(items) => self.items(items.into())?,
            Marker::Array16 => self.len16().and_then(|items| self.items(items))?,
            Marker::Array32 => self.len32().and_then(|items| self.items(items))?,
            Marker::FixMap(members) => self.members(members.into())?,
            Marker::Map16 => self.len16().and_then(|members| self.members(members))?,
            Marker::Map32 => self.len32().and_then(|members| self.members(members))?,
            Marker::FixExt1 => self.fixed_extension(1)?,
            Marker::FixExt4 => self.fixed_extension(4)?,
            Marker::FixExt8 => self.fixed_extension(8)?,
            Marker::Ext8 => self.len8().and_then(|bytes| self.extension(bytes))?,
            Marker::Ext16 => self.len16().and_then(|bytes| self.extension(bytes))?,
            Marker::Ext32 => self.len32().and_then(|bytes| self.extension(bytes))?,
            Marker::FixExt2 | Marker::FixExt16 => return Err(Malformed::Extension),
            Marker::Reserved => return Err(Malformed::Reserved),
        })
    }

    /// Passes over all that is in the value that this token begins.
    pub(super) fn skip(&mut self, token: Token<'a>) -> Result<(), Malformed> {
        let inside = |token: Token<'_>| match token {
            Token::Array(items) => items,
            Token::Map(members) => members.saturating_mul(2),
            _ => 0,
        };
        let mut ahead = inside(token);
        while ahead > 0 {
            ahead = (ahead - 1).saturating_add(inside(self.next()?));
        }
        Ok(())
    }

    /// Nothing is left.
    pub(super) const fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }

    /// Each value takes one byte at least.
    fn items(&self, items: usize) -> Result<Token<'a>, Malformed> {
        if items > self.rest.len() { Err(Malformed::Truncated) } else { Ok(Token::Array(items)) }
    }

    fn members(&self, members: usize) -> Result<Token<'a>, Malformed> {
        if members > self.rest.len() / 2 { Err(Malformed::Truncated) } else { Ok(Token::Map(members)) }
    }

    fn text(&mut self, bytes: usize) -> Result<Token<'a>, Malformed> {
        let bytes = self.bytes(bytes)?;
        std::str::from_utf8(bytes).map(Token::Text).map_err(|_| Malformed::NotUtf8)
    }

    /// An extension whose length is in its first byte.
    fn fixed_extension(&mut self, bytes: usize) -> Result<Token<'a>, Malformed> {
        let kind = i8::from_be_bytes(self.array()?);
        let data = self.bytes(bytes)?;
        match (kind, data) {
            (JAVASCRIPT, &[_]) => Ok(Token::Undefined),
            (JAVASCRIPT, &[a, b, c, d, e, f, g, h]) => {
                Ok(Token::Date(i64::from_be_bytes([a, b, c, d, e, f, g, h]) as f64))
            }
            (TIMESTAMP, &[a, b, c, d]) => Ok(Token::Date(f64::from(u32::from_be_bytes([a, b, c, d])) * 1e3)),
            (TIMESTAMP, &[a, b, c, d, e, f, g, h]) => {
                let both = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                let (nanoseconds, seconds) = (both >> 34, both & ((1 << 34) - 1));
                Ok(Token::Date(seconds as f64 * 1e3 + nanoseconds as f64 / 1e6))
            }
            _ => Err(Malformed::Extension),
        }
    }

    /// An extension whose length stands before it.
    fn extension(&mut self, bytes: usize) -> Result<Token<'a>, Malformed> {
        let kind = i8::from_be_bytes(self.array()?);
        let data = self.bytes(bytes)?;
        match (kind, data) {
            (JAVASCRIPT, data) => Ok(Token::Bytes(data)),
            (TIMESTAMP, &[a, b, c, d, ref seconds @ ..]) => {
                let seconds = <[u8; 8]>::try_from(seconds).map_err(|_| Malformed::Extension)?;
                let nanoseconds = f64::from(u32::from_be_bytes([a, b, c, d]));
                Ok(Token::Date(i64::from_be_bytes(seconds) as f64 * 1e3 + nanoseconds / 1e6))
            }
            _ => Err(Malformed::Extension),
        }
    }

    fn len8(&mut self) -> Result<usize, Malformed> {
        self.array().map(|[len]| len.into())
    }

    fn len16(&mut self) -> Result<usize, Malformed> {
        self.array().map(|len| u16::from_be_bytes(len).into())
    }

    fn len32(&mut self) -> Result<usize, Malformed> {
        self.array().map(|len| u32::from_be_bytes(len) as usize)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn bytes(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        self.rest.split_off(..bytes).ok_or(Malformed::Truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first value, and how many bytes are behind it.
    fn read(bytes: &[u8]) -> Result<(Token<'_>, usize), Malformed> {
        let mut reader = Reader::new(bytes);
        reader.next().map(|token| (token, reader.left()))
    }

    #[test]
    fn each_kind_of_value_is_read() {
        let rows: &[(&[u8], Token<'_>)] = &[
            (b"\xc0", Token::Nil),
            (b"\xc2", Token::Bool(false)),
            (b"\xc3", Token::Bool(true)),
            (b"\x7f", Token::Unsigned(127)),
            (b"\xe0", Token::Signed(-32)),
            (b"\xcc\xff", Token::Unsigned(255)),
            (b"\xcd\x01\x00", Token::Unsigned(256)),
            (b"\xce\x80\x00\x00\x00", Token::Unsigned(1 << 31)),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Token::Unsigned(u64::MAX)),
            (b"\xd0\x80", Token::Signed(-128)),
            (b"\xd1\x80\x00", Token::Signed(-32_768)),
            (b"\xd2\x80\x00\x00\x00", Token::Signed(-(1 << 31))),
            (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", Token::Signed(i64::MIN)),
            (b"\xca\x3f\xc0\x00\x00", Token::Float(1.5)),
            (b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", Token::Float(1.5)),
            (b"\xa2hi", Token::Text("hi")),
            (b"\xd9\x02hi", Token::Text("hi")),
            (b"\xda\x00\x02hi", Token::Text("hi")),
            (b"\xdb\x00\x00\x00\x02hi", Token::Text("hi")),
            (b"\xc4\x02hi", Token::Bytes(b"hi")),
            (b"\xc5\x00\x02hi", Token::Bytes(b"hi")),
            (b"\xc6\x00\x00\x00\x02hi", Token::Bytes(b"hi")),
            (b"\xc7\x02\x00hi", Token::Bytes(b"hi")),
            (b"\xc8\x00\x02\x00hi", Token::Bytes(b"hi")),
            (b"\xc9\x00\x00\x00\x02\x00hi", Token::Bytes(b"hi")),
            (b"\xd4\x00\x00", Token::Undefined),
            (b"\xd6\xff\x00\x00\x00\x01", Token::Date(1e3)),
            (b"\xd7\xff\x77\x35\x94\x00\x00\x00\x00\x01", Token::Date(1500.0)),
            (b"\xd7\x00\xff\xff\xff\xff\xff\xff\xff\xff", Token::Date(-1.0)),
            (b"\xc7\x0c\xff\x1d\xcd\x65\x00\xff\xff\xff\xff\xff\xff\xff\xff", Token::Date(-500.0)),
        ];
        for (bytes, token) in rows {
            assert_eq!(read(bytes), Ok((*token, 0)), "{bytes:x?}");
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), Err(Malformed::Truncated), "{bytes:x?} cut at {cut}");
            }
        }
        assert_eq!(read(b"\x92\x01\x02"), Ok((Token::Array(2), 2)));
        assert_eq!(read(b"\xdc\x00\x02\x01\x02"), Ok((Token::Array(2), 2)));
        assert_eq!(read(b"\xdf\x00\x00\x00\x01\x01\x02"), Ok((Token::Map(1), 2)));
    }

    #[test]
    fn a_length_is_not_believed_before_its_bytes_are_there() {
        for bytes in [
            &b"\x92\x01"[..],
            b"\x81\x01",
            b"\xdd\xff\xff\xff\xff\x01",
            b"\xdf\xff\xff\xff\xff\x01\x01",
            b"\xdb\xff\xff\xff\xffx",
            b"\xc6\xff\xff\xff\xffx",
            b"\xc9\xff\xff\xff\xff\x00x",
        ] {
            assert_eq!(read(bytes), Err(Malformed::Truncated), "{bytes:x?}");
        }
    }

    #[test]
    fn what_no_adapter_writes_is_refused() {
        let rows: &[(&[u8], Malformed)] = &[
            (b"\xc1", Malformed::Reserved),
            (b"\xa1\xff", Malformed::NotUtf8),
            (b"\xd4\x05\x00", Malformed::Extension),
            (b"\xd5\x00\x00\x00", Malformed::Extension),
            (b"\xd6\x00\x00\x00\x00\x00", Malformed::Extension),
            (b"\xd4\xff\x00", Malformed::Extension),
            (b"\xc7\x01\x05x", Malformed::Extension),
            (b"\xc7\x04\xff\x00\x00\x00\x00", Malformed::Extension),
            (b"\xc7\x01\xff\x00", Malformed::Extension),
        ];
        for (bytes, rule) in rows {
            assert_eq!(read(bytes), Err(*rule), "{bytes:x?}");
        }
    }

    #[test]
    fn a_value_is_passed_over_with_all_that_is_in_it_however_deep() {
        let mut bytes = vec![0x91; 100_000];
        bytes.extend(b"\x82\xa1a\x92\x01\x02\xa1b\xc0\x07");
        let mut reader = Reader::new(&bytes);
        let token = reader.next().unwrap();
        assert_eq!(reader.skip(token), Ok(()));
        assert_eq!(reader.next(), Ok(Token::Unsigned(7)));
        assert_eq!(reader.end(), Ok(()));
        let mut reader = Reader::new(&bytes[..100_000]);
        let token = reader.next().unwrap();
        assert_eq!(reader.skip(token), Err(Malformed::Truncated));
    }
}
