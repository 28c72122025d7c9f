//! The gate around the sessions, as `relay::driver` is: it moves messages, obeys actions, and decides nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use tidegate::{
    session::{
        Session,
        action::{Ready, RoomOf},
        ended::Ended,
        event::Event,
        message::{Fate, JsonBegin, Message, Note, Side, Ticket, Until},
        now::Deadline,
        question::{Answer, Claim, Returning},
        rules::SessionRules,
    },
    wire::{engineio::id::Pid, json::check::JsonCheck, socketio::packet::PEEK_BYTES},
};

use crate::{
    legs::{Part, Pipe},
    packets::Msg,
    settings::Dialect,
    world::{World, note},
};

/// The state of the upstream leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceLeg {
    Absent,
    Dialling,
    Open(usize),
}

/// What comes to a session from another one.
#[derive(Debug)]
pub enum Mail {
    /// Of that session, which asks by this ticket.
    Claim(usize, Ticket, Claim),
    /// A connection.
    Attach(usize, Returning),
}

/// A question without an answer.
#[derive(Debug)]
pub struct Asked {
    pub ticket: Ticket,
    pub is_claim: bool,
    /// The answer that has come, and is not told yet.
    pub answer: Option<Answer>,
}

/// One session at the gate.
pub struct Seat {
    pub session: Session,
    pub generation: usize,
    pub rules: Arc<SessionRules>,
    pub pid: Option<Pid>,
    /// The client's connection. `None`: it is absent.
    pub conn: Option<usize>,
    pub leg: ServiceLeg,
    pub paused: Option<Until>,
    pub asked: Option<Asked>,
    pub mail: VecDeque<Mail>,
    pub deadline: Instant,
    pub drains: bool,
    pub over: Option<Ended>,
    /// The user, once known.
    pub user: Option<Option<String>>,
    /// When the token expires with which each namespace was asked for, on the clock on which that is earlier.
    pub expires: BTreeMap<String, Deadline>,
    /// The packet of the client that lacks attachments: event, how many, and whether it was admitted.
    pub begun: Option<(u64, usize, bool)>,
    /// The same of the service.
    pub begins: Option<(u64, usize)>,
    /// The most that may wait, by all rules so far.
    pub bounds: (usize, usize),
    /// The namespaces that the client has asked for, and not left.
    pub wanted: BTreeSet<String>,
    /// Those that it has left and asked for again before the service has answered.
    pub asked_anew: BTreeSet<String>,
    /// When it dials again at the latest. `None`: it need not.
    pub dial_by: Option<Instant>,
    /// How often the service has let the client into each namespace.
    pub times: BTreeMap<String, u32>,
    /// The namespace that the service has just let the client into.
    pub welcomed: Option<String>,
    /// The bytes of the largest packet that went back to the queue, though there may have been no room for it.
    pub unsent: usize,
    /// All sessions together keep too much, or too many clients are absent, and this one has to go.
    pub shed: bool,
    /// The service has objected to what this client says.
    pub objected: bool,
    /// When the client has all of its joins again. `None`: it has made none.
    pub joins_full_at: Option<Instant>,
    /// The `pid` that the client was last told, by namespace, and how often it had been let in then.
    pub pids: BTreeMap<String, (String, u32)>,
    /// When the client was last told that it is connected, by namespace.
    pub told_at: BTreeMap<String, Instant>,
    /// The rooms that it is in.
    pub rooms: HashSet<RoomOf>,
}

impl Seat {
    /// The client is let ask for a namespace, with a token that expires then.
    pub fn logs_in(&mut self, namespace: &str, expires: Option<Deadline>) {
        self.expires.remove(namespace);
        self.expires.extend(expires.map(|expires| (namespace.to_owned(), expires)));
    }

    pub fn new(session: Session, generation: usize, rules: Arc<SessionRules>, pid: Option<Pid>, conn: usize) -> Self {
        let deadline = session.deadline();
        let bounds = (rules.hold.bounds.packets, rules.hold.bounds.bytes);
        Self {
            session,
            generation,
            rules,
            pid,
            conn: Some(conn),
            leg: ServiceLeg::Absent,
            paused: None,
            asked: None,
            mail: VecDeque::new(),
            deadline,
            drains: false,
            over: None,
            user: None,
            expires: BTreeMap::new(),
            begun: None,
            begins: None,
            bounds,
            wanted: BTreeSet::new(),
            asked_anew: BTreeSet::new(),
            dial_by: None,
            times: BTreeMap::new(),
            welcomed: None,
            unsent: 0,
            shed: false,
            objected: false,
            joins_full_at: None,
            pids: BTreeMap::new(),
            told_at: BTreeMap::new(),
            rooms: HashSet::new(),
        }
    }
}

