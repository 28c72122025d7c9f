//! Bridged routes: what a client says in JSON reaches a Socket.IO service as packets, and the other way round.

use std::{sync::Arc, time::Duration};

use super::{
    LIMITED, refused,
    world::{RESTARTED, World},
};
use crate::{
    policy::{auth::revoked::Whom, rate_limit::RateLimitTable},
    session::{
        action::Action,
        delivery::Delivery,
        ended::Ended,
        event::Event,
        message::{Answered, Fate, Message, Note, Reached, Side},
        route_answers::{Carries, RouteAnswers, RouteInForce},
    },
    units::Period,
    wire::websocket::{close::CloseCode, frame::OpCode},
};

const CONNECTED: &str = r#"{"type":"connected","sid":"first"}"#;

fn close(world: &World) -> (Option<u16>, &str) {
    let close = world.view().close_of_client(world.ended().unwrap());
    (close.code.map(CloseCode::get), close.reason)
}

#[test]
fn a_reload_says_with_which_code_an_open_session_is_closed() {
    let answers = Arc::new(RouteAnswers { limit: CloseCode::new(4429), ..RouteAnswers::default() });
    let route = |carries| RouteInForce { path: "/ws".into(), carries, answers: Arc::clone(&answers) };
    let mut world = World::bridge_joined(|_| ());
    for (carries, code) in [(Carries::Events, CloseCode::TRY_AGAIN), (Carries::Bridged, CloseCode::new(4429))] {
        world.reloads_routes(&[route(carries)], |_| ());
        assert_eq!(world.view().close_of_client(Ended::IdleTimeout).code, Some(code), "{carries:?}");
    }
}

