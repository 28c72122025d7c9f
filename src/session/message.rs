//! A message that a session judges, and the answer: what happens to it, and what was learned from it.

use std::time::{Duration, Instant};

use crate::{
    event_names::EventSlot,
    policy::verdict::{Refusal, RefusalKind},
    wire::{
        json::check::JsonBounds,
        socketio::canonical::CanonicalHead,
        websocket::frame::{FrameHeader, OpCode},
    },
};

/// One side of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client leg.
    Client,
    /// The upstream leg.
    Service,
}

impl Side {
    /// Where messages of this side go.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Service,
            Self::Service => Self::Client,
        }
    }
}

/// A WebSocket message, as far as it has come.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Text or Binary.
    pub opcode: OpCode,
    /// The unmasked message or, where it is not `complete`, its beginning: at least
    /// [`PEEK_BYTES`](crate::wire::socketio::packet::PEEK_BYTES) of it.
    pub bytes: &'a [u8],
    /// The length of the whole message, shown or not.
    pub len: usize,
    /// Whether `bytes` is the whole message.
    pub complete: bool,
    /// Whether all of the message has been received, shown or not, so that it can be passed on in one piece.
    pub here: bool,
}

impl<'a> Message<'a> {
    /// A message that is here as a whole.
    #[must_use]
    pub const fn whole(opcode: OpCode, bytes: &'a [u8]) -> Self {
        Self { opcode, bytes, len: bytes.len(), complete: true, here: true }
    }

    /// A message in one frame, of which `bytes` are shown.
    #[must_use]
    #[inline]
    pub fn in_frame(header: &FrameHeader, bytes: &'a [u8], complete: bool, here: bool) -> Self {
        let len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        Self { opcode: header.opcode, bytes, len, complete, here }
    }
}

/// What happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes to the other side as it came.
    Pass,
    /// It goes to the other side as it comes, for as long as what has come of it is JSON. Only of a message that is not
    /// complete.
    PassJson(JsonBegin),
    /// It goes to the other side with this head in place of the client's; what is behind that stays as it came. Of a message
    /// that is not complete, it goes on for as long as what has come of the rest is JSON.
    PassAs(CanonicalHead, Option<JsonBounds>),
    /// It goes no further. What the session says instead, now or later, are actions.
    Drop,
    /// It is put together until it is complete, and then judged.
    Gather,
    /// It, and everything behind it, is kept unread and judged again later.
    Wait(Until),
    /// It goes no further, and what is behind it is not for this session: the connection goes to another one.
    HandOver,
}

/// The JSON of a message that has not been shown to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonBegin {
    /// So many bytes of the message come before it.
    pub at: u16,
    /// What it must be.
    pub bounds: JsonBounds,
}

impl Fate {
    /// Whether it goes to the other side, as far as can be told now.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Pass | Self::PassJson(_) | Self::PassAs(..))
    }

    /// What goes to the other side of a message that passes and is here as a whole.
    #[must_use]
    pub fn passed(self, message: &mut [u8]) -> &[u8] {
        if let Self::PassAs(head, _) = self { head.put_into(message) } else { message }
    }
}

/// How long a message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Until then.
    Time(Instant),
    /// Until the question with this ticket is answered, and no longer than until then.
    Answer(Ticket, Instant),
}

/// Stands for a question of a session that somebody else answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(pub(super) u32);

/// What was learned from a message, for counters and the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Nothing that is counted by name.
    None,
    /// It is an event, or a message of a plain route, of this name.
    Event(EventSlot),
    /// It is an event of this name from another node, and came so far.
    Delivered(EventSlot, Reached),
    /// It acknowledges an event of this name, which was sent so long ago.
    Acknowledged(EventSlot, Duration),
    /// It answers a heartbeat that was sent so long ago.
    RoundTrip(Duration),
    /// The client measures its connection by it.
    Pinged(Pinged),
    /// This `[[rate_limit]]`, counted from 0, has it wait. Not said again when it is judged again.
    Delayed(u8),
    /// A rule refuses it.
    Refused(Box<Refused>),
}

impl Note {
    /// The same of a message that asks to join a namespace.
    pub(super) fn of_connect(mut self) -> Self {
        if let Self::Refused(refused) = &mut self {
            refused.is_connect = true;
        }
        self
    }
}

/// What became of a ping by which a client measures its connection. None reaches the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinged {
    /// The gate has answered it.
    Answered,
    /// It is one too many, and was answered as a refused message is.
    Limited,
    /// It has no ack id, or no `pingId` that can be repeated: no answer would be understood.
    WithoutId,
    /// It is binary, or has attachments.
    Binary,
}

/// How far an event from another node came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It was said to the client.
    Said,
    /// It waits for the client to come back.
    Kept,
    /// It is never kept, and the client is absent.
    Dropped,
}

/// A message of the client that a rule refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The rule, as client, metrics and log name it.
    pub refusal: Refusal,
    /// What the client notices of it.
    pub answer: Answered,
    /// The name of the event. `None`: it is no event.
    pub event: Option<EventSlot>,
    /// Whether it asked to join a namespace.
    pub is_connect: bool,
}

impl Refused {
    /// The setting whose bound the message exceeds, if that is why it is refused.
    #[must_use]
    pub fn setting(&self) -> Option<&'static str> {
        match self.refusal.code {
            CONNECT_TOO_BIG => Some("socketio.max_connect"),
            TOO_MANY_NAMESPACES => Some("socketio.max_namespaces"),
            _ => None,
        }
    }
}

/// The code of the refusal of a client whose packets another parser writes.
pub const PARSER_UNSUPPORTED: &str = "parser_unsupported";

/// The code of the refusal of a CONNECT for its size.
const CONNECT_TOO_BIG: &str = "connect_too_big";

/// The refusal of a CONNECT with more bytes than `socketio.max_connect`, and of a handshake of which more would be kept.
pub const TOO_BIG: Refusal = Refusal {
    kind: RefusalKind::Malformed,
    code: CONNECT_TOO_BIG,
    message: "What is said to connect is too large",
    rule: None,
    fault: None,
};

/// The code of the refusal of a CONNECT where the session is in enough namespaces.
pub const TOO_MANY_NAMESPACES: &str = "too_many_namespaces";

/// What a client notices of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// Nothing.
    Silently,
    /// A packet that says so, at once or with the next one.
    WithPacket,
    /// The session ends.
    ByClosing,
}

impl Answered {
    /// The label `action` of `tidegate_rate_limit_verdicts_total`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silently => "drop",
            Self::WithPacket => "reply",
            Self::ByClosing => "close",
        }
    }
}
