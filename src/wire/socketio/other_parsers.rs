//! Packets of clients with another parser than that of `socket.io-parser` (option `parser`): not read, but for one thing. A
//! client understands a refusal only as its parser writes it, and without one it tries again without end.
//!
//! The packages `socket.io-msgpack-parser` and `socket.io-json-parser` write one value for each packet, an object with
//! `type`, `nsp` and `data`, in MessagePack or JSON.

use serde::{Deserialize, Serialize};

use super::packet::PacketType;

/// The longest namespace of a packet that is answered, in bytes.
const NAMESPACE_MAX: usize = 256;

/// How the parser of a client writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parser {
    /// `socket.io-msgpack-parser`, in binary messages.
    MessagePack,
    /// `socket.io-json-parser`, in text messages, behind the `4` of Engine.IO.
    Json,
}

/// What is read of a packet.
#[derive(Deserialize)]
struct Head<'a> {
    r#type: u8,
    #[serde(borrow)]
    nsp: &'a str,
}

/// A CONNECT_ERROR.
#[derive(Serialize)]
struct Error<'a> {
    r#type: u8,
    nsp: &'a str,
    data: ErrorData<'a>,
}

#[derive(Serialize)]
struct ErrorData<'a> {
    message: &'a str,
    data: Code<'a>,
}

#[derive(Serialize)]
struct Code<'a> {
    code: &'a str,
}

impl Parser {
    /// The namespace that this packet asks for. `None`: it is no CONNECT of this parser.
    #[must_use]
    pub fn connects(self, packet: &[u8]) -> Option<&str> {
        let head: Head<'_> = match self {
            Self::MessagePack => msgpack_head(packet)?,
            Self::Json => serde_json::from_slice(packet.strip_prefix(b"4")?).ok()?,
        };
        let is_connect = head.r#type == PacketType::Connect.digit() - b'0';
        (is_connect && head.nsp.starts_with('/') && head.nsp.len() <= NAMESPACE_MAX).then_some(head.nsp)
    }

    /// The namespace was not joined, as this parser reads it.
    #[must_use]
    pub fn connect_error(self, namespace: &str, message: &str, code: &str) -> Vec<u8> {
        let data = ErrorData { message, data: Code { code } };
        let error = Error { r#type: PacketType::ConnectError.digit() - b'0', nsp: namespace, data };
        let written = match self {
            Self::MessagePack => rmp_serde::to_vec_named(&error).ok(),
            Self::Json => serde_json::to_vec(&error).ok().map(|json| [b"4", &json[..]].concat()),
        };
        // Nothing of it can fail to be written.
        written.unwrap_or_default()
    }
}

/// The head of a packet in MessagePack: a map with `type`, a small number, and `nsp`.
fn msgpack_head(mut bytes: &[u8]) -> Option<Head<'_>> {
    let (mut kind, mut nsp) = (None, None);
    let [marker @ 0x80..=0x8f] = take(&mut bytes, 1)? else { return None };
    for _ in 0..marker & 0x0f {
        match take_text(&mut bytes)? {
            "type" => kind = take(&mut bytes, 1)?.first().copied(),
            "nsp" => nsp = Some(take_text(&mut bytes)?),
            _ => skip(&mut bytes)?,
        }
    }
    Some(Head { r#type: kind?, nsp: nsp? })
}

fn take<'b>(bytes: &mut &'b [u8], len: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

/// A number of so many bytes.
fn take_number(bytes: &mut &[u8], len: usize) -> Option<usize> {
    let digits = take(bytes, len)?;
    Some(digits.iter().fold(0, |number, &byte| (number << 8) | usize::from(byte)))
}

fn take_text<'b>(bytes: &mut &'b [u8]) -> Option<&'b str> {
    let len = match take_number(bytes, 1)? {
        short @ 0xa0..=0xbf => short & 0x1f,
        0xd9 => take_number(bytes, 1)?,
        0xda => take_number(bytes, 2)?,
        _ => return None,
    };
    std::str::from_utf8(take(bytes, len)?).ok()
}

