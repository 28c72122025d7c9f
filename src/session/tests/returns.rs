//! How a client comes back to its session: what it says, what it is told, and when it is too late.

use std::{mem, time::Duration};

use super::{
    resumed::{pid_in, read},
    world::{World, id},
};
use crate::{
    policy::{
        identity::Identity,
        rate_limit::{RateLimitTable, Scope},
    },
    session::{
        action::Action,
        ended::Ended,
        event::Event,
        message::{Fate, Message, Side, Until},
        question::{Answer, Claim, Question, Returning},
    },
    units::{ByteSize, Period},
    wire::{
        engineio::id::{Pid, Sid},
        socketio::packet::PEEK_BYTES,
        websocket::frame::OpCode,
    },
};

#[test]
fn a_connect_with_a_pid_waits_for_the_session_that_it_names() {
    let open = || World::without_auth(|config| config.session.resume = Period::from_secs(30));
    let connect = format!(r#"40{{"pid":"{}","offset":"7","lesson":7}}"#, Pid::as_str(&id(9)));
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
        let (peer, identity, connect) =
            (world.view().peer(), Identity::anonymous(), br#"{"lesson":7}"#.to_vec().into());
        let returning = Returning { pid, claim, sid, peer, identity, connect };
        let done = match expected {
            Fate::HandOver => vec![Action::HandOver(Box::new(returning))],
            _ => vec![Action::Dial { again: false }, Action::Opened],
        };
        assert_eq!(world.done(), done, "{answer:?}");
    }
}

#[test]
fn a_connect_counts_while_it_waits_for_the_session_that_it_names() {
    for (adds, least) in [(5000, 5000), (0, 0)] {
        let mut world = World::without_auth(|config| config.session.resume = Period::from_secs(30));
        let connect = format!(r#"40{{"pid":"{}","adds":"{}"}}"#, Pid::as_str(&id(9)), "x".repeat(adds));
        let before = world.view().memory();
        assert!(matches!(world.client(&connect), Fate::Wait(_)));
        let kept = world.view().memory() - before;
        assert!((least..least + 200).contains(&kept), "{kept}");
    }
}

fn resumable() -> World {
    World::joined(|config| config.session.resume = Period::from_secs(30))
}

fn returning(world: &World, namespace: &str) -> Returning {
    let claim = Claim { user: None, namespace: namespace.into(), offset: None };
    let (peer, identity) = (world.view().peer(), Identity::anonymous());
    Returning { pid: id(9), claim, sid: id(1), peer, identity, connect: Vec::new().into() }
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
    assert_eq!(world.service_got(), [""; 0]);
    world.service(r#"40/chat,{"sid":"b"}"#);
    assert_eq!(world.service_got(), ["41/chat,"]);
    world.event(Event::Returned(returning(&world, "/")));
    assert_eq!(world.client("40/chat,"), Fate::Drop);
    assert_eq!((world.ended(), world.service_got()), (None, vec!["40/chat,".to_owned()]));
}

#[test]
fn a_service_that_is_back_hears_the_connect_with_which_the_client_has_come_back() {
    for comes_back in [true, false] {
        let mut world = World::without_auth(|config| config.session.resume = Period::from_secs(30));
        world.client(r#"40{"n":1}"#);
        world.opens();
        world.service(r#"40{"sid":"a"}"#);
        world.client(r#"40/chat,{"n":1}"#);
        world.service(r#"40/chat,{"sid":"b"}"#);
        world.event(Event::Lost(Ended::ClientLost));
        if comes_back {
            world
                .event(Event::Returned(Returning { connect: br#"{"n":2}"#.to_vec().into(), ..returning(&world, "/") }));
            world.client(&format!(r#"40/chat,{{"pid":"{}","offset":"0","n":2}}"#, Pid::as_str(&id(9))));
        }
        assert!(world.loses(Ended::ServiceLost));
        world.passes(Duration::ZERO);
        world.forget_what_was_said();
        world.opens();
        let said = if comes_back { 2 } else { 1 };
        let expected = [format!(r#"40{{"n":{said}}}"#), format!(r#"40/chat,{{"n":{said}}}"#)];
        assert_eq!(world.service_got(), expected);
    }
}

#[test]
fn what_is_kept_of_the_connects_of_clients_that_come_back_is_bounded() {
    for (len, is_kept) in [(300, false), (100, true)] {
        let mut world = World::joined(|config| {
            config.session.resume = Period::from_secs(30);
            config.socketio.max_connect = ByteSize(50);
        });
        world.event(Event::Lost(Ended::ClientLost));
        world.event(Event::Returned(Returning { connect: vec![b' '; len].into(), ..returning(&world, "/") }));
        assert_eq!(world.ended(), (!is_kept).then_some(Ended::Unrecovered));
    }
}

#[test]
fn a_client_comes_back_to_all_of_its_namespaces_with_connects_as_long_as_before() {
    let others = ["/a", "/b", "/c", "/d"];
    let (said, longer) = (|n: u8| format!(r#""auth":"{n}{}""#, "x".repeat(200)), "x".repeat(100));
    for (adds, ended) in [("", None), (&*longer, Some(Ended::Unrecovered))] {
        let mut world = World::without_auth(|config| {
            config.session.resume = Period::from_secs(30);
            config.socketio.max_connect = ByteSize(270);
        });
        world.client(&format!("40{{{}}}", said(1)));
        world.opens();
        world.service(r#"40{"sid":"a"}"#);
        for name in others {
            world.client(&format!("40{name},{{{}}}", said(1)));
            world.service(&format!(r#"40{name},{{"sid":"a"}}"#));
        }
        world.forget_what_was_said();
        world.event(Event::Lost(Ended::ClientLost));
        let connect = format!("{{{}{adds}}}", said(2)).into_bytes();
        world.event(Event::Returned(Returning { connect: connect.into(), ..returning(&world, "/") }));
        assert_eq!(world.ended(), ended, "{adds}");
        if ended.is_some() {
            continue;
        }
        for name in others {
            world.client(&format!(r#"40{name},{{"pid":"{}",{}}}"#, Pid::as_str(&id(9)), said(2)));
        }
        assert_eq!((world.ended(), world.service_got()), (None, Vec::new()), "nothing is joined anew");
    }
}

#[test]
fn a_client_that_comes_back_from_another_network_has_the_limits_of_that() {
    for (address, passes) in [("192.0.2.7", 3), ("127.0.0.1", 0)] {
        let mut world = World::joined(|config| {
            config.session.resume = Period::from_secs(30);
            config.rate_limit = vec![RateLimitTable { scope: Scope::Ip, messages: 3, ..RateLimitTable::default() }];
        });
        let passed = |world: &mut World| (0..9).filter(|_| world.client(r#"42["x"]"#) == Fate::Pass).count();
        assert_eq!(passed(&mut world), 3);
        world.event(Event::Lost(Ended::ClientLost));
        world.event(Event::Returned(Returning { peer: address.parse().unwrap(), ..returning(&world, "/") }));
        assert_eq!(passed(&mut world), passes, "{address}");
    }
}

#[test]
fn a_client_that_takes_nothing_may_come_back_and_one_for_which_too_much_waits_may_not() {
    for (why, ended) in [(Ended::ClientStalled, None), (Ended::SlowReader, Some(Ended::SlowReader))] {
        let mut world = resumable();
        world.event(Event::Lost(why));
        assert_eq!(world.ended(), ended);
        assert_eq!(world.session.takes_back(&returning(&world, "/").claim), ended.is_none());
        let detached = world.done().contains(&Action::Detach(Side::Client, why));
        assert_eq!(detached, ended.is_none());
    }
}

#[test]
fn the_offset_of_an_earlier_session_counts_as_none() {
    let mut world = resumable();
    for n in 0..3 {
        world.service(&format!(r#"42["e",{n}]"#));
    }
    let numbers: Vec<u64> = world.client_got().iter().filter_map(|text| read(text).1).collect();
    assert!(numbers.len() == 3 && numbers.is_sorted());
    world.event(Event::Lost(Ended::ClientLost));
    for (offset, missed) in [(0, 3), (numbers[0] - 1, 3), (numbers[0], 2), (numbers[2], 0), (numbers[2] + 1, 3)] {
        let mut returning = returning(&world, "/");
        returning.claim.offset = Some(offset);
        assert!(world.session.takes_back(&returning.claim));
        world.event(Event::Returned(returning));
        assert_eq!(world.client_got().len(), missed + 1, "{offset}, and the answer to CONNECT");
        world.event(Event::Lost(Ended::ClientLost));
    }
}

/// The `pid` of the last answer to CONNECT.
fn pid_said(world: &mut World) -> String {
    pid_in(&world.client_got().into_iter().rfind(|text| text.starts_with("40")).unwrap())
}

#[test]
fn a_client_with_another_socket_than_it_had_gets_another_pid_and_comes_back_with_that_too() {
    let mut world = World::without_auth(|config| config.session.resume = Period::from_secs(30));
    world.client("40");
    world.opens();
    world.service(r#"40{"sid":"first"}"#);
    let first = pid_said(&mut world);
    assert_eq!(first, Pid::as_str(&id(9)));
    // The service is back and does not know it.
    assert!(world.loses(Ended::ServiceLost));
    world.passes(Duration::ZERO);
    world.opens();
    world.service(r#"40{"sid":"second"}"#);
    let second = pid_said(&mut world);
    assert_ne!(second, first, "its recovered is false");
    // It comes back to the socket that it has.
    world.event(Event::Lost(Ended::ClientLost));
    world.event(Event::Returned(returning(&world, "/")));
    assert_eq!(pid_said(&mut world), second, "its recovered is true");
    // The service is lost and back while it is absent.
    world.event(Event::Lost(Ended::ClientLost));
    assert!(world.loses(Ended::ServiceLost));
    world.passes(Duration::ZERO);
    world.opens();
    world.service(r#"40{"sid":"third"}"#);
    world.event(Event::Returned(returning(&world, "/")));
    let third = pid_said(&mut world);
    assert_ne!(third, second);
    // It leaves, and joins again.
    world.client("41");
    world.client(&format!(r#"40{{"pid":"{third}","offset":"0"}}"#));
    world.service(r#"40{"sid":"fourth"}"#);
    assert_ne!(pid_said(&mut world), third);
}

/// A client whose service is back, and has yet to answer the CONNECT that was said to it again.
fn rejoining(resume: Period) -> (World, String) {
    let mut world = World::without_auth(|config| config.session.resume = resume);
    world.client("40");
    world.opens();
    world.service(r#"40{"sid":"first"}"#);
    let first = world.client_got().concat();
    assert!(world.loses(Ended::ServiceLost));
    world.passes(Duration::ZERO);
    world.opens();
    world.forget_what_was_said();
    (world, first)
}

#[test]
fn the_first_of_two_answers_is_for_the_socket_that_was_left() {
    let (mut world, first) = rejoining(Period::from_secs(30));
    // It leaves before the answer has come, and asks again.
    world.client("41");
    let again = format!(r#"40{{"pid":"{}"}}"#, pid_in(&first));
    world.client(&again);
    assert_eq!((world.ended(), world.service_got()), (None, Vec::new()));
    world.service(r#"40{"sid":"second"}"#);
    assert_eq!((world.client_got(), world.service_got()), (Vec::new(), vec!["41".to_owned(), again]));
    world.service(r#"40{"sid":"third"}"#);
    assert_ne!(pid_said(&mut world), pid_in(&first), "its recovered is false");
}

#[test]
fn an_answer_that_comes_when_the_client_has_left_is_not_told() {
    for resume in [Period::OFF, Period::from_secs(30)] {
        let (mut world, _) = rejoining(resume);
        world.client("41");
        world.service(r#"40{"sid":"second"}"#);
        assert_eq!((world.ended(), world.client_got().len()), (None, 0));
        world.client("40");
        world.service(r#"40{"sid":"third"}"#);
        assert!(world.client_got().concat().contains("third"));
    }
}

#[test]
fn a_client_that_joins_again_without_its_pid_does_not_know_recovery() {
    for knows in [true, false] {
        let mut world = World::joined(|config| config.session.resume = Period::from_secs(30));
        let pid: Pid = id(9);
        world.client("41");
        world.client(&if knows { format!(r#"40{{"pid":"{}"}}"#, pid.as_str()) } else { "40".to_owned() });
        world.service(r#"40{"sid":"second"}"#);
        world.forget_what_was_said();
        world.service(r#"42["news",1]"#);
        let is_as_it_was = world.client_got() == [r#"42["news",1]"#];
        assert_eq!(is_as_it_was, !knows, "its events have no number where nobody knows what that is");
    }
}

/// As a client without a session to come back to gets it, where it passes as it is.
#[test]
fn a_long_packet_of_the_service_reaches_a_client_that_may_return_to_its_end() {
    let long = "x".repeat(PEEK_BYTES);
    for packet in [format!(r#"437["{long}"]"#), format!(r#"44/new,{{"message":"{long}"}}"#)] {
        let mut world = resumable();
        world.client(r#"427["question"]"#);
        world.client("40/new,");
        world.forget_what_was_said();
        let bytes = &packet.as_bytes()[..PEEK_BYTES];
        let shown = Message { opcode: OpCode::Text, bytes, len: packet.len(), complete: false, here: true };
        assert_eq!(world.session.message(Side::Service, &shown, world.now).0, Fate::Gather, "{}", &packet[..9]);
        world.service(&packet);
        assert_eq!(world.client_got(), [packet]);
    }
}

/// Official clients leave if none comes within the times of their handshake.
#[test]
fn a_client_is_pinged_as_it_was_told_and_one_that_is_back_as_it_is_told_then() {
    let mut world = resumable();
    world.reloads(|config| {
        config.auth.required = false;
        config.session.resume = Period::from_secs(30);
        config.socketio.ping_interval = Period::from_secs(60);
    });
    let is_pinged = |world: &mut World, seconds| {
        for _ in 0..seconds {
            world.service("2");
            world.passes(Duration::from_secs(1));
        }
        let is_pinged = mem::take(&mut world.at_client) == ["2"];
        world.client("3");
        is_pinged
    };
    assert!(is_pinged(&mut world, 25) && is_pinged(&mut world, 25));
    world.event(Event::Lost(Ended::ClientLost));
    world.event(Event::Returned(returning(&world, "/")));
    world.forget_what_was_said();
    assert!(!is_pinged(&mut world, 59) && is_pinged(&mut world, 1));
}
