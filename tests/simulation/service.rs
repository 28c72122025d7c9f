//! The service, one process for each of its connections: what it says, and what it hears.

use std::collections::BTreeSet;

use tidegate::{
    session::{ended::Ended, event::Event},
    wire::websocket::{close, close::CloseCode, frame::OpCode},
};

use crate::{
    ledger::Emitted,
    node::ServiceLeg,
    packets::{Kind, Msg, Packet, event, write},
    settings::Dialect,
    world::{World, note},
};

const OPEN: &str = r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;

impl World {
    /// The outcome of a dial.
    pub fn is_dialled(&mut self, seat: usize) {
        if self.seats[seat].over.is_some() || self.seats[seat].leg != ServiceLeg::Dialling {
            return;
        }
        let fails = self.is_service_down || (!self.is_calm && self.chance.percent(10));
        if fails {
            let answers = !self.is_service_down && self.chance.percent(10);
            self.seats[seat].leg = ServiceLeg::Absent;
            let now = self.now;
            if !answers {
                self.lost(seat, Ended::ServiceUnreachable);
            } else if self.chance.percent(50) {
                self.seats[seat].session.event(Event::Refused(403, "Not now"), now);
            } else {
                let why = self.chance.one_of(&[Ended::ServiceRefused, Ended::ServiceBusy]);
                self.lost(seat, why);
            }
        } else {
            let plain = self.settings.dialect == Dialect::Plain;
            let changes = plain && !self.is_calm && self.chance.percent(2);
            let protocol = plain.then_some(if changes { "other" } else { "chat" });
            let now = self.now;
            self.seats[seat].session.event(Event::Connected(protocol), now);
            self.seats[seat].leg = ServiceLeg::Absent;
            if self.seats[seat].session.ended().is_none() {
                self.reach_service(seat);
            }
        }
        self.drive(seat);
    }

    fn service_says(&mut self, leg: usize, msg: Msg) {
        note!(self, "service says on {leg}: {}", msg.shown());
        self.legs[leg].down.push(msg);
    }

