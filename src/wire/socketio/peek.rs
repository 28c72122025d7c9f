//! Reads the head of a Socket.IO packet from the start of its text. A spelling that is not canonical is an error.
//!
//! Node accepts more than its own clients write: `42 ["q"]` asks for the ack 0, `42/,["q"]` is an event of `/`. Each such
//! spelling could bypass a rule. So a client's packet is read by the grammar that all official clients write, and the
//! service reads the same bytes the same way. `docs/protocol.md` has the grammar, and what Node reads beyond it.

mod common;

use thiserror::Error;

use self::common::common_head;
use super::packet::{
    ACK_ID_DIGITS_MAX, ACK_ID_MAX, ATTACHMENTS_MAX, EVENT_NAME_BYTES_MAX, EVENT_NAME_WRITTEN_MAX, NAMESPACE_BYTES_MAX,
    PacketType, SERVICE_ATTACHMENTS_MAX, is_reserved,
};
pub use super::packet::{EventName, PEEK_BYTES, PacketHead};
use crate::wire::{json::string::StringToken, websocket::frame::Sender};

/// Digits of [`SERVICE_ATTACHMENTS_MAX`].
const ATTACHMENT_DIGITS_MAX: usize = 3;

/// Reads the head of a packet from a client. `text` begins with the `4` of Engine.IO; it is the whole message
/// (`complete`) or at least its first [`PEEK_BYTES`]. Allocates only for an event name with escapes.
///
/// ```
/// use tidegate::wire::socketio::peek::peek_client;
///
/// let head = peek_client(br#"42/chat,7["say","hello"]"#, true)?;
/// assert_eq!((head.namespace, head.ack_id), ("/chat", Some(7)));
/// assert_eq!(head.event.as_ref().map(|name| name.as_str()), Some("say"));
/// # Ok::<(), tidegate::wire::socketio::peek::PeekError>(())
/// ```
///
/// # Errors
/// The rule that the packet breaks. Of the payload behind an event's name only the last byte is checked.
#[inline]
pub fn peek_client(text: &[u8], complete: bool) -> Result<PacketHead<'_>, PeekError> {
    peek(text, complete, Sender::Client)
}

/// Reads the head of a packet from the service, as [`peek_client`] does for a client. Here a name is only counted: a
/// reserved name is accepted, and a number or a name that is too long gives `None`, not an error.
///
/// # Errors
/// The rule that the packet breaks.
#[inline]
pub fn peek_service(text: &[u8], complete: bool) -> Result<PacketHead<'_>, PeekError> {
    peek(text, complete, Sender::Service)
}

#[inline]
fn peek(text: &[u8], complete: bool, sender: Sender) -> Result<PacketHead<'_>, PeekError> {
    match common_head(text, complete, sender) {
        Some(head) => Ok(head),
        None => any_head(text, complete, sender),
    }
}

/// The full grammar. A call of its own, so that the common head costs no large stack frame.
#[cold]
#[inline(never)]
fn any_head(text: &[u8], complete: bool, sender: Sender) -> Result<PacketHead<'_>, PeekError> {
    let mut reader = Reader { text, at: 0, complete };
    if reader.next()? != Some(b'4') {
        return Err(PeekError::NotAMessage);
    }
    let kind = reader.next()?.and_then(PacketType::from_digit).ok_or(PeekError::UnknownType)?;
    if kind == PacketType::ConnectError && sender == Sender::Client {
        return Err(PeekError::ConnectErrorFromClient);
    }
    let attachments = if kind.has_attachments() { reader.attachments(sender)? } else { 0 };
    let namespace = reader.namespace(kind)?;
    let ack_id = if kind.is_event() || kind.is_ack() { reader.ack_id()? } else { None };
    if kind.is_ack() && ack_id.is_none() {
        return Err(PeekError::AckIdMissing);
    }
    let data_at = reader.at;
    reader.payload(kind)?;
    let event = if !kind.is_event() {
        None
    } else if sender == Sender::Client {
        Some(reader.client_event()?)
    } else {
        reader.service_event()
    };
    Ok(PacketHead { kind, attachments, namespace, ack_id, event, data_at })
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    complete: bool,
}

impl<'a> Reader<'a> {
    /// The next byte. `None` at the end of the text.
    fn peek(&self) -> Result<Option<u8>, PeekError> {
        match self.text.get(self.at) {
            None if !self.complete => Err(PeekError::CutShort),
            byte => Ok(byte.copied()),
        }
    }

    fn next(&mut self) -> Result<Option<u8>, PeekError> {
        let byte = self.peek()?;
        self.at += usize::from(byte.is_some());
        Ok(byte)
    }

