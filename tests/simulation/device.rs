//! A client, as the official ones behave: what it says, and what it believes from what it hears.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tidegate::wire::websocket::{close, close::CloseCode, frame::OpCode};

use crate::{
    checks::{BROKEN, NOBODY_ASKED},
    ledger::Sent,
    legs::WelcomeKind,
    packets::{Kind, Msg, Packet, event, write},
    settings::{Dialect, MAX_CONNECT, MAX_PAYLOAD, Proof},
    world::{World, note},
};

pub const NAMESPACES: [&str; 3] = ["/", "/a", "/b"];

const USERS: [&str; 3] = ["ada", "bob", "cyd"];

/// Where a client stands in one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    #[default]
    Apart,
    Asked,
    Joined,
}

/// A socket of the client: one namespace.
#[derive(Debug, Default)]
pub struct Room {
    /// It is joined whenever the client connects.
    pub wanted: bool,
    pub state: State,
    pub pid: Option<String>,
    pub offset: Option<String>,
    next_ack: u64,
    /// Acks that the client waits for, with the numbers of their events.
    pub pending: BTreeMap<u64, u64>,
    /// What the service has asked, and is not answered: ack id, then what the answer must say.
    questions: VecDeque<(u64, String)>,
    /// What came before the client has joined.
    early: Vec<Packet>,
    /// How far the client has got in the events of this session. `None`: it knows that it may have missed some.
    place: Option<usize>,
    newest: u64,
    /// The session that the client is in.
    seat: usize,
    /// How often the service had let the client in when it heard of that last.
    times: u32,
    /// The event that it repeats until it has an ack: its number, and its text without the ack id.
    pub head: Option<Head>,
    /// The connection on which it has left: what was on its way then may come to the wrong one of its sockets.
    left_on: Option<usize>,
}

/// An event that a client repeats.
#[derive(Debug, Clone)]
pub struct Head {
    number: u64,
    name: &'static str,
    attachments: usize,
    pad: usize,
    /// It is said again when the client has looked at all that has come.
    is_due: bool,
}

/// One client with at most one connection.
#[derive(Debug)]
pub struct Device {
    pub user: Option<&'static str>,
    pub conn: Option<usize>,
    pub rooms: BTreeMap<String, Room>,
    /// It says nothing, not even that it is there.
    pub is_silent: bool,
    /// Attachments that it has yet to hear.
    owed: usize,
    begun: Option<Packet>,
}

impl Device {
    pub fn new(at: usize, proof: Proof) -> Self {
        let rooms = NAMESPACES.map(|name| (name.to_owned(), Room { wanted: name == "/", ..Room::default() }));
        let user = (proof != Proof::None).then_some(USERS[at]);
        Self { user, conn: None, rooms: rooms.into(), is_silent: false, owed: 0, begun: None }
    }

    pub fn connected(&mut self, conn: usize) {
        self.conn = Some(conn);
        (self.is_silent, self.owed, self.begun) = (false, 0, None);
    }

    /// Its connection is gone: the client itself fails all acks that it waits for.
    fn disconnected(&mut self) {
        self.conn = None;
        for room in self.rooms.values_mut() {
            (room.state, room.early) = (State::Apart, Vec::new());
            room.pending.clear();
            room.head = None;
        }
    }
}

impl World {
    /// A client says something.
    pub fn client_says(&mut self, device: usize, mut msg: Msg) {
        let Some(conn) = self.devices[device].conn else { return };
        if self.settings.dialect == Dialect::SocketIo && self.chance.percent(10) {
            msg.respell();
        }
        note!(self, "client {device} says on {conn}: {}", msg.shown());
        self.conns[conn].up.push(msg);
    }

