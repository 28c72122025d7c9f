//! What a client may have kept of it, in bytes and in time.

use std::time::Duration;

use super::world::World;
use crate::{
    config::Config,
    policy::rate_limit::{Exceeded, RateLimitTable},
    session::{
        ended::Ended,
        event::Event,
        message::{Fate, Message, Note, Side},
        plain::PlainRules,
        queue::STORED_MESSAGE_MAX,
    },
    units::{ByteSize, Period},
    wire::websocket::{close::CloseCode, frame::OpCode},
};

/// A packet that announces so many attachments.
fn announces(attachments: usize) -> String {
    format!(r#"45{attachments}-["x"]"#)
}

/// A client that has joined `/`, and may send packets of so many bytes.
fn joined(max_payload: u64) -> World {
    World::joined(|config| {
        config.rate_limit.clear();
        config.socketio.max_payload = ByteSize(max_payload);
    })
}

const TOO_BIG: Ended = Ended::ClientFrame(CloseCode::TOO_BIG, "packet_too_big");

#[test]
fn a_packet_with_its_attachments_is_as_large_as_a_message_may_be() {
    let mut world = joined(1000);
    let head = announces(2);
    world.client(&head);
    world.attaches(&[0; 500]);
    world.attaches(&vec![0; 500 - head.len()]);
    assert_eq!(world.ended(), None);
    assert_eq!(world.service_got().len(), 3);
    world.client(&head);
    world.attaches(&[0; 500]);
    world.attaches(&vec![0; 501 - head.len()]);
    assert_eq!(world.ended(), Some(TOO_BIG));
    assert_eq!(world.service_got(), [""; 0]);
}

#[test]
fn an_attachment_is_refused_for_its_size_before_it_has_come() {
    let mut world = joined(1000);
    world.client(&announces(1));
    let beginning = Message { opcode: OpCode::Binary, bytes: &[0; 10], len: 1000, complete: false, here: false };
    let (fate, _) = world.session.message(Side::Client, &beginning, world.now);
    assert_eq!((fate, world.ended()), (Fate::Drop, Some(TOO_BIG)));
}

#[test]
fn the_attachments_of_a_packet_that_is_refused_have_the_same_bounds() {
    let mut world = World::joined(|config| {
        config.rate_limit[0].messages = 1;
        config.socketio.max_payload = ByteSize(1000);
    });
    world.client(r#"42["the only one"]"#);
    world.client(&announces(2));
    world.attaches(&[0; 900]);
    world.attaches(&[0; 900]);
    assert_eq!(world.ended(), Some(TOO_BIG));
}

#[test]
fn a_packet_must_have_its_attachments_in_time() {
    let mut world = joined(1000);
    world.client(&announces(2));
    world.passes(Duration::from_secs(9));
    world.attaches(b"one");
    assert_eq!(world.ended(), None);
    world.passes(Duration::from_secs(1));
    assert_eq!(world.ended(), Some(Ended::ClientPacket("attachment_timeout")));

    let mut world = joined(1000);
    world.client(&announces(1));
    world.attaches(b"one");
    world.passes(Duration::from_secs(15));
    assert_eq!(world.ended(), None, "none is missing");
}

#[test]
fn a_client_that_is_not_read_has_all_of_its_time_again() {
    let mut world = joined(1000);
    world.client(&announces(1));
    for _ in 0..3 {
        world.now = world.now.at(world.now.instant + Duration::from_secs(8));
        world.event(Event::Unread(Side::Client));
        world.passes(Duration::ZERO);
    }
    assert_eq!(world.ended(), None);
    world.attaches(b"one");
    assert_eq!(world.service_got().len(), 2);
}

/// Time passes up to so many seconds in all, from deadline to deadline; nothing is read of these sides meanwhile.
fn passes_unread(world: &mut World, unread: &[Side], seconds: u64) {
    let until = world.now.instant + Duration::from_secs(seconds);
    while world.ended().is_none() && world.session.deadline() <= until {
        world.now = world.now.at(world.session.deadline());
        unread.iter().for_each(|side| drop(world.event(Event::Unread(*side))));
        world.passes(Duration::ZERO);
    }
    world.now = world.now.at(until);
}

#[test]
fn a_client_whose_packets_are_delayed_stays_and_is_pinged_all_the_time() {
    let mut world = joined(1000);
    passes_unread(&mut world, &[Side::Client, Side::Service], 80);
    assert_eq!(world.ended(), None);
    assert_eq!(world.at_client, ["2", "2", "2"], "a client of Engine.IO leaves after 45 seconds without one");
    let mut notes = Vec::new();
    for _ in 0..4 {
        world.client("3");
        notes.push(world.note.clone());
    }
    assert_eq!(notes, [Note::None, Note::None, Note::RoundTrip(Duration::from_secs(5)), Note::None]);
    world.at_client.clear();
    world.passes(Duration::from_secs(25));
    assert_eq!(world.at_client, ["2"], "now it is as before");

    let mut world = joined(1000);
    passes_unread(&mut world, &[Side::Service], 80);
    assert_eq!(world.ended(), Some(Ended::PingTimeout), "it is read, and says nothing");
}

#[test]
fn a_delayed_client_of_a_plain_route_is_pinged_all_the_time_and_may_answer_once() {
    let config = |config: &mut Config| {
        config.auth.required = false;
        config.socketio.ping_interval = Period::from_secs(5);
        config.socketio.ping_timeout = Period::from_secs(4);
    };
    let route = || World::plain(PlainRules::default(), config);
    let bridge = || World::bridge_joined(config);
    for (mut world, pongs) in [(route(), 1), (route(), 7), (bridge(), 1), (bridge(), 7)] {
        passes_unread(&mut world, &[Side::Client, Side::Service], 39);
        assert_eq!(world.client_got(), ["Ping []"; 7]);
        let pong = |world: &mut World| world.event(Event::Control(Side::Client, OpCode::Pong, b""));
        (0..pongs).for_each(|_| assert_eq!(pong(&mut world), Note::None, "it may answer any of them"));
        for _ in 0..2 {
            world.passes(Duration::from_secs(5));
            assert_eq!((world.ended(), world.client_got()), (None, vec!["Ping []".to_owned()]));
            assert_eq!(pong(&mut world), Note::RoundTrip(Duration::ZERO));
        }
        world.passes(Duration::from_secs(5));
        world.passes(Duration::from_secs(4));
        assert_eq!(world.ended(), Some(Ended::PingTimeout), "it is read, and says nothing");
    }
}

#[test]
fn the_answers_to_many_pings_may_come_at_once_and_others_may_not() {
    let mut world = World::plain(PlainRules::default(), |config| config.auth.required = false);
    passes_unread(&mut world, &[Side::Client, Side::Service], 10_000);
    let pings = world.client_got().len();
    assert_eq!(pings, 400);
    for (pongs, ended) in [(pings, None), (pings, Some(Ended::ClientFrame(CloseCode::POLICY, "control_rate")))] {
        (0..pongs).for_each(|_| drop(world.event(Event::Control(Side::Client, OpCode::Pong, b""))));
        assert_eq!(world.ended(), ended);
    }
}

#[test]
fn a_delayed_packet_is_counted_once_however_often_it_is_judged() {
    let mut world = World::joined(|config| {
        let rule = RateLimitTable { messages: 1, per: Period::from_secs(10), ..RateLimitTable::default() };
        config.rate_limit = vec![RateLimitTable { exceeded: Exceeded::Delay, ..rule }];
    });
    let judge = |world: &mut World, waits: u64| {
        world.passes(Duration::from_secs(waits));
        let waits = matches!(world.client(r#"42["x"]"#), Fate::Wait(_));
        (waits, matches!(world.note, Note::Delayed(0)))
    };
    assert_eq!(judge(&mut world, 0), (false, false));
    assert_eq!(judge(&mut world, 0), (true, true));
    assert_eq!(judge(&mut world, 4), (true, false));
    assert_eq!(judge(&mut world, 6), (false, false), "now it passes");
    assert_eq!(judge(&mut world, 0), (true, true), "another one");
}

#[test]
fn a_service_that_is_not_read_has_all_of_its_time_for_its_next_ping() {
    for (side, ended) in [(Side::Service, None), (Side::Client, Some(Ended::ServiceSlow))] {
        let mut world = World::joined(|config| {
            config.session.hold = Period::OFF;
            config.socketio.ping_interval = Period::from_secs(300);
        });
        passes_unread(&mut world, &[side], 100);
        assert_eq!(world.ended(), ended, "{side:?}");
    }
}

#[test]
fn a_packet_of_the_service_is_bounded_with_its_attachments() {
    let mut world = World::joined(|config| config.upstream.max_message = ByteSize(1_000_000));
    world.service(&announces(2));
    let half = vec![0; 500_000];
    world.message(Side::Service, OpCode::Binary, &half);
    assert_eq!(world.ended(), None);
    world.message(Side::Service, OpCode::Binary, &half);
    assert_eq!(world.ended(), Some(Ended::ServiceFault("packet_too_big")));
}

/// A CONNECT for this namespace whose packet has so many bytes.
fn connect(namespace: &str, bytes: usize) -> String {
    let frame = format!(r#"40{namespace},{{"a":""}}"#).len();
    format!(r#"40{namespace},{{"a":"{}"}}"#, "x".repeat(bytes - frame))
}

#[test]
fn a_connect_that_is_too_large_is_refused_and_nothing_of_it_is_kept() {
    let mut world = World::joined(|config| config.socketio.max_connect = ByteSize(1000));
    let before = world.view().memory();
    world.client(&connect("/one", 1001));
    let refusal = r#"44/one,{"message":"What is said to connect is too large","data":{"code":"connect_too_big"}}"#;
    assert_eq!(world.client_got(), [refusal]);
    let Note::Refused(refused) = &world.note else { panic!("{:?}", world.note) };
    assert!(refused.is_connect && refused.refusal.code == "connect_too_big");
    assert_eq!((world.view().memory(), world.ended()), (before, None));

    world.client(&connect("/two", 1000));
    assert_eq!(world.ended(), None);
    assert!((before + 990..before + 2000).contains(&world.view().memory()), "{}", world.view().memory());
}

#[test]
fn a_connect_is_refused_for_its_size_before_it_has_come() {
    let mut world = World::without_auth(|config| config.socketio.max_connect = ByteSize(1000));
    let beginning = br#"40{"a":""#;
    let message = Message { opcode: OpCode::Text, bytes: beginning, len: 1001, complete: false, here: false };
    let (fate, _) = world.session.message(Side::Client, &message, world.now);
    assert_eq!(fate, Fate::Drop, "it is not put together");
}

#[test]
fn all_that_is_kept_of_connects_is_bounded() {
    let mut world = World::joined(|config| config.socketio.max_connect = ByteSize(1000));
    for namespace in ["/1", "/2", "/3", "/4"] {
        world.client(&connect(namespace, 900));
        world.service(&format!(r#"40{namespace},{{"sid":"s"}}"#));
    }
    world.client_got();
    world.client(&connect("/5", 900));
    assert!(world.client_got()[0].contains("connect_too_big"));
    world.client("41/1,");
    world.client(&connect("/5", 900));
    assert_eq!(world.client_got(), [""; 0], "there is room again");
}

#[test]
fn everything_that_waits_is_counted_with_its_overhead() {
    let mut world = joined(100_000);
    let before = world.view().memory();
    world.client(&announces(2));
    world.attaches(&[0; 5000]);
    assert!(world.view().memory() >= before + 5000, "a packet that lacks attachments");
    world.attaches(&[0; 1]);
    world.service_got();
    assert_eq!(world.view().memory(), before);

    assert!(world.loses(Ended::ServiceLost));
    for _ in 0..50 {
        world.client(r#"42["a"]"#);
    }
    let (packets, bytes) = world.view().waiting();
    assert_eq!((packets, world.view().memory() >= before + bytes), (50, true));
    assert!(bytes >= 50 * (r#"42["a"]"#.len() + 100), "{bytes}");
}

#[test]
fn what_is_dropped_of_the_events_for_a_client_that_may_return_counts_no_more() {
    let mut world = World::joined(|config| {
        config.session.resume = Period::from_secs(30);
        config.session.queue_packets = 10;
        config.session.queue_bytes = ByteSize(100_000);
    });
    let mut memory_after = |events: usize| {
        for _ in 0..events {
            world.service(r#"42["news"]"#);
        }
        world.view().memory()
    };
    // The last ten have a number of three digits both times.
    let full = memory_after(200);
    assert_eq!(memory_after(300), full);
}

/// The beginning of a text of the service that is longer than what is stored.
fn large(beginning: &str) -> Message<'_> {
    let len = STORED_MESSAGE_MAX + 1;
    Message { opcode: OpCode::Text, bytes: beginning.as_bytes(), len, complete: false, here: false }
}

fn judged(world: &mut World, message: &Message<'_>) -> Fate {
    world.session.message(Side::Service, message, world.now).0
}

#[test]
fn a_message_of_the_service_that_is_too_long_to_be_stored_passes_as_it_comes() {
    let beginning = format!("42[\"large\",\"{}", "x".repeat(200));
    let mut world = joined(1000);
    assert_eq!(judged(&mut world, &large(&beginning)), Fate::Pass);
    let shorter = Message { len: STORED_MESSAGE_MAX, ..large(&beginning) };
    assert_eq!(judged(&mut world, &shorter), Fate::Gather, "one that can be stored does not");
    let with_attachment = beginning.replacen("42", "451-", 1);
    assert_eq!(judged(&mut world, &large(&with_attachment)), Fate::Gather);
}

#[test]
fn a_client_that_has_a_part_of_a_message_is_not_held() {
    let beginning = format!("42[\"large\",\"{}", "x".repeat(200));
    for (passed, ended) in [(false, Some(Ended::ServiceLost)), (true, None)] {
        let mut world = joined(1000);
        assert_eq!(judged(&mut world, &large(&beginning)), Fate::Pass);
        if passed {
            world.event(Event::Passed);
        }
        world.loses(Ended::ServiceLost);
        assert_eq!(world.ended(), ended, "it had passed: {passed}");
    }
}