impl World {
    /// What comes to the gate from this side. `None`: the leg is not there.
    fn inflow(&mut self, seat: usize, from: Side) -> Option<&mut Pipe> {
        match from {
            Side::Client => self.seats[seat].conn.map(|conn| &mut self.conns[conn].up),
            Side::Service => match self.seats[seat].leg {
                ServiceLeg::Open(leg) => Some(&mut self.legs[leg].down),
                _ => None,
            },
        }
    }

    /// Each side can be spoken to while nothing of the other one passes in parts.
    pub fn ready(&mut self, seat: usize) -> Ready {
        let mut passes = |from| self.inflow(seat, from).is_some_and(|pipe| pipe.is_passing());
        Ready { client: !passes(Side::Service), service: !passes(Side::Client) }
    }

    /// One turn of a session: what time and others bring, then what has come on its legs.
    pub fn drive(&mut self, seat: usize) {
        if self.seats[seat].over.is_some() {
            return;
        }
        self.keep_time(seat);
        if !self.ends(seat) {
            self.take_mail(seat);
        }
        let mut messages = self.chance.below(12);
        while !self.ends(seat) {
            self.take_answer(seat);
            self.obey(seat);
            let more = self.pump(seat, Side::Client) | self.pump(seat, Side::Service);
            self.obey(seat);
            if !more || messages == 0 {
                break;
            }
            messages -= 1;
        }
        self.rest(seat);
    }

    fn ends(&self, seat: usize) -> bool {
        self.seats[seat].session.ended().is_some()
    }

    fn keep_time(&mut self, seat: usize) {
        if self.seats[seat].generation != self.rules.0 {
            let (generation, rules) = (self.rules.0, Arc::clone(&self.rules.1));
            let there = &mut self.seats[seat];
            there.bounds.0 = there.bounds.0.max(rules.hold.bounds.packets);
            there.bounds.1 = there.bounds.1.max(rules.hold.bounds.bytes);
            (there.generation, there.rules) = (generation, Arc::clone(&rules));
            self.tell(seat, Event::NewRules(rules));
        }
        let drains = std::mem::take(&mut self.seats[seat].drains);
        if self.now.instant < self.seats[seat].deadline && !drains {
            return;
        }
        if drains {
            self.tell(seat, Event::Drain);
        }
        if self.seats[seat].paused.is_some() {
            self.tell(seat, Event::Unread(Side::Client));
        }
        let now = self.now;
        let there = &mut self.seats[seat];
        there.session.timeout(now);
        let until = there.paused.map(|until| match until {
            Until::Time(at) | Until::Answer(_, at) => at,
        });
        if until.is_some_and(|until| until <= now.instant) {
            there.paused = None;
        }
    }

    pub fn tell(&mut self, seat: usize, event: Event<'_>) -> Note {
        self.seats[seat].session.event(event, self.now)
    }

    fn take_mail(&mut self, seat: usize) {
        while let Some(mail) = self.seats[seat].mail.pop_front() {
            match mail {
                Mail::Claim(asker, ticket, claim) => {
                    let granted = self.seats[seat].session.claimed(&claim);
                    self.answer(asker, ticket, granted);
                }
                Mail::Attach(conn, returning) => self.attach(seat, conn, returning),
            }
        }
    }

    pub fn answer(&mut self, asker: usize, ticket: Ticket, granted: bool) {
        if let Some(asked) = self.seats[asker].asked.as_mut().filter(|asked| asked.ticket == ticket) {
            asked.answer = Some(Answer::Claim(granted));
        }
    }

    fn attach(&mut self, seat: usize, conn: usize, returning: Returning) {
        if !self.seats[seat].session.takes_back(&returning.claim) {
            note!(self, "session {seat} does not take connection {conn}");
            self.conns[conn].is_closed = true;
            return;
        }
        if self.seats[seat].conn.is_some() {
            self.lost(seat, Ended::Replaced);
        }
        let user = returning.identity.user().map(str::to_owned);
        assert_eq!(self.seats[seat].user, Some(user), "a session has got another user's connection");
        let hold = &self.seats[seat].rules.hold;
        assert!(hold.resume.is_some(), "a client has come back, where that is not allowed");
        note!(self, "session {seat} takes connection {conn}");
        self.seats[seat].conn = Some(conn);
        self.conns[conn].seat = seat;
        let expires = returning.identity.expires_at().map(|end| Deadline::at(end, self.now));
        self.seats[seat].logs_in(&returning.claim.namespace, expires);
        self.tell(seat, Event::Returned(returning));
    }