    /// A client asks for a namespace.
    pub fn client_joins(&mut self, device: usize, namespace: &str) {
        if self.devices[device].rooms[namespace].state != State::Apart || self.devices[device].conn.is_none() {
            return;
        }
        let mut fields = Vec::new();
        // Of another user, who must not notice it.
        let other = &self.devices[self.chance.below(self.devices.len())];
        let stolen = other.rooms[namespace].pid.clone().filter(|_| other.user != self.devices[device].user);
        let stolen = stolen.filter(|_| !self.is_calm && self.chance.percent(3));
        if let Some(user) = self.devices[device].user {
            let lives = if self.is_calm { 100_000 } else { self.chance.weighted(&[(1, 1), (1, 30), (6, 7200)]) };
            let user = if self.chance.percent(1) && !self.is_calm { "eve" } else { user };
            let token = self.settings.token(user, self.wall() + Duration::from_secs(lives));
            fields.extend(token.map(|token| format!(r#""token":"{token}""#)));
        }
        let room = self.devices[device].rooms.get_mut(namespace).expect("each client knows each namespace");
        (room.state, room.wanted) = (State::Asked, true);
        let pid = stolen.or_else(|| room.pid.clone());
        fields.extend(pid.iter().map(|pid| format!(r#""pid":"{pid}""#)));
        fields.extend(pid.as_ref().and(room.offset.as_ref()).map(|offset| format!(r#""offset":"{offset}""#)));
        let json = if fields.is_empty() { String::new() } else { format!("{{{}}}", fields.join(",")) };
        self.client_says(device, Msg::text(write("0", namespace, None, &json)));
    }

    pub fn client_leaves(&mut self, device: usize, namespace: &str) {
        let conn = self.devices[device].conn;
        let room = self.devices[device].rooms.get_mut(namespace).expect("each client knows each namespace");
        if room.state == State::Apart {
            return;
        }
        (room.state, room.wanted) = (State::Apart, namespace == "/");
        room.pending.clear();
        room.head = None;
        room.early.clear();
        room.left_on = conn;
        self.client_says(device, Msg::text(write("1", namespace, None, "")));
    }

    /// A client emits an event, perhaps with an ack, perhaps with attachments.
    pub fn client_emits(&mut self, device: usize, namespace: &str) {
        let Some(conn) = self.devices[device].conn else { return };
        let seat = self.conns[conn].seat;
        if self.settings.dialect == Dialect::Plain {
            return self.plain_client_emits(device, seat);
        }
        let (asks, name) = (self.chance.percent(70), self.chance.one_of(&["once", "again", "again", "other"]));
        let attachments = self.chance.weighted(&[(8, 0), (1, 1), (1, 2)]);
        let pad = self.chance.weighted(&[(36, 0), (6, 50), (2, 300), (1, 2500)]);
        self.client_asks(device, namespace, name, attachments, pad, asks);
    }

    /// A client that has joined emits this event, perhaps with an ack.
    pub fn client_asks(
        &mut self,
        device: usize,
        namespace: &str,
        name: &'static str,
        attachments: usize,
        pad: usize,
        asks: bool,
    ) {
        let Some(conn) = self.devices[device].conn else { return };
        let seat = self.conns[conn].seat;
        let room = self.devices[device].rooms.get_mut(namespace).expect("each client knows each namespace");
        if room.state != State::Joined {
            return;
        }
        // A client that repeats waits for one ack at a time.
        let asks = asks && !(self.settings.repeats && room.head.is_some());
        let number = self.ledger.number();
        if asks && self.settings.repeats && !self.settings.floods {
            room.head = Some(Head { number, name, attachments, pad, is_due: false });
        }
        let id = asks.then_some(room.next_ack);
        if asks {
            room.next_ack += 1;
            room.pending.extend(id.map(|id| (id, number)));
        }
        let again = asks && self.settings.config.session.retry_events.iter().any(|event| event == name);
        let acks = id.into_iter().collect();
        let sent = Sent { seat, namespace: namespace.to_owned(), acks, again, ..Sent::default() };
        self.ledger.sent.insert(number, sent);
        self.client_says(device, Msg::text(event(namespace, id, name, &number.to_string(), attachments, pad)));
        for _ in 0..attachments {
            self.client_says(device, Msg::binary(number.to_string().into_bytes()));
        }
    }

    /// A client repeats what it has no ack of, if it may: what is due, or what has waited for long.
    pub fn client_repeats(&mut self, device: usize, namespace: &str, is_due: bool) {
        if self.devices[device].conn.is_none() {
            return;
        }
        let room = self.devices[device].rooms.get_mut(namespace).expect("each client knows each namespace");
        let is_joined = room.state == State::Joined;
        let id = room.next_ack;
        let Some(head) = room.head.as_mut().filter(|head| is_joined && (head.is_due || !is_due)) else { return };
        head.is_due = false;
        let Head { number, name, attachments, pad, .. } = head.clone();
        room.next_ack += 1;
        room.pending.insert(id, number);
        self.ledger.sent.entry(number).or_default().acks.insert(id);
        self.client_says(device, Msg::text(event(namespace, Some(id), name, &number.to_string(), attachments, pad)));
        for _ in 0..attachments {
            self.client_says(device, Msg::binary(number.to_string().into_bytes()));
        }
    }

    fn plain_client_emits(&mut self, device: usize, seat: usize) {
        let number = self.ledger.number();
        self.ledger.sent.insert(number, Sent { seat, ..Sent::default() });
        let pad = "x".repeat(self.chance.weighted(&[(36, 0), (8, 200), (1, 2500)]));
        let name = self.chance.one_of(&["once", "again", "sub1", "sub2"]);
        let msg = match self.chance.below(5) {
            0 => Msg::binary(number.to_string().into_bytes()),
            _ => Msg::text(format!(r#"{{"t":"{name}","n":{number},"pad":"{pad}"}}"#)),
        };
        self.client_says(device, msg);
    }

    /// A client answers the first question of the service in this namespace.
    pub fn client_answers(&mut self, device: usize, namespace: &str) {
        let room = self.devices[device].rooms.get_mut(namespace).expect("each client knows each namespace");
        if room.state != State::Joined {
            return;
        }
        if let Some((id, answer)) = room.questions.pop_front() {
            self.client_says(device, Msg::text(write("3", namespace, Some(id), &answer)));
        }
    }

    /// What no official client says.
    pub fn client_misbehaves(&mut self, device: usize) {
        let (Some(conn), Dialect::SocketIo) = (self.devices[device].conn, self.settings.dialect) else { return };
        let pad = "x".repeat(self.chance.one_of(&[0, 2500]));
        let msg = match self.chance.below(12) {
            0 => Msg::text("42[1.5]"),
            6 => Msg::text(format!(r#"42["{BROKEN}","{pad}"]]"#)),
            7 => Msg::text(format!(r#"42["{BROKEN}",{{"pad":"{pad}"]"#)),
            8 => Msg::text(format!(r#"42["{BROKEN}",{}1{}]"#, "[".repeat(64), "]".repeat(64))),
            9 => Msg::text(format!(
                r#"40/b,{{"pad":"{}"}}"#,
                "x".repeat(usize::try_from(MAX_CONNECT).unwrap_or_default())
            )),
            10 => {
                // Its attachments make it too large.
                self.client_says(device, Msg::text(format!(r#"451-["{BROKEN}",{{"_placeholder":true,"num":0}}]"#)));
                Msg::binary(vec![0; usize::try_from(MAX_PAYLOAD).unwrap_or_default()])
            }
            // Nor does its attachment follow it.
            11 => Msg::text(format!(r#"451-["{BROKEN}",{{"_placeholder":true,"num":0}}]"#)),
            1 => Msg::text("4"),
            2 => Msg::binary(b"stray".to_vec()),
            3 => Msg::text("42/c,[\"in no namespace\"]"),
            4 => Msg::text("3"),
            _ => Msg::text(format!(r#"4399["{NOBODY_ASKED}"]"#)),
        };
        self.conns[conn].misbehaves = true;
        self.client_says(device, msg);
    }

    pub fn client_closes(&mut self, device: usize) {
        let Some(conn) = self.devices[device].conn else { return };
        let code = self.chance.one_of(&[None, Some(CloseCode::NORMAL), Some(CloseCode::GOING_AWAY)]);
        let mut bytes = Vec::new();
        close::encode_close(code, "", &mut bytes);
        let msg = if self.conns[conn].polls && self.settings.dialect == Dialect::SocketIo {
            Msg::text("1")
        } else {
            Msg { opcode: OpCode::Close, bytes }
        };
        self.client_says(device, msg);
        let up = &mut self.conns[conn].up;
        up.cut(up.queue.len(), false);
        self.conns[conn].down.cut(0, false);
        self.devices[device].disconnected();
    }

    /// The network between a client and the gate is gone. Neither of them knows it.
    pub fn client_is_cut(&mut self, device: usize) {
        let Some(conn) = self.devices[device].conn else { return };
        let (up, down) = (self.conns[conn].up.queue.len() + 1, self.conns[conn].down.queue.len() + 1);
        let (up, down, is_half) = (self.chance.below(up), self.chance.below(down), self.chance.percent(40));
        note!(self, "connection {conn} of client {device} is cut");
        self.conns[conn].up.cut(up, is_half);
        self.conns[conn].down.cut(down, false);
    }

    /// So many messages reach a client. What it repeats because of them it says when it has answered them.
    pub fn client_hears(&mut self, device: usize, messages: usize) {
        self.client_hears_all(device, messages);
        for namespace in NAMESPACES {
            self.client_repeats(device, namespace, true);
        }
    }

    fn client_hears_all(&mut self, device: usize, messages: usize) {
        let Some(conn) = self.devices[device].conn else { return };
        for _ in 0..messages {
            if let Some(msg) = self.conns[conn].down.pop() {
                self.client_hears_one(device, conn, &msg);
                if self.devices[device].conn.is_none() {
                    return;
                }
            } else {
                if self.conns[conn].is_closed || self.conns[conn].down.is_cut {
                    note!(self, "client {device} finds connection {conn} closed");
                    self.devices[device].disconnected();
                    // The gate may not know it yet.
                    let up = &mut self.conns[conn].up;
                    up.cut(up.queue.len(), false);
                }
                return;
            }
        }
    }

    fn client_hears_one(&mut self, device: usize, conn: usize, msg: &Msg) {
        let seat = self.conns[conn].seat;
        if self.settings.dialect == Dialect::Plain {
            if msg.opcode == OpCode::Ping && !self.devices[device].is_silent {
                self.client_says(device, Msg { opcode: OpCode::Pong, bytes: msg.bytes.clone() });
            }
            return;
        }
        if msg.opcode == OpCode::Text && msg.bytes == b"2" {
            if !self.devices[device].is_silent {
                self.client_says(device, Msg::text("3"));
            }
            return;
        }
        let there = &mut self.devices[device];
        if msg.opcode == OpCode::Binary {
            there.owed = there.owed.saturating_sub(1);
            if let Some(packet) = there.begun.take_if(|_| there.owed == 0) {
                self.client_gets(device, seat, &packet);
            }
            return;
        }
        let Some(packet) = Packet::read(&msg.bytes) else { return };
        if packet.attachments > 0 {
            there.owed = packet.attachments;
            there.begun = Some(packet);
            return;
        }
        let Some(room) = there.rooms.get_mut(&packet.namespace) else { return };
        match packet.kind {
            Kind::Connect => self.client_has_joined(device, conn, &packet),
            Kind::Disconnect | Kind::Refusal => {
                // The client's own DISCONNECT may have crossed it.
                (room.state, room.pending) = (State::Apart, BTreeMap::new());
                room.early.clear();
                room.head = None;
            }
            Kind::Event => self.client_gets(device, seat, &packet),
            Kind::Ack => {
                let number = room.pending.remove(&packet.id.unwrap_or(u64::MAX));
                if room.head.take_if(|head| Some(head.number) == number).is_some() {
                    self.client_has_done(device, seat, number.unwrap_or_default(), &packet);
                }
            }
        }
    }

    fn client_has_joined(&mut self, device: usize, conn: usize, packet: &Packet) {
        let seat = self.conns[conn].seat;
        let welcome = self.conns[conn].welcomes.get_mut(&packet.namespace).and_then(VecDeque::pop_front);
        let there = &mut self.devices[device];
        let Some(room) = there.rooms.get_mut(&packet.namespace) else { return };
        if room.state == State::Apart {
            return;
        }
        let namespace = packet.namespace.clone();
        let pid = packet.field("pid").map(str::to_owned);
        let recovered = pid.is_some() && pid == room.pid;
        let times = std::mem::replace(&mut room.times, welcome.map_or(0, |welcome| welcome.times));
        let is_same = room.seat == seat && room.times == times && room.pid.is_some();
        // It is back in the same membership, or knows that it is not.
        let has_gap = welcome.is_some_and(|welcome| matches!(welcome.kind, WelcomeKind::Gap));
        let is_so = is_same && pid.is_some() && !has_gap;
        assert_eq!(recovered, is_so, "client {device} believes the opposite of what is so");
        let is_anew = welcome.is_some_and(|welcome| matches!(welcome.kind, WelcomeKind::Anew(_)));
        let has_missed = !recovered && !is_anew;
        if room.seat != seat {
            room.questions.clear();
            room.newest = 0;
        }
        room.place = match welcome.map(|welcome| welcome.kind) {
            Some(WelcomeKind::Anew(begins)) if room.left_on != Some(conn) => Some(begins),
            Some(WelcomeKind::Back) if is_same && room.left_on != Some(conn) => room.place,
            Some(_) => None,
            None => panic!("client {device} is welcomed twice"),
        };
        (room.state, room.pid, room.seat) = (State::Joined, pid, seat);
        if let Some(head) = &mut room.head {
            head.is_due = true;
        }
        for packet in std::mem::take(&mut room.early) {
            self.client_gets(device, seat, &packet);
            // It knows that some of what it has missed may be lost, wherever that stood.
            if has_missed && let Some(room) = self.devices[device].rooms.get_mut(&namespace) {
                room.place = None;
            }
        }
    }

    /// A client that repeats takes an event for delivered, because an ack has come.
    fn client_has_done(&mut self, device: usize, seat: usize, number: u64, packet: &Packet) {
        let sent = &self.ledger.sent[&number];
        if packet.json[0]["retriable"] == true {
            let told_at = self.seats[seat].told_at.get(&packet.namespace).copied();
            let grace = self.seats[seat].rules.hold.ack_grace;
            let had_time = told_at.is_none_or(|at| self.now.instant >= at + grace);
            assert!(had_time, "client {device} takes {number} for delivered, and had no time to repeat it");
        } else {
            assert!(!sent.written.is_empty() || sent.refused.is_some(), "{number} is delivered to nobody");
        }
    }

    /// An event reaches its handler.
    fn client_gets(&mut self, device: usize, seat: usize, packet: &Packet) {
        let there = &mut self.devices[device];
        let Some(room) = there.rooms.get_mut(&packet.namespace) else { return };
        match room.state {
            State::Apart => return,
            State::Asked => return room.early.push(packet.clone()),
            State::Joined => {}
        }
        if room.pid.is_some()
            && let Some(offset) = packet.offset()
        {
            room.offset = Some(offset.to_owned());
        }
        let number = packet.number(1);
        if let Some(id) = packet.id {
            let (leg, asked) = (packet.number(2), packet.number(3));
            room.questions.push_back((id, format!(r#"[{leg},{asked},"{}"]"#, packet.namespace)));
        }
        let Some(emitted) = self.ledger.emitted.get(&number).filter(|_| room.seat == seat) else { return };
        let Some(place) = emitted.place else { return };
        assert!(room.newest < number, "client {device} gets {number} behind {} in {}", room.newest, packet.namespace);
        room.newest = number;
        let missed = room.place.map(|from| self.ledger.missed(seat, &packet.namespace, from, place));
        assert!(
            missed.as_ref().is_none_or(Vec::is_empty),
            "client {device} has missed {missed:?} and does not know it"
        );
        room.place = Some(place + 1);
    }

    /// Nothing is on its way: whoever believes to have everything has it, and every ack has come.
    pub fn client_has_all(&self, device: usize) {
        let Device { conn: Some(conn), rooms, .. } = &self.devices[device] else { return };
        let seat = self.conns[*conn].seat;
        for (namespace, room) in rooms.iter() {
            assert_ne!(room.state, State::Asked, "client {device} has no answer about {namespace}");
        }
        for (namespace, room) in rooms.iter().filter(|(_, room)| room.state == State::Joined && room.seat == seat) {
            let is_awaited = |(id, number): &(&u64, &u64)| !self.ledger.sent[number].unanswered.contains(id);
            let awaited: Vec<u64> = room.pending.iter().filter(is_awaited).map(|(_, number)| *number).collect();
            assert!(awaited.is_empty(), "client {device} has no ack of {awaited:?} in {namespace}");
            if let Some(from) = room.place {
                let missed = self.ledger.missed(seat, namespace, from, usize::MAX);
                assert!(missed.is_empty(), "client {device} has not got {missed:?} in {namespace}");
            }
        }
    }
}
