//! A client that is absent and comes back gets every event that it missed, once and in order, or learns that it has
//! missed some.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;

use super::world::{World, id};
use crate::{
    policy::identity::Identity,
    session::{
        action::Action,
        delivery::Delivery,
        ended::Ended,
        event::Event,
        hold::Overflow,
        message::{Fate, Side},
        question::{Claim, Returning},
    },
    units::Period,
    wire::{engineio::id::Pid, websocket::frame::OpCode},
};

const NAMESPACES: [&str; 2] = ["/", "/chat"];
const PACKETS_MAX: u32 = 6;
/// One event.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The service emits, perhaps asking for an ack, perhaps with bytes; or another node does, which asks for no ack.
    Emits {
        chat: bool,
        asks: bool,
        binary: bool,
        elsewhere: bool,
    },
    /// So many packets in flight reach the client.
    Reaches {
        packets: usize,
    },
    /// The client answers one of the events that it was asked to answer.
    Answers {
        which: usize,
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
        12 => (any::<bool>(), often, often, often)
            .prop_map(|(chat, asks, binary, elsewhere)| Step::Emits { chat, asks, binary, elsewhere }),
        6 => (1..8_usize).prop_map(|packets| Step::Reaches { packets }),
        4 => any::<usize>().prop_map(|which| Step::Answers { which }),
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
    /// The last event with an offset that the client got.
    newest_numbered: u64,
    /// Events that the client must get, in this order.
    due: VecDeque<u64>,
    /// Events that ask for an ack, were said to the client, and of which the gate cannot know from the connection that
    /// they arrived.
    unproven: Vec<u64>,
    /// Events that the client can answer.
    to_answer: Vec<u64>,
    /// What it was given when it last joined.
    pid: Option<String>,
}

struct Ends {
    world: World,
    overflow: Overflow,
    /// Everything fits into the queue.
    is_roomy: bool,
    rooms: [Room; 2],
    /// In flight to the client: the packets of both namespaces, and pings.
    wire: VecDeque<String>,
    /// The last event before each ping in flight.
    pings: VecDeque<u64>,
    /// Events that ask for an ack.
    asking: BTreeSet<u64>,
    next: u64,
    absent: bool,
    over: bool,
}

fn room_of(text: &str) -> usize {
    usize::from(text.contains("/chat,"))
}

/// `["e",seq]` or `["e",seq,…,"number"]`
pub(super) fn read(text: &str) -> (u64, Option<u64>) {
    let json: serde_json::Value = serde_json::from_str(&text[text.find('[').unwrap()..]).unwrap();
    let number = json.as_array().unwrap().last().and_then(|last| last.as_str()).and_then(|last| last.parse().ok());
    (json[1].as_u64().unwrap(), number)
}

/// `40/chat,{"sid":"…","pid":"…"}`
pub(super) fn pid_in(text: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
    json["pid"].as_str().unwrap().to_owned()
}

