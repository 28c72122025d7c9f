//! A Socket.IO packet of the service becomes a JSON message. The service is believed: its JSON is cut, not checked.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::words::{ACK, ACK_ID, ARGS};
use crate::wire::{
    json::{Scanner, scalar::top_level_scalar, string::StringToken},
    socketio::{
        packet::PacketType,
        peek::{PacketHead, peek_service},
    },
};

/// The message that tells the client that it has joined.
const CONNECTED: &str = "connected";

/// The message that tells the client that it may not join.
const CONNECT_ERROR: &str = "connect_error";

/// Room for what is written around the arguments.
const FRAME_BYTES: usize = 64;

/// A packet that no message stands for: it is malformed, or its placeholders do not name its attachments, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packet cannot be told in JSON")]
pub struct Untranslatable;

/// The message that stands for this packet of the service, with its attachments as base64 in their places. `field` is the
/// member that names the event. `None`: the packet says nothing that a message says.
///
/// # Errors
/// See [`Untranslatable`].
pub fn message_of<'a>(
    packet: &[u8],
    attachments: impl Iterator<Item = &'a [u8]>,
    field: &str,
) -> Result<Option<Vec<u8>>, Untranslatable> {
    let head = peek_service(packet, true).map_err(|_| Untranslatable)?;
    let json = &packet[head.data_at..];
    let filled;
    let json = if head.attachments > 0 {
        filled = fill(json, attachments)?;
        &filled[..]
    } else {
        json
    };
    let mut out = Vec::with_capacity(json.len() + field.len() + FRAME_BYTES);
    match head.kind {
        PacketType::Connect => {
            begin(field, CONNECTED, &mut out);
            if let Some(sid) = top_level_scalar(json, "sid") {
                text(&mut out, format_args!(r#","sid":{sid}"#));
            }
        }
        PacketType::ConnectError => {
            begin(field, CONNECT_ERROR, &mut out);
            match inner(json, b'{', b'}') {
                Some(b"") => {}
                Some(members) => out.extend([b",", members].concat()),
                // Some servers say the reason alone.
                None => out.extend([br#","message":"#, json].concat()),
            }
        }
        PacketType::Disconnect => return Ok(None),
        PacketType::Event | PacketType::BinaryEvent => write_event(json, &head, field, &mut out)?,
        PacketType::Ack | PacketType::BinaryAck => {
            begin(field, ACK, &mut out);
            let id = head.ack_id.ok_or(Untranslatable)?;
            text(&mut out, format_args!(r#","{ACK_ID}":{id},"{ARGS}":"#));
            out.extend_from_slice(json);
        }
    }
    out.push(b'}');
    Ok(Some(out))
}

/// A message that is an event with this object, which is JSON already.
#[must_use]
pub fn event(field: &str, name: &str, object: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len() + name.len() + object.len() + FRAME_BYTES);
    begin(field, name, &mut out);
    if let Some(members) = inner(object.as_bytes(), b'{', b'}').filter(|members| !members.is_empty()) {
        out.push(b',');
        out.extend_from_slice(members);
    }
    out.push(b'}');
    out
}

/// An event: its one object, or its arguments.
fn write_event(json: &[u8], head: &PacketHead<'_>, field: &str, out: &mut Vec<u8>) -> Result<(), Untranslatable> {
    let values = inner(json, b'[', b']').ok_or(Untranslatable)?;
    let name_len = value_len(values).ok_or(Untranslatable)?;
    let (name, behind) = values.split_at(name_len);
    let args = match behind.trim_ascii_start() {
        [] => &[],
        [b',', args @ ..] => args.trim_ascii(),
        _ => return Err(Untranslatable),
    };
    text(out, format_args!("{{{}:", Value::from(field)));
    match name.first() {
        Some(b'"') => out.extend_from_slice(name),
        // A number names the same event as its digits.
        _ => text(out, format_args!("{}", Value::from(std::str::from_utf8(name).map_err(|_| Untranslatable)?))),
    }
    // An ack says its id, and so would an event of that name.
    let is_like_ack = head.event.as_ref().is_some_and(|name| name.as_bytes() == ACK.as_bytes());
    if let Some(id) = head.ack_id.filter(|_| !is_like_ack) {
        text(out, format_args!(r#","{ACK_ID}":{id}"#));
    }
    let is_like_ours = is_like_ack || head.event.as_ref().is_some_and(|name| name.as_bytes() == CONNECTED.as_bytes());
    let reserved = [field, ACK_ID, ARGS];
    match one_object(args).filter(|_| !is_like_ours).filter(|object| !has_member(object, &reserved)) {
        Some(b"") => {}
        Some(members) => {
            out.push(b',');
            out.extend_from_slice(members);
        }
        None => {
            text(out, format_args!(r#","{ARGS}":["#));
            out.extend_from_slice(args);
            out.push(b']');
        }
    }
    Ok(())
}

/// The members of the one object that these arguments are. `None`: they are none, several, or another value.
fn one_object(args: &[u8]) -> Option<&[u8]> {
    let is_one = args.first() == Some(&b'{') && value_len(args) == Some(args.len());
    inner(args, b'{', b'}').filter(|_| is_one)
}

/// Whether one of these members is among those with these names.
fn has_member(members: &[u8], names: &[&str]) -> bool {
    let mut rest = members;
    loop {
        rest = rest.trim_ascii_start();
        let Ok(Some(name)) = StringToken::read(rest) else { return false };
        if name.decode().is_some_and(|name| names.contains(&&*name)) {
            return true;
        }
        let Some(value) = rest[name.written().len()..].trim_ascii_start().strip_prefix(b":") else { return false };
        let value = value.trim_ascii_start();
        let Some(behind) = value_len(value).map(|len| value[len..].trim_ascii_start()) else { return false };
        match behind.strip_prefix(b",") {
            Some(next) => rest = next,
            None => return false,
        }
    }
}

/// How long the value is that these bytes begin with, at any depth. `None`: it does not end.
fn value_len(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match bytes.get(at)? {
            b'"' => at += StringToken::read(&bytes[at..]).ok()??.written().len(),
            b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
            b'}' | b']' => (at, depth) = (at + 1, depth.checked_sub(1)?),
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth > 0 => at += 1,
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => return None,
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                at += bytes[at..].iter().position(ends).unwrap_or(bytes.len() - at);
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// What is between these brackets, without the blanks around it.
fn inner(json: &[u8], open: u8, close: u8) -> Option<&[u8]> {
    let json = json.trim_ascii().strip_prefix(&[open])?.strip_suffix(&[close])?;
    Some(json.trim_ascii())
}

/// The same JSON with base64 in place of each placeholder. Each attachment has one place, so that the text is never longer
/// than packet and base64 together.
fn fill<'a>(json: &[u8], attachments: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, Untranslatable> {
    let mut attachments: Vec<Option<&[u8]>> = attachments.map(Some).collect();
    let base64: usize = attachments.iter().flatten().map(|bytes| bytes.len().div_ceil(3) * 4 + 2).sum();
    let mut out = Vec::with_capacity(json.len() + base64);
    let mut rest = json;
    while let Some(found) = memchr::memchr2(b'"', b'{', rest) {
        let (before, at) = rest.split_at(found);
        out.extend_from_slice(before);
        let len = if at.first() == Some(&b'"') {
            let len = StringToken::read(at).ok().flatten().ok_or(Untranslatable)?.written().len();
            out.extend_from_slice(&at[..len]);
            len
        } else if let Some((number, len)) = placeholder(at) {
            let bytes = attachments.get_mut(number).and_then(Option::take).ok_or(Untranslatable)?;
            out.push(b'"');
            let begin = out.len();
            out.resize(begin + bytes.len().div_ceil(3) * 4, 0);
            STANDARD.encode_slice(bytes, &mut out[begin..]).map_err(|_| Untranslatable)?;
            out.push(b'"');
            len
        } else {
            out.push(b'{');
            1
        };
        rest = &at[len..];
    }
    out.extend_from_slice(rest);
    Ok(out)
}

/// The number and the length of the placeholder that these bytes begin with. `None`: they begin with another object.
fn placeholder(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut scanner = Scanner::new(bytes);
    if scanner.enters(b'}') {
        return None;
    }
    let (mut is_marked, mut number) = (false, None);
    loop {
        match scanner.name()?.decode().as_deref() {
            Some("_placeholder") if !is_marked => {
                scanner.literal(b"true")?;
                is_marked = true;
            }
            Some("num") if number.is_none() => number = Some(scanner.number_text()?.parse().ok()?),
            _ => return None,
        }
        if scanner.closes(b'}')? {
            return number.filter(|_| is_marked).map(|number| (number, scanner.position()));
        }
    }
}

fn begin(field: &str, name: &str, out: &mut Vec<u8>) {
    text(out, format_args!("{{{}:{}", Value::from(field), Value::from(name)));
}

fn text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a Vec cannot fail");
}
