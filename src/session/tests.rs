//! Conversations with the state machine, on a clock of the test.

use std::time::Duration;

use proptest::prelude::*;

use self::world::World;
use super::{
    action::Action,
    ended::Ended,
    event::Event,
    message::{Answered, Fate, Message, Note, Side, Until},
    plain::PlainRules,
    question::Question,
};
use crate::{
    policy::token_source::{Token, TokenSources},
    units::Period,
    wire::websocket::{close::CloseCode, frame::OpCode},
};

const LIMITED: &str = r#"{"error":"Rate limit exceeded. Please slow down.","rateLimited":true}"#;

/// A token that a request shows beside the session.
fn shown(token: &str) -> Token {
    let sources = TokenSources::compile(&["connect:t".to_owned()]).unwrap();
    sources.from_connect(serde_json::json!({ "t": token }).to_string().as_bytes()).unwrap().unwrap()
}

/// The code that the client was refused with, and the form of the answer.
fn refused(world: &World) -> Option<(&'static str, Answered)> {
    match &world.note {
        Note::Refused(refused) => Some((refused.refusal.code, refused.answer)),
        _ => None,
    }
}

#[test]
fn a_client_without_a_token_gets_connect_error_and_the_service_gets_nothing() {
    let mut world = World::new(|_| ());
    assert_eq!(world.client("40"), Fate::Drop);
    assert_eq!(refused(&world), Some(("auth.missing", Answered::WithPacket)));
    let error = r#"44{"message":"Authentication token required","data":{"code":"auth.missing"}}"#;
    assert_eq!((world.client_got(), world.done()), (vec![error.to_owned()], Vec::new()));
}

