//! What happens to a session beside messages and time.

use std::{sync::Arc, time::Instant};

use crate::{
    session::{
        delivery::Delivery,
        ended::Ended,
        message::{Side, Ticket},
        question::{Answer, Returning},
        queue::WholePacket,
        rules::SessionRules,
    },
    wire::websocket::frame::OpCode,
};

/// What happens to a session beside messages and time.
#[derive(Debug)]
pub enum Event<'a> {
    /// A side closed, broke off, or broke a rule. A dial that failed is a service that is lost.
    Lost(Ended),
    /// The service has answered a dial with this status and message, and does not let this client in.
    Refused(u16, &'a str),
    /// The service cannot be dialled yet.
    DialLater {
        /// When to ask again.
        at: Instant,
        /// Whether the session has a turn then, and is not given up before it.
        reserved: bool,
    },
    /// The service was dialled and chose this subprotocol.
    Connected(Option<&'a str>),
    /// A control frame: Close, Ping or Pong, with its payload.
    Control(Side, OpCode, &'a [u8]),
    /// The message of the service that passed in parts has gone to the client to its end.
    Passed,
    /// After a receive from the client: a fragmented message has begun and not ended.
    Fragments,
    /// This side is not read now, because the other takes nothing or the client has to wait.
    Unread(Side),
    /// A question is answered.
    Answer(Ticket, Answer),
    /// The client is back, with another connection.
    Returned(Returning),
    /// The connection broke before this packet was sent: the next one gets it.
    Unsent(Box<WholePacket>),
    /// An event from another node.
    Delivered(Arc<Delivery>),
    /// Another program puts the client into rooms of a namespace.
    JoinRooms(&'a str, &'a [Box<str>]),
    /// Another program takes the client out of rooms of a namespace.
    LeaveRooms(&'a str, &'a [Box<str>]),
    /// Another program puts the client out of a namespace; with `true`, it closes the connection.
    Disconnected(&'a str, bool),
    /// What is revoked was changed, and something of this session is.
    Revoked,
    /// The rules were changed.
    NewRules(Arc<SessionRules>),
    /// This node goes away: send the client elsewhere.
    Drain,
}
