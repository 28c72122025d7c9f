//! A session whose service comes and goes: what each side gets.

use super::*;
use crate::{
    session::{Dialect, hold::Overflow, socketio::Pass, upstream::Onward},
    wire::{engineio::open::ServiceOpen, socketio::packet::PacketType},
};

pub(super) const RESTARTED: &str = r#"{"error":"Service restarted","retriable":true}"#;

/// A conversation, and what has reached the service since it was last asked.
pub(super) struct Held {
    pub(super) world: World,
    pub(super) terms: Terms,
    /// Texts and, as `<n bytes>`, attachments.
    pub(super) at_service: Vec<String>,
    pub(super) at_client: Vec<String>,
    dials: usize,
}

impl Held {
    /// A client that has asked for `/`, with a service that has not been reached yet.
    pub(super) fn dialling(change: impl FnOnce(&mut SessionTable)) -> Self {
        let mut table = SessionTable { retry_events: vec!["again".to_owned()], ..SessionTable::default() };
        change(&mut table);
        let terms = Terms { hold: HoldTerms::compile(&table).unwrap(), ..TERMS.clone() };
        let world = World::new(|config| {
            config.auth.required = false;
            config.rate_limit.clear();
        });
        let mut held = Self { world, terms, at_service: Vec::new(), at_client: Vec::new(), dials: 0 };
        held.sends("40");
        held
    }

