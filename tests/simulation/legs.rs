//! Connections between the ends and the gate: what is on its way, and where it is cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidegate::session::message::Fate;

use crate::packets::Msg;

/// How far the gate has got with the message that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Nothing of it was shown.
    New,
    /// The first of its fragments has come.
    Fragments,
    /// Its beginning was judged.
    Begun(Fate),
    /// It was put together, and is judged whole.
    Gathered,
}

/// One direction of a connection.
#[derive(Debug)]
pub struct Pipe {
    pub queue: VecDeque<Msg>,
    pub part: Part,
    /// Nothing comes behind what is in it.
    pub is_cut: bool,
    /// The end of the last message does not come either.
    pub is_half: bool,
}

impl Pipe {
    fn new() -> Self {
        Self { queue: VecDeque::new(), part: Part::New, is_cut: false, is_half: false }
    }

    /// Something is said, unless the connection is cut.
    pub fn push(&mut self, msg: Msg) {
        if !self.is_cut {
            self.queue.push_back(msg);
        }
    }

    /// Nothing of it comes but the first `left` messages, the last of them perhaps not whole.
    pub fn cut(&mut self, left: usize, is_half: bool) {
        self.queue.truncate(left.max(usize::from(self.part != Part::New)));
        self.is_half = is_half && !self.queue.is_empty();
        self.is_cut = true;
    }

    /// Whether the message that comes next never ends.
    pub fn is_front_half(&self) -> bool {
        self.is_half && self.queue.len() == 1
    }

    pub fn pop(&mut self) -> Option<Msg> {
        self.part = Part::New;
        self.queue.pop_front()
    }

    /// A frame is passing in parts.
    pub fn is_passing(&self) -> bool {
        matches!(self.part, Part::Begun(fate) if fate.passes())
    }
}

/// What the gate means by an answer to CONNECT.
#[derive(Debug, Clone, Copy)]
pub struct Welcome {
    /// How often the service has let the client into the namespace, in this session.
    pub times: u32,
    pub kind: WelcomeKind,
}

#[derive(Debug, Clone, Copy)]
pub enum WelcomeKind {
    /// The service has let the client in, and these events come before.
    Anew(usize),
    /// The client is back in the session that it had, and has missed nothing.
    Back,
    /// The client is back in the session that it had, and may have missed something.
    Gap,
}

/// A connection of a client.
#[derive(Debug)]
pub struct Conn {
    /// The session that reads it.
    pub seat: usize,
    pub polls: bool,
    /// To the gate.
    pub up: Pipe,
    /// To the client.
    pub down: Pipe,
    /// The gate has closed it.
    pub is_closed: bool,
    /// The client has said on it what no official client says.
    pub misbehaves: bool,
    /// The event whose attachments are being said to the client, and how many are left.
    pub owed: Option<(u64, usize)>,
    /// The answers to CONNECT that the client has yet to hear, by namespace.
    pub welcomes: BTreeMap<String, VecDeque<Welcome>>,
}

impl Conn {
    pub fn new(seat: usize, polls: bool) -> Self {
        let (up, down) = (Pipe::new(), Pipe::new());
        Self { seat, polls, up, down, is_closed: false, misbehaves: false, owed: None, welcomes: BTreeMap::new() }
    }
}

/// A connection to the service.
#[derive(Debug)]
pub struct Leg {
    /// To the gate.
    pub down: Pipe,
    /// To the service.
    pub up: Pipe,
    pub is_closed: bool,
    /// What both ends of it know, as the gate has heard and said it.
    pub at_gate: Joined,
    /// As the service has heard and said it.
    pub at_service: Joined,
    /// Events that the service has yet to acknowledge: namespace, ack id, event.
    pub to_acknowledge: VecDeque<(String, u64, u64)>,
    /// The attachments that the service has yet to hear: of this event, with its ack.
    pub hears: Option<(String, Option<u64>, u64, usize)>,
    /// The next ack id of the service, by namespace.
    pub asks: BTreeMap<String, u64>,
    /// Questions without an answer: namespace and ack id.
    pub asked: BTreeSet<(String, u64)>,
    /// The newest event that was said to it.
    pub newest: u64,
    /// The event whose attachments are being said to it, and how many are left.
    pub owed: Option<(u64, usize)>,
    /// On a plain route: what was said to it.
    pub got: BTreeSet<u64>,
}

/// Which namespaces are joined on one leg.
#[derive(Debug, Default)]
pub struct Joined {
    pub is_open: bool,
    pub asked: BTreeSet<String>,
    pub joined: BTreeSet<String>,
}

impl Joined {
    pub fn leave(&mut self, namespace: &str) {
        self.asked.remove(namespace);
        self.joined.remove(namespace);
    }
}

impl Leg {
    pub fn new() -> Self {
        Self {
            down: Pipe::new(),
            up: Pipe::new(),
            is_closed: false,
            at_gate: Joined::default(),
            at_service: Joined::default(),
            to_acknowledge: VecDeque::new(),
            hears: None,
            asks: BTreeMap::new(),
            asked: BTreeSet::new(),
            newest: 0,
            owed: None,
            got: BTreeSet::new(),
        }
    }

    /// The service can hear and speak.
    pub fn is_up(&self) -> bool {
        !self.is_closed && !self.down.is_cut
    }
}