    /// A number without sign or leading zero, of at most `digits_max` digits. `None` if there is no digit.
    fn decimal(&mut self, digits_max: usize) -> Result<Option<u64>, PeekError> {
        let begin = self.at;
        let mut number = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek()? {
            if self.at == begin + digits_max || (number == 0 && self.at > begin) {
                break;
            }
            number = 10 * number + u64::from(digit - b'0');
            self.at += 1;
        }
        Ok((self.at > begin).then_some(number))
    }

    fn attachments(&mut self, sender: Sender) -> Result<u8, PeekError> {
        let max = match sender {
            Sender::Client => ATTACHMENTS_MAX,
            Sender::Service => SERVICE_ATTACHMENTS_MAX,
        };
        let count = self.decimal(ATTACHMENT_DIGITS_MAX)?.filter(|count| *count > 0);
        match (count, self.next()?) {
            (Some(count), Some(b'-')) => {
                u8::try_from(count).ok().filter(|count| *count <= max).ok_or(PeekError::TooManyAttachments)
            }
            _ => Err(PeekError::AttachmentCount),
        }
    }

    fn namespace(&mut self, kind: PacketType) -> Result<&'a str, PeekError> {
        if self.peek()? != Some(b'/') {
            return Ok("/");
        }
        let rest = &self.text[self.at..];
        let window = &rest[..rest.len().min(NAMESPACE_BYTES_MAX + 1)];
        let (namespace, ending) = match memchr::memchr(b',', window) {
            Some(comma) => (&window[..comma], 1),
            None if window.len() > NAMESPACE_BYTES_MAX => return Err(PeekError::NamespaceTooLong),
            None if !self.complete => return Err(PeekError::CutShort),
            // The C++ client omits the comma if nothing follows, and Node accepts that.
            None if matches!(kind, PacketType::Connect | PacketType::Disconnect) => (window, 0),
            None => return Err(PeekError::NamespaceUnended),
        };
        let namespace = std::str::from_utf8(namespace).map_err(|_| PeekError::NotUtf8)?;
        if namespace == "/" {
            return Err(PeekError::NamespaceWrittenOut);
        }
        if namespace.chars().any(|char| char.is_control() || char == '?') {
            return Err(PeekError::NamespaceCharacter);
        }
        self.at += namespace.len() + ending;
        Ok(namespace)
    }

    fn ack_id(&mut self) -> Result<Option<u64>, PeekError> {
        let Some(id) = self.decimal(ACK_ID_DIGITS_MAX)? else { return Ok(None) };
        if self.peek()? != Some(b'[') || id > ACK_ID_MAX {
            return Err(PeekError::AckId);
        }
        Ok(Some(id))
    }

    /// Checks that the payload begins and, if the text is complete, ends as its kind requires.
    fn payload(&self, kind: PacketType) -> Result<(), PeekError> {
        let (begin, end) = match kind {
            PacketType::Event | PacketType::BinaryEvent | PacketType::Ack | PacketType::BinaryAck => (b'[', b']'),
            PacketType::Connect => (b'{', b'}'),
            // Some servers send the reason as a string instead of an object.
            PacketType::ConnectError => return Ok(()),
            PacketType::Disconnect => return self.peek()?.map_or(Ok(()), |_| Err(PeekError::DisconnectPayload)),
        };
        match self.peek()? {
            None if kind == PacketType::Connect => Ok(()),
            Some(byte) if byte != begin => Err(PeekError::PayloadBegin),
            None => Err(PeekError::PayloadBegin),
            Some(_) if self.complete && self.text.last() != Some(&end) => Err(PeekError::PayloadEnd),
            Some(_) => Ok(()),
        }
    }

    fn client_event(&mut self) -> Result<EventName<'a>, PeekError> {
        self.at += 1;
        if self.peek()? != Some(b'"') {
            return Err(PeekError::EventNameNotString);
        }
        let window = self.name_window();
        let Some(token) = StringToken::read(window).map_err(|_| PeekError::EventNameNotString)? else {
            return Err(match window.len() {
                len if len == EVENT_NAME_WRITTEN_MAX + 2 => PeekError::EventNameTooLong,
                _ if self.complete => PeekError::EventNameNotString,
                _ => PeekError::CutShort,
            });
        };
        self.at += token.written_len();
        let name = EventName::from_json(token).ok_or(PeekError::NotUtf8)?;
        if name.as_bytes().len() > EVENT_NAME_BYTES_MAX {
            return Err(PeekError::EventNameTooLong);
        }
        if is_reserved(name.as_bytes()) {
            return Err(PeekError::EventReserved);
        }
        if !matches!(self.peek()?, Some(b',' | b']')) {
            return Err(PeekError::EventNameEnd);
        }
        Ok(name)
    }

    fn service_event(&mut self) -> Option<EventName<'a>> {
        self.at += 1;
        let token = StringToken::read(self.name_window()).ok()??;
        EventName::from_json(token).filter(|name| name.as_bytes().len() <= EVENT_NAME_BYTES_MAX)
    }

    /// The text from here on, at most as long as the longest event name.
    fn name_window(&self) -> &'a [u8] {
        let rest = &self.text[self.at..];
        &rest[..rest.len().min(EVENT_NAME_WRITTEN_MAX + 2)]
    }
}