/// One value, with what is nested in it, however deep: nothing calls itself.
fn skip(bytes: &mut &[u8]) -> Option<()> {
    let mut values = 1_usize;
    while values > 0 {
        values -= 1;
        let (len, nested) = match take_number(bytes, 1)? {
            map @ 0x80..=0x8f => (0, 2 * (map & 0x0f)),
            array @ 0x90..=0x9f => (0, array & 0x0f),
            text @ 0xa0..=0xbf => (text & 0x1f, 0),
            0xc4 | 0xd9 => (take_number(bytes, 1)?, 0),
            0xc5 | 0xda => (take_number(bytes, 2)?, 0),
            0xc6 | 0xdb => (take_number(bytes, 4)?, 0),
            0xc7 => (1 + take_number(bytes, 1)?, 0),
            0xc8 => (1 + take_number(bytes, 2)?, 0),
            0xc9 => (1 + take_number(bytes, 4)?, 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 | 0xd4 => (2, 0),
            0xd5 => (3, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xd6 => (5, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            0xd7 => (9, 0),
            0xd8 => (17, 0),
            0xdc => (0, take_number(bytes, 2)?),
            0xdd => (0, take_number(bytes, 4)?),
            0xde => (0, 2 * take_number(bytes, 2)?),
            0xdf => (0, take_number(bytes, 4)?.checked_mul(2)?),
            0xc1 => return None,
            // Small numbers, nil and booleans.
            _ => (0, 0),
        };
        take(bytes, len)?;
        // Each value has a byte at least.
        values = values.checked_add(nested).filter(|&values| values <= bytes.len())?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_of_another_parser_is_recognised_and_refused_in_its_own_words() {
        // As notepack.io writes {"type":0,"data":{"token":"t"},"nsp":"/chat"}.
        let packet = b"\x83\xa4type\x00\xa4data\x81\xa5token\xa1t\xa3nsp\xa5/chat";
        assert_eq!(Parser::MessagePack.connects(packet), Some("/chat"));
        assert_eq!(Parser::Json.connects(br#"4{"type":0,"data":{"token":"t"},"nsp":"/"}"#), Some("/"));
        let all =
            b"\x84\xa1a\xde\0\x02\xa1b\x93\xc0\xc3\xd4\0\0\xa1c\xc4\x02xx\xa1d\xcb12345678\xa3nsp\xd9\x01/\xa4type\0";
        assert_eq!(Parser::MessagePack.connects(all), Some("/"));
        let refused = Parser::MessagePack.connect_error("/chat", "no", "c");
        let expected = b"\x83\xa4type\x04\xa3nsp\xa5/chat\xa4data\x82\xa7message\xa2no\xa4data\x81\xa4code\xa1c";
        assert_eq!(refused, expected);
        let refused = Parser::Json.connect_error("/", "no", "c");
        assert_eq!(refused, br#"4{"type":4,"nsp":"/","data":{"message":"no","data":{"code":"c"}}}"#);
    }

    #[test]
    fn nothing_else_is() {
        let long = format!(r#"4{{"type":0,"nsp":"/{}"}}"#, "x".repeat(NAMESPACE_MAX));
        let texts: [&[u8]; 7] = [
            b"4",
            b"40",
            b"{}",
            br#"4{"type":2,"nsp":"/"}"#,
            br#"4{"type":0,"nsp":"chat"}"#,
            br#"4{"type":0,"nsp":"/"#,
            long.as_bytes(),
        ];
        let nested = format!(r#"4{{"type":0,"data":{}"#, "[".repeat(100_000));
        for text in texts.into_iter().chain([nested.as_bytes()]) {
            assert_eq!(Parser::Json.connects(text), None, "{}", text.escape_ascii());
        }
        let large = b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\xdf\xff\xff\xff\xff\xc0\xc0";
        let nested = [&b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data"[..], &[0x91; 100_000]].concat();
        let deep = [&b"\x83\xa4data"[..], &[0x91; 100_000], b"\xc0\xa4type\x00\xa3nsp\xa1/"].concat();
        assert_eq!(Parser::MessagePack.connects(&deep), Some("/"), "however deep");
        for bytes in [&b""[..], b"\x00", b"\xff\xff", b"\x82\xa4type\x02\xa3nsp\xa1/", large, &nested] {
            assert_eq!(Parser::MessagePack.connects(bytes), None);
        }
    }
}