    fn take_answer(&mut self, seat: usize) {
        let there = &mut self.seats[seat];
        let Some(asked) = there.asked.take_if(|asked| asked.answer.is_some()) else { return };
        let Asked { ticket, answer: Some(answer), .. } = asked else { return };
        if matches!(there.paused, Some(Until::Answer(paused, _)) if paused == ticket) {
            there.paused = None;
        }
        note!(self, "session {seat} hears {answer:?}");
        self.tell(seat, Event::Answer(ticket, answer));
    }

    /// One message of one side. True: there may be more.
    fn pump(&mut self, seat: usize, from: Side) -> bool {
        if self.ends(seat) || (from == Side::Client && self.seats[seat].paused.is_some()) {
            return false;
        }
        // Where the event is named in the message, only whole messages are shown.
        let whole = self.settings.dialect == Dialect::Plain && self.settings.route.reads_messages();
        let is_large = |msg: &Msg| msg.bytes.len() > PEEK_BYTES && !whole;
        let in_parts = self.chance.percent(30);
        let polls = from == Side::Client && self.seats[seat].conn.is_some_and(|conn| self.conns[conn].polls);
        let Some(pipe) = self.inflow(seat, from) else { return false };
        let (part, is_half) = (pipe.part, pipe.is_front_half());
        let Some(msg) = pipe.queue.front().cloned() else {
            let is_over = pipe.is_cut;
            if is_over {
                let objects = from == Side::Service && !self.is_calm && self.chance.percent(2);
                self.seats[seat].objected |= objects;
                self.lost(
                    seat,
                    match from {
                        Side::Client => Ended::ClientLost,
                        Side::Service if objects => Ended::ServiceObjected,
                        Side::Service => Ended::ServiceLost,
                    },
                );
            }
            return is_over;
        };
        if msg.is_control() {
            let Some(msg) = pipe.pop().filter(|_| !is_half) else { return true };
            self.control(seat, from, &msg);
            return true;
        }
        match part {
            Part::New if (is_half || in_parts) && is_large(&msg) => self.judge(seat, from, &msg, false),
            Part::New if (is_half || (in_parts && from == Side::Client)) && !polls => {
                pipe.part = Part::Fragments;
                if from == Side::Client {
                    self.tell(seat, Event::Fragments);
                }
                false
            }
            _ if is_half => {
                // The rest does not come.
                pipe.queue.clear();
                true
            }
            Part::Begun(Fate::Pass) => {
                pipe.pop();
                self.forward(seat, from, msg);
                true
            }
            Part::Begun(Fate::Gather) | Part::Fragments => {
                pipe.part = Part::Gathered;
                true
            }
            Part::Begun(_) => {
                pipe.pop();
                true
            }
            Part::New | Part::Gathered => self.judge(seat, from, &msg, true),
        }
    }

    fn control(&mut self, seat: usize, from: Side, msg: &Msg) {
        note!(self, "session {seat} hears {:?} of {from:?}", msg.opcode);
        let note = self.tell(seat, Event::Control(from, msg.opcode, &msg.bytes));
        assert!(!matches!(note, Note::Refused(_)), "a control frame was refused as a message");
        self.obey(seat);
    }

