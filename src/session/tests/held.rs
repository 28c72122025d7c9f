//! A session whose service is lost and comes back: what each side gets.

use std::time::Duration;

use super::world::{GRACE, RESTARTED, World};
use crate::{
    session::{
        action::{Action, Ready},
        ended::Ended,
        event::Event,
        hold::{Overflow, SessionTable},
        message::{Message, Side},
    },
    wire::websocket::{close::CloseCode, frame::OpCode},
};

fn table(change: impl FnOnce(&mut SessionTable)) -> impl FnOnce(&mut crate::config::Config) {
    |config| {
        config.rate_limit.clear();
        config.session.retry_events = vec!["again".to_owned()];
        change(&mut config.session);
    }
}

/// A client that has sent CONNECT for `/`, while the service is being dialled.
fn dialling(change: impl FnOnce(&mut SessionTable)) -> World {
    let mut world = World::without_auth(table(change));
    world.client("40");
    world
}

/// A client that has joined `/`, with all packets of that exchanged.
pub(super) fn flowing(change: impl FnOnce(&mut SessionTable)) -> World {
    World::joined(table(change))
}

#[test]
fn packets_sent_during_an_outage_arrive_in_order_after_every_namespace_is_joined_again() {
    let mut held = flowing(|_| ());
    held.client("40/chat,");
    held.service(r#"40/chat,{"sid":"c"}"#);
    held.service_got();
    held.client_got();

    assert!(held.loses(Ended::ServiceLost));
    held.client(r#"42["a"]"#);
    held.client(r#"42/chat,["b"]"#);
    held.client(r#"427["c"]"#);
    held.passes(Duration::ZERO);
    assert_eq!(held.done(), [Action::Dial { again: true }]);
    held.opens();
    assert_eq!(held.service_got(), ["40", "40/chat,"]);
    held.service(r#"40{"sid":"second"}"#);
    assert_eq!(held.service_got(), [""; 0], "the other namespace has not answered");
    held.service(r#"40/chat,{"sid":"c2"}"#);
    assert_eq!(held.service_got(), [""; 0], "the client may repeat what it has sent");
    held.answers_pings();
    assert_eq!(held.service_got(), [r#"42["a"]"#, r#"42/chat,["b"]"#, r#"427["c"]"#]);
    held.service("437[1]");
    assert_eq!(held.client_got(), [r#"40{"sid":"second"}"#, r#"40/chat,{"sid":"c2"}"#, "437[1]"]);
    assert_eq!(held.view().waiting(), (0, 0));
}

#[test]
fn a_packet_that_was_not_taken_whole_is_sent_again_once() {
    for (retries, event) in [(1, "again"), (3, "again"), (3, "other")] {
        let text = format!(r#"427["{event}"]"#);
        let mut held = flowing(|session| session.retries = retries);
        assert!(held.loses(Ended::ServiceLost));
        held.client(&text);
        for _ in 0..5 {
            held.passes(Duration::ZERO);
            held.opens();
            let now = held.now;
            let bytes = br#"40{"sid":"s"}"#;
            let joined = Message::whole(OpCode::Text, bytes);
            held.session.message(Side::Service, &joined, now);
            // Of a client that answers no pings.
            held.now = now.at(now.instant + GRACE);
            held.session.timeout(held.now);
            held.session.poll(Ready { client: true, service: false });
            let packet = held.takes_packet();
            held.session.event(Event::Unsent(packet), held.now);
            held.forget_what_was_said();
            assert!(held.loses(Ended::ServiceLost));
        }
        assert_eq!(held.client_got(), [""; 0], "nothing has been sent that would fail");
        held.passes(Duration::ZERO);
        held.opens();
        held.service_got();
        held.service(r#"40{"sid":"s"}"#);
        held.answers_pings();
        held.passes(GRACE);
        assert_eq!(held.service_got(), [text]);
    }
}

#[test]
fn a_client_gets_nothing_from_a_service_that_still_knows_its_session() {
    let mut held = dialling(|_| ());
    held.opens();
    held.service(r#"40{"sid":"x","pid":"p"}"#);
    held.service(r#"42["news",1,"o1"]"#);
    held.loses(Ended::ServiceLost);
    held.service_got();
    held.client_got();

    held.opens();
    assert_eq!(held.service_got(), [r#"40{"pid":"p","offset":"o1"}"#]);
    held.service(r#"42["news",2,"o2"]"#);
    held.service(r#"40{"sid":"x","pid":"p"}"#);
    assert_eq!(held.client_got(), [r#"42["news",2,"o2"]"#]);
}

#[test]
fn an_event_whose_attachments_were_lost_counts_as_missed() {
    let mut held = dialling(|_| ());
    held.opens();
    held.service(r#"40{"sid":"x","pid":"p"}"#);
    held.service(r#"42["news",1,"o1"]"#);
    for (attached, offset) in [(false, "o1"), (true, "o2")] {
        held.service(r#"451-["bytes",{"_placeholder":true,"num":0},"o2"]"#);
        if attached {
            held.message(Side::Service, OpCode::Binary, b"bytes");
        }
        held.loses(Ended::ServiceLost);
        held.service_got();
        held.opens();
        assert_eq!(held.service_got(), [format!(r#"40{{"pid":"p","offset":"{offset}"}}"#)]);
        held.service(r#"40{"sid":"x","pid":"p"}"#);
    }
}

#[test]
fn events_in_flight_fail_unless_they_may_be_sent_again() {
    let mut held = flowing(|table| table.retries = 2);
    held.client(r#"421["once"]"#);
    held.client(r#"422["again"]"#);
    held.client(r#"42["again"]"#);
    held.service_got();
    for attempt in 0..2 {
        held.loses(Ended::ServiceLost);
        held.opens();
        let back = format!(r#"40{{"sid":"another {attempt}"}}"#);
        held.service(&back);
        held.answers_pings();
        assert_eq!(held.service_got(), ["40", r#"422["again"]"#], "an event without an ack is not kept");
        assert_eq!(held.client_got(), [back]);
        held.passes(GRACE);
        let failed = if attempt == 0 { vec![format!("431[{RESTARTED}]")] } else { Vec::new() };
        assert_eq!(held.client_got(), failed);
    }
    held.loses(Ended::ServiceLost);
    held.opens();
    held.service(r#"40{"sid":"other"}"#);
    held.client_got();
    held.passes(GRACE);
    assert_eq!(held.client_got(), [format!("432[{RESTARTED}]")], "it was sent three times");
}

#[test]
fn an_ack_for_a_lost_service_does_not_reach_the_next() {
    let mut held = flowing(|_| ());
    held.service(r#"420["q"]"#);
    held.loses(Ended::ServiceLost);
    held.client(r#"430["late"]"#);
    held.opens();
    held.service(r#"40{"sid":"second"}"#);
    assert_eq!(held.service_got(), ["40"]);
    held.client_got();
    held.service(r#"420["q2"]"#);
    assert_eq!(held.client_got(), [r#"421["q2"]"#], "with an ack id that is new to the client");
    held.client(r#"431["in time"]"#);
    assert_eq!(held.service_got(), [r#"430["in time"]"#]);
}

#[test]
fn an_ack_that_waits_while_its_service_is_lost_does_not_reach_the_next() {
    let mut held = flowing(|_| ());
    held.client("40/chat,");
    held.service(r#"40/chat,{"sid":"c"}"#);
    held.loses(Ended::ServiceLost);
    held.opens();
    held.service(r#"40{"sid":"second"}"#);
    held.service(r#"420["q"]"#);
    held.client(r#"430["for the second"]"#);
    held.client(r#"42["behind it"]"#);
    held.loses(Ended::ServiceLost);
    held.service_got();
    held.opens();
    held.service(r#"40{"sid":"third"}"#);
    held.service(r#"40/chat,{"sid":"c3"}"#);
    assert_eq!(held.service_got(), ["40", "40/chat,", r#"42["behind it"]"#]);
}

#[test]
fn a_packet_whose_attachments_are_still_coming_is_sent_once_and_complete() {
    let mut held = flowing(|_| ());
    held.client(r#"452-7["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
    held.attaches(&[1, 2]);
    held.loses(Ended::ServiceLost);
    assert_eq!(held.client_got(), [""; 0], "nothing of it was in flight");
    held.attaches(&[3]);
    held.opens();
    held.service(r#"40{"sid":"second"}"#);
    held.answers_pings();
    let packet = r#"452-7["bin",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert_eq!(held.service_got(), ["40", packet, "<2 bytes>", "<1 bytes>"]);
}

#[test]
fn a_full_queue_closes_the_session_or_drops_the_oldest_packet() {
    let mut held = flowing(|table| table.queue_packets = 2);
    held.loses(Ended::ServiceLost);
    for packet in [r#"421["a"]"#, r#"422["b"]"#, r#"423["c"]"#] {
        held.client(packet);
    }
    assert_eq!(held.ended(), Some(Ended::QueueFull));

    let mut held = flowing(|table| {
        table.queue_packets = 2;
        table.overflow = Overflow::DropOldest;
    });
    held.loses(Ended::ServiceLost);
    for packet in [r#"421["a"]"#, r#"422["b"]"#, r#"423["c"]"#] {
        held.client(packet);
    }
    assert_eq!(held.ended(), None);
    assert_eq!(held.client_got(), [""; 0]);
    assert_eq!((held.view().dropped(), held.view().waiting().0), (1, 2));
    held.opens();
    held.service(r#"40{"sid":"second"}"#);
    held.passes(GRACE);
    assert_eq!(held.client_got(), [r#"40{"sid":"second"}"#.to_owned(), format!("431[{RESTARTED}]")]);
}

#[test]
fn a_packet_that_is_larger_than_the_queue_displaces_no_other() {
    let mut held = flowing(|table| {
        table.queue_bytes = crate::units::ByteSize(300);
        table.overflow = Overflow::DropOldest;
    });
    held.loses(Ended::ServiceLost);
    held.client(r#"421["a"]"#);
    held.client(&format!(r#"422["b","{}"]"#, "x".repeat(300)));
    assert_eq!((held.view().dropped(), held.view().waiting().0), (1, 1));
    held.opens();
    held.service(r#"40{"sid":"second"}"#);
    held.client_got();
    held.passes(GRACE);
    assert_eq!(held.client_got(), [format!("432[{RESTARTED}]")]);
}

#[test]
fn a_client_that_is_refused_when_it_rejoins_gets_a_disconnect_and_no_error() {
    let mut held = flowing(|_| ());
    held.client("40/chat,");
    held.service(r#"40/chat,{"sid":"c"}"#);
    held.loses(Ended::ServiceLost);
    held.client(r#"42/chat,["waits"]"#);
    held.opens();
    held.service_got();
    held.client_got();
    held.service(r#"44/chat,{"message":"No entry"}"#);
    assert_eq!(held.client_got(), ["41/chat,"]);
    assert_eq!(held.ended(), None);
    held.service(r#"44{"message":"nor here"}"#);
    assert_eq!(held.client_got(), [""; 0]);
    assert_eq!(held.ended(), Some(Ended::ServiceClosed(CloseCode::NO_STATUS)));
    assert_eq!(held.service_got(), [""; 0]);
}

#[test]
fn the_service_gets_the_namespaces_as_they_are_after_the_outage() {
    let mut held = flowing(|_| ());
    held.client("40/a,");
    held.service(r#"40/a,{"sid":"a"}"#);
    held.loses(Ended::ServiceLost);
    held.client(r#"42/a,["for no service"]"#);
    held.client("41/a,");
    held.client(r#"40/b,{"with":1}"#);
    held.service_got();
    held.opens();
    assert_eq!(held.service_got(), ["40", r#"40/b,{"with":1}"#]);
    held.client("40/c,");
    held.client("41");
    assert_eq!(held.service_got(), ["40/c,"], "at once, because the service is open");
    held.service(r#"40{"sid":"s"}"#);
    assert_eq!(held.service_got(), ["41"], "it has let the client in, and can hear that it has left");
    assert_eq!(held.view().dropped(), 1);
}

#[test]
fn a_client_that_left_every_namespace_during_the_outage_may_join_again() {
    let mut held = flowing(|_| ());
    held.loses(Ended::ServiceLost);
    held.client("41");
    held.opens();
    assert_eq!(held.service_got(), [""; 0]);
    held.passes(Duration::from_secs(31));
    assert_eq!(held.ended(), None, "the service is open");
    held.client("40");
    assert_eq!(held.service_got(), ["40"]);
}

#[test]
fn an_outage_ends_the_session_with_its_first_cause_however_often_the_service_opens() {
    let mut held = flowing(|_| ());
    held.loses(Ended::ServiceLost);
    for _ in 0..2 {
        held.passes(Duration::from_secs(10));
        held.opens();
        held.loses(Ended::ServiceClosed(CloseCode::RESTART));
    }
    assert_eq!(held.ended(), None);
    held.passes(Duration::from_secs(10));
    assert_eq!(held.ended(), Some(Ended::ServiceLost));
}

#[test]
fn a_held_client_is_let_go_of_when_the_service_objects_to_it() {
    let mut held = flowing(|_| ());
    held.client(r#"421["asks"]"#);
    assert!(held.loses(Ended::ServiceLost));
    assert_eq!(held.client_got(), [""; 0], "the client itself fails what it waits for when it is closed");
    held.client(r#"42["waits"]"#);
    held.passes(Duration::ZERO);
    assert_eq!(held.done(), [Action::Dial { again: true }]);
    held.event(Event::Lost(Ended::ServiceObjected));
    assert_eq!(held.ended(), Some(Ended::ServiceObjected));
    assert_eq!(held.session.abandon(), 1, "what waits reaches nobody");
}

#[test]
fn a_client_without_a_namespace_or_a_hold_time_is_not_held() {
    let mut held = flowing(|_| ());
    held.service("41");
    assert!(!held.loses(Ended::ServiceLost));
    assert_eq!(held.ended(), Some(Ended::ServiceLost));
    let mut held = flowing(|table| table.hold = crate::units::Period::OFF);
    assert!(!held.loses(Ended::ServiceLost));
}

#[test]
fn a_session_with_a_turn_is_not_given_up_before_it() {
    let mut held = flowing(|_| ());
    held.loses(Ended::ServiceLost);
    let turn = held.now.instant + Duration::from_secs(50);
    held.event(Event::DialLater { at: turn, reserved: true });
    held.passes(Duration::from_secs(50));
    assert_eq!(held.ended(), None, "hold is over, and its turn has come");
    held.opens();
    held.service(r#"40{"sid":"another"}"#);
    held.passes(Duration::from_secs(10));
    assert_eq!(held.ended(), None);

    let mut held = flowing(|_| ());
    held.loses(Ended::ServiceLost);
    let turn = held.now.instant + Duration::from_secs(50);
    held.event(Event::DialLater { at: turn, reserved: true });
    held.passes(Duration::from_secs(50));
    held.loses(Ended::ServiceUnreachable);
    held.passes(Duration::from_secs(1));
    assert_eq!(held.ended(), Some(Ended::ServiceLost), "and the dial failed");
}

#[test]
fn a_service_that_accepts_a_client_and_closes_at_once_is_given_up() {
    let mut held = flowing(|_| ());
    let began = held.now.instant;
    while held.loses(Ended::ServiceLost) && held.ended().is_none() {
        assert!(held.now.instant < began + Duration::from_secs(60), "the dials do not end");
        held.passes(Duration::from_millis(500));
        held.opens();
        held.service(r#"40{"sid":"another"}"#);
        assert_eq!(held.view().service_down_since(), None);
    }
    assert_eq!(held.ended(), Some(Ended::ServiceLost));

    let mut held = flowing(|_| ());
    for _ in 0..25 {
        assert!(held.loses(Ended::ServiceLost));
        held.passes(Duration::from_millis(500));
        held.opens();
        held.service(r#"40{"sid":"another"}"#);
        held.passes(Duration::from_secs(1));
    }
    assert_eq!(held.ended(), None, "this one stays open each time");
}

#[test]
fn no_ack_is_lost_silently_however_many_are_open_when_the_service_is_lost() {
    for (asked, answered, goes_on) in
        [(1024, 0..0, true), (1025, 0..0, false), (1500, 1024..1500, true), (1500, 500..1000, false)]
    {
        let mut world = flowing(|_| ());
        for id in 0..asked {
            world.client(&format!(r#"42{id}["once"]"#));
        }
        for id in answered.clone() {
            world.service(&format!("43{id}[1]"));
        }
        world.loses(Ended::ServiceLost);
        let what = format!("{asked} asked, {answered:?} answered");
        assert_eq!(world.ended(), (!goes_on).then_some(Ended::AcksLost), "{what}");
        world.opens();
        world.service(r#"40{"sid":"second"}"#);
        world.forget_what_was_said();
        world.passes(GRACE);
        let failed = world.client_got();
        assert!(!goes_on || failed.len() == asked - answered.len(), "{what}");
    }
}

#[test]
fn the_ack_of_a_packet_that_is_dropped_fails_also_where_it_is_not_tracked() {
    let mut world = flowing(|session| {
        session.queue_packets = 1100;
        session.overflow = Overflow::DropOldest;
    });
    world.loses(Ended::ServiceLost);
    for id in 0..2300 {
        world.client(&format!(r#"42{id}["once"]"#));
    }
    // At most 1,024 are remembered until the client has had its time.
    let mut failed = world.client_got();
    assert_eq!(failed.len(), 176);
    world.opens();
    world.service(r#"40{"sid":"second"}"#);
    world.client_got();
    world.passes(GRACE);
    failed.extend(world.client_got());
    failed.sort_unstable();
    let mut all: Vec<String> = (0..1200).map(|id| format!("43{id}[{RESTARTED}]")).collect();
    all.sort_unstable();
    assert_eq!(failed, all, "each of them once");
}