#[test]
fn a_bad_token_is_refused_and_a_good_one_dials() {
    let mut world = World::new(|_| ());
    world.client(r#"40{"token":"not.a.token"}"#);
    assert_eq!(refused(&world), Some(("auth.invalid", Answered::WithPacket)));
    let error = r#"44{"message":"Invalid authentication token","data":{"code":"auth.invalid"}}"#;
    assert_eq!(world.client_got(), [error]);
    let connect = format!(r#"40{{"token":"{}"}}"#, world.token(Duration::from_secs(60)));
    world.client(&connect);
    assert_eq!(world.done(), [Action::Dial { again: false }, Action::Opened]);
    assert_eq!(world.view().identity().and_then(|identity| identity.user()), Some("ada"));
    world.opens();
    assert_eq!(world.service_got(), [connect], "sent once the service is open");
}

#[test]
fn an_open_session_ends_with_its_token() {
    let mut world = World::new(|_| ());
    let connect = format!(r#"40{{"token":"{}"}}"#, world.token(Duration::from_secs(5)));
    world.client(&connect);
    let lives = world.session.deadline() - world.now.instant;
    assert!(lives > Duration::from_secs(3) && lives <= Duration::from_secs(5), "{lives:?}");
    world.passes(lives - Duration::from_millis(1));
    assert_eq!(world.ended(), None);
    world.passes(Duration::from_millis(1));
    assert_eq!(world.ended(), Some(Ended::TokenExpired));
}

#[test]
fn a_token_ends_its_session_by_whichever_clock_comes_first() {
    let hour = Duration::from_secs(3600);
    let open = || {
        let mut world = World::new(|_| ());
        let connect = format!(r#"40{{"token":"{}"}}"#, world.token(hour));
        world.client(&connect);
        world.opens();
        world.service(r#"40{"sid":"a"}"#);
        world
    };
    let mut forward = open();
    forward.clock_is_set(|wall| wall + hour);
    forward.passes(Duration::ZERO);
    assert_eq!(forward.ended(), Some(Ended::TokenExpired));

    // Half an hour forward leaves half of it, ...
    let mut world = open();
    world.clock_is_set(|wall| wall + hour / 2);
    world.passes(Duration::ZERO);
    let lives = world.session.deadline() - world.now.instant;
    assert!(world.ended().is_none() && lives <= hour / 2, "{lives:?}");
    // ... which a jump back does not prolong.
    world.clock_is_set(|wall| wall - hour);
    for _ in 0..120 {
        world.passes_with_a_heartbeat(Duration::from_secs(16));
        world.service("2");
    }
    assert_eq!(world.ended(), Some(Ended::TokenExpired));
}

#[test]
fn no_other_deadline_depends_on_the_wall_clock() {
    let hour = Duration::from_secs(3600);
    for jumps in [1, -1] {
        let mut world = World::joined(|config| {
            config.session.resume = crate::units::Period::from_secs(30);
            config.auth.required = false;
        });
        let jump = |wall| if jumps > 0 { wall + hour } else { wall - hour };
        let before = world.session.deadline();
        world.clock_is_set(jump);
        world.passes(Duration::ZERO);
        assert_eq!((world.ended(), world.session.deadline()), (None, before));
        world.event(Event::Lost(Ended::ClientLost));
        let before = world.session.deadline();
        world.clock_is_set(jump);
        world.passes(Duration::ZERO);
        assert_eq!((world.ended(), world.session.deadline()), (None, before), "it waits for its client");
    }
}

#[test]
fn the_101st_packet_in_a_window_is_answered_and_does_not_pass() {
    let mut world = World::joined(|_| ());
    for id in 0..100 {
        assert_eq!(world.client(&format!(r#"42{id}["agent:learning",{{}}]"#)), Fate::Pass);
    }
    assert_eq!(world.client(r#"42100["agent:learning",{}]"#), Fate::Drop);
    assert_eq!(refused(&world), Some(("rate_limit", Answered::WithPacket)));
    assert_eq!((world.client_got(), world.service_got().len()), (vec![format!("43100[{LIMITED}]")], 100));
}

#[test]
fn refused_packets_without_an_ack_are_answered_once_per_window() {
    let mut world = World::joined(|_| ());
    for _ in 0..150 {
        world.client(r#"42["agent:learning",{}]"#);
    }
    assert_eq!(world.client_got(), [format!(r#"42["rate_limited",{LIMITED}]"#)]);
}

#[test]
fn a_binary_event_is_dropped_together_with_its_attachments() {
    let mut world = World::joined(|_| ());
    for _ in 0..100 {
        world.client(r#"42["x"]"#);
    }
    let binary = r#"452-9["audio",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    world.client(binary);
    assert_eq!(refused(&world), Some(("rate_limit", Answered::WithPacket)));
    for _ in 0..2 {
        world.attaches(b"bytes");
        assert_eq!(refused(&world), Some(("with_its_packet", Answered::Silently)));
    }
    assert_eq!((world.client_got(), world.service_got().len()), (vec![format!("439[{LIMITED}]")], 100));
    world.attaches(b"one that was not announced");
    assert_eq!(world.ended(), Some(Ended::ClientPacket("attachment_stray")));
}

#[test]
fn packets_that_no_official_client_sends_end_the_session() {
    let cases: [(&[&str], &str); 8] = [
        (&[r#"42["too-early"]"#], "namespace_not_joined"),
        (&["40", "40"], "connect_twice"),
        (&["40/a,", r#"42/b,["x"]"#], "namespace_not_joined"),
        (&["40", r#"42["before-the-answer"]"#], "namespace_not_joined"),
        (&["40", "41"], "namespace_not_joined"),
        (&["2"], "engineio_packet"),
        (&["4"], "unknown_type"),
        (&[""], "engineio_packet"),
    ];
    for (packets, rule) in cases {
        let mut world = World::without_auth(|_| ());
        for packet in packets {
            world.client(packet);
        }
        assert_eq!(world.ended(), Some(Ended::ClientPacket(rule)), "{packets:?}");
        assert_eq!(world.service_got(), [""; 0]);
    }
}

#[test]
fn text_between_a_packet_and_its_attachments_ends_the_session() {
    let mut world = World::joined(|_| ());
    world.client(r#"451-["x",{"_placeholder":true,"num":0}]"#);
    world.client(r#"42["x"]"#);
    assert_eq!(world.ended(), Some(Ended::ClientPacket("attachment_missing")));
    assert_eq!(world.service_got(), [""; 0]);
}

#[test]
fn an_ack_passes_only_if_the_service_asked_for_it() {
    let mut world = World::joined(|_| ());
    assert_eq!((world.client("430[1]"), refused(&world)), (Fate::Drop, Some(("ack_unknown", Answered::Silently))));
    world.service(r#"420["question"]"#);
    assert_eq!(world.client("430[1]"), Fate::Pass);
    assert_eq!(world.client("430[1]"), Fate::Drop);
}

#[test]
fn latency_is_measured_from_the_packet_to_its_ack() {
    let mut world = World::joined(|_| ());
    world.client(r#"427["agent:learning",{}]"#);
    let Note::Event(slot) = world.note else { panic!("{:?}", world.note) };
    world.passes(Duration::from_millis(12));
    world.service(r#"437[{"success":true}]"#);
    assert_eq!(world.note, Note::Acknowledged(slot, Duration::from_millis(12)));
    world.service(r#"437[{"success":true}]"#);
    assert_eq!(world.note, Note::None);
}

#[test]
fn a_namespace_that_is_not_allowed_is_refused_and_the_others_stay_joined() {
    let mut world = World::without_auth(|config| {
        config.socketio.namespaces = vec!["/".to_owned(), "/chat*".to_owned()];
    });
    world.client("40");
    world.client("40/chat-1,");
    world.client("40/admin,");
    assert_eq!(world.client_got(), [r#"44/admin,{"message":"Invalid namespace","data":{"code":"forbidden"}}"#]);
    world.opens();
    assert_eq!(world.service_got(), ["40", "40/chat-1,"]);
}

#[test]
fn a_client_that_joins_nothing_is_closed() {
    let mut world = World::without_auth(|_| ());
    world.passes(Duration::from_secs(25));
    assert_eq!(world.at_client, ["2"]);
    world.client("3");
    assert_eq!(world.note, Note::RoundTrip(Duration::ZERO));
    world.passes(Duration::from_secs(20));
    assert_eq!(world.ended(), Some(Ended::ConnectTimeout));
}

#[test]
fn a_connect_waits_for_a_key_until_one_is_there_or_the_wait_times_out() {
    // The keys of this server are never fetched, so they are pending until the wait is over.
    let mut world = World::new(|config| {
        config.auth.secret = None;
        config.auth.jwks_url = Some("https://issuer.test/jwks".to_owned());
        config.auth.algorithms = vec!["ES256".to_owned()];
    });
    // {"alg":"ES256"} and any claims: no key is known to verify it with.
    let connect = r#"40{"token":"eyJhbGciOiJFUzI1NiJ9.e30.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
    let Fate::Wait(Until::Answer(ticket, at_latest)) = world.client(connect) else { panic!("no wait") };
    assert_eq!(at_latest, world.now.instant + Duration::from_secs(5));
    assert_eq!(world.done(), [Action::Ask(ticket, Question::Keys)]);
    world.passes(Duration::from_secs(4));
    let Fate::Wait(Until::Answer(other, still)) = world.client(connect) else { panic!("no second wait") };
    assert!(other != ticket && still == at_latest, "a fetch that brought no key does not prolong the wait");
    world.passes(Duration::from_secs(1));
    assert_eq!(world.client(connect), Fate::Drop);
    assert_eq!(refused(&world), Some(("auth.keys_unavailable", Answered::ByClosing)));
}

#[test]
fn each_ping_is_answered_and_a_flood_ends_the_session() {
    let mut world = World::joined(|_| ());
    for payload in [&b""[..], b"a", &[0xff; 125]] {
        world.event(Event::Control(Side::Client, OpCode::Ping, payload));
        world.event(Event::Control(Side::Service, OpCode::Ping, payload));
        let pong = [format!("Pong {payload:?}")];
        assert_eq!((world.client_got(), world.service_got()), (pong.to_vec(), pong.to_vec()));
    }
    let flood = |side, opcode| {
        let mut world = World::joined(|_| ());
        for _ in 0..100 {
            world.event(Event::Control(side, opcode, b"x"));
        }
        world.ended()
    };
    let client = flood(Side::Client, OpCode::Ping);
    assert_eq!(client, Some(Ended::ClientFrame(CloseCode::POLICY, "control_rate")));
    assert_eq!(flood(Side::Client, OpCode::Pong), client, "unsolicited pongs count too");
    let service = flood(Side::Service, OpCode::Ping);
    assert_eq!(service, Some(Ended::ServiceFrame(CloseCode::POLICY, "control_rate")));
}

#[test]
fn pongs_that_cannot_be_sent_do_not_pile_up() {
    let mut world = World::joined(|_| ());
    for n in 0..1000_u64 {
        world.now.instant += Duration::from_millis(200);
        world.session.event(Event::Control(Side::Client, OpCode::Ping, &n.to_be_bytes()), world.now);
    }
    assert_eq!(world.ended(), None);
    world.passes(Duration::ZERO);
    let waiting = world.client_got();
    let pong = |n: u64| format!("Pong {:?}", n.to_be_bytes());
    assert_eq!((waiting.len(), waiting.first(), waiting.last()), (16, Some(&pong(0)), Some(&pong(999))));
}

#[test]
fn a_fragmented_message_has_thirty_seconds() {
    let seconds = Duration::from_secs;
    let mut world = World::plain(PlainRules::default(), |config| config.auth.required = false);
    // Each is complete in time, although one is always unfinished.
    for _ in 0..5 {
        world.client("complete");
        world.event(Event::Control(Side::Client, OpCode::Pong, b""));
        world.event(Event::Fragments);
        world.passes(seconds(20));
        assert_eq!(world.ended(), None);
    }
    // The next fragments of the last one do not extend its time.
    world.event(Event::Control(Side::Client, OpCode::Pong, b""));
    world.event(Event::Fragments);
    assert!(world.session.deadline() <= world.now.instant + seconds(10));
    world.passes(seconds(10));
    assert_eq!(world.ended(), Some(Ended::ClientFrame(CloseCode::POLICY, "frame_fragments")));
}

#[test]
fn a_close_passes_with_its_reason() {
    let mut world = World::joined(|config| config.session.hold = crate::units::Period::OFF);
    world.event(Event::Control(Side::Service, OpCode::Close, b"\x03\xe8done"));
    assert_eq!(world.ended(), Some(Ended::ServiceClosed(CloseCode::NORMAL)));
    assert_eq!(world.view().close_reason(), "done");
    let mut world = World::joined(|_| ());
    world.event(Event::Control(Side::Client, OpCode::Close, b"\x03"));
    assert!(matches!(world.ended(), Some(Ended::ClientFrame(CloseCode::PROTOCOL, "frame_protocol"))));
}

proptest! {
    /// For any packets in any order: no more events pass than the rule allows, and an attachment passes only with its
    /// packet.
    #[test]
    fn no_order_of_packets_gets_more_through(packets in prop::collection::vec(0..7_u8, 1..400)) {
        let mut world = World::joined(|_| ());
        for packet in packets {
            match packet {
                0 => { world.client(r#"42["a"]"#); }
                1 => { world.client(r#"421["a"]"#); }
                2 => { world.client(r#"451-["a",{"_placeholder":true,"num":0}]"#); }
                3 => { world.client("430[1]"); }
                4 => { world.service(r#"420["q"]"#); }
                5 => world.passes(Duration::ZERO),
                _ => { world.attaches(b"x"); }
            }
            if world.ended().is_some() {
                break;
            }
        }
        let got = world.service_got();
        prop_assert!(got.iter().filter(|text| text.contains("\"a\"")).count() <= 100);
        for (at, text) in got.iter().enumerate() {
            prop_assert_eq!(text == "<1 bytes>", at > 0 && got[at - 1].starts_with("45"), "{:?}", got);
        }
    }
}

#[test]
fn a_client_joins_and_leaves_only_so_often() {
    let mut world = World::joined(|config| {
        config.socketio.joins = 4;
        config.socketio.joins_per = Period::from_secs(8);
    });
    let joins = |world: &mut World, count: usize| {
        for _ in 0..count {
            world.client("40/chat,");
            world.service(r#"40/chat,{"sid":"s"}"#);
            world.client("41/chat,");
        }
        std::mem::take(&mut world.at_service).iter().filter(|packet| packet.starts_with("40")).count()
    };
    assert_eq!((joins(&mut world, 4), world.ended()), (4, None));
    world.passes(Duration::from_secs(4));
    assert_eq!((joins(&mut world, 2), world.ended()), (2, None), "as many as have come back");
    assert_eq!(world.client("40/chat,"), Fate::Drop);
    assert_eq!(refused(&world), Some(("join_rate", Answered::ByClosing)));
    assert_eq!(world.ended().and_then(Ended::setting), Some("socketio.joins"));
    assert!(world.service_got().is_empty() && world.client_got().iter().all(|packet| !packet.starts_with("44")));
}

mod absence;
mod bounds;
mod bridged;
mod elsewhere;
mod held;
mod identities;
mod late;
mod offers;
mod payloads;
mod quality;
mod refusals;
mod resumed;
mod returns;
mod revocation;
mod rooms;
mod snapshots;
mod spellings;
pub(super) mod world;
