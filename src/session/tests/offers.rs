//! Which service events are mirrored to other nodes.

use super::world::World;
use crate::{
    config::Config,
    mirror::table::MirrorTable,
    policy::auth::revoked::unix_seconds,
    session::{
        action::{Action, Offered},
        ended::Ended,
        event::Event,
        message::{Fate, Message, Side},
    },
    units::Period,
    wire::websocket::frame::OpCode,
};

fn mirror(event: &str, room: &str) -> MirrorTable {
    MirrorTable { event: event.to_owned(), room: room.to_owned(), ..MirrorTable::default() }
}

fn with(mirrors: &[MirrorTable]) -> impl FnOnce(&mut Config) {
    let mirrors = mirrors.to_vec();
    |config: &mut Config| {
        config.redis = Some(Default::default());
        config.mirror = mirrors;
    }
}

/// What was offered since the last look: the number of the rule, the room, the JSON, the sizes of the attachments, the offset.
fn offers(world: &mut World) -> Vec<String> {
    let tell = |action| match action {
        Action::Offer(offered) => {
            let Offered { rule, namespace, room, json, attachments, offset } = *offered;
            let (room, json) = (room.as_deref().unwrap_or("*"), String::from_utf8(json).unwrap());
            let attachments: String = attachments.iter().map(|bytes| format!(" <{} bytes>", bytes.len())).collect();
            let offset = offset.map(|offset| format!(" at {offset}")).unwrap_or_default();
            Some(format!("{rule} {namespace} {room} {json}{attachments}{offset}"))
        }
        Action::NotOffered { rule, is_first } => Some(format!("{rule} not offered, {is_first}")),
        _ => None,
    };
    world.done().into_iter().filter_map(tell).collect()
}