impl Ends {
    fn new(overflow: Overflow, is_roomy: bool) -> Self {
        let mut world = World::joined(|config| {
            config.rate_limit.clear();
            config.session.resume = Period::from_secs(30);
            config.session.queue_packets = if is_roomy { 1000 } else { PACKETS_MAX };
            config.session.overflow = overflow;
        });
        world.client("40/chat,");
        world.service(r#"40/chat,{"sid":"b"}"#);
        world.forget_what_was_said();
        let room = || Room { at_service: true, at_client: true, ..Room::default() };
        let (wire, pings, asking) = (VecDeque::new(), VecDeque::new(), BTreeSet::new());
        let mut rooms = [room(), room()];
        let pid: Pid = id(9);
        rooms[0].pid = Some(pid.as_str().to_owned());
        rooms[1].pid = Some(format!("{}.1", pid.as_str()));
        Self { world, overflow, is_roomy, rooms, wire, pings, asking, next: 0, absent: false, over: false }
    }

    fn does(&mut self, step: Step) {
        match step {
            Step::Emits { chat, binary, elsewhere: true, .. } => self.emits_elsewhere(usize::from(chat), binary),
            Step::Emits { chat, asks, binary, .. } => self.emits(usize::from(chat), asks, binary),
            Step::Reaches { packets } => self.reaches(packets),
            Step::Answers { which } if !self.absent => self.answers(which),
            Step::Breaks if !self.absent => self.breaks(),
            Step::Returns { chat_first } if self.absent => self.returns(usize::from(chat_first)),
            Step::Joins { anew } if !self.absent => self.joins(anew),
            Step::Leaves if !self.absent && self.rooms[1].at_client => {
                assert_eq!(self.world.client("41/chat,"), Fate::Pass);
                self.world.service_got();
                self.rooms[1] = Room::default();
                self.wire.retain(|text| text == "2" || room_of(text) == 0);
            }
            Step::Passes { seconds } => {
                // A ping arrives, at the latest, before its answer is due.
                if let Some(ping) = self.wire.iter().position(|text| text == "2") {
                    self.reaches(ping + 1);
                }
                self.world.passes(Duration::from_secs(seconds));
                // The service pings.
                self.world.service("2");
            }
            Step::Answers { .. } | Step::Breaks | Step::Returns { .. } | Step::Joins { .. } | Step::Leaves => {}
        }
        self.collect();
        let kept = format!("{:?}", self.world.session).matches("Kept {").count();
        assert!(self.is_roomy || kept <= PACKETS_MAX as usize, "{kept} are kept");
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
        let room = &mut self.rooms[room];
        room.due.push_back(seq);
        if asks {
            self.asking.insert(seq);
            if room.at_client {
                room.unproven.push(seq);
            }
        }
    }

    fn emits_elsewhere(&mut self, room: usize, binary: bool) {
        if !self.rooms[room].at_service {
            return;
        }
        self.next += 1;
        let seq = self.next;
        let (bytes, attachments) =
            if binary { (r#",{"_placeholder":true,"num":0}"#, vec![b"bytes"[..].into()]) } else { ("", Vec::new()) };
        let json = format!(r#"["e",{seq}{bytes}]"#);
        let delivery = Delivery::new(if room == 1 { "/chat" } else { "/" }, json.into(), attachments, false);
        self.world.event(Event::Delivered(Arc::new(delivery)));
        self.rooms[room].due.push_back(seq);
    }

    fn answers(&mut self, which: usize) {
        let room = which % 2;
        let Some(count @ 1..) = Some(self.rooms[room].to_answer.len()) else { return };
        let seq = self.rooms[room].to_answer.remove(which / 2 % count);
        let namespace = if room == 1 { "/chat," } else { "" };
        assert_eq!(self.world.client(&format!("43{namespace}{seq}[1]")), Fate::Pass);
        self.world.service_got();
        self.rooms[room].unproven.retain(|&other| other > seq);
    }

    fn reaches(&mut self, packets: usize) {
        for _ in 0..packets {
            let Some(text) = self.wire.pop_front() else { return };
            if text == "2" {
                let before = self.pings.pop_front().unwrap();
                self.world.client("3");
                for room in self.rooms.iter_mut().filter(|room| room.at_client) {
                    room.unproven.retain(|&seq| seq > before);
                }
            }
            if !text.starts_with("42") && !text.starts_with("45") {
                continue;
            }
            let room = &mut self.rooms[room_of(&text)];
            let (seq, number) = read(&text);
            assert!(room.newest < seq, "{seq} behind {}", room.newest);
            room.newest = seq;
            assert_eq!(room.due.pop_front(), Some(seq), "another event was due");
            if self.asking.contains(&seq) {
                room.to_answer.push(seq);
            } else {
                (room.offset, room.newest_numbered) = (number, seq);
            }
        }
    }

    fn breaks(&mut self) {
        self.wire.clear();
        self.pings.clear();
        self.world.event(Event::Lost(Ended::ClientLost));
        if self.world.ended().is_some() {
            self.over = true;
            return;
        }
        assert_eq!(self.world.done(), [Action::Detach(Side::Client, Ended::ClientLost)]);
        self.absent = true;
        for room in &mut self.rooms {
            room.at_client = false;
            room.to_answer.clear();
        }
    }

    /// Whether an event was said of which the client that comes back does not show that it got it.
    fn is_unknown(&self, room: usize) -> bool {
        let Room { unproven, newest_numbered, .. } = &self.rooms[room];
        unproven.iter().any(|seq| seq > newest_numbered)
    }

    fn returns(&mut self, first: usize) {
        let (namespace, offset) = (NAMESPACES[first], self.rooms[first].offset);
        let claim = |user: Option<&str>| Claim { user: user.map(Into::into), namespace: namespace.into(), offset };
        assert!(!self.world.session.takes_back(&claim(Some("eve"))), "another user cannot resume it");
        let takes_back = self.world.session.claimed(&claim(None));
        if !self.rooms[first].at_service {
            assert!(!takes_back && self.world.ended().is_none(), "it has left this namespace");
            self.over = true;
            return;
        }
        let drops = self.overflow == Overflow::DropOldest;
        assert!(!takes_back || drops || !self.is_unknown(first), "it may have missed one, or would get it twice");
        assert!(takes_back || (!drops && (self.is_unknown(first) || !self.is_roomy)), "it could have all of them");
        if !takes_back {
            // It gets a new session, and learns that.
            assert_eq!(self.world.ended(), Some(Ended::Unrecovered));
            let due = self.rooms.iter().map(|room| room.due.len() as u64).sum::<u64>();
            let lost = self.world.view().lost();
            assert!(lost > 0 && (lost >= due || !self.is_roomy), "{lost} are counted, {due} were due");
            self.over = true;
            return;
        }
        let (peer, identity) = (self.world.view().peer(), Identity::anonymous());
        let behind = self.wire.len();
        self.world.event(Event::Returned(Returning {
            pid: id(9),
            claim: claim(None),
            sid: id(1),
            peer,
            identity,
            connect: Vec::new().into(),
        }));
        assert_eq!(self.world.done(), [Action::Opened]);
        self.absent = false;
        self.comes_back(first, behind);
    }

    fn joins(&mut self, anew: bool) {
        let Some(room) = (0..2).find(|&room| self.is_unreturned(room)) else { return };
        let offset = self.rooms[room].offset.map_or_else(String::new, |offset| format!(r#","offset":"{offset}""#));
        let pid: Pid = id(if anew { 3 } else { 9 });
        let pid = pid.as_str();
        let namespace = if room == 1 { "/chat," } else { "" };
        let behind = self.wire.len();
        self.world.client(&format!(r#"40{namespace}{{"pid":"{pid}"{offset}}}"#));
        let at_service = self.world.service_got();
        let is_new = !at_service.is_empty();
        let drops = self.overflow == Overflow::DropOldest;
        assert!(is_new || !anew && (drops || !self.is_unknown(room)), "it may have missed one, or would get it twice");
        let has_gap = !drops && (self.is_unknown(room) || !self.is_roomy);
        assert!(!is_new || anew || has_gap, "it could have all of them");
        if !is_new {
            return self.comes_back(room, behind);
        }
        // For the service the client leaves and connects as a new one, and the service accepts it.
        assert_eq!((at_service.len(), &at_service[0][..2], &at_service[1][..2]), (2, "41", "40"), "{at_service:?}");
        let had = self.rooms[room].pid.take();
        self.rooms[room] = Room { at_service: true, at_client: true, ..Room::default() };
        self.world.service(&format!(r#"40{namespace}{{"sid":"other"}}"#));
        self.rooms[room].pid = self.world.at_client.last().map(|text| pid_in(text));
        assert_ne!(self.rooms[room].pid, had, "it would believe that it has missed nothing");
        self.collect();
        self.wire.retain(|text| text == "2" || room_of(text) != room);
    }

    /// Whether the client has yet to rejoin, while the service still has it joined.
    fn is_unreturned(&self, room: usize) -> bool {
        self.rooms[room].at_service && !self.rooms[room].at_client
    }

    /// The client gets every event that it missed, and none that it has got.
    fn comes_back(&mut self, room: usize, behind: usize) {
        self.collect();
        let said: Vec<_> = self.wire.iter().skip(behind).filter(|text| *text != "2").cloned().collect();
        let (connect, missed) = said.split_last().unwrap();
        assert!(connect.starts_with("40") && connect.contains("\"pid\""), "the last packet is {connect}");
        let missed: VecDeque<u64> = missed.iter().map(|text| read(text).0).collect();
        let is_unknown = self.is_unknown(room);
        let room = &mut self.rooms[room];
        room.at_client = true;
        let pid = pid_in(connect);
        let recovered = room.pid.replace(pid.clone()).is_none_or(|had| had == pid);
        if recovered {
            assert!(!is_unknown, "it may have missed one, or would get it twice");
            assert_eq!(missed, room.due, "recovered, but not complete");
        } else {
            assert!(self.overflow == Overflow::DropOldest, "it would not know that it has missed nothing");
            assert!(is_unknown || !self.is_roomy, "it could have all of them");
            assert!(missed.iter().all(|seq| room.due.contains(seq)) && missed.iter().is_sorted(), "{missed:?}");
            room.due.clone_from(&missed);
        }
        // They are said now, and may be lost with this connection.
        room.unproven = missed.into_iter().filter(|seq| self.asking.contains(seq)).collect();
    }

    fn collect(&mut self) {
        for text in mem::take(&mut self.world.at_client).into_iter().filter(|text| !text.starts_with('<')) {
            if text == "2" {
                self.pings.push_back(self.next);
            }
            self.wire.push_back(text);
        }
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

proptest! {
    #[test]
    fn a_client_that_comes_back_has_missed_nothing_or_learns_that_it_has(
        closes in any::<bool>(),
        is_roomy in any::<bool>(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut ends = Ends::new(if closes { Overflow::Close } else { Overflow::DropOldest }, is_roomy);
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
