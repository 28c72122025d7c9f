//! What a session wants done, as `relay::driver` does it.

use std::time::Duration;

use tidegate::{
    session::{
        action::{Action, Spoken},
        ended::Ended,
        event::Event,
        message::{Side, Ticket},
        question::{Question, Returning},
        queue::WholePacket,
    },
    wire::{engineio::id::Pid, websocket::frame::OpCode},
};

use crate::{
    device::NAMESPACES,
    node::{Asked, Mail, ServiceLeg},
    packets::Msg,
    settings::ROOMS_PER_SESSION,
    world::{World, note},
};

/// The longest wait between a loss, or a dial that failed, and the next dial.
const DIAL_WITHIN: Duration = Duration::from_millis(1500);

/// The same where the service has refused the dial for a time.
const BUSY_WITHIN: Duration = Duration::from_millis(7500);

impl World {
    /// Does everything that the session wants done now.
    pub fn obey(&mut self, seat: usize) {
        loop {
            let ready = self.ready(seat);
            let Some(action) = self.seats[seat].session.poll(ready) else { break };
            self.act(seat, action);
        }
        self.look_at(seat);
    }

    fn act(&mut self, seat: usize, action: Action) {
        match action {
            Action::Say(Side::Client, Spoken::Own(opcode, payload)) => {
                self.say_to_client(seat, Msg { opcode, bytes: payload.into_owned() });
            }
            Action::Say(Side::Client, Spoken::Packet(packet)) => {
                for (opcode, bytes) in packet.frames() {
                    self.say_to_client(seat, Msg { opcode, bytes: bytes.to_vec() });
                }
            }
            Action::Say(Side::Service, Spoken::Own(opcode, payload)) => {
                let is_open = matches!(self.seats[seat].leg, ServiceLeg::Open(_));
                let text = String::from_utf8_lossy(&payload).into_owned();
                assert!(is_open || opcode != OpCode::Text, "{text} is said to no service");
                self.say_to_service(seat, Msg { opcode, bytes: payload.into_owned() });
            }
            Action::Say(Side::Service, Spoken::Packet(packet)) => self.send_packet(seat, packet),
            Action::Dial { again } => self.dial(seat, again),
            Action::Ask(ticket, question) => self.ask(seat, ticket, question),
            Action::PutOut(_) => {}
            Action::Opened => {
                let there = &mut self.seats[seat];
                let Some(identity) = there.session.view().identity() else { panic!("a session of nobody has opened") };
                there.user = Some(identity.user().map(str::to_owned));
            }
            Action::Detach(Side::Client, why) => {
                note!(self, "session {seat} goes on without its client: {why:?}");
                let there = &mut self.seats[seat];
                (there.paused, there.asked, there.begun) = (None, None, None);
                if let Some(conn) = there.conn.take() {
                    self.conns[conn].is_closed = true;
                }
                if !self.is_calm && self.chance.percent(1) {
                    self.seats[seat].shed = true;
                    self.lost(seat, Ended::NotKept("absent_per_ip"));
                }
            }
            Action::Detach(Side::Service, why) => {
                note!(self, "session {seat} goes on without the service: {why:?}");
                let there = &mut self.seats[seat];
                let within = if why == Ended::ServiceBusy { BUSY_WITHIN } else { DIAL_WITHIN };
                (there.begins, there.dial_by) = (None, Some(self.now.instant + within));
                if let ServiceLeg::Open(leg) = std::mem::replace(&mut there.leg, ServiceLeg::Absent) {
                    self.legs[leg].is_closed = true;
                }
            }
            Action::HandOver(returning) => self.hand_over(seat, *returning),
            Action::JoinRoom(room) => {
                let rooms = &mut self.seats[seat].rooms;
                assert!(rooms.insert(room), "a room is joined twice");
                assert!(rooms.len() <= ROOMS_PER_SESSION + NAMESPACES.len(), "there are too many: {rooms:?}");
            }
            Action::LeaveRoom(room) => {
                assert!(self.seats[seat].rooms.remove(&room), "a room is left in which the client is not");
            }
            // In that many, or waiting for them.
            Action::RoomsFull { .. } => {}
            Action::Offer(offered) => assert!(offered.json.starts_with(b"[\"e\","), "{offered:?} is named by no rule"),
            Action::NotOffered { .. } => panic!("a rule without a room names no room"),
            Action::Say(_, Spoken::Delivery(_)) => panic!("an event of another node, of which there is none"),
        }
    }