    /// A message, or what has come of it. True: there may be more.
    fn judge(&mut self, seat: usize, from: Side, msg: &Msg, here: bool) -> bool {
        let is_gathered = self.inflow(seat, from).is_some_and(|pipe| pipe.part == Part::Gathered);
        let whole = self.settings.dialect == Dialect::Plain && self.settings.route.reads_messages();
        let complete = is_gathered || whole || msg.bytes.len() <= PEEK_BYTES;
        let bytes = if complete { &msg.bytes[..] } else { &msg.bytes[..PEEK_BYTES] };
        let len = msg.bytes.len();
        let message = Message { opcode: msg.opcode, bytes, len, complete, here };
        let now = self.now;
        self.seats[seat].welcomed = None;
        let (fate, note) = self.seats[seat].session.message(from, &message, now);
        if !matches!(fate, Fate::Pass | Fate::Gather) || !complete {
            let refused = match &note {
                Note::Refused(refused) => refused.refusal.code,
                _ => "",
            };
            let fate = if matches!(fate, Fate::Wait(_)) { "Wait".to_owned() } else { format!("{fate:?}") };
            note!(self, "session {seat} judges {}: {fate} {refused}", msg.shown());
        }
        let Some(pipe) = self.inflow(seat, from) else { unreachable!("a session closes no leg itself") };
        match fate {
            Fate::Gather if here => {
                assert!(!complete, "a message that is complete is to be completed");
                pipe.part = Part::Gathered;
                return true;
            }
            Fate::Gather => {
                pipe.part = Part::Begun(fate);
                return true;
            }
            Fate::Wait(until) => {
                assert_eq!(from, Side::Client, "the service waits");
                self.seats[seat].paused = Some(until);
                self.obey(seat);
                return false;
            }
            _ if here => drop(pipe.pop()),
            _ => pipe.part = Part::Begun(fate),
        }
        match from {
            Side::Client => self.client_was_judged(seat, msg, fate, &note),
            Side::Service => self.service_was_judged(seat, msg),
        }
        let mut msg = msg.clone();
        let json = match fate {
            Fate::PassJson(JsonBegin { at, bounds }) => Some((usize::from(at), bounds)),
            Fate::PassAs(head, bounds) => bounds.map(|bounds| (head.replaces(), bounds)),
            _ => None,
        };
        if let Some((at, bounds)) = json {
            let mut check = JsonCheck::new(bounds);
            assert!(here && !complete, "JSON is read as it passes where it could be read before");
            // Nothing of a packet passes whose JSON is broken, for all of it is here.
            if let Err(fault) = check.feed(&msg.bytes[at..]).and_then(|()| check.finish()) {
                self.lost(seat, Ended::ClientPacket(fault.code()));
                return true;
            }
        }
        if let Fate::PassAs(head, _) = fate {
            msg.bytes = head.put_into(&mut msg.bytes).to_vec();
        }
        if fate.passes() && here {
            self.forward(seat, from, msg);
        }
        if !fate.passes() {
            self.obey(seat);
        }
        true
    }

    /// A message goes to the other side as it came.
    fn forward(&mut self, seat: usize, from: Side, msg: Msg) {
        match from {
            Side::Client => {
                let is_taken = self.say_to_service(seat, msg);
                if !is_taken {
                    self.lost(seat, Ended::ServiceLost);
                }
            }
            Side::Service => self.say_to_client(seat, msg),
        }
    }

    pub fn lost(&mut self, seat: usize, why: Ended) {
        note!(self, "session {seat} has lost {why:?}");
        self.tell(seat, Event::Lost(why));
        self.obey(seat);
    }

    /// The end of a turn: the session is over, or says when it is to be looked at again.
    fn rest(&mut self, seat: usize) {
        for turns in 0.. {
            if let Some(ended) = self.seats[seat].session.ended() {
                self.obey(seat);
                return self.end(seat, ended);
            }
            let deadline = self.seats[seat].session.deadline();
            if deadline > self.now.instant {
                let there = &self.seats[seat];
                let is_over = |name: &String| there.expires.get(name).is_some_and(|at| at.left(self.now).is_zero());
                let over: Vec<_> = there.session.view().namespaces().into_iter().filter(is_over).collect();
                assert!(over.is_empty(), "the client is in {over:?} behind its token");
                let until = self.seats[seat].paused.map(|until| match until {
                    Until::Time(at) | Until::Answer(_, at) => at,
                });
                self.seats[seat].deadline = until.map_or(deadline, |until| until.min(deadline));
                return;
            }
            assert!(turns < 3, "time does not go on: the deadline is {:?} ago", self.now.instant - deadline);
            self.seats[seat].session.timeout(self.now);
            self.obey(seat);
        }
    }

    fn end(&mut self, seat: usize, ended: Ended) {
        note!(self, "session {seat} has ended: {ended:?}");
        let there = &mut self.seats[seat];
        there.over = Some(ended);
        if ended == Ended::HandedOver {
            return;
        }
        if let Some(conn) = there.conn.take() {
            let blames = ended.cause().starts_with("json_") || ended.cause() == "packet_too_big";
            assert!(!blames || self.conns[conn].misbehaves, "{ended:?} of a client that has said nothing wrong");
            self.conns[conn].is_closed = true;
        }
        let mail = std::mem::take(&mut there.mail);
        if let ServiceLeg::Open(leg) = std::mem::replace(&mut there.leg, ServiceLeg::Absent) {
            self.legs[leg].is_closed = true;
        }
        let unsent = there.session.abandon();
        self.has_ended(seat, ended, unsent);
        for mail in mail {
            match mail {
                Mail::Claim(asker, ticket, _) => self.answer(asker, ticket, false),
                Mail::Attach(conn, _) => self.conns[conn].is_closed = true,
            }
        }
    }
}
