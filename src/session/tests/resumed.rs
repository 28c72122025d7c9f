//! A client that comes and goes, and what it hears: all that it has missed, once and in order, or that it has missed
//! something.

use std::collections::{BTreeSet, VecDeque};

use super::*;
use crate::{
    session::{
        Dialect,
        hold::Overflow,
        queue::WholePacket,
        resume::{Back, Resume},
    },
    wire::engineio::open::ServiceOpen,
};

const NAMESPACES: [&str; 2] = ["/", "/chat"];
const PACKETS_MAX: u32 = 6;
const OPEN: &[u8] = br#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
const PID: [u8; 15] = [9; 15];

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The service emits, perhaps asking for an ack, perhaps with bytes.
    Emits {
        chat: bool,
        asks: bool,
        binary: bool,
    },
    /// So much of what is on its way reaches the client.
    Reaches {
        packets: usize,
    },
    /// The client's connection breaks, and with it what is on its way.
    Breaks,
    /// The client comes back, to one namespace first.
    Returns {
        chat_first: bool,
    },
    /// It asks for the other one, perhaps as if it had never been there.
    Joins {
        anew: bool,
    },
    /// It leaves `/chat` for good.
    Leaves,
    Passes {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let often = prop::bool::weighted(0.2);
    prop_oneof![
        12 => (any::<bool>(), often, often)
            .prop_map(|(chat, asks, binary)| Step::Emits { chat, asks, binary }),
        6 => (1..8_usize).prop_map(|packets| Step::Reaches { packets }),
        4 => Just(Step::Breaks),
        5 => any::<bool>().prop_map(|chat_first| Step::Returns { chat_first }),
        4 => often.prop_map(|anew| Step::Joins { anew }),
        1 => prop::bool::weighted(0.2).prop_map(|leaves| if leaves { Step::Leaves } else { Step::Breaks }),
        2 => (0..12_u64).prop_map(|seconds| Step::Passes { seconds }),
    ]
}

/// One namespace, as both ends see it.
#[derive(Debug, Default)]
struct Room {
    /// The service has the client in it.
    at_service: bool,
    /// The client is in it, or believes to be about to.
    at_client: bool,
    /// What the stock client remembers: the number of its last event.
    offset: Option<u64>,
    newest: u64,
    /// Events that the client must get, in this order.
    due: VecDeque<u64>,
}

struct Ends {
    world: World,
    terms: Terms,
    rooms: [Room; 2],
    /// On its way to the client: the namespace and the text.
    wire: VecDeque<String>,
    /// Events that ask for an ack: what breaks off with a connection is not said again.
    asking: BTreeSet<u64>,
    next: u64,
    away: bool,
    over: bool,
}

fn room_of(text: &str) -> usize {
    usize::from(text.contains("/chat,"))
}

/// `["e",seq]` or `["e",seq,…,"number"]`
fn read(text: &str) -> (u64, Option<u64>) {
    let json: serde_json::Value = serde_json::from_str(&text[text.find('[').unwrap()..]).unwrap();
    let number = json.as_array().unwrap().last().and_then(|last| last.as_str()).and_then(|last| last.parse().ok());
    (json[1].as_u64().unwrap(), number)
}

