//! What must hold at the border of the gate, after each message, action and end.

use std::time::{Duration, Instant, SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tidegate::{
    session::{
        action::{Action, Ready, Spoken},
        answer::{RATE_LIMITED, RATE_LIMITED_EVENT, RATE_LIMITED_TEXT, SERVICE_RESTARTED},
        ended::Ended,
        hold::{OnLostAck, Overflow},
        message::{Answered, Fate, Note},
        now::Deadline,
    },
    wire::{socketio::peek::peek_client, websocket::frame::OpCode},
};

use crate::{
    ledger::{Passing, Sent},
    legs::{Leg, Welcome, WelcomeKind},
    node::ServiceLeg,
    packets::{Kind, Msg, Packet},
    settings::{Dialect, MAX_CONNECT},
    world::World,
};

/// The event of a packet that is wrong: no service hears of it.
pub const BROKEN: &str = "broken";

/// What a client says that answers no question.
pub const NOBODY_ASKED: &str = "nobody asked";

/// No client repeats an event sooner by itself.
const REPEATS_AFTER: Duration = Duration::from_millis(100);

impl World {
    fn is_plain(&self) -> bool {
        self.settings.dialect == Dialect::Plain
    }

    /// The gate has decided on a message of the client.
    pub fn client_was_judged(&mut self, seat: usize, msg: &Msg, fate: Fate, note: &Note) {
        let (refused, passed) = match note {
            Note::Refused(refused) => (Some(refused.answer), false),
            Note::Event(_) => (None, true),
            _ => (None, matches!(fate, Fate::Pass | Fate::PassAs(..))),
        };
        assert!(refused.is_none() || fate == Fate::Drop, "a refused message passes");
        if self.is_plain() {
            let (number, mut name) = plain(msg);
            if self.settings.route.event_field.is_none() {
                "message".clone_into(&mut name);
            }
            let sent = self.ledger.sent.entry(number).or_default();
            (sent.admitted, sent.whole, sent.refused) = (passed, passed && fate == Fate::Drop, refused);
            if passed {
                self.was_admitted(seat, &name);
            }
            return;
        }
        if msg.opcode == OpCode::Binary {
            if let Some((number, left, admitted)) = self.seats[seat].begun.take() {
                if left > 1 {
                    self.seats[seat].begun = Some((number, left - 1, admitted));
                }
                self.ledger.sent.entry(number).or_default().whole = admitted && left == 1;
            }
            return;
        }
        let Some(packet) = Packet::read(&msg.bytes) else { return };
        match packet.kind {
            Kind::Event if packet.json[0] == BROKEN => {}
            Kind::Event => {
                let (number, attachments) = (packet.number(1), packet.attachments);
                let told_at = self.seats[seat].told_at.get(&packet.namespace).copied();
                let grace = self.seats[seat].rules.hold.ack_grace;
                let now = self.now.instant;
                let sent = self.ledger.sent.entry(number).or_default();
                let is_soon = |at: Instant| now < at + REPEATS_AFTER;
                let is_late = told_at.is_none_or(|at| now >= at + grace) || sent.judged_at.is_some_and(is_soon);
                sent.is_late |= sent.admitted && is_late;
                sent.judged_at = Some(now);
                if refused == Some(Answered::Silently) {
                    sent.unanswered.extend(packet.id);
                }
                (sent.admitted, sent.whole, sent.refused) =
                    (passed || sent.admitted, (passed && attachments == 0) || sent.whole, refused);
                // The session, where the client was handed over meanwhile.
                sent.seat = seat;
                if let Some(id) = packet.id {
                    self.ledger.asked.insert((seat, packet.namespace.clone(), id), number);
                }
                if attachments > 0 {
                    self.seats[seat].begun = Some((number, attachments, passed));
                }
                if passed {
                    self.was_admitted(seat, packet.json[0].as_str().unwrap_or_default());
                }
            }
            Kind::Connect if refused.is_none() => {
                let expires = packet.json["token"].as_str().map(|token| Deadline::at(expiry(token), self.now));
                self.seats[seat].logs_in(&packet.namespace, expires);
                self.has_asked(seat, packet.namespace);
            }
            Kind::Disconnect => {
                self.seats[seat].begun = None;
                self.seats[seat].wanted.remove(&packet.namespace);
            }
            _ => {}
        }
    }

    /// The client is let ask for a namespace. Its first is free, and so is the way back from an absence.
    fn has_asked(&mut self, seat: usize, namespace: String) {
        let (there, now) = (&mut self.seats[seat], self.now.instant);
        if let ServiceLeg::Open(leg) = there.leg
            && self.legs[leg].at_gate.asked.contains(&namespace)
        {
            there.asked_anew.insert(namespace.clone());
        }
        if !there.wanted.insert(namespace) {
            return;
        }
        let socketio = &self.settings.config.socketio;
        let interval = socketio.joins_per.0 / socketio.joins;
        let Some(full_at) = &mut there.joins_full_at else { return there.joins_full_at = Some(now) };
        *full_at = (*full_at).max(now) + interval;
        assert!(*full_at <= now + interval * socketio.joins, "the client joins more often than it may");
    }

    fn was_admitted(&mut self, seat: usize, event: &str) {
        let there = &self.seats[seat];
        let view = there.session.view();
        let user = view.identity().and_then(|identity| identity.user());
        let passing = Passing { seat, user, peer: view.peer(), event, now: self.now.instant };
        self.ledger.rates.admit(there.generation, &passing);
    }

    /// The gate has read a message of the service.
    pub fn service_was_judged(&mut self, seat: usize, msg: &Msg) {
        // What a service says by which it is lost means nothing.
        let (ServiceLeg::Open(at), false) = (self.seats[seat].leg, self.seats[seat].session.ended().is_some()) else {
            return;
        };
        if self.is_plain() {
            self.emitted(seat, plain(msg).0);
            return;
        }
        if msg.opcode == OpCode::Binary {
            match self.seats[seat].begins.take() {
                Some((number, 1)) => self.emitted(seat, number),
                Some((number, left)) => self.seats[seat].begins = Some((number, left - 1)),
                None => {}
            }
            return;
        }
        let there = &mut self.legs[at].at_gate;
        if msg.bytes.first() == Some(&b'0') {
            there.is_open = true;
        }
        let Some(packet) = Packet::read(&msg.bytes) else { return };
        match packet.kind {
            Kind::Connect => {
                if there.asked.remove(&packet.namespace) {
                    there.joined.insert(packet.namespace.clone());
                }
                let there = &mut self.seats[seat];
                there.asked_anew.remove(&packet.namespace);
                *there.times.entry(packet.namespace.clone()).or_default() += 1;
                there.welcomed = Some(packet.namespace);
            }
            Kind::Refusal | Kind::Disconnect => {
                let was_in = there.joined.contains(&packet.namespace);
                there.leave(&packet.namespace);
                let is_refused = packet.kind == Kind::Refusal && !self.seats[seat].asked_anew.remove(&packet.namespace);
                if is_refused || was_in {
                    self.seats[seat].wanted.remove(&packet.namespace);
                }
            }
            Kind::Event if packet.attachments > 0 => {
                self.seats[seat].begins = Some((packet.number(1), packet.attachments));
            }
            Kind::Event => self.emitted(seat, packet.number(1)),
            Kind::Ack => {}
        }
    }

    /// The gate has the whole of an event of the service.
    fn emitted(&mut self, seat: usize, number: u64) {
        let ServiceLeg::Open(at) = self.seats[seat].leg else { return };
        let is_plain = self.is_plain();
        let Some(emitted) = self.ledger.emitted.get_mut(&number) else { return };
        if is_plain || self.legs[at].at_gate.joined.contains(&emitted.namespace) {
            let stream = self.ledger.streams.entry((seat, emitted.namespace.clone())).or_default();
            emitted.place = Some(stream.len());
            stream.push(number);
        }
    }

    /// Something is said to the service.
    pub fn service_is_told(&mut self, seat: usize, at: usize, msg: &Msg) {
        assert!(!self.legs[at].is_closed, "something is said on a connection that is over");
        if msg.is_control() {
            return;
        }
        if self.is_plain() {
            return self.plain_service_is_told(seat, at, msg);
        }
        let leg = &mut self.legs[at];
        if let Some((number, left)) = leg.owed.take() {
            assert_eq!(msg.opcode, OpCode::Binary, "the attachments of {number} do not follow it");
            assert_eq!(msg.bytes, number.to_string().into_bytes(), "an attachment of another event");
            leg.owed = (left > 1).then_some((number, left - 1));
            return;
        }
        if msg.bytes.first() == Some(&b'4') {
            let head = peek_client(&msg.bytes, true);
            assert!(head.is_ok_and(|head| head.is_canonical), "the service gets a packet in another spelling");
        }
        assert_eq!(msg.opcode, OpCode::Text, "an attachment without its event");
        let Some(packet) = Packet::read(&msg.bytes) else {
            assert_eq!(msg.bytes, b"3", "the gate says this itself");
            return;
        };
        assert!(leg.at_gate.is_open, "{} is said before the service has opened", msg.shown());
        assert!(packet.json[0] != BROKEN, "the service is told {}", msg.shown());
        let (namespace, known) = (packet.namespace.clone(), &mut leg.at_gate);
        match packet.kind {
            Kind::Connect => {
                // Behind what the client has said comes how the service knows it.
                assert!(msg.bytes.len() < usize::try_from(MAX_CONNECT).unwrap_or_default() + 100, "a large CONNECT");
                assert!(self.seats[seat].wanted.contains(&namespace), "the client has not asked for {namespace}");
                assert!(!known.joined.contains(&namespace), "{namespace} is joined and asked for again");
                assert!(known.asked.insert(namespace.clone()), "{namespace} is asked for twice");
            }
            Kind::Disconnect => known.leave(&namespace),
            Kind::Event => {
                assert!(known.joined.contains(&namespace), "an event for {namespace}, which is not joined");
                let number = packet.number(1);
                if packet.attachments > 0 {
                    leg.owed = Some((number, packet.attachments));
                }
                self.event_is_told(seat, at, number, &packet);
            }
            // The acks that a client owes are counted, and not known by their ids.
            Kind::Ack if packet.json[0] == NOBODY_ASKED => {}
            Kind::Ack => {
                let id = packet.id.unwrap_or(u64::MAX);
                let question = (packet.number(0), packet.number(1));
                assert_eq!(question, (at as u64, id), "the answer to another question");
                assert_eq!(packet.json[2].as_str(), Some(&*namespace), "the answer to another namespace");
                assert!(leg.asked.remove(&(namespace, id)), "the question {id} is answered twice");
            }
            Kind::Refusal => panic!("a client refuses the service"),
        }
    }

    fn event_is_told(&mut self, seat: usize, at: usize, number: u64, packet: &Packet) {
        let leg: &mut Leg = &mut self.legs[at];
        let sent = self.ledger.sent.entry(number).or_default();
        assert!(sent.admitted, "the event {number} was not admitted");
        assert_eq!((sent.seat, &sent.namespace), (seat, &packet.namespace), "of another client");
        assert!(packet.id.is_none_or(|id| sent.acks.contains(&id)) && packet.id.is_some() != sent.acks.is_empty());
        let repeats = self.settings.repeats && packet.id.is_some();
        // What is said again by its client stands where the client said it last.
        assert!(repeats || leg.newest < number, "{number} is said behind {}", leg.newest);
        leg.newest = if repeats { leg.newest } else { number };
        let hold = &self.seats[seat].rules.hold;
        let most = if sent.again { 1 + usize::from(hold.retries) } else { 1 };
        sent.written.push(at);
        assert!(repeats || sent.written.len() <= most, "{number} is said {} times", sent.written.len());
        let times = sent.written.iter().filter(|&&leg| leg == at).count();
        assert!(times == 1 || sent.is_late, "{number} is said {times} times on {at}");
        let id = packet.id.unwrap_or(u64::MAX);
        assert!(!sent.answered.contains(&id) && !sent.failed.contains(&id), "{number} is said behind its answer");
    }

    fn plain_service_is_told(&mut self, seat: usize, at: usize, msg: &Msg) {
        let (number, name) = plain(msg);
        let is_named = self.settings.route.event_field.is_some() && name.starts_with("sub");
        let is_first = self.ledger.sent.values().filter(|sent| sent.seat == seat && !sent.written.is_empty()).count()
            < self.settings.first;
        let leg = &mut self.legs[at];
        assert!(leg.got.insert(number), "{number} is said twice on {at}");
        let sent = self.ledger.sent.entry(number).or_default();
        assert!(sent.admitted, "the message {number} was not admitted");
        sent.written.push(at);
        sent.again |= is_named || (is_first && sent.written.len() == 1);
        assert!(sent.again || sent.written.len() == 1, "{number} is said on {:?}", sent.written);
        if sent.written.len() == 1 {
            assert!(leg.newest < number, "{number} is said behind {}", leg.newest);
            leg.newest = number;
        } else {
            assert_eq!(leg.newest, 0, "{number} is said again behind new messages");
        }
    }

    /// Something is said to the client.
    pub fn client_is_told(&mut self, seat: usize, at: usize, msg: &Msg) {
        if msg.is_control() {
            return;
        }
        assert!(!self.conns[at].is_closed, "something is said on a connection that is over");
        if self.is_plain() {
            if msg.bytes != RATE_LIMITED_TEXT.as_bytes() {
                self.emitted_is_told(at, plain(msg).0);
            }
            return;
        }
        let conn = &mut self.conns[at];
        if let Some((number, left)) = conn.owed.take() {
            assert_eq!(msg.bytes, number.to_string().into_bytes(), "the attachments of {number} do not follow it");
            conn.owed = (left > 1).then_some((number, left - 1));
            return;
        }
        let Some(packet) = Packet::read(&msg.bytes) else {
            assert_eq!(msg.bytes, b"2", "the gate says this itself");
            return;
        };
        match packet.kind {
            Kind::Event if packet.json[0] == RATE_LIMITED_EVENT => {}
            Kind::Event => {
                if packet.attachments > 0 {
                    conn.owed = Some((packet.number(1), packet.attachments));
                }
                self.emitted_is_told(at, packet.number(1));
            }
            Kind::Ack => self.ack_is_told(seat, &packet),
            Kind::Connect => self.connect_is_told(seat, at, &packet),
            Kind::Disconnect | Kind::Refusal => {}
        }
    }

    fn emitted_is_told(&mut self, at: usize, number: u64) {
        let Some(emitted) = self.ledger.emitted.get_mut(&number) else { panic!("{number} is an event of nobody") };
        assert_ne!(emitted.said_on, Some(at), "{number} is said twice on connection {at}");
        emitted.said_on = Some(at);
    }

    fn ack_is_told(&mut self, seat: usize, packet: &Packet) {
        let id = packet.id.unwrap_or(u64::MAX);
        let number = self.ledger.asked.get(&(seat, packet.namespace.clone(), id)).copied();
        let Some(number) = number else { panic!("an ack that the client has not asked for: {packet:?}") };
        let sent = self.ledger.sent.entry(number).or_default();
        let is_first = !sent.answered.contains(&id) && !sent.failed.contains(&id);
        assert!(is_first, "the ack {id} of {number} comes twice");
        let body = packet.json[0].to_string();
        if body == SERVICE_RESTARTED {
            sent.failed.insert(id);
            // It fails when the client has had its time, or behind an ack of the same event.
            let there = &self.seats[seat];
            let told_at = there.told_at.get(&packet.namespace);
            let had_time = told_at.is_none_or(|&at| self.now.instant >= at + there.rules.hold.ack_grace);
            let is_open = there.session.view().service() == Some("open");
            assert!(
                (had_time && is_open) || !sent.answered.is_empty() || self.settings.floods,
                "{number} fails too soon"
            );
            assert!(self.settings.config.session.on_lost_ack == OnLostAck::Error || !sent.answered.is_empty());
            return;
        }
        sent.answered.insert(id);
        match body.as_str() {
            RATE_LIMITED => assert_eq!(sent.refused, Some(Answered::WithPacket), "{number} was not refused"),
            _ => {
                assert_eq!(packet.number(1), number, "the answer to another event");
                assert!(!sent.written.is_empty(), "{number} is answered and was never said");
            }
        }
    }

    fn connect_is_told(&mut self, seat: usize, at: usize, packet: &Packet) {
        let namespace = packet.namespace.clone();
        let stream = self.ledger.streams.get(&(seat, namespace.clone())).map_or(0, Vec::len);
        let there = &mut self.seats[seat];
        there.told_at.insert(namespace.clone(), self.now.instant);
        let pid = packet.field("pid").unwrap_or_default().to_owned();
        let times = there.times.get(&namespace).copied().unwrap_or_default();
        let had = there.pids.get(&namespace);
        let kind = match there.welcomed.take_if(|welcomed| *welcomed == namespace) {
            Some(_) => WelcomeKind::Anew(stream),
            None if had.is_none_or(|(had, had_times)| *had == pid || *had_times != times) => WelcomeKind::Back,
            None => {
                assert_eq!(there.rules.hold.overflow, Overflow::DropOldest, "a client is back with a gap");
                WelcomeKind::Gap
            }
        };
        // A client that does not hear of a gap has it the next time too: it is in the same membership no more.
        let times = times + u32::from(matches!(kind, WelcomeKind::Gap));
        there.times.insert(namespace.clone(), times);
        there.pids.insert(namespace.clone(), (pid, times));
        let welcome = Welcome { times, kind };
        self.conns[at].welcomes.entry(namespace).or_default().push_back(welcome);
    }

    /// What holds whenever nothing more is to be done.
    pub fn look_at(&mut self, seat: usize) {
        let there = &self.seats[seat];
        let view = there.session.view();
        if let (Some(user), Some(identity)) = (&there.user, view.identity()) {
            assert_eq!(identity.user(), user.as_deref(), "the user is another one");
        }
        if let Some(dial_by) = there.dial_by.filter(|_| there.session.ended().is_none()) {
            assert!(there.session.deadline() <= dial_by, "nothing reminds the session of its next dial");
        }
        let (packets, bytes) = view.waiting();
        let (packets_max, bytes_max) = (there.bounds.0 + usize::from(there.unsent > 0), there.bounds.1 + there.unsent);
        assert!(packets <= packets_max && bytes <= bytes_max, "{packets} packets of {bytes} bytes wait");
    }

    /// A session is over.
    pub fn has_ended(&mut self, seat: usize, ended: Ended, unsent: u64) {
        let there = &mut self.seats[seat];
        assert_eq!(there.session.view().waiting(), (0, 0), "packets wait in a session that is over");
        assert!(there.rooms.is_empty(), "a session that is over is in {:?}", there.rooms);
        let hold = &there.rules.hold;
        assert!(ended != Ended::QueueFull || hold.overflow == Overflow::Close);
        assert!(!matches!(ended, Ended::Overloaded(_) | Ended::NotKept(_)) || there.shed);
        assert!(ended != Ended::ServiceObjected || there.objected);
        assert!(ended != Ended::AcksLost || self.settings.floods || hold.on_lost_ack == OnLostAck::Close);
        assert!(
            ended != Ended::Unrecovered || there.session.view().lost() > 0,
            "nothing is lost, and it is not said so"
        );
        self.lost_are_counted(seat, unsent);
        // It is the last word, and nothing is to be done any more but what is said to those that are there.
        let (there, now) = (&mut self.seats[seat], self.now);
        while let Some(action) = there.session.poll(Ready::BOTH) {
            assert!(matches!(action, Action::Say(_, Spoken::Own(..))), "{action:?} behind the end");
        }
        there.session.timeout(now);
        assert_eq!(there.session.ended(), Some(ended), "the end is another one");
    }

    /// Every event that was let through has been said, or is counted.
    pub fn lost_are_counted(&self, seat: usize, counted: u64) {
        let is_lost = |(_, sent): &(&u64, &Sent)| sent.seat == seat && sent.whole && sent.written.is_empty();
        let lost: Vec<u64> = self.ledger.sent.iter().filter(is_lost).map(|(number, _)| *number).collect();
        assert!(lost.len() as u64 <= counted, "{lost:?} were never said, and {counted} are counted");
    }
}

/// When a token expires.
fn expiry(token: &str) -> SystemTime {
    let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims: serde_json::Value = serde_json::from_slice(&claims.unwrap_or_default()).expect("it is a token");
    SystemTime::UNIX_EPOCH + Duration::from_secs(claims["exp"].as_u64().expect("it expires"))
}

/// The number and the event of a plain message.
pub fn plain(msg: &Msg) -> (u64, String) {
    let text = String::from_utf8_lossy(&msg.bytes);
    if let Ok(number) = text.parse() {
        return (number, "message".to_owned());
    }
    let json: serde_json::Value = serde_json::from_str(&text).expect("the ends speak JSON");
    (json["n"].as_u64().expect("each message has a number"), json["t"].as_str().unwrap_or("message").to_owned())
}
