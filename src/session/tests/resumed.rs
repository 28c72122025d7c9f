//! A client that is absent and comes back gets every event that it missed, once and in order, or learns that it has
//! missed some.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use proptest::prelude::*;

use super::world::{World, id};
use crate::{
    policy::identity::Identity,
    session::{
        action::Action,
        ended::Ended,
        event::Event,
        hold::Overflow,
        message::{Fate, Side, Until},
        question::{Answer, Claim, Question, Returning},
    },
    units::Period,
    wire::{
        engineio::id::{Pid, Sid},
        websocket::frame::OpCode,
    },
};

const NAMESPACES: [&str; 2] = ["/", "/chat"];
const PACKETS_MAX: u32 = 6;
/// One event.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The service emits, perhaps asking for an ack, perhaps with bytes.
    Emits {
        chat: bool,
        asks: bool,
        binary: bool,
    },
    /// So many packets in flight reach the client.
    Reaches {
        packets: usize,
    },
    /// The client's connection breaks, and with it the packets in flight are lost.
    Breaks,
    /// The client comes back, and joins one namespace first.
    Returns {
        chat_first: bool,
    },
    /// It joins the other one, perhaps as a new client.
    Joins {
        anew: bool,
    },
    /// It leaves `/chat` and does not come back to it.
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

/// One namespace, with what both ends know of it.
#[derive(Debug, Default)]
struct Room {
    /// The service has the client in it.
    at_service: bool,
    /// The client has joined it, or expects to.
    at_client: bool,
    /// The offset that the stock client remembers: the number of its last event.
    offset: Option<u64>,
    newest: u64,
    /// Events that the client must get, in this order.
    due: VecDeque<u64>,
}

struct Ends {
    world: World,
    overflow: Overflow,
    rooms: [Room; 2],
    /// In flight to the client: the packets of both namespaces.
    wire: VecDeque<String>,
    /// Events that ask for an ack: those that a lost connection cuts off are not sent again.
    asking: BTreeSet<u64>,
    next: u64,
    absent: bool,
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
        let mut world = World::joined(|config| {
            config.rate_limit.clear();
            config.session.resume = Period::from_secs(30);
            config.session.queue_packets = PACKETS_MAX;
            config.session.overflow = overflow;
        });
        world.client("40/chat,");
        world.service(r#"40/chat,{"sid":"b"}"#);
        world.forget_what_was_said();
        let room = || Room { at_service: true, at_client: true, ..Room::default() };
        let (rooms, wire, asking) = ([room(), room()], VecDeque::new(), BTreeSet::new());
        Self { world, overflow, rooms, wire, asking, next: 0, absent: false, over: false }
    }