    /// The service does one thing on this connection.
    pub fn service_acts(&mut self, leg: usize) {
        if !self.legs[leg].is_up() {
            return;
        }
        if self.settings.dialect == Dialect::Plain {
            return self.service_emits(leg, "/", false);
        }
        if !self.legs[leg].at_service.is_open {
            self.legs[leg].at_service.is_open = true;
            return self.service_says(leg, Msg::text(OPEN));
        }
        let there = &self.legs[leg].at_service;
        let asked = there.asked.first().cloned();
        let joined: Vec<String> = there.joined.iter().cloned().collect();
        if let Some(namespace) = asked.filter(|_| self.is_calm || self.chance.percent(70)) {
            return self.service_answers(leg, &namespace);
        }
        if let Some((namespace, id, number)) = self.legs[leg].to_acknowledge.front().cloned()
            && (self.is_calm || self.chance.percent(35))
        {
            self.legs[leg].to_acknowledge.pop_front();
            return self
                .service_says(leg, Msg::text(write("3", &namespace, Some(id), &format!(r#"["done",{number}]"#))));
        }
        if self.is_calm {
            return;
        }
        let Some(namespace) = joined.get(self.chance.below(joined.len())).cloned() else { return };
        match self.chance.below(40) {
            0 => {
                self.legs[leg].at_service.leave(&namespace);
                self.legs[leg].to_acknowledge.retain(|(other, ..)| *other != namespace);
                self.service_says(leg, Msg::text(write("1", &namespace, None, "")));
            }
            1 if self.chance.percent(20) => self.service_closes(leg),
            2 if self.chance.percent(20) => self.service_says(leg, Msg::text("4")),
            3 => self.service_says(leg, Msg { opcode: OpCode::Ping, bytes: b"there?".to_vec() }),
            4..10 => self.service_pings(leg),
            10..16 => self.service_emits(leg, &namespace, true),
            _ => {
                for _ in 0..=self.chance.below(3) {
                    self.service_emits(leg, &namespace, false);
                }
            }
        }
    }

    pub fn service_pings(&mut self, leg: usize) {
        if self.legs[leg].is_up() && self.legs[leg].at_service.is_open && self.settings.dialect == Dialect::SocketIo {
            self.service_says(leg, Msg::text("2"));
        }
    }

    fn service_answers(&mut self, leg: usize, namespace: &str) {
        let there = &mut self.legs[leg].at_service;
        there.asked.remove(namespace);
        if !self.is_calm && self.chance.percent(8) {
            return self.service_says(leg, Msg::text(write("4", namespace, None, r#"{"message":"no"}"#)));
        }
        there.joined.insert(namespace.to_owned());
        let (sid, numbers) = (self.ledger.number(), self.settings.numbers);
        let pid = if numbers { format!(r#","pid":"p{sid}""#) } else { String::new() };
        self.service_says(leg, Msg::text(write("0", namespace, None, &format!(r#"{{"sid":"s{sid}"{pid}}}"#))));
    }

    fn service_emits(&mut self, leg: usize, namespace: &str, asks: bool) {
        let number = self.ledger.number();
        let emitted = Emitted { namespace: namespace.to_owned(), place: None, said_on: None };
        self.ledger.emitted.insert(number, emitted);
        if self.settings.dialect == Dialect::Plain {
            let pad = "x".repeat(self.chance.weighted(&[(36, 0), (1, 2500)]));
            return self.service_says(leg, Msg::text(format!(r#"{{"t":"news","n":{number},"pad":"{pad}"}}"#)));
        }
        let attachments = self.chance.weighted(&[(9, 0), (1, 1), (1, 2)]);
        let pad = self.chance.weighted(&[(36, 0), (4, 300), (1, 2500)]);
        let there = &mut self.legs[leg];
        let text = if asks {
            let next = there.asks.entry(namespace.to_owned()).or_default();
            let id = *next;
            *next += 1;
            there.asked.insert((namespace.to_owned(), id));
            event(namespace, Some(id), "q", &format!("{number},{leg},{id}"), attachments, pad)
        } else if self.settings.numbers && pad == 0 {
            let plain = event(namespace, None, "e", &number.to_string(), attachments, 0);
            format!(r#"{},"o{number}"]"#, plain.trim_end_matches(']'))
        } else {
            event(namespace, None, "e", &number.to_string(), attachments, pad)
        };
        self.service_says(leg, Msg::text(text));
        for _ in 0..attachments {
            self.service_says(leg, Msg::binary(number.to_string().into_bytes()));
        }
    }

    fn service_closes(&mut self, leg: usize) {
        let code = self.chance.one_of(&[CloseCode::NORMAL, CloseCode::RESTART, CloseCode::POLICY]);
        let mut bytes = Vec::new();
        close::encode_close(Some(code), "", &mut bytes);
        self.service_says(leg, Msg { opcode: OpCode::Close, bytes });
        let down = &mut self.legs[leg].down;
        down.cut(down.queue.len(), false);
        self.legs[leg].up.cut(0, false);
    }

    /// The process is killed, or the network is gone. The gate does not know it yet.
    pub fn service_is_cut(&mut self, leg: usize) {
        if !self.legs[leg].is_up() {
            return;
        }
        note!(self, "connection {leg} to the service is cut");
        let (up, down) = (self.legs[leg].up.queue.len() + 1, self.legs[leg].down.queue.len() + 1);
        let (up, down, is_half) = (self.chance.below(up), self.chance.below(down), self.chance.percent(40));
        self.legs[leg].up.cut(up, false);
        self.legs[leg].down.cut(down, is_half);
    }

    /// So many messages reach the service.
    pub fn service_hears(&mut self, leg: usize, messages: usize) {
        // What it reads in one tick: it leaves a namespace in the next one.
        let mut left = BTreeSet::new();
        for _ in 0..messages {
            let Some(msg) = self.legs[leg].up.pop() else { return };
            if self.settings.dialect == Dialect::SocketIo && self.legs[leg].is_up() {
                self.objects_to(leg, &msg, &mut left);
                self.service_hears_one(leg, &msg);
            }
        }
    }

    /// socket.io closes a connection on which a namespace is asked for that is joined, or left that is not.
    fn objects_to(&self, leg: usize, msg: &Msg, left: &mut BTreeSet<String>) {
        let there = &self.legs[leg].at_service;
        let Some(packet) = Packet::read(&msg.bytes).filter(|_| !msg.is_control() && msg.opcode == OpCode::Text) else {
            return;
        };
        let (is_in, is_asked) = (there.joined.contains(&packet.namespace), there.asked.contains(&packet.namespace));
        match packet.kind {
            Kind::Connect => {
                assert!(!is_in && !is_asked, "{} is asked for twice on {leg}", packet.namespace);
                assert!(!left.contains(&packet.namespace), "{} is asked for before it is left", packet.namespace);
            }
            Kind::Disconnect => {
                assert!(!is_asked, "{} is left on {leg} before the service has answered", packet.namespace);
                left.insert(packet.namespace);
            }
            _ => {}
        }
    }

    fn service_hears_one(&mut self, leg: usize, msg: &Msg) {
        if msg.opcode == OpCode::Ping {
            return self.service_says(leg, Msg { opcode: OpCode::Pong, bytes: msg.bytes.clone() });
        }
        let there = &mut self.legs[leg];
        if msg.opcode == OpCode::Binary {
            if let Some((namespace, id, number, left)) = there.hears.take() {
                match left {
                    1 => there.to_acknowledge.extend(id.map(|id| (namespace, id, number))),
                    _ => there.hears = Some((namespace, id, number, left - 1)),
                }
            }
            return;
        }
        let Some(packet) = Packet::read(&msg.bytes) else { return };
        let namespace = packet.namespace.clone();
        match packet.kind {
            Kind::Connect => drop(there.at_service.asked.insert(namespace)),
            Kind::Disconnect => {
                there.at_service.leave(&namespace);
                there.to_acknowledge.retain(|(other, ..)| *other != namespace);
            }
            Kind::Event if packet.attachments > 0 => {
                there.hears = Some((namespace, packet.id, packet.number(1), packet.attachments));
            }
            Kind::Event if there.at_service.joined.contains(&namespace) => {
                there.to_acknowledge.extend(packet.id.map(|id| (namespace, id, packet.number(1))));
            }
            _ => {}
        }
    }
}