impl Ends {
    fn new(overflow: Overflow) -> Self {
        let table = SessionTable {
            resume: crate::units::Period::from_secs(30),
            queue_packets: PACKETS_MAX,
            overflow,
            ..SessionTable::default()
        };
        let terms = Terms { hold: HoldTerms::compile(&table).unwrap(), ..TERMS.clone() };
        let mut world = World::new(|config| {
            config.auth.required = false;
            config.rate_limit.clear();
        });
        if let Dialect::SocketIo(socketio) = &mut world.session.dialect {
            socketio.resume = Some(Box::new(Resume::new(Sid::new(PID))));
        }
        assert_eq!((world.client("40"), world.client("40/chat,")), (Verdict::Forward, Verdict::Forward));
        world.session.service_opened(&ServiceOpen::parse(OPEN).unwrap(), world.now);
        world.service(r#"40{"sid":"a"}"#);
        world.service(r#"40/chat,{"sid":"b"}"#);
        world.actions();
        let room = || Room { at_service: true, at_client: true, ..Room::default() };
        let (rooms, wire, asking) = ([room(), room()], VecDeque::new(), BTreeSet::new());
        Self { world, terms, rooms, wire, asking, next: 0, away: false, over: false }
    }

    fn does(&mut self, step: Step) {
        match step {
            Step::Emits { chat, asks, binary } => self.emits(usize::from(chat), asks, binary),
            Step::Reaches { packets } => self.reaches(packets),
            Step::Breaks if !self.away => self.breaks(),
            Step::Returns { chat_first } if self.away => self.returns(usize::from(chat_first)),
            Step::Joins { anew } if !self.away => self.joins(anew),
            Step::Leaves if !self.away && self.rooms[1].at_client => {
                assert_eq!(self.world.client("41/chat,"), Verdict::Forward);
                self.rooms[1] = Room::default();
                self.wire.retain(|text| room_of(text) == 0);
            }
            Step::Passes { seconds } => {
                if !self.away {
                    self.world.session.client_heard(&self.terms, self.world.now);
                }
                self.world.now += Duration::from_secs(seconds);
                self.world.session.handle_timeout(&self.terms, self.world.now);
            }
            Step::Breaks | Step::Returns { .. } | Step::Joins { .. } | Step::Leaves => {}
        }
        self.settle();
        let kept = format!("{:?}", self.world.session).matches("Kept {").count();
        assert!(kept <= PACKETS_MAX as usize, "{kept} are kept");
    }

    /// The way of a packet through the relay.
    fn emits(&mut self, room: usize, asks: bool, binary: bool) {
        if !self.rooms[room].at_service {
            return;
        }
        self.next += 1;
        let seq = self.next;
        let kind = if binary { "451-" } else { "42" };
        let namespace = if room == 1 { "/chat," } else { "" };
        let id = if asks { seq.to_string() } else { String::new() };
        let bytes = if binary { r#",{"_placeholder":true,"num":0}"# } else { "" };
        let text = format!(r#"{kind}{namespace}{id}["e",{seq}{bytes}]"#);
        let head = peek::peek_service(text.as_bytes(), true).unwrap();
        let session = &mut self.world.session;
        session.service_packet(&head, &text.as_bytes()[head.data_at..], self.world.now);
        let changed = session.for_returning(&head, text.as_bytes()).unwrap_or_else(|| text.clone().into_bytes());
        let number = session.namespace_number(head.namespace);
        let mut packet = WholePacket::new(number, head.ack_id, changed, head.attachments);
        if binary {
            packet.attach(b"bytes".to_vec());
        }
        let said = session.say_or_keep(&packet, &self.terms);
        if asks {
            self.asking.insert(seq);
        } else {
            self.rooms[room].due.push_back(seq);
        }
        if said {
            self.wire.push_back(String::from_utf8(packet.payload().to_vec()).unwrap());
        }
    }

    fn reaches(&mut self, packets: usize) {
        for _ in 0..packets {
            let Some(text) = self.wire.pop_front() else { return };
            let room = &mut self.rooms[room_of(&text)];
            if !text.starts_with("42") && !text.starts_with("45") {
                continue;
            }
            let (seq, number) = read(&text);
            assert!(room.newest < seq, "{seq} behind {}", room.newest);
            room.newest = seq;
            if self.asking.contains(&seq) {
                continue;
            }
            assert_eq!(room.due.pop_front(), Some(seq), "another one was due");
            room.offset = number;
        }
    }

    fn breaks(&mut self) {
        self.wire.clear();
        if !self.world.session.may_return(Ended::ClientLost, &self.terms) {
            self.over = true;
            return;
        }
        self.world.session.client_gone(Ended::ClientLost, self.world.now);
        self.away = true;
        for room in &mut self.rooms {
            room.at_client = false;
        }
    }

    fn returns(&mut self, first: usize) {
        let (namespace, offset) = (NAMESPACES[first], self.rooms[first].offset);
        let session = &mut self.world.session;
        assert!(!session.takes_back(Some("eve"), namespace, offset), "to nobody else");
        if !session.takes_back(None, namespace, offset) {
            // A session of its own: the client knows that it begins anew.
            self.over = true;
            return;
        }
        let back = Back { sid: Sid::new([1; 15]), peer: session.peer(), identity: Identity::anonymous() };
        session.client_back(back, &self.terms, self.world.wall, self.world.now);
        session.namespace_back(namespace, offset);
        self.away = false;
        self.is_back(first);
    }

    fn joins(&mut self, anew: bool) {
        let Some(room) = (0..2).find(|&room| self.world.session.is_absent_from(NAMESPACES[room])) else { return };
        let offset = self.rooms[room].offset.map_or_else(String::new, |offset| format!(r#","offset":"{offset}""#));
        let pid = Sid::new(if anew { [3; 15] } else { PID });
        let namespace = if room == 1 { "/chat," } else { "" };
        let text = format!(r#"40{namespace}{{"pid":"{pid}"{offset}}}"#);
        let head = peek::peek_client(text.as_bytes(), true).unwrap();
        let payload = &text.as_bytes()[head.data_at..];
        let World { session, policies, wall, .. } = &mut self.world;
        if session.comes_back_to(&head, payload, policies, *wall) {
            assert!(!anew);
            self.is_back(room);
        } else {
            assert!(anew, "it is the owner");
        }
    }

    /// What it hears is all that it has missed, or that it has missed something.
    fn is_back(&mut self, room: usize) {
        let behind = self.wire.len();
        self.settle();
        let said: Vec<_> = self.wire.iter().skip(behind).cloned().collect();
        let (connect, missed) = said.split_last().unwrap();
        assert!(connect.starts_with("40"), "{connect} is the last");
        let missed = missed.iter().map(|text| read(text).0).filter(|seq| !self.asking.contains(seq));
        let missed: VecDeque<u64> = missed.collect();
        let room = &mut self.rooms[room];
        room.at_client = true;
        if connect.contains("\"pid\"") {
            assert_eq!(missed, room.due, "recovered, and not all of it");
        } else {
            assert!(room.due.iter().rev().zip(missed.iter().rev()).all(|(one, other)| one == other), "{missed:?}");
            room.due = missed;
        }
    }

    fn settle(&mut self) {
        for action in self.world.actions() {
            match action {
                Action::SayPacket(packet) => self.wire.push_back(String::from_utf8(packet.payload().to_vec()).unwrap()),
                Action::SendClient(text) => self.wire.push_back(String::from_utf8(text.into_owned()).unwrap()),
                Action::SendService(text) => {
                    let text = String::from_utf8(text.into_owned()).unwrap();
                    assert!(text.starts_with("41"), "{text}");
                    self.rooms[room_of(&text)] = Room::default();
                }
                _ => {}
            }
        }
        if let Some(ended) = self.world.session.ended() {
            self.over = true;
            assert!(ended != Ended::QueueFull || self.terms.hold.overflow == Overflow::Close);
        }
    }
}

proptest! {
    #[test]
    fn a_client_that_comes_back_has_missed_nothing_or_knows_it(
        closes in any::<bool>(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut ends = Ends::new(if closes { Overflow::Close } else { Overflow::DropOldest });
        for step in steps {
            ends.does(step);
            if ends.over {
                break;
            }
        }
        if !ends.over && !ends.away {
            ends.does(Step::Reaches { packets: usize::MAX });
            for (room, namespace) in ends.rooms.iter().zip(NAMESPACES) {
                prop_assert!(room.due.is_empty() || ends.world.session.is_absent_from(namespace), "{:?}", room);
            }
        }
    }
}
