//! The kinds of Socket.IO packets, the head of a packet, the name of an event, and their bounds.

use std::borrow::Cow;

use crate::wire::json::string::StringToken;

/// The most attachments of a client's packet, as in socket.io-parser 4.2.6, which set it after CVE-2026-33151. Older
/// services have no bound.
pub const ATTACHMENTS_MAX: u8 = 10;

/// The most attachments of the service's packet. An older service may send any number, and its clients accept them. The
/// gate only needs the count to fit a byte.
pub const SERVICE_ATTACHMENTS_MAX: u8 = u8::MAX;

/// The longest namespace, in bytes, including its `/`. A session keeps every namespace that it has joined.
pub const NAMESPACE_BYTES_MAX: usize = 256;

/// The greatest ack id: JavaScript counts exactly up to here.
pub const ACK_ID_MAX: u64 = (1 << 53) - 1;

/// The greatest whole number that is an event name: JavaScript counts exactly up to here, on either side of 0.
pub(super) const EVENT_NUMBER_MAX: u64 = (1 << 53) - 1;

/// Digits of [`ACK_ID_MAX`].
pub(in crate::wire) const ACK_ID_DIGITS_MAX: usize = 16;

/// How much of a text message is enough to read the head of nearly every packet, in bytes: `42`, `255-`, a namespace, a
/// comma, an ack id of 16 digits, `["`, an event name of 128 characters that are all escapes (`\u0061`), `",`. A message whose
/// head is longer is put together first.
pub const PEEK_BYTES: usize = 2 + 4 + NAMESPACE_BYTES_MAX + 1 + 16 + 2 + 6 * 128 + 2;

/// What a Socket.IO packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// Asks to join a namespace, or confirms it.
    Connect,
    /// Leaves a namespace, or removes the client from it.
    Disconnect,
    /// An event.
    Event,
    /// The answer to an event that asked for one.
    Ack,
    /// Refuses to join a namespace, with the reason.
    ConnectError,
    /// An event with attachments.
    BinaryEvent,
    /// An answer with attachments.
    BinaryAck,
}

impl PacketType {
    /// The type that an ASCII digit stands for.
    #[must_use]
    pub const fn from_digit(digit: u8) -> Option<Self> {
        Some(match digit {
            b'0' => Self::Connect,
            b'1' => Self::Disconnect,
            b'2' => Self::Event,
            b'3' => Self::Ack,
            b'4' => Self::ConnectError,
            b'5' => Self::BinaryEvent,
            b'6' => Self::BinaryAck,
            _ => return None,
        })
    }

    /// The ASCII digit that stands for it.
    #[must_use]
    pub const fn digit(self) -> u8 {
        match self {
            Self::Connect => b'0',
            Self::Disconnect => b'1',
            Self::Event => b'2',
            Self::Ack => b'3',
            Self::ConnectError => b'4',
            Self::BinaryEvent => b'5',
            Self::BinaryAck => b'6',
        }
    }

    /// An event, with or without attachments.
    #[must_use]
    pub const fn is_event(self) -> bool {
        matches!(self, Self::Event | Self::BinaryEvent)
    }

    /// An ack, with or without attachments.
    #[must_use]
    pub const fn is_ack(self) -> bool {
        matches!(self, Self::Ack | Self::BinaryAck)
    }

    /// Whether the packet has an attachment count.
    #[must_use]
    pub const fn has_attachments(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }
}

/// Everything before the payload of a packet, and the event name at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketHead<'a> {
    /// What the packet is.
    pub kind: PacketType,
    /// The number of binary messages that follow and belong to it.
    pub attachments: u8,
    /// The namespace. `/` if none is written.
    pub namespace: &'a str,
    /// The id of the ack that an event asks for, or that an ack answers.
    pub ack_id: Option<u64>,
    /// The name of an event. `None` for other packets, and for an event of the service whose name is unfit for a label.
    pub event: Option<EventName<'a>>,
    /// Where the JSON begins in the text, in bytes. The end of the text if there is no JSON.
    pub data_at: usize,
    /// Whether the text before the JSON is what official encoders write. Of the service's packets always true.
    pub is_canonical: bool,
}

/// The name of an event as its receiver reads it: a text without escapes, or the digits of a whole number. Node emits the
/// event 7 and the event "7" to the same listeners.
///
/// It is kept as bytes that were checked to be UTF-8: [`as_bytes`](Self::as_bytes) costs nothing,
/// [`as_str`](Self::as_str) reads the name once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventName<'a>(Cow<'a, [u8]>);

impl<'a> EventName<'a> {
    /// The text of a JSON string. `None` if it is not UTF-8, or has half a surrogate pair.
    pub(in crate::wire) fn from_json(token: StringToken<'a>) -> Option<Self> {
        Some(Self(match token.decode()? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }))
    }

    /// A name of ASCII characters without escapes.
    pub(super) const fn from_ascii(name: &'a [u8]) -> Self {
        debug_assert!(name.is_ascii());
        Self(Cow::Borrowed(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Never the default: both constructors take UTF-8 only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The name as UTF-8, for look-ups.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Events that socket.io uses itself. It ends the session of a client that sends one.
#[must_use]
pub fn is_reserved(name: &[u8]) -> bool {
    matches!(
        name,
        b"connect" | b"connect_error" | b"disconnect" | b"disconnecting" | b"newListener" | b"removeListener"
    )
}
