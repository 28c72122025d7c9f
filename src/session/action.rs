//! What a session wants done.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use crate::{
    policy::token_fault::TokenFault,
    session::{
        delivery::Delivery,
        ended::Ended,
        message::{Side, Ticket},
        question::{Question, Returning},
        queue::WholePacket,
    },
    wire::websocket::frame::OpCode,
};

/// What must be done, in this order for each side.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to the service, or tell [when](super::event::Event::DialLater) that may be.
    Dial {
        /// The service was connected or dialled before in this session.
        again: bool,
    },
    /// Say this between two messages that pass.
    Say(Side, Spoken),
    /// Get an answer to this, and bring it as [`Event::Answer`](super::event::Event::Answer).
    Ask(Ticket, Question),
    /// Enter a socket of the session in a room.
    JoinRoom(RoomOf),
    /// Take a socket of the session out of a room.
    LeaveRoom(RoomOf),
    /// Offer a packet of the service to the other nodes.
    Offer(Box<Offered>),
    /// Count an event that is not published, because the room of the `[[mirror]]` with this number cannot be named for it.
    NotOffered {
        /// The number of the rule.
        rule: usize,
        /// It is the first such event since the rules were read.
        is_first: bool,
    },
    /// Count a room that the client does not get into, because it is in too many or has asked for too many.
    RoomsFull {
        /// It is the first such room of the session.
        is_first: bool,
    },
    /// The user is known from now on.
    Opened,
    /// Count that the client was put out of a namespace whose token is good no more, for this reason.
    PutOut(TokenFault),
    /// The connection of this side is over, for this reason, and the session goes on without it.
    Detach(Side, Ended),
    /// The client's connection belongs to another session: hand it over.
    HandOver(Box<Returning>),
}

/// A room of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoomOf {
    /// The namespace.
    pub namespace: Box<str>,
    /// The room.
    pub room: Box<str>,
}

/// An event of the service that a `[[mirror]]` rule names.
#[derive(Debug, PartialEq, Eq)]
pub struct Offered {
    /// The number of the rule.
    pub rule: usize,
    /// The namespace.
    pub namespace: Box<str>,
    /// The room that the rule resolves to. `None`: all clients of the namespace.
    pub room: Option<Box<str>>,
    /// The JSON array of the event, without the offset of connection state recovery.
    pub json: Vec<u8>,
    /// Its attachments, in order.
    pub attachments: Vec<Vec<u8>>,
    /// The offset that the service gave this broadcast, by which all copies of it are known.
    pub offset: Option<Box<str>>,
}

/// What the session says itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Spoken {
    /// A message or control frame of the gate's own.
    Own(OpCode, Cow<'static, [u8]>),
    /// A packet of the other side, which was kept, changed or delayed.
    Packet(Box<WholePacket>),
    /// An event from another node, the same for all that get it.
    Delivery(Arc<Delivery>),
}

impl Spoken {
    /// A text message of the gate's own.
    pub(super) fn text(text: impl Into<Cow<'static, [u8]>>) -> Self {
        Self::Own(OpCode::Text, text.into())
    }
}

/// Which sides may be spoken to now: those to which no message of the other side is passing in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The client.
    pub client: bool,
    /// The service.
    pub service: bool,
}

impl Ready {
    /// Both sides.
    pub const BOTH: Self = Self { client: true, service: true };

    const fn is(self, side: Side) -> bool {
        match side {
            Side::Client => self.client,
            Side::Service => self.service,
        }
    }
}

/// Actions that wait to be done.
#[derive(Debug, Default)]
pub(super) struct Actions(VecDeque<Action>);

impl Actions {
    pub(super) fn push(&mut self, action: Action) {
        self.0.push_back(action);
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn say(&mut self, to: Side, spoken: Spoken) {
        self.push(Action::Say(to, spoken));
    }

    /// The first that can be done. What is said to one side never waits for the other.
    pub(super) fn next(&mut self, ready: Ready) -> Option<Action> {
        let can_be_done = |action: &Action| match action {
            Action::Say(side, _) => ready.is(*side),
            _ => true,
        };
        let at = self.0.iter().position(can_be_done)?;
        let action = self.0.remove(at);
        if self.0.is_empty() {
            // Nearly every session has nothing to do nearly always.
            self.0 = VecDeque::new();
        }
        action
    }

    /// Queues the answer to a ping. While none can be said, `max` answers wait, and then the latest: of several unanswered
    /// pings the latest alone needs an answer (RFC 6455 §5.5.3).
    pub(super) fn pong(&mut self, to: Side, payload: &[u8], max: usize) {
        let is_pong =
            |waiting: &&mut Action| matches!(waiting, Action::Say(side, Spoken::Own(OpCode::Pong, _)) if *side == to);
        let pong = Action::Say(to, Spoken::Own(OpCode::Pong, payload.to_vec().into()));
        if self.0.iter_mut().filter(|waiting| is_pong(waiting)).count() < max {
            self.0.push_back(pong);
        } else if let Some(latest) = self.0.iter_mut().rfind(is_pong) {
            *latest = pong;
        }
    }
}
