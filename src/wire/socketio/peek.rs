//! Reads the head of a Socket.IO packet from the start of its text, as Node does.
//!
//! Node accepts more than its own clients write. Where a spelling has one meaning, such as `42/,["q"]` for an event of `/`, it
//! is read, and the head goes on [as official encoders write it](super::canonical). Where it could mean two things it is an
//! error: `42 ["q"]` asks Node for the ack 0 and other readers for none. `docs/protocol.md` has the grammar, and
//! `docs/compatibility.md` what Node reads beyond it. A packet of the service is read in the official spelling alone.

mod common;

use thiserror::Error;

use self::common::common_head;
use super::packet::{
    ACK_ID_DIGITS_MAX, ACK_ID_MAX, ATTACHMENTS_MAX, EVENT_NUMBER_MAX, NAMESPACE_BYTES_MAX, PacketType,
    SERVICE_ATTACHMENTS_MAX, is_reserved,
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
/// reserved name is accepted, and one that cannot be read gives `None`, not an error.
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
    let mut reader = Reader { text, at: 0, complete, sender, is_canonical: true };
    if reader.next()? != Some(b'4') {
        return Err(PeekError::NotAMessage);
    }
    let kind = reader.next()?.and_then(PacketType::from_digit).ok_or(PeekError::UnknownType)?;
    if kind == PacketType::ConnectError && sender == Sender::Client {
        return Err(PeekError::ConnectErrorFromClient);
    }
    let attachments = if kind.has_attachments() { reader.attachments()? } else { 0 };
    let namespace = reader.namespace(kind)?;
    let ack_id = reader.ack_id(kind)?;
    if kind.is_ack() && ack_id.is_none() && sender == Sender::Service {
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
    Ok(PacketHead { kind, attachments, namespace, ack_id, event, data_at, is_canonical: reader.is_canonical })
}

/// Where a client's namespace with a character that none has, or with too many, ends in the text of its CONNECT, which is here
/// as a whole: so that it can be refused by its name. `None`: it has no name in UTF-8.
#[must_use]
pub fn refused_namespace(connect: &[u8]) -> Option<&str> {
    let rest = connect.strip_prefix(b"40").filter(|rest| rest.first() == Some(&b'/'))?;
    let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).ok()
}

