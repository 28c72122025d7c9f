//! A JSON message of the client becomes a Socket.IO packet. What has a second reading is refused.

use super::words::{ACK, ACK_ID, ARGS};
use crate::wire::{
    json::{
        Scanner,
        check::{DEPTH_MAX, JsonBounds, JsonFault, JsonReading},
        has_one_reading,
        string::StringToken,
    },
    socketio::packet::{ACK_ID_DIGITS_MAX, ACK_ID_MAX, PacketType},
};

/// Room for what is written around the arguments.
const HEAD_BYTES: usize = 32;

/// Why a message stands for no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BridgeFault {
    /// It is no JSON object.
    #[error("the message is not a JSON object")]
    NotAnObject,
    /// It is no JSON, or nested deeper than [`DEPTH_MAX`].
    #[error("the message is not JSON: {0}")]
    Json(#[from] JsonFault),
    /// An object has a member twice. JavaScript takes the last, other readers the first.
    #[error("a member is repeated")]
    Repeated,
    /// The member that names the event is missing, or no string.
    #[error("the member that names the event is not a string")]
    Type,
    /// The ack id is not a whole number from 0 to [`ACK_ID_MAX`], in decimal digits.
    #[error("ackId is not a whole number from 0 to {ACK_ID_MAX}")]
    AckId,
    /// An ack has `ackId` and the array `args`, and no other member.
    #[error("an ack is not made of ackId and args alone")]
    Ack,
}

impl BridgeFault {
    /// The rule as a metric label, log field and reason of the Close.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotAnObject => "bridge_object",
            Self::Json(fault) => fault.code(),
            Self::Repeated => "bridge_repeated",
            Self::Type => "bridge_type",
            Self::AckId => "bridge_ack_id",
            Self::Ack => "bridge_ack",
        }
    }
}

/// What was read of a message.
struct Read<'a> {
    /// The name of the event, as it was written, with its quotes.
    name: StringToken<'a>,
    ack_id: Option<u64>,
    /// The array of the member `args`, if it is one.
    args: Option<&'a [u8]>,
    /// An object of all members but the name and the ack id, ...
    object: Vec<u8>,
    /// ... and whether one of them is not `args`.
    has_others: bool,
}

/// The packet of `namespace` that this whole text message stands for. `field` is the member that names the event.
///
/// Names that Socket.IO reserves are not looked for: who reads the packet does that.
///
/// # Errors
/// The first rule that the message breaks.
pub fn packet_of(text: &[u8], field: &str, namespace: &str) -> Result<Vec<u8>, BridgeFault> {
    let text = from_object(text)?;
    JsonBounds::new(JsonReading::Full, DEPTH_MAX).map_or(Ok(()), |bounds| bounds.check(text))?;
    if !has_one_reading(text, DEPTH_MAX) {
        return Err(BridgeFault::Repeated);
    }
    let read = read(text, field)?;
    let is_ack = read.name.decode().as_deref() == Some(ACK);
    let mut packet = Vec::with_capacity(text.len() + namespace.len() + HEAD_BYTES);
    packet.extend_from_slice(&[b'4', if is_ack { PacketType::Ack.digit() } else { PacketType::Event.digit() }]);
    if namespace != "/" {
        packet.extend_from_slice(namespace.as_bytes());
        packet.push(b',');
    }
    if let Some(id) = read.ack_id {
        packet.extend_from_slice(id.to_string().as_bytes());
    }
    if is_ack {
        let args = read.args.filter(|_| read.ack_id.is_some() && !read.has_others).ok_or(BridgeFault::Ack)?;
        packet.extend_from_slice(args);
        return Ok(packet);
    }
    packet.push(b'[');
    packet.extend_from_slice(read.name.written());
    match read.args.filter(|_| !read.has_others).map(<[u8]>::trim_ascii) {
        Some(args) => {
            let inner = args.get(1..args.len().saturating_sub(1)).unwrap_or_default().trim_ascii();
            if !inner.is_empty() {
                packet.push(b',');
                packet.extend_from_slice(inner);
            }
        }
        None => {
            packet.push(b',');
            packet.extend_from_slice(&read.object);
        }
    }
    packet.push(b']');
    Ok(packet)
}

/// From its brace on.
fn from_object(text: &[u8]) -> Result<&[u8], BridgeFault> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let begin = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    let text = &text[begin..];
    if text.first() == Some(&b'{') { Ok(text) } else { Err(BridgeFault::NotAnObject) }
}

/// Reads the members of an object, in which the values are well-formed.
fn read<'a>(text: &'a [u8], field: &str) -> Result<Read<'a>, BridgeFault> {
    let (mut found, mut ack_id, mut args, mut has_others) = (None, None, None, false);
    let mut object = Vec::with_capacity(text.len());
    object.push(b'{');
    let mut scanner = Scanner::new(text);
    let mut is_over = scanner.enters(b'}');
    while !is_over {
        let begin = scanner.position();
        let name = scanner.name().ok_or(BridgeFault::Repeated)?;
        let value_at = scanner.position();
        scanner.skip_value().ok_or(BridgeFault::Repeated)?;
        let value = scanner.since(value_at);
        match name.decode().as_deref() {
            Some(name) if name == field => found = Some(value),
            Some(ACK_ID) => ack_id = Some(ack_id_of(value).ok_or(BridgeFault::AckId)?),
            name => {
                if name == Some(ARGS) && value.first() == Some(&b'[') {
                    args = Some(value);
                } else {
                    has_others = true;
                }
                if object.len() > 1 {
                    object.push(b',');
                }
                object.extend_from_slice(scanner.since(begin));
            }
        }
        is_over = scanner.closes(b'}').ok_or(BridgeFault::Repeated)?;
    }
    object.push(b'}');
    let name = found.and_then(|value| StringToken::read(value).ok().flatten()).ok_or(BridgeFault::Type)?;
    Ok(Read { name, ack_id, args, object, has_others })
}

/// In the one spelling of `JSON.stringify`.
fn ack_id_of(value: &[u8]) -> Option<u64> {
    let is_canonical = value.len() <= ACK_ID_DIGITS_MAX
        && value.iter().all(u8::is_ascii_digit)
        && (value.len() == 1 || value.first() != Some(&b'0'));
    let number = std::str::from_utf8(value).ok().filter(|_| is_canonical)?.parse().ok()?;
    (number <= ACK_ID_MAX).then_some(number)
}
