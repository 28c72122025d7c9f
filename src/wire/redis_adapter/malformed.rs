//! Why a payload is refused.

use super::{DEPTH_MAX, PAYLOAD_BYTES_MAX, ROOMS_MAX};
use crate::wire::socketio::packet::{ATTACHMENTS_MAX, NAMESPACE_BYTES_MAX};

/// The rule that a payload breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`PAYLOAD_BYTES_MAX`].
    #[error("it is longer than {PAYLOAD_BYTES_MAX} bytes")]
    TooLarge,
    /// It ends within a value.
    #[error("it ends within a value")]
    Truncated,
    /// Bytes behind the value.
    #[error("bytes follow its end")]
    Trailing,
    /// The byte 0xc1, which MessagePack never uses.
    #[error("it has the byte 0xc1, which begins no value of MessagePack")]
    Reserved,
    /// A string of other bytes.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// An extension that the adapter does not write.
    #[error("it has an extension of MessagePack that is no date, no ArrayBuffer and no `undefined`")]
    Extension,
    /// Deeper than [`DEPTH_MAX`].
    #[error("objects and arrays are nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// More attachments than a client takes, [`ATTACHMENTS_MAX`].
    #[error("it has more than {ATTACHMENTS_MAX} attachments")]
    TooManyAttachments,
    /// Longer than [`ROOMS_MAX`].
    #[error("a list of rooms has more than {ROOMS_MAX} names")]
    TooManyRooms,
    /// A broadcast is an array of three.
    #[error("it is no array of a uid, a packet and options")]
    Envelope,
    /// A member that is missing, is there twice, or is of another type.
    #[error("`{0}` is missing, is there twice, or is of another type than the adapter's")]
    Member(&'static str),
    /// The name of a member that is no string and no number.
    #[error("the name of a member is no string and no number")]
    MemberName,
    /// A packet that is no event.
    #[error("its packet is no event (type 2)")]
    PacketType,
    /// No namespace, or longer than [`NAMESPACE_BYTES_MAX`].
    #[error("its namespace does not begin with a slash, or has more than {NAMESPACE_BYTES_MAX} bytes")]
    Namespace,
    /// The first element of an event is its name.
    #[error("its event has no name, or one that is no string and no number")]
    EventName,
    /// An event that Socket.IO uses itself.
    #[error("its event has a name that Socket.IO uses itself")]
    EventReserved,
    /// A placeholder that names no attachment, or one that the payload itself has beside attachments.
    #[error("a placeholder names no attachment")]
    Placeholder,
    /// The event to be published is not JSON.
    #[error("the event is no JSON array")]
    Json,
    /// Not a request of the adapter or the emitter, in JSON or MessagePack.
    #[error("it is no object of a request")]
    Request,
    /// A request of an unknown type.
    #[error("its type of request is unknown")]
    RequestType,
}

impl Malformed {
    /// The rule as a metric label and log field.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Truncated => "truncated",
            Self::Trailing => "trailing",
            Self::Reserved => "reserved_byte",
            Self::NotUtf8 => "not_utf8",
            Self::Extension => "extension",
            Self::TooDeep => "depth",
            Self::TooManyAttachments => "attachments",
            Self::TooManyRooms => "rooms",
            Self::Envelope => "envelope",
            Self::Member(_) => "member",
            Self::MemberName => "member_name",
            Self::PacketType => "packet_type",
            Self::Namespace => "namespace",
            Self::EventName => "event_name",
            Self::EventReserved => "event_reserved",
            Self::Placeholder => "placeholder",
            Self::Json => "json",
            Self::Request => "request",
            Self::RequestType => "request_type",
        }
    }
}