/// Whether a packet can name this namespace.
#[must_use]
pub fn is_namespace(name: &str) -> bool {
    let is_fit = |char: char| !char.is_control() && !matches!(char, '?' | ',');
    name.starts_with('/') && name.len() <= NAMESPACE_BYTES_MAX && name.chars().all(is_fit)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    complete: bool,
    sender: Sender,
    is_canonical: bool,
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

    /// Passes over zeros at the start of a client's number. They say nothing, to any reader of decimal digits.
    fn skip_zeros(&mut self) -> Result<(), PeekError> {
        while self.sender == Sender::Client && self.peek()? == Some(b'0') {
            if !matches!(self.text.get(self.at + 1), Some(b'0'..=b'9')) {
                // It is the number itself, or more of it has yet to come.
                return if self.at + 1 == self.text.len() && !self.complete {
                    Err(PeekError::CutShort)
                } else {
                    Ok(())
                };
            }
            self.at += 1;
            self.is_canonical = false;
        }
        Ok(())
    }

    /// Passes over blanks of JSON in a client's text. True: there was one.
    fn skip_blanks(&mut self) -> Result<bool, PeekError> {
        let begin = self.at;
        while self.sender == Sender::Client && matches!(self.peek()?, Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        Ok(self.at > begin)
    }

    fn attachments(&mut self) -> Result<u8, PeekError> {
        let max = match self.sender {
            Sender::Client => ATTACHMENTS_MAX,
            Sender::Service => SERVICE_ATTACHMENTS_MAX,
        };
        self.skip_zeros()?;
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
            None if matches!(kind, PacketType::Connect | PacketType::Disconnect) => {
                self.is_canonical = self.sender == Sender::Service;
                (window, 0)
            }
            None => return Err(PeekError::NamespaceUnended),
        };
        let namespace = std::str::from_utf8(namespace).map_err(|_| PeekError::NotUtf8)?;
        if namespace == "/" {
            // As device clients write it.
            if self.sender == Sender::Service {
                return Err(PeekError::NamespaceWrittenOut);
            }
            self.is_canonical = false;
        }
        if namespace.chars().any(|char| char.is_control() || char == '?') {
            return Err(PeekError::NamespaceCharacter);
        }
        self.at += namespace.len() + ending;
        Ok(namespace)
    }

    fn ack_id(&mut self, kind: PacketType) -> Result<Option<u64>, PeekError> {
        match kind {
            PacketType::Connect | PacketType::Disconnect => return self.skip_meaningless_id().map(|()| None),
            PacketType::ConnectError => return Ok(None),
            PacketType::Event | PacketType::Ack | PacketType::BinaryEvent | PacketType::BinaryAck => {}
        }
        let mut blanks = self.skip_blanks()?;
        self.skip_zeros()?;
        let Some(id) = self.decimal(ACK_ID_DIGITS_MAX)? else {
            // To Node a blank alone is the id 0, to other readers it is none.
            return if blanks { Err(PeekError::PayloadBegin) } else { Ok(None) };
        };
        blanks |= self.skip_blanks()?;
        self.is_canonical &= !blanks;
        if self.peek()? != Some(b'[') || id > ACK_ID_MAX {
            return Err(PeekError::AckId);
        }
        Ok(Some(id))
    }

    /// Nothing answers a CONNECT or a DISCONNECT by an id.
    fn skip_meaningless_id(&mut self) -> Result<(), PeekError> {
        let begin = self.at;
        self.skip_blanks()?;
        while self.sender == Sender::Client && matches!(self.peek()?, Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.skip_blanks()?;
        self.is_canonical &= self.at == begin;
        Ok(())
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
            Some(_) if self.complete && self.last() != Some(end) => Err(PeekError::PayloadEnd),
            Some(_) => Ok(()),
        }
    }

    /// The last byte. Behind it a client may write blanks, which belong to the JSON.
    fn last(&self) -> Option<u8> {
        let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let mut bytes = self.text.iter().rev();
        match self.sender {
            Sender::Client => bytes.find(|byte| !is_blank(byte)).copied(),
            Sender::Service => bytes.next().copied(),
        }
    }

    fn client_event(&mut self) -> Result<EventName<'a>, PeekError> {
        self.at += 1;
        self.skip_blanks()?;
        let name = match self.peek()? {
            Some(b'"') => self.name_in_text()?,
            Some(b'-' | b'0'..=b'9') => self.name_in_digits()?,
            _ => return Err(PeekError::EventNameNotString),
        };
        self.skip_blanks()?;
        if !matches!(self.peek()?, Some(b',' | b']')) {
            return Err(PeekError::EventNameEnd);
        }
        Ok(name)
    }

    fn name_in_text(&mut self) -> Result<EventName<'a>, PeekError> {
        let token = StringToken::read(&self.text[self.at..]).map_err(|_| PeekError::EventNameNotString)?;
        let token = token.ok_or(if self.complete { PeekError::EventNameNotString } else { PeekError::CutShort })?;
        self.at += token.written_len();
        let name = EventName::from_json(token).ok_or(PeekError::NotUtf8)?;
        if is_reserved(name.as_bytes()) {
            return Err(PeekError::EventReserved);
        }
        Ok(name)
    }

    /// A whole number, in the one spelling of `JSON.stringify`, which is also how JavaScript names a property by it.
    fn name_in_digits(&mut self) -> Result<EventName<'a>, PeekError> {
        let begin = self.at;
        let is_negative = self.peek()? == Some(b'-');
        self.at += usize::from(is_negative);
        let number = self.decimal(ACK_ID_DIGITS_MAX)?;
        let behind = self.peek()?;
        let is_whole = !matches!(behind, Some(b'0'..=b'9' | b'.' | b'e' | b'E'));
        match number {
            Some(0) if is_negative => Err(PeekError::EventNumber),
            Some(number) if is_whole && number <= EVENT_NUMBER_MAX => {
                Ok(EventName::from_ascii(&self.text[begin..self.at]))
            }
            _ => Err(PeekError::EventNumber),
        }
    }

    fn service_event(&mut self) -> Option<EventName<'a>> {
        self.at += 1;
        match self.text.get(self.at)? {
            b'"' => EventName::from_json(StringToken::read(&self.text[self.at..]).ok()??),
            _ => self.name_in_digits().ok(),
        }
    }
}

/// The rule of the grammar that a packet breaks.
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
    /// Not a number from 1 in decimal digits, or without its hyphen.
    #[error("the attachment count is not a number from 1 in decimal digits, followed by a hyphen")]
    AttachmentCount,
    /// More than [`ATTACHMENTS_MAX`], or from the service than [`SERVICE_ATTACHMENTS_MAX`].
    #[error("the packet announces too many attachments")]
    TooManyAttachments,
    /// The service never writes the namespace `/`.
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
    /// Not a number up to [`ACK_ID_MAX`] in decimal digits with its array behind it.
    #[error("the ack id is not a number up to {ACK_ID_MAX} in decimal digits, followed by an array")]
    AckId,
    /// An ack of the service without the id that it answers.
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
    /// Nothing, neither text nor number, or a broken string.
    #[error("the event name is neither a JSON string nor a number")]
    EventNameNotString,
    /// A number that is not whole, too great to be exact, or not as `JSON.stringify` writes it.
    #[error("the event name is a number in another spelling than that of a whole one")]
    EventNumber,
    /// Neither `,` nor `]` behind it.
    #[error("the event name is not followed by a comma or the end of its array")]
    EventNameEnd,
    /// A name such as `connect`, which socket.io uses itself.
    #[error("the event name is one that Socket.IO reserves")]
    EventReserved,
    /// A namespace or name that is not text.
    #[error("a namespace or event name is not UTF-8 text")]
    NotUtf8,
    /// The head goes on behind the beginning that was given of a longer message.
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
            Self::EventNumber => "event_number",
            Self::EventNameEnd => "event_name_end",
            Self::EventReserved => "event_reserved",
            Self::NotUtf8 => "not_utf8",
            Self::CutShort => "cut_short",
        }
    }
}

#[cfg(test)]
mod tests;