/// The rule of the canonical grammar that a packet breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PeekError {
    /// The text does not begin with the Engine.IO digit 4.
    #[error("the text is not an Engine.IO message")]
    NotAMessage,
    /// The second byte is not a digit from 0 to 6.
    #[error("the packet type is not a digit from 0 to 6")]
    UnknownType,
    /// Only the service may refuse to join a namespace.
    #[error("a client sent a CONNECT_ERROR packet")]
    ConnectErrorFromClient,
    /// Not `[1-9][0-9]?-`.
    #[error("the attachment count is not a plain number from 1 followed by a hyphen")]
    AttachmentCount,
    /// More than [`ATTACHMENTS_MAX`], or from the service than [`SERVICE_ATTACHMENTS_MAX`].
    #[error("the packet announces too many attachments")]
    TooManyAttachments,
    /// No client writes the namespace `/`.
    #[error("the namespace / is written out")]
    NamespaceWrittenOut,
    /// A control character or a question mark.
    #[error("the namespace holds a control character or a question mark")]
    NamespaceCharacter,
    /// Longer than [`NAMESPACE_BYTES_MAX`].
    #[error("the namespace is longer than {NAMESPACE_BYTES_MAX} bytes")]
    NamespaceTooLong,
    /// No comma behind it.
    #[error("no comma ends the namespace")]
    NamespaceUnended,
    /// Not a plain number up to [`ACK_ID_MAX`] with its array directly behind it.
    #[error("the ack id is not a plain number up to {ACK_ID_MAX} followed by an array")]
    AckId,
    /// An ack without the id that it answers.
    #[error("an ack has no id")]
    AckIdMissing,
    /// No payload, or not directly the array or object that this kind of packet carries.
    #[error("the payload does not begin as one of its kind")]
    PayloadBegin,
    /// Something behind the array or object.
    #[error("the payload does not end as one of its kind")]
    PayloadEnd,
    /// A DISCONNECT carries nothing.
    #[error("a DISCONNECT packet has a payload")]
    DisconnectPayload,
    /// A number, nothing, or a broken string.
    #[error("the event name is not a JSON string")]
    EventNameNotString,
    /// Longer than [`EVENT_NAME_BYTES_MAX`].
    #[error("the event name is longer than {EVENT_NAME_BYTES_MAX} bytes")]
    EventNameTooLong,
    /// Neither `,` nor `]` directly behind it.
    #[error("the event name is not followed by a comma or the end of its array")]
    EventNameEnd,
    /// A name such as `connect`, which socket.io uses itself.
    #[error("the event name is one that Socket.IO reserves")]
    EventReserved,
    /// A namespace or name that is not text.
    #[error("a namespace or event name is not UTF-8 text")]
    NotUtf8,
    /// Less than [`PEEK_BYTES`] were given of a longer message.
    #[error("the message was cut off before its head ended")]
    CutShort,
}

impl PeekError {
    /// The rule as a metric label and log field.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotAMessage => "not_a_message",
            Self::UnknownType => "unknown_type",
            Self::ConnectErrorFromClient => "connect_error_from_client",
            Self::AttachmentCount => "attachment_count",
            Self::TooManyAttachments => "too_many_attachments",
            Self::NamespaceWrittenOut => "namespace_written_out",
            Self::NamespaceCharacter => "namespace_character",
            Self::NamespaceTooLong => "namespace_too_long",
            Self::NamespaceUnended => "namespace_unended",
            Self::AckId => "ack_id",
            Self::AckIdMissing => "ack_id_missing",
            Self::PayloadBegin => "payload_begin",
            Self::PayloadEnd => "payload_end",
            Self::DisconnectPayload => "disconnect_payload",
            Self::EventNameNotString => "event_name_not_string",
            Self::EventNameTooLong => "event_name_too_long",
            Self::EventNameEnd => "event_name_end",
            Self::EventReserved => "event_reserved",
            Self::NotUtf8 => "not_utf8",
            Self::CutShort => "cut_short",
        }
    }
}

#[cfg(test)]
mod tests;