    fn does(&mut self, step: Step) {
        match step {
            Step::Emits { chat, asks, binary } => self.emits(usize::from(chat), asks, binary),
            Step::Reaches { packets } => self.reaches(packets),
            Step::Breaks if !self.absent => self.breaks(),
            Step::Returns { chat_first } if self.absent => self.returns(usize::from(chat_first)),
            Step::Joins { anew } if !self.absent => self.joins(anew),
            Step::Leaves if !self.absent && self.rooms[1].at_client => {
                assert_eq!(self.world.client("41/chat,"), Fate::Pass);
                self.world.service_got();
                self.rooms[1] = Room::default();
                self.wire.retain(|text| room_of(text) == 0);
            }
            Step::Passes { seconds } => {
                self.world.passes(Duration::from_secs(seconds));
                if !self.absent {
                    self.world.client("3");
                }
                // The service pings.
                self.world.service("2");
            }
            Step::Breaks | Step::Returns { .. } | Step::Joins { .. } | Step::Leaves => {}
        }
        self.collect();
        let kept = format!("{:?}", self.world.session).matches("Kept {").count();
        assert!(kept <= PACKETS_MAX as usize, "{kept} are kept");
    }

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
        self.world.service(&format!(r#"{kind}{namespace}{id}["e",{seq}{bytes}]"#));
        if binary {
            self.world.message(Side::Service, OpCode::Binary, b"bytes");
        }
        if asks {
            self.asking.insert(seq);
        } else {
            self.rooms[room].due.push_back(seq);
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
            assert_eq!(room.due.pop_front(), Some(seq), "another event was due");
            room.offset = number;
        }
    }

    fn breaks(&mut self) {
        self.wire.clear();
        self.world.event(Event::Lost(Ended::ClientLost));
        if self.world.ended().is_some() {
            self.over = true;
            return;
        }
        assert_eq!(self.world.done(), [Action::Detach(Side::Client, Ended::ClientLost)]);
        self.absent = true;
        for room in &mut self.rooms {
            room.at_client = false;
        }
    }

    fn returns(&mut self, first: usize) {
        let (namespace, offset) = (NAMESPACES[first], self.rooms[first].offset);
        let claim = |user: Option<&str>| Claim { user: user.map(Into::into), namespace: namespace.into(), offset };
        assert!(!self.world.session.takes_back(&claim(Some("eve"))), "another user cannot resume it");
        if !self.world.session.takes_back(&claim(None)) {
            // It gets a new session, and learns that.
            self.over = true;
            return;
        }
        let (peer, identity) = (self.world.view().peer(), Identity::anonymous());
        let behind = self.wire.len();
        self.world.event(Event::Returned(Returning { pid: id(9), claim: claim(None), sid: id(1), peer, identity }));
        assert_eq!(self.world.done(), [Action::Opened]);
        self.absent = false;
        self.is_back(first, behind);
    }

    fn joins(&mut self, anew: bool) {
        let Some(room) = (0..2).find(|&room| self.is_unreturned(room)) else { return };
        let offset = self.rooms[room].offset.map_or_else(String::new, |offset| format!(r#","offset":"{offset}""#));
        let pid: Pid = id(if anew { 3 } else { 9 });
        let namespace = if room == 1 { "/chat," } else { "" };
        let behind = self.wire.len();
        self.world.client(&format!(r#"40{namespace}{{"pid":"{pid}"{offset}}}"#));
        if !anew {
            return self.is_back(room, behind);
        }
        // For the service the client leaves and connects as a new one, and the service accepts it.
        let at_service = self.world.service_got();
        assert_eq!((at_service.len(), &at_service[0][..2], &at_service[1][..2]), (2, "41", "40"), "{at_service:?}");
        self.rooms[room] = Room { at_service: true, at_client: true, ..Room::default() };
        self.world.service(&format!(r#"40{namespace}{{"sid":"other"}}"#));
        self.collect();
        self.wire.retain(|text| room_of(text) != room);
    }

    /// Whether the client has yet to rejoin, while the service still has it joined.
    fn is_unreturned(&self, room: usize) -> bool {
        self.rooms[room].at_service && !self.rooms[room].at_client
    }

    /// The client got every event that it missed, or learns that it has missed some.
    fn is_back(&mut self, room: usize, behind: usize) {
        self.collect();
        let said: Vec<_> = self.wire.iter().skip(behind).cloned().collect();
        let (connect, missed) = said.split_last().unwrap();
        assert!(connect.starts_with("40"), "the last packet is {connect}");
        let missed = missed.iter().map(|text| read(text).0).filter(|seq| !self.asking.contains(seq));
        let missed: VecDeque<u64> = missed.collect();
        let room = &mut self.rooms[room];
        room.at_client = true;
        if connect.contains("\"pid\"") {
            assert_eq!(missed, room.due, "recovered, but not complete");
        } else {
            assert!(room.due.iter().rev().zip(missed.iter().rev()).all(|(one, other)| one == other), "{missed:?}");
            room.due = missed;
        }
    }

    fn collect(&mut self) {
        let attachments = |text: &String| !text.starts_with('<');
        self.wire.extend(self.world.client_got().into_iter().filter(attachments));
        for text in self.world.service_got().into_iter().filter(|text| text != "3") {
            assert!(text.starts_with("41"), "{text}");
            self.rooms[room_of(&text)] = Room::default();
        }
        if let Some(ended) = self.world.ended() {
            self.over = true;
            assert!(ended != Ended::QueueFull || self.overflow == Overflow::Close);
        }
    }
}

#[test]
fn a_connect_with_a_pid_waits_for_the_session_that_it_names() {
    let open = || World::without_auth(|config| config.session.resume = Period::from_secs(30));
    let connect = format!(r#"40{{"pid":"{}","offset":"7"}}"#, Pid::to_string(&id(9)));
    for (answer, expected) in [(Some(true), Fate::HandOver), (Some(false), Fate::Drop), (None, Fate::Drop)] {
        let mut world = open();
        let Fate::Wait(Until::Answer(ticket, at_latest)) = world.client(&connect) else { panic!("no wait") };
        let claim = Claim { user: None, namespace: "/".into(), offset: Some(7) };
        assert_eq!(world.done(), [Action::Ask(ticket, Question::Claim(id(9), claim.clone()))]);
        assert!(matches!(world.client(&connect), Fate::Wait(_)), "the question is asked once");
        match answer {
            Some(granted) => drop(world.event(Event::Answer(ticket, Answer::Claim(granted)))),
            None => world.passes(at_latest - world.now.instant),
        }
        assert_eq!(world.client(&connect), expected, "{answer:?}");
        let (pid, sid): (Pid, Sid) = (id(9), id(7));
        let returning = Returning { pid, claim, sid, peer: world.view().peer(), identity: Identity::anonymous() };
        let done = match expected {
            Fate::HandOver => vec![Action::HandOver(Box::new(returning))],
            _ => vec![Action::Dial { again: false }, Action::Opened],
        };
        assert_eq!(world.done(), done, "{answer:?}");
    }
}

fn resumable() -> World {
    World::joined(|config| config.session.resume = Period::from_secs(30))
}

fn returning(world: &World, namespace: &str) -> Returning {
    let claim = Claim { user: None, namespace: namespace.into(), offset: None };
    Returning { pid: id(9), claim, sid: id(1), peer: world.view().peer(), identity: Identity::anonymous() }
}

#[test]
fn a_client_that_is_lost_twice_while_the_service_is_down_may_still_come_back() {
    for again in [Ended::ClientLost, Ended::Replaced] {
        let mut world = resumable();
        assert!(world.loses(Ended::ServiceLost));
        world.event(Event::Lost(Ended::ClientLost));
        world.event(Event::Lost(again));
        assert_eq!(world.ended(), None, "{again:?}");
        world.event(Event::Lost(Ended::ServiceLost));
        assert_eq!(world.done(), [Action::Detach(Side::Client, Ended::ClientLost)], "{again:?}");
    }
}

#[test]
fn an_absent_client_is_given_up_where_a_reload_forbids_it_to_come_back() {
    let mut world = resumable();
    world.event(Event::Lost(Ended::ClientLost));
    let claim = returning(&world, "/").claim;
    assert!(world.session.takes_back(&claim));
    world.reloads(|config| config.auth.required = false);
    assert!(!world.session.takes_back(&claim));
    assert!(world.session.deadline() <= world.now.instant);
    world.passes(Duration::ZERO);
    assert_eq!(world.ended(), Some(Ended::ClientLost));
}

#[test]
fn what_the_service_says_at_an_end_of_a_namespace_reaches_a_client_that_has_yet_to_join_others() {
    for (asks, says) in [("40/new,", r#"44/new,{"message":"no"}"#), ("3", "41/chat,")] {
        let mut world = resumable();
        world.client("40/chat,");
        world.service(r#"40/chat,{"sid":"b"}"#);
        world.event(Event::Lost(Ended::ClientLost));
        world.event(Event::Returned(returning(&world, "/chat")));
        world.client(asks);
        world.forget_what_was_said();
        world.service(says);
        assert_eq!(world.client_got(), [says]);
    }
}

#[test]
fn a_client_that_was_lost_before_the_service_answered_may_ask_again() {
    let mut world = resumable();
    world.client("40/chat,");
    world.service_got();
    world.event(Event::Lost(Ended::ClientLost));
    assert_eq!(world.service_got(), ["41/chat,"]);
    world.service(r#"40/chat,{"sid":"b"}"#);
    world.event(Event::Returned(returning(&world, "/")));
    assert_eq!(world.client("40/chat,"), Fate::Pass);
    assert_eq!((world.ended(), world.service_got()), (None, vec!["40/chat,".to_owned()]));
}

proptest! {
    #[test]
    fn a_client_that_comes_back_has_missed_nothing_or_learns_that_it_has(
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
        if !ends.over && !ends.absent {
            ends.does(Step::Reaches { packets: usize::MAX });
            for (room, namespace) in ends.rooms.iter().zip(NAMESPACES) {
                prop_assert!(room.due.is_empty() || ends.is_unreturned(usize::from(namespace != "/")), "{:?}", room);
            }
        }
    }
}