    /// A client that is in `/`, and everything about that said.
    pub(super) fn flowing(change: impl FnOnce(&mut SessionTable)) -> Self {
        let mut held = Self::dialling(change);
        held.opens();
        held.says(r#"40{"sid":"first"}"#);
        held.at_service.clear();
        held.at_client.clear();
        held
    }

    pub(super) fn session(&self) -> &Session {
        &self.world.session
    }

    pub(super) fn upstream(&self) -> &crate::session::upstream::Upstream {
        self.session().upstream()
    }

    /// The client sends a text message, as the relay takes it.
    pub(super) fn sends(&mut self, text: &str) {
        let head = peek::peek_client(text.as_bytes(), true).unwrap();
        let flowed = self.upstream().flows();
        let verdict = self.world.client(text);
        if verdict == Verdict::Forward {
            let Dialect::SocketIo(socketio) = &self.world.session.dialect else { unreachable!() };
            let packet = match head.kind {
                PacketType::Connect => None,
                _ => socketio.whole_packet(&head, text.as_bytes(), &self.terms.hold),
            };
            match packet {
                Some(packet) => self.world.session.take_packet(Onward::Packet(packet), &self.terms),
                None if flowed => self.at_service.push(text.to_owned()),
                None => {}
            }
        }
        self.settle();
    }

    /// The client sends an attachment.
    pub(super) fn attaches(&mut self, bytes: &[u8]) {
        assert_eq!(self.world.session.client_attachment(), Verdict::Forward);
        self.world.session.take_packet(Onward::Attachment(bytes.to_vec()), &self.terms);
        self.settle();
    }

    pub(super) fn opens(&mut self) {
        let open = br#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        self.world.session.service_opened(&ServiceOpen::parse(open).unwrap(), self.world.now);
        self.settle();
    }

    /// The service sends a packet.
    pub(super) fn says(&mut self, text: &str) {
        let head = peek::peek_service(text.as_bytes(), true).unwrap();
        let json = &text.as_bytes()[head.data_at..];
        match self.world.session.service_packet(&head, json, self.world.now).pass {
            Pass::AsItIs => self.at_client.push(text.to_owned()),
            Pass::WithAckId(id) => {
                let mut changed = Vec::new();
                crate::wire::socketio::encode::with_ack_id(
                    text.as_bytes(),
                    head.data_at,
                    head.ack_id.unwrap(),
                    id,
                    &mut changed,
                );
                self.at_client.push(String::from_utf8(changed).unwrap());
            }
            Pass::Not => {}
        }
        self.settle();
    }

    /// The service goes, or was dialled in vain; the next dial is due at once.
    pub(super) fn goes(&mut self, ended: Ended) -> bool {
        let now = self.world.now;
        let held = self.world.session.service_gone(ended, &self.terms, now, now);
        self.settle();
        held
    }

    pub(super) fn passes(&mut self, time: Duration) {
        self.world.now += time;
        self.world.session.handle_timeout(&self.terms, self.world.now);
        self.settle();
    }

    /// Does what the relay does: actions, then packets.
    fn settle(&mut self) {
        while let Some(action) = self.world.session.poll_action() {
            match action {
                Action::SendClient(text) => self.at_client.push(String::from_utf8(text.into_owned()).unwrap()),
                Action::SendService(text) => self.at_service.push(String::from_utf8(text.into_owned()).unwrap()),
                Action::Dial => self.dials += 1,
                _ => {}
            }
        }
        while let Some(packet) = self.world.session.next_packet() {
            self.at_service.push(String::from_utf8(packet.payload().to_vec()).unwrap());
            self.at_service.extend(packet.attachments().map(|bytes| format!("<{} bytes>", bytes.len())));
            self.world.session.packet_sent(packet, &self.terms);
        }
    }

    /// What has reached the service since the last look.
    pub(super) fn service_got(&mut self) -> Vec<String> {
        std::mem::take(&mut self.at_service)
    }

    /// What has reached the client since the last look, without pings.
    pub(super) fn client_got(&mut self) -> Vec<String> {
        std::mem::take(&mut self.at_client).into_iter().filter(|text| text != "2").collect()
    }
}

#[test]
fn what_is_sent_meanwhile_arrives_in_order_after_every_namespace_is_joined_again() {
    let mut held = Held::flowing(|_| ());
    held.sends("40/chat,");
    held.says(r#"40/chat,{"sid":"c"}"#);
    held.service_got();
    held.client_got();

    assert!(held.goes(Ended::ServiceLost));
    held.sends(r#"42["a"]"#);
    held.sends(r#"42/chat,["b"]"#);
    held.sends(r#"427["c"]"#);
    held.passes(Duration::ZERO);
    assert_eq!(held.dials, 2);
    held.opens();
    assert_eq!(held.service_got(), ["40", "40/chat,"]);
    held.says(r#"40{"sid":"second"}"#);
    assert_eq!(held.service_got(), [""; 0], "the other namespace has not answered");
    held.says(r#"40/chat,{"sid":"c2"}"#);
    assert_eq!(held.service_got(), [r#"42["a"]"#, r#"42/chat,["b"]"#, r#"427["c"]"#]);
    held.says("437[1]");
    assert_eq!(held.client_got(), [r#"40{"sid":"second"}"#, r#"40/chat,{"sid":"c2"}"#, "437[1]"]);
    assert_eq!(held.upstream().waiting(), (0, 0));
}

#[test]
fn a_service_that_knows_the_session_still_is_no_news() {
    let mut held = Held::dialling(|_| ());
    held.opens();
    held.says(r#"40{"sid":"x","pid":"p"}"#);
    held.says(r#"42["news",1,"o1"]"#);
    held.goes(Ended::ServiceLost);
    held.service_got();
    held.client_got();

    held.opens();
    assert_eq!(held.service_got(), [r#"40{"pid":"p","offset":"o1"}"#]);
    held.says(r#"42["news",2,"o2"]"#);
    held.says(r#"40{"sid":"x","pid":"p"}"#);
    assert_eq!(held.client_got(), [r#"42["news",2,"o2"]"#]);
}

#[test]
fn an_event_whose_attachments_were_lost_is_one_that_the_client_has_missed() {
    let mut held = Held::dialling(|_| ());
    held.opens();
    held.says(r#"40{"sid":"x","pid":"p"}"#);
    held.says(r#"42["news",1,"o1"]"#);
    for (attached, offset) in [(false, "o1"), (true, "o2")] {
        held.says(r#"451-["bytes",{"_placeholder":true,"num":0},"o2"]"#);
        if attached {
            held.world.session.service_packet_whole(0);
        }
        held.goes(Ended::ServiceLost);
        held.service_got();
        held.opens();
        assert_eq!(held.service_got(), [format!(r#"40{{"pid":"p","offset":"{offset}"}}"#)]);
        held.says(r#"40{"sid":"x","pid":"p"}"#);
    }
}

#[test]
fn what_was_on_its_way_fails_unless_it_may_be_sent_again() {
    let mut held = Held::flowing(|table| table.retries = 2);
    held.sends(r#"421["once"]"#);
    held.sends(r#"422["again"]"#);
    held.sends(r#"42["again"]"#);
    held.service_got();
    for attempt in 0..2 {
        held.goes(Ended::ServiceLost);
        let failed = if attempt == 0 { vec![format!("431[{RESTARTED}]")] } else { Vec::new() };
        assert_eq!(held.client_got(), failed);
        held.opens();
        held.says(r#"40{"sid":"other"}"#);
        assert_eq!(held.service_got(), ["40", r#"422["again"]"#], "what asks for no ack is not kept");
        held.client_got();
    }
    held.goes(Ended::ServiceLost);
    assert_eq!(held.client_got(), [format!("432[{RESTARTED}]")], "it was sent three times");
}

#[test]
fn an_answer_to_a_service_that_is_gone_reaches_no_other() {
    let mut held = Held::flowing(|_| ());
    held.says(r#"420["q"]"#);
    held.goes(Ended::ServiceLost);
    held.sends(r#"430["late"]"#);
    held.opens();
    held.says(r#"40{"sid":"second"}"#);
    assert_eq!(held.service_got(), ["40"]);
    held.client_got();
    held.says(r#"420["q2"]"#);
    assert_eq!(held.client_got(), [r#"421["q2"]"#], "under a number that the client has not heard yet");
    held.sends(r#"431["in time"]"#);
    assert_eq!(held.service_got(), [r#"430["in time"]"#]);
}

#[test]
fn an_answer_that_waits_while_its_asker_goes_reaches_no_other() {
    let mut held = Held::flowing(|_| ());
    held.sends("40/chat,");
    held.says(r#"40/chat,{"sid":"c"}"#);
    held.goes(Ended::ServiceLost);
    held.opens();
    held.says(r#"40{"sid":"second"}"#);
    held.says(r#"420["q"]"#);
    held.sends(r#"430["for the second"]"#);
    held.sends(r#"42["behind it"]"#);
    held.goes(Ended::ServiceLost);
    held.service_got();
    held.opens();
    held.says(r#"40{"sid":"third"}"#);
    held.says(r#"40/chat,{"sid":"c3"}"#);
    assert_eq!(held.service_got(), ["40", "40/chat,", r#"42["behind it"]"#]);
}

#[test]
fn a_packet_whose_attachments_are_still_coming_is_sent_once_and_whole() {
    let mut held = Held::flowing(|_| ());
    held.sends(r#"452-7["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
    held.attaches(&[1, 2]);
    held.goes(Ended::ServiceLost);
    assert_eq!(held.client_got(), [""; 0], "nothing of it was on its way");
    held.attaches(&[3]);
    held.opens();
    held.says(r#"40{"sid":"second"}"#);
    let packet = r#"452-7["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert_eq!(held.service_got(), ["40", packet, "<2 bytes>", "<1 bytes>"]);
}

#[test]
fn a_queue_that_is_full_closes_the_session_or_lets_go_of_the_oldest() {
    let mut held = Held::flowing(|table| table.queue_packets = 2);
    held.goes(Ended::ServiceLost);
    [r#"421["a"]"#, r#"422["b"]"#, r#"423["c"]"#].into_iter().for_each(|packet| held.sends(packet));
    assert_eq!(held.session().ended(), Some(Ended::QueueFull));

    let mut held = Held::flowing(|table| {
        table.queue_packets = 2;
        table.overflow = Overflow::DropOldest;
    });
    held.goes(Ended::ServiceLost);
    [r#"421["a"]"#, r#"422["b"]"#, r#"423["c"]"#].into_iter().for_each(|packet| held.sends(packet));
    assert_eq!(held.session().ended(), None);
    assert_eq!(held.client_got(), [format!("431[{RESTARTED}]")]);
    assert_eq!((held.upstream().dropped(), held.upstream().waiting().0), (1, 2));
}

#[test]
fn a_packet_that_fits_no_queue_costs_no_other_its_place() {
    let mut held = Held::flowing(|table| {
        table.queue_bytes = crate::units::ByteSize(20);
        table.overflow = Overflow::DropOldest;
    });
    held.goes(Ended::ServiceLost);
    held.sends(r#"421["a"]"#);
    held.sends(&format!(r#"422["{}"]"#, "x".repeat(20)));
    assert_eq!(held.client_got(), [format!("432[{RESTARTED}]")]);
    assert_eq!((held.upstream().dropped(), held.upstream().waiting().0), (1, 1));
}

#[test]
fn a_client_that_is_refused_on_return_is_sent_away_and_never_hears_why() {
    let mut held = Held::flowing(|_| ());
    held.sends("40/chat,");
    held.says(r#"40/chat,{"sid":"c"}"#);
    held.goes(Ended::ServiceLost);
    held.sends(r#"42/chat,["waits"]"#);
    held.opens();
    held.service_got();
    held.client_got();
    held.says(r#"44/chat,{"message":"No entry"}"#);
    assert_eq!(held.client_got(), ["41/chat,"]);
    assert_eq!(held.session().ended(), None);
    held.says(r#"44{"message":"nor here"}"#);
    assert_eq!(held.client_got(), [""; 0]);
    assert_eq!(held.session().ended(), Some(Ended::ServiceClosed(CloseCode::NO_STATUS)));
    assert_eq!(held.service_got(), [""; 0]);
}

#[test]
fn namespaces_left_and_asked_for_meanwhile_are_what_the_service_hears_of() {
    let mut held = Held::flowing(|_| ());
    held.sends("40/a,");
    held.says(r#"40/a,{"sid":"a"}"#);
    held.goes(Ended::ServiceLost);
    held.sends(r#"42/a,["for nobody"]"#);
    held.sends("41/a,");
    held.sends(r#"40/b,{"with":1}"#);
    held.service_got();
    held.opens();
    assert_eq!(held.service_got(), ["40", r#"40/b,{"with":1}"#]);
    held.sends("40/c,");
    held.sends("41");
    assert_eq!(held.service_got(), ["40/c,", "41"], "at once, for the service is there");
    assert_eq!(held.upstream().dropped(), 1);
}

#[test]
fn a_client_that_left_everything_meanwhile_may_begin_again() {
    let mut held = Held::flowing(|_| ());
    held.goes(Ended::ServiceLost);
    held.sends("41");
    held.opens();
    assert_eq!(held.service_got(), [""; 0]);
    held.passes(Duration::from_secs(31));
    assert_eq!(held.session().ended(), None, "the service is there");
    held.world.session.client_heard(&held.terms, held.world.now);
    held.sends("40");
    assert_eq!(held.service_got(), ["40"]);
}

#[test]
fn patience_ends_with_what_began_it_however_often_the_service_comes_and_goes() {
    let mut held = Held::flowing(|_| ());
    held.goes(Ended::ServiceLost);
    for _ in 0..2 {
        held.passes(Duration::from_secs(10));
        held.opens();
        held.goes(Ended::ServiceClosed(CloseCode::RESTART));
    }
    assert_eq!(held.session().ended(), None);
    held.passes(Duration::from_secs(10));
    assert_eq!(held.session().ended(), Some(Ended::ServiceLost));
}

#[test]
fn a_client_that_was_thrown_out_or_has_nothing_to_wait_for_is_not_held() {
    let mut held = Held::flowing(|_| ());
    held.says("41");
    assert!(!held.goes(Ended::ServiceLost));
    assert_eq!(held.session().ended(), Some(Ended::ServiceLost));
    let mut held = Held::flowing(|table| table.hold = crate::units::Period::OFF);
    assert!(!held.goes(Ended::ServiceLost));
}

#[test]
fn whoever_has_a_place_in_the_queue_is_not_given_up_in_it() {
    let mut held = Held::flowing(|_| ());
    held.goes(Ended::ServiceLost);
    let turn = held.world.now + Duration::from_secs(50);
    held.world.session.dial_in_turn(turn);
    held.passes(Duration::from_secs(50));
    assert_eq!(held.world.session.ended(), None, "hold is over, and its turn has come");
    held.opens();
    held.says(r#"40{"sid":"another"}"#);
    held.passes(Duration::from_secs(10));
    assert_eq!(held.world.session.ended(), None);

    let mut held = Held::flowing(|_| ());
    held.goes(Ended::ServiceLost);
    held.world.session.dial_in_turn(held.world.now + Duration::from_secs(50));
    held.passes(Duration::from_secs(50));
    held.goes(Ended::ServiceUnreachable);
    held.passes(Duration::from_secs(1));
    assert_eq!(held.world.session.ended(), Some(Ended::ServiceLost), "and was in vain");
}

#[test]
fn a_service_that_welcomes_a_client_and_hangs_up_at_once_is_given_up() {
    let mut held = Held::flowing(|_| ());
    let began = held.world.now;
    while held.goes(Ended::ServiceLost) && held.world.session.ended().is_none() {
        assert!(held.world.now < began + Duration::from_secs(60), "it is dialled for ever");
        held.passes(Duration::from_millis(500));
        held.opens();
        held.says(r#"40{"sid":"another"}"#);
        assert_eq!(held.world.session.upstream().away_since(), None);
    }
    assert_eq!(held.world.session.ended(), Some(Ended::ServiceLost));

    let mut held = Held::flowing(|_| ());
    for _ in 0..25 {
        assert!(held.goes(Ended::ServiceLost));
        held.passes(Duration::from_millis(500));
        held.opens();
        held.says(r#"40{"sid":"another"}"#);
        held.passes(Duration::from_secs(1));
    }
    assert_eq!(held.world.session.ended(), None, "this one is there each time");
}