#[test]
fn the_client_joins_with_its_token_and_what_it_says_before_follows() {
    let mut world = World::bridged("/chat", |_| ());
    assert_eq!(world.done(), [Action::Dial { again: false }, Action::Opened]);
    world.client(r#"{"type":"early","ackId":1,"n":1}"#);
    assert!(world.service_got().is_empty());
    world.opens();
    assert_eq!(world.service_got(), [r#"40/chat,{"lesson":"7","token":"t"}"#]);
    world.client(r#"{"type":"earlier","args":[2]}"#);
    assert!(world.service_got().is_empty(), "it is not in the namespace yet");
    world.service(r#"40/chat,{"sid":"first"}"#);
    assert_eq!(world.client_got(), [CONNECTED]);
    assert_eq!(world.service_got(), [r#"42/chat,1["early",{"n":1}]"#, r#"42/chat,["earlier",2]"#]);
    assert_eq!(world.view().identity().and_then(|identity| identity.user()), Some("ada"));
    assert_eq!((world.view().route(), world.view().namespaces()), (Some("/ws"), vec!["/chat".to_owned()]));
}

#[test]
fn events_and_acks_pass_both_ways() {
    let mut world = World::bridge_joined(|_| ());
    assert_eq!(world.client(r#"{"type":"say","text":"hi"}"#), Fate::Drop);
    assert!(matches!(world.note, Note::Event(_)), "{:?}", world.note);
    world.client(r#"{"type":"say","ackId":7,"args":["hi",1]}"#);
    assert_eq!(world.service_got(), [r#"42["say",{"text":"hi"}]"#, r#"427["say","hi",1]"#]);
    world.service(r#"437[{"success":true}]"#);
    assert!(matches!(world.note, Note::Acknowledged(..)), "{:?}", world.note);
    world.service(r#"42["said",{"text":"hi"}]"#);
    world.service(r#"420["question",5]"#);
    let expected = [
        r#"{"type":"ack","ackId":7,"args":[{"success":true}]}"#,
        r#"{"type":"said","text":"hi"}"#,
        r#"{"type":"question","ackId":0,"args":[5]}"#,
    ];
    assert_eq!(world.client_got(), expected);
    world.client(r#"{"type":"ack","ackId":0,"args":["answer"]}"#);
    assert_eq!(world.service_got(), [r#"430["answer"]"#]);
    world.client(r#"{"type":"ack","ackId":0,"args":["again"]}"#);
    assert!(world.service_got().is_empty(), "nobody asks for it any more");
    assert_eq!(refused(&world), Some(("ack_unknown", Answered::Silently)));
    assert_eq!(world.ended(), None);
}

#[test]
fn attachments_of_the_service_arrive_as_base64() {
    let mut world = World::bridge_joined(|_| ());
    world.service(r#"452-["n",{"a":{"_placeholder":true,"num":0},"b":{"_placeholder":true,"num":1}}]"#);
    world.message(Side::Service, OpCode::Binary, b"\x01\x02\x03");
    assert!(world.client_got().is_empty());
    world.message(Side::Service, OpCode::Binary, b"x");
    assert_eq!(world.client_got(), [r#"{"type":"n","a":"AQID","b":"eA=="}"#]);
    world.service(r#"451-["n",{"_placeholder":true,"num":1}]"#);
    world.message(Side::Service, OpCode::Binary, b"x");
    assert_eq!(world.ended(), Some(Ended::ServiceFault("bridge_packet")));
}

#[test]
fn a_message_over_a_limit_is_answered_by_its_ack_or_as_on_other_plain_routes() {
    let mut world = World::bridge_joined(|config| {
        let rule = RateLimitTable { messages: 1, ..config.rate_limit[0].clone() };
        config.rate_limit = vec![rule];
    });
    world.client(r#"{"type":"say"}"#);
    world.client(r#"{"type":"say","ackId":9}"#);
    assert_eq!(refused(&world), Some(("rate_limit", Answered::WithPacket)));
    world.client(r#"{"type":"say"}"#);
    world.client(r#"{"type":"say"}"#);
    assert_eq!(world.service_got(), [r#"42["say",{}]"#]);
    let told = r#"{"type":"error","error":"Rate limit exceeded. Please slow down.","rateLimited":true}"#;
    let expected = [format!(r#"{{"type":"ack","ackId":9,"args":[{LIMITED}]}}"#), told.to_owned()];
    assert_eq!(world.client_got(), expected, "told once of those that ask for no ack");
}

#[test]
fn what_is_no_message_of_the_bridge_ends_the_session() {
    let rows = [
        ("hello", "bridge_object"),
        (r#"{"type":"say","type":"x"}"#, "bridge_repeated"),
        (r#"{"type":1}"#, "bridge_type"),
        (r#"{"type":"say","ackId":-1}"#, "bridge_ack_id"),
        (r#"{"type":"ack"}"#, "bridge_ack"),
        (r#"{"type":"connect"}"#, "event_reserved"),
        (r#"{"type":"disconn\u0065ct"}"#, "event_reserved"),
        (r#"{"type":"\ud800"}"#, "not_utf8"),
    ];
    for (text, rule) in rows {
        let mut world = World::bridge_joined(|_| ());
        world.client(text);
        assert_eq!(world.ended(), Some(Ended::ClientPacket(rule)), "{text}");
        assert_eq!(close(&world), (Some(1008), rule), "{text}");
        assert!(world.service_got().is_empty(), "{text}");
    }
    let mut world = World::bridge_joined(|_| ());
    world.attaches(b"{\"type\":\"say\"}");
    assert_eq!(close(&world), (Some(1003), "bridge_binary"));
    let mut world = World::bridge_joined(|_| ());
    let head = Message { bytes: b"{\"type\"", len: 100, complete: false, here: true, opcode: OpCode::Text };
    assert_eq!(world.session.message(Side::Client, &head, world.now).0, Fate::Gather);
}

#[test]
fn a_client_does_not_get_the_offsets_of_a_service_that_numbers_its_events() {
    let mut world = World::bridged("/", |config| config.session.ack_grace = Period::OFF);
    world.opens();
    world.service(r#"40{"sid":"first","pid":"secret"}"#);
    world.forget_what_was_said();
    let ms = world.now.wall().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    // A volatile event has no offset, nor has one that asks for an ack, nor one of another node.
    world.service(r#"42["said","hi"]"#);
    world.service(&format!(r#"42["said",{{"text":"hi"}},"{ms}-0"]"#));
    world.service(&format!(r#"42["said","hi",1,"{ms}-1"]"#));
    world.service(&format!(r#"451-["said",{{"b":{{"_placeholder":true,"num":0}}}},"{ms}-2"]"#));
    world.message(Side::Service, OpCode::Binary, b"x");
    world.service(&format!(r#"420["question","{ms}-3"]"#));
    let delivery = Delivery::new("/", r#"["news","hi"]"#.into(), Vec::new(), false);
    world.event(Event::Delivered(Arc::new(delivery)));
    let expected = [
        r#"{"type":"said","args":["hi"]}"#,
        r#"{"type":"said","text":"hi"}"#,
        r#"{"type":"said","args":["hi",1]}"#,
        r#"{"type":"said","b":"eA=="}"#,
        &format!(r#"{{"type":"question","ackId":0,"args":["{ms}-3"]}}"#),
        r#"{"type":"news","args":["hi"]}"#,
    ];
    assert_eq!(world.client_got(), expected);
    // The service is shown it when the session comes back, and repeats what was missed.
    assert!(world.loses(Ended::ServiceLost));
    world.passes(Duration::ZERO);
    world.opens();
    let asked = world.service_got();
    assert!(asked[0].contains(r#""pid":"secret""#) && asked[0].contains(&format!(r#""offset":"{ms}-2""#)), "{asked:?}");
    world.service(r#"40{"sid":"first","pid":"secret"}"#);
    world.service(&format!(r#"42["missed",{{"n":1}},"{ms}-4"]"#));
    assert_eq!(world.client_got(), [r#"{"type":"missed","n":1}"#]);
}

#[test]
fn a_string_at_the_end_stays_where_the_service_does_not_number_its_events() {
    let mut world = World::bridge_joined(|_| ());
    let ms = world.now.wall().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    world.service(&format!(r#"42["said","hi","{ms}-0"]"#));
    assert_eq!(world.client_got(), [format!(r#"{{"type":"said","args":["hi","{ms}-0"]}}"#)]);
}

#[test]
fn a_client_that_may_not_join_hears_why_and_is_closed() {
    let mut world = World::bridged("/", |_| ());
    world.opens();
    world.service(r#"44{"message":"No entry","data":{"code":"banned"}}"#);
    assert_eq!(world.client_got(), [r#"{"type":"connect_error","message":"No entry","data":{"code":"banned"}}"#]);
    assert_eq!((world.ended(), close(&world)), (Some(Ended::ConnectRefused), (Some(1008), "connect_refused")));

    let mut world = World::bridged("/", |_| ());
    world.event(Event::Refused(403, "Forbidden"));
    let told = r#"{"type":"connect_error","message":"Forbidden","data":{"code":"upstream.refused","status":403}}"#;
    assert_eq!((world.client_got(), close(&world).0), (vec![told.to_owned()], Some(1008)));
}

#[test]
fn a_client_that_is_put_out_is_closed_in_good_order() {
    let mut world = World::bridge_joined(|_| ());
    world.service("41");
    assert_eq!((world.ended(), close(&world)), (Some(Ended::Disconnected), (Some(1000), "")));
    assert!(world.client_got().is_empty());

    let mut world = World::bridge_joined(|_| ());
    world.event(Event::Disconnected("/", false));
    assert_eq!(close(&world), (Some(1000), ""));
    assert_eq!(world.service_got(), ["41"]);
}

#[test]
fn a_session_ends_with_its_token() {
    let mut world = World::bridge_joined(|_| ());
    world.service("2");
    world.passes(Duration::from_secs(20));
    world.event(Event::Control(Side::Client, OpCode::Pong, b""));
    assert_eq!(world.ended(), None);
    world.passes(Duration::from_secs(40));
    assert_eq!(world.ended(), Some(Ended::TokenExpired));
    assert_eq!(close(&world), (Some(1012), "token expired"));
}

#[test]
fn a_session_ends_when_its_socket_is_revoked() {
    let mut world = World::bridge_joined(|_| ());
    assert!(world.revokes(Whom::Socket("other".into())).is_none());
    assert!(world.revokes(Whom::Socket("first".into())).is_some());
    assert_eq!(close(&world), (Some(1008), "token revoked"));
}

#[test]
fn what_the_gate_says_in_json_goes_as_it_is() {
    let mut world = World::bridge_joined(|_| ());
    world.session.core.say(Side::Client, br#"{"type":"quality_pong","pingId":1}"#.to_vec());
    world.passes(Duration::ZERO);
    assert_eq!(world.client_got(), [r#"{"type":"quality_pong","pingId":1}"#]);
}

#[test]
fn the_client_is_pinged_as_every_websocket_is() {
    let mut world = World::bridge_joined(|config| config.auth.required = false);
    world.passes(Duration::from_secs(25));
    assert_eq!(world.client_got(), ["Ping []"]);
    let note = world.event(Event::Control(Side::Client, OpCode::Pong, b""));
    assert!(matches!(note, Note::RoundTrip(_)), "{note:?}");
    world.service("2");
    world.passes(Duration::from_secs(25));
    assert_eq!((world.client_got(), world.ended()), (vec!["Ping []".to_owned()], None));
}

#[test]
fn a_service_that_restarts_is_asked_again_and_gets_what_waits() {
    let mut world = World::bridge_joined(|config| config.session.ack_grace = Period::OFF);
    world.client(r#"{"type":"lost","ackId":1}"#);
    world.forget_what_was_said();
    assert!(world.loses(Ended::ServiceLost));
    world.client(r#"{"type":"kept","ackId":2}"#);
    world.passes(Duration::ZERO);
    world.opens();
    world.service(r#"40{"sid":"second"}"#);
    assert_eq!(world.service_got(), [r#"40{"lesson":"7","token":"t"}"#, r#"422["kept",{}]"#]);
    let told = world.client_got();
    let failed = format!(r#"{{"type":"ack","ackId":1,"args":[{RESTARTED}]}}"#);
    assert!(told.contains(&failed) && told.contains(&CONNECTED.replace("first", "second")), "{told:?}");
    world.service(r#"432["done"]"#);
    assert_eq!(world.client_got(), [r#"{"type":"ack","ackId":2,"args":["done"]}"#]);

    assert!(world.loses(Ended::ServiceLost));
    world.passes(Duration::ZERO);
    world.opens();
    world.service(r#"44{"message":"Not any more"}"#);
    assert_eq!(world.client_got(), [r#"{"type":"connect_error","message":"Not any more"}"#]);
    assert_eq!(world.ended(), Some(Ended::ConnectRefused));
}

#[test]
fn events_from_other_nodes_arrive_as_messages() {
    let mut world = World::bridge_joined(|_| ());
    let delivery = |namespace: &str, json: &'static str, attachments: &[&'static [u8]]| {
        let attachments = attachments.iter().map(|bytes| (*bytes).into()).collect();
        Event::Delivered(Arc::new(Delivery::new(namespace, json.into(), attachments, false)))
    };
    let note = world.event(delivery("/", r#"["news",{"n":1}]"#, &[]));
    assert!(matches!(note, Note::Delivered(_, Reached::Said)), "{note:?}");
    world.event(delivery("/", r#"["bytes",{"_placeholder":true,"num":0}]"#, &[b"x"]));
    world.event(delivery("/other", r#"["news",{"n":2}]"#, &[]));
    assert_eq!(world.client_got(), [r#"{"type":"news","n":1}"#, r#"{"type":"bytes","args":["eA=="]}"#]);
}

#[test]
fn the_client_cannot_come_back() {
    let mut world = World::bridge_joined(|config| config.session.resume = Period::from_secs(30));
    world.event(Event::Lost(Ended::ClientLost));
    assert_eq!((world.ended(), world.view().pid()), (Some(Ended::ClientLost), None));
}