#[test]
fn an_event_that_a_rule_names_passes_and_is_offered() {
    let mut world = World::joined(with(&[mirror("news", "*")]));
    assert_eq!(world.service(r#"42["news",{"a":1}]"#), Fate::Pass);
    assert_eq!(world.client_got(), [r#"42["news",{"a":1}]"#]);
    assert_eq!(offers(&mut world), [r#"0 / * ["news",{"a":1}]"#]);
}

#[test]
fn a_room_of_claims_is_named_by_the_token_of_the_namespace() {
    let of = |namespace: &str| MirrorTable { namespace: namespace.to_owned(), ..mirror("news", "tenant:{claims.tid}") };
    let mut world = World::new(with(&[of("/a"), of("/b")]));
    for (namespace, lives) in [("/a", 60), ("/b", 120)] {
        let exp = unix_seconds(world.now.wall()) + lives;
        let token = world.signed(&serde_json::json!({ "sub": "ada", "tid": &namespace[1..], "exp": exp }));
        world.client(&format!(r#"40{namespace},{{"token":"{token}"}}"#));
        if namespace == "/a" {
            world.opens();
        }
        world.service(&format!(r#"40{namespace},{{"sid":"s"}}"#));
    }
    world.done();
    world.service(r#"42/a,["news"]"#);
    world.service(r#"42/b,["news"]"#);
    assert_eq!(offers(&mut world), [r#"0 /a tenant:a ["news"]"#, r#"1 /b tenant:b ["news"]"#]);
}

#[test]
fn nothing_else_is_offered() {
    let mut world = World::joined(with(&[mirror("news", "*")]));
    world.client("40/chat,");
    world.client(r#"421["news"]"#);
    world.client(r#"42["news"]"#);
    for packet in [
        r#"40/chat,{"sid":"chat"}"#,
        r#"42["other"]"#,
        r#"427["news"]"#,
        r#"42/chat,["news"]"#,
        r#"431["news"]"#,
        "41/chat,",
    ] {
        world.service(packet);
    }
    assert_eq!(offers(&mut world), [""; 0]);

    let mut alone = World::joined(|config| config.mirror = vec![mirror("news", "*")]);
    alone.service(r#"42["news"]"#);
    assert_eq!(offers(&mut alone), [""; 0], "there is no other node");
}

#[test]
fn a_room_is_named_by_the_event_and_by_the_client_that_gets_it() {
    let rules = [
        mirror("news", "lesson:{arg0.lesson}"),
        mirror("n*", "user:{claims.sub}"),
        mirror("news", "lesson:{auth.lesson}:{arg1}"),
    ];
    let mut world = World::new(with(&rules));
    let connect = format!(r#"40{{"token":"{}","lesson":7}}"#, world.token(std::time::Duration::from_secs(60)));
    world.client(&connect);
    world.opens();
    world.service(r#"40{"sid":"first"}"#);
    world.service(r#"42["news",{"lesson":5},"x"]"#);
    let json = r#"["news",{"lesson":5},"x"]"#;
    assert_eq!(
        offers(&mut world),
        [format!("0 / lesson:5 {json}"), format!("1 / user:ada {json}"), format!("2 / lesson:7:x {json}")]
    );
}

#[test]
fn an_event_whose_room_cannot_be_named_is_told_of_once_and_counted() {
    let mut world = World::joined(with(&[mirror("news", "lesson:{arg0.lesson}")]));
    for packet in [r#"42["news"]"#, r#"42["news",{"lesson":{}}]"#, r#"42["news",{"lesson":5}]"#] {
        world.service(packet);
    }
    let json = r#"["news",{"lesson":5}]"#;
    let expected =
        ["0 not offered, true".to_owned(), "0 not offered, false".to_owned(), format!("0 / lesson:5 {json}")];
    assert_eq!(offers(&mut world), expected);
    assert_eq!(world.client_got().len(), 3, "the client gets all of them");
}

#[test]
fn an_event_is_offered_with_its_attachments() {
    let mut world = World::joined(with(&[mirror("picture", "*")]));
    let json = r#"["picture",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    world.service(&format!("452-{json}"));
    world.message(Side::Service, OpCode::Binary, b"one");
    assert_eq!(offers(&mut world), [""; 0]);
    world.message(Side::Service, OpCode::Binary, b"more");
    assert_eq!(offers(&mut world), [format!("0 / * {json} <3 bytes> <4 bytes>")]);
    assert_eq!(world.client_got().len(), 3);
    // The service is lost before the last one has come.
    world.service(&format!("452-{json}"));
    world.message(Side::Service, OpCode::Binary, b"one");
    assert!(world.loses(Ended::ServiceLost));
    world.opens();
    world.service(r#"40{"sid":"second"}"#);
    world.service(r#"451-["other",{"_placeholder":true,"num":0}]"#);
    world.message(Side::Service, OpCode::Binary, b"other");
    assert_eq!(offers(&mut world), [""; 0]);
}

#[test]
fn the_offset_of_a_service_that_numbers_its_events_is_taken_out() {
    let mut world = World::without_auth(with(&[mirror("news", "*"), mirror("news", "{arg1}")]));
    world.client("40");
    world.opens();
    world.service(r#"40{"sid":"first","pid":"secret"}"#);
    let ms = world.now.wall().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    world.service(&format!(r#"42["news",1,"{ms}-0"]"#));
    let offset = format!("{ms}-0");
    let expected = [format!(r#"0 / * ["news",1] at {offset}"#), "1 not offered, true".to_owned()];
    assert_eq!(offers(&mut world), expected);
    assert_eq!(world.client_got().last().unwrap(), &format!(r#"42["news",1,"{offset}"]"#), "the client needs it");
    // A volatile event has none: the last string is the application's.
    world.service(r#"42["news","chapter"]"#);
    assert_eq!(offers(&mut world)[0], r#"0 / * ["news","chapter"]"#);
}

#[test]
fn a_string_at_the_end_stays_where_the_service_does_not_number_its_events() {
    let mut world = World::joined(with(&[mirror("news", "*")]));
    let ms = world.now.wall().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    world.service(&format!(r#"42["news","{ms}-0"]"#));
    assert_eq!(offers(&mut world), [format!(r#"0 / * ["news","{ms}-0"]"#)]);
}

#[test]
fn what_an_absent_client_would_have_got_is_offered_as_the_service_said_it() {
    let mut world = World::joined(|config| {
        with(&[mirror("news", "*")])(config);
        config.session.resume = Period::from_secs(30);
    });
    world.service(r#"42["news",1]"#);
    assert_eq!(offers(&mut world), [r#"0 / * ["news",1]"#], "without the number that the client gets");
    world.event(Event::Lost(Ended::ClientLost));
    world.service(r#"42["news",2]"#);
    assert_eq!(offers(&mut world), [r#"0 / * ["news",2]"#]);
}

#[test]
fn only_what_is_offered_is_awaited_to_its_end() {
    let mut world = World::joined(with(&[mirror("news", "*")]));
    let long = "x".repeat(300);
    for (event, expected) in [("news", Fate::Gather), ("other", Fate::Pass)] {
        let text = format!(r#"42["{event}","{long}"#);
        let message =
            Message { opcode: OpCode::Text, bytes: text.as_bytes(), len: 100_000, complete: false, here: true };
        assert_eq!(world.session.message(Side::Service, &message, world.now).0, expected);
    }
}
