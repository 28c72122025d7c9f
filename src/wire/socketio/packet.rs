//! The kinds of Socket.IO packets, the name of an event, and the bounds of what stands before the payload.

use std::borrow::Cow;

use crate::wire::json::string::StringToken;

/// The most attachments of a client's packet. As socket.io-parser 4.2.6, which set it after CVE-2026-33151; older
/// services have no bound of their own.
pub const ATTACHMENTS_MAX: u8 = 10;

/// The most attachments of the service's packet. An older service sends as many as it likes and its clients take them:
/// the gate does not break what worked, it only keeps the count in a byte.
pub const SERVICE_ATTACHMENTS_MAX: u8 = u8::MAX;

/// The longest event name of a client, in bytes after un-escaping. A name is a key of rules and a metric label.
pub const EVENT_NAME_BYTES_MAX: usize = 128;

/// The longest namespace, in bytes, its `/` included. Each one joined is kept for as long as the session lasts.
pub const NAMESPACE_BYTES_MAX: usize = 256;

/// The greatest ack id: JavaScript counts exactly up to here.
pub const ACK_ID_MAX: u64 = (1 << 53) - 1;

/// An event name with every character written as `\u0061`, six bytes for one.
pub(super) const EVENT_NAME_WRITTEN_MAX: usize = 6 * EVENT_NAME_BYTES_MAX;

/// So much of a text message is enough to read the head of its packet, in bytes: `42`, `255-`, a namespace, a comma, an
/// ack id of 16 digits, `["`, an event name that is all escapes, `",`.
pub const PEEK_BYTES: usize = 2 + 4 + NAMESPACE_BYTES_MAX + 1 + 16 + 2 + EVENT_NAME_WRITTEN_MAX + 2;

/// What a Socket.IO packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// Asks to join a namespace, or says that it was joined.
    Connect,
    /// Leaves a namespace, or says that one was thrown out of it.
    Disconnect,
    /// An event.
    Event,
    /// The answer to an event that asked for one.
    Ack,
    /// Says that a namespace was not joined, and why.
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

    /// It says how many attachments follow it.
    #[must_use]
    pub const fn has_attachments(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }
}

/// The name of an event as its receiver will understand it: un-escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventName<'a>(Cow<'a, str>);

impl<'a> EventName<'a> {
    /// What the string says. None: it says nothing that is text.
    pub(in crate::wire) fn from_json(token: StringToken<'a>) -> Option<Self> {
        token.decode().map(Self)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