    /// A connection that breaks before it has taken all of a packet has not brought it to the service.
    fn send_packet(&mut self, seat: usize, packet: Box<WholePacket>) {
        let ServiceLeg::Open(leg) = self.seats[seat].leg else { panic!("a packet is said to no service") };
        if self.legs[leg].up.is_cut && self.chance.percent(60) {
            note!(self, "session {seat} cannot send {}", Msg::text(String::from_utf8_lossy(packet.payload())).shown());
            // It goes back to the queue, where it may be one too many.
            let unsent = &mut self.seats[seat].unsent;
            *unsent = (*unsent).max(packet.memory());
            self.tell(seat, Event::Unsent(packet));
            return self.lost(seat, Ended::ServiceLost);
        }
        let frames: Vec<Msg> = packet.frames().map(|(opcode, bytes)| Msg { opcode, bytes: bytes.to_vec() }).collect();
        for msg in frames {
            self.write_to_service(seat, leg, msg);
        }
    }

    /// False: the connection is found to be broken.
    pub fn say_to_service(&mut self, seat: usize, msg: Msg) -> bool {
        let ServiceLeg::Open(leg) = self.seats[seat].leg else { return true };
        self.write_to_service(seat, leg, msg);
        !(self.legs[leg].up.is_cut && self.chance.percent(30))
    }

    fn write_to_service(&mut self, seat: usize, leg: usize, msg: Msg) {
        note!(self, "session {seat} says to the service on {leg}: {}", msg.shown());
        self.service_is_told(seat, leg, &msg);
        self.legs[leg].up.push(msg);
    }

    pub fn say_to_client(&mut self, seat: usize, msg: Msg) {
        // What is said to an absent client is lost.
        let Some(conn) = self.seats[seat].conn else { return };
        note!(self, "session {seat} says to its client on {conn}: {}", msg.shown());
        self.client_is_told(seat, conn, &msg);
        self.conns[conn].down.push(msg);
    }

    fn dial(&mut self, seat: usize, again: bool) {
        assert_eq!(self.seats[seat].leg, ServiceLeg::Absent, "a session dials twice");
        if again && !self.is_calm && self.chance.percent(30) {
            let (wait, reserved) = (self.chance.milliseconds(1, 3000), self.chance.percent(50));
            note!(self, "session {seat} may dial in {wait:?}");
            let at = self.now.instant + wait;
            self.tell(seat, Event::DialLater { at, reserved });
            self.seats[seat].dial_by = Some(at);
            return;
        }
        self.seats[seat].dial_by = None;
        note!(self, "session {seat} dials");
        self.seats[seat].leg = ServiceLeg::Dialling;
    }

    fn ask(&mut self, seat: usize, ticket: Ticket, question: Question) {
        note!(self, "session {seat} asks a question");
        let is_claim = matches!(question, Question::Claim(..));
        self.seats[seat].asked = Some(Asked { ticket, is_claim, answer: None });
        if let Question::Claim(pid, claim) = question {
            match self.home_of(pid) {
                Some(home) => self.seats[home].mail.push_back(Mail::Claim(seat, ticket, claim)),
                None => self.answer(seat, ticket, false),
            }
        }
    }

    /// The session with this `pid`.
    fn home_of(&self, pid: Pid) -> Option<usize> {
        self.seats.iter().position(|seat| seat.pid == Some(pid) && seat.over.is_none())
    }

    fn hand_over(&mut self, seat: usize, returning: Returning) {
        let Some(conn) = self.seats[seat].conn.take() else { panic!("an absent client is handed over") };
        match self.home_of(returning.pid) {
            Some(home) => self.seats[home].mail.push_back(Mail::Attach(conn, returning)),
            None => self.conns[conn].is_closed = true,
        }
    }
}
