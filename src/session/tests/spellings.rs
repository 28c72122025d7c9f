//! Packets in other spellings than official clients write: what they mean is judged, and the official spelling goes on.

use std::time::Duration;

use super::{world::World, *};
use crate::policy::rate_limit::RateLimitTable;

/// What a client may write, and what the service gets.
const EVENTS: [(&str, &str); 6] = [
    (r#"42/,["a"]"#, r#"42["a"]"#),
    (r#"42/,7["a",1]"#, r#"427["a",1]"#),
    (r#"42008["a"]"#, r#"428["a"]"#),
    ("429 [\"a\"]", r#"429["a"]"#),
    ("42/chat,0010\t[ \"b\" ]", r#"42/chat,10[ "b" ]"#),
    (r#"42/,011[12,"x"]"#, r#"4211[12,"x"]"#),
];

/// A client that has joined `/` and `/chat`.
fn joined() -> World {
    let mut world = World::joined(|config| config.rate_limit.clear());
    world.client("40/chat,");
    world.service(r#"40/chat,{"sid":"c"}"#);
    world.forget_what_was_said();
    world
}

#[test]
fn events_pass_in_their_official_spelling() {
    let mut world = joined();
    for (said, expected) in EVENTS {
        assert!(matches!(world.client(said), Fate::PassAs(_, None)), "{said}");
        assert_eq!(world.service_got(), [expected], "{said}");
    }
    assert_eq!(world.ended(), None);
}

#[test]
fn what_waits_for_the_service_waits_in_its_official_spelling() {
    let mut world = joined();
    assert!(world.loses(Ended::ServiceLost));
    world.forget_what_was_said();
    for (said, _) in EVENTS {
        assert_eq!(world.client(said), Fate::Drop, "{said}");
    }
    world.passes(Duration::ZERO);
    world.opens();
    world.service(r#"40{"sid":"second"}"#);
    world.service(r#"40/chat,{"sid":"c2"}"#);
    world.answers_pings();
    let expected = EVENTS.map(|(_, expected)| expected);
    assert_eq!(world.service_got()[2..], expected);
}

#[test]
fn packets_with_attachments_go_on_in_their_official_spelling() {
    let mut world = joined();
    for (said, expected) in [
        (r#"4501-/,["b",{"_placeholder":true,"num":0}]"#, r#"451-["b",{"_placeholder":true,"num":0}]"#),
        (r#"451-/chat,003["b",{"_placeholder":true,"num":0}]"#, r#"451-/chat,3["b",{"_placeholder":true,"num":0}]"#),
    ] {
        world.client(said);
        world.attaches(&[1, 2]);
        assert_eq!(world.service_got(), [expected, "<2 bytes>"], "{said}");
    }
}

#[test]
fn acks_go_on_in_their_official_spelling_also_to_a_service_that_numbers_anew() {
    let mut world = joined();
    world.service(r#"425["asks"]"#);
    assert!(matches!(world.client("43/,05[1]"), Fate::PassAs(..)));
    assert_eq!(world.service_got(), ["435[1]"]);

    assert!(world.loses(Ended::ServiceLost));
    world.passes(Duration::ZERO);
    world.opens();
    world.service(r#"40{"sid":"second"}"#);
    world.service(r#"40/chat,{"sid":"c2"}"#);
    world.service(r#"42/chat,0["asks"]"#);
    let asked = world.client_got().pop().unwrap();
    assert_eq!(asked, r#"42/chat,6["asks"]"#);
    world.forget_what_was_said();
    world.client("43/chat,006 [1]");
    assert_eq!(world.service_got(), ["43/chat,0[1]"]);
}

#[test]
fn an_ack_without_an_id_answers_nothing() {
    let mut world = joined();
    world.service(r#"420["asks"]"#);
    assert_eq!(world.client("43[1]"), Fate::Drop);
    assert_eq!(refused(&world), Some(("ack_unknown", Answered::Silently)));
    assert!(matches!(world.client("430[1]"), Fate::Pass));
    assert_eq!((world.service_got(), world.ended()), (vec!["430[1]".to_owned()], None));
}

#[test]
fn a_client_joins_and_leaves_in_any_spelling() {
    let rows = [
        ("40/,", "40"),
        ("40/", "40"),
        ("40 ", "40"),
        ("4012", "40"),
        (r#"40/,{"x":"t"}"#, r#"40{"x":"t"}"#),
        ("40 {\"x\":\"t\"} \n", r#"40{"x":"t"}"#),
        ("40/a", "40/a,"),
        (r#"40/a, {"x":"t"}"#, r#"40/a,{"x":"t"}"#),
    ];
    let left = [("41/,", "41"), ("41/", "41"), ("41 ", "41"), ("417", "41"), ("41/a", "41/a,"), ("41/a, 7", "41/a,")];
    for (said, expected) in rows {
        // The first namespace: it is asked for when the service has opened.
        let mut world = World::without_auth(|_| ());
        assert_eq!(world.client(said), Fate::Drop);
        world.opens();
        assert_eq!(world.service_got(), [expected], "{said}");
        // Another one, while packets flow.
        let mut world = World::without_auth(|_| ());
        world.client("40/other,");
        world.opens();
        world.service(r#"40/other,{"sid":"o"}"#);
        world.forget_what_was_said();
        assert_eq!(world.client(said), Fate::Drop);
        assert_eq!(world.service_got(), [expected], "{said}");
        let name = if expected.contains("/a") { "/a," } else { "" };
        world.service(&format!(r#"40{name}{{"sid":"s"}}"#));
        for (said, expected) in left.iter().filter(|(_, expected)| expected[2..] == *name) {
            assert_eq!(world.client(said), Fate::Drop);
            assert_eq!(world.service_got(), [*expected], "{said}");
            world.client(&format!("40{name}"));
            world.service(&format!(r#"40{name}{{"sid":"s"}}"#));
            world.forget_what_was_said();
        }
        assert_eq!(world.ended(), None, "{said}");
    }
}

#[test]
fn a_limit_counts_an_event_in_whichever_spelling_it_comes() {
    let mut world = World::joined(|config| {
        let rule = |events: &[&str]| RateLimitTable {
            events: events.iter().map(|&event| event.to_owned()).collect(),
            messages: 3,
            per: Period::from_secs(3600),
            ..RateLimitTable::default()
        };
        config.rate_limit = vec![rule(&["a"]), rule(&["7*"])];
    });
    let passes = |world: &mut World, said: &str| world.client(said).passes();
    let sent = [r#"42["a"]"#, r#"42/,["a"]"#, r#"42001["\u0061"]"#, r#"42/,2 [ "a" ]"#, r#"42["a"]"#];
    assert_eq!(sent.map(|said| passes(&mut world, said)), [true, true, true, false, false]);
    let sent = ["42[7]", r#"42["7"]"#, "42/,[70,1]", "42[7]", r#"42["7"]"#];
    assert_eq!(sent.map(|said| passes(&mut world, said)), [true, true, true, false, false]);
    assert_eq!((passes(&mut world, "42[8]"), world.ended()), (true, None));
}

#[test]
fn packets_of_engine_io_that_mean_nothing_are_passed_over() {
    let mut world = joined();
    // An upgrade that nobody waits for, a noop, an open, pongs with data.
    for said in ["5", "6", "0", "0{}", "3", "3probe", "5 "] {
        assert_eq!(world.client(said), Fate::Drop, "{said}");
        assert_eq!(world.ended(), None, "{said}");
    }
    assert!(world.service_got().is_empty());
    assert!(world.client(r#"42["a"]"#).passes());
    // As a flood they are refused like any other.
    for _ in 0..100_000 {
        if world.client("5") != Fate::Drop {
            return;
        }
    }
    panic!("nothing slows this client down");
}

#[test]
fn what_node_refuses_too_ends_the_session() {
    for said in ["2", "2probe", "4", "7", "", "x", "44{}", "1x"] {
        let mut world = joined();
        world.client(said);
        assert!(world.ended().is_some(), "{said}");
        assert!(world.service_got().is_empty());
    }
}

#[test]
fn an_attachment_in_base64_goes_on_as_binary() {
    let mut world = joined();
    let packet = r#"452-["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    world.client(packet);
    assert_eq!(world.client("bAQIDBA=="), Fate::Drop);
    assert_eq!(world.client("b"), Fate::Drop);
    assert_eq!(world.service_got(), [packet, "<4 bytes>", "<0 bytes>"]);
    // In either form within one packet.
    world.client(packet);
    world.attaches(&[7]);
    world.client("bAQ==");
    assert_eq!(world.service_got(), [packet, "<1 bytes>", "<1 bytes>"]);
    assert_eq!(world.ended(), None);
}

#[test]
fn base64_that_is_no_attachment_ends_the_session() {
    for (said, cause) in [
        ("bAQ", "engineio_base64"),
        ("bAB==", "engineio_base64"),
        ("b_-_-", "engineio_base64"),
        ("bAQ==AQ==", "engineio_base64"),
        ("bé", "engineio_base64"),
    ] {
        let mut world = joined();
        world.client(r#"451-["b",{"_placeholder":true,"num":0}]"#);
        world.client(said);
        assert_eq!(world.ended().map(Ended::cause), Some(cause), "{said}");
        assert!(world.service_got().is_empty());
    }
    let mut world = joined();
    world.client("bAQID");
    assert_eq!(world.ended().map(Ended::cause), Some("attachment_stray"));
}

#[test]
fn an_attachment_in_base64_counts_by_its_bytes() {
    let head = r#"451-["b",{"_placeholder":true,"num":0}]"#;
    let room = 300;
    let attaches = |world: &mut World, bytes: usize, shown: Option<usize>| {
        let mut text = Vec::new();
        crate::wire::engineio::payload::write_binary(&vec![1; bytes], &mut text);
        let (complete, end) = (shown.is_none(), shown.unwrap_or(text.len()));
        let message = Message { opcode: OpCode::Text, bytes: &text[..end], len: text.len(), complete, here: true };
        world.session.message(Side::Client, &message, world.now).0
    };
    let joined = || {
        let mut world = World::joined(|config| {
            config.rate_limit.clear();
            config.socketio.max_payload = crate::units::ByteSize((head.len() + room) as u64);
        });
        world.client(head);
        world
    };
    let mut world = joined();
    attaches(&mut world, room, None);
    assert_eq!(world.ended(), None, "its text is longer than that");
    for shown in [None, Some(50)] {
        let mut world = joined();
        assert_eq!(attaches(&mut world, room + 5, shown), Fate::Drop);
        assert_eq!(world.ended().map(Ended::cause), Some("packet_too_big"), "shown {shown:?}");
    }
    assert_eq!(attaches(&mut joined(), room, Some(50)), Fate::Gather, "it is put together first");
}
