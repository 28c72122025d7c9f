//! Who is in which room.

use std::time::Duration;

use super::{
    shown,
    world::{World, id},
};
use crate::{
    config::Config,
    mirror::table::RoomTable,
    policy::{auth::revoked::unix_seconds, identity::Identity},
    session::{
        action::{Action, RoomOf},
        ended::Ended,
        event::Event,
        message::{Fate, Message, Side},
        question::{Claim, Returning},
    },
    units::Period,
    wire::websocket::frame::OpCode,
};

fn room(name: &str) -> RoomTable {
    RoomTable { name: name.to_owned(), ..RoomTable::default() }
}

/// `lesson:ID`, by the event `join` and its ack, until the event `leave`.
fn lesson() -> RoomTable {
    let text = |text: &str| Some(text.to_owned());
    RoomTable { join_on: text("join"), leave_on: text("leave"), confirm: text("ack"), ..room("lesson:{arg0.id}") }
}

fn with(rooms: &[RoomTable]) -> impl FnOnce(&mut Config) {
    let rooms = rooms.to_vec();
    |config: &mut Config| {
        config.redis = Some(Default::default());
        config.room = rooms;
    }
}

fn joined(rooms: &[RoomTable]) -> World {
    World::joined(with(rooms))
}

/// Which rooms were entered and left since the last look.
fn moves(world: &mut World) -> Vec<String> {
    let tell = |action| match action {
        Action::JoinRoom(RoomOf { namespace, room }) => Some(format!("+{namespace} {room}")),
        Action::LeaveRoom(RoomOf { namespace, room }) => Some(format!("-{namespace} {room}")),
        Action::RoomsFull { is_first } => Some(format!("full {is_first}")),
        _ => None,
    };
    world.done().into_iter().filter_map(tell).collect()
}

/// The service goes and comes back; the client has this socket id in a namespace there.
fn restarts(world: &mut World, namespace: &str, sid: &str) {
    assert!(world.loses(Ended::ServiceLost));
    world.opens();
    world.service(&format!(r#"40{namespace}{{"sid":"{sid}"}}"#));
}

#[test]
fn a_socket_is_in_a_room_of_its_own_where_there_are_other_nodes() {
    let mut world = World::without_auth(with(&[]));
    world.client("40");
    world.opens();
    assert_eq!(moves(&mut world), [""; 0]);
    world.service(r#"40{"sid":"first"}"#);
    assert_eq!(moves(&mut world), ["+/ first"]);
    world.client("40/chat,");
    world.service(r#"40/chat,{"sid":"other"}"#);
    assert_eq!(moves(&mut world), ["+/chat other"]);

    let mut alone = World::without_auth(|config| config.room = vec![room("everyone")]);
    alone.client("40");
    alone.opens();
    alone.service(r#"40{"sid":"first"}"#);
    assert_eq!(moves(&mut alone), [""; 0]);
}

#[test]
fn a_client_is_in_the_rooms_of_its_claims_once_the_service_lets_it_in() {
    let chat = RoomTable { namespace: "/chat".to_owned(), ..room("chat") };
    let rooms = [room("user:{claims.sub}"), room("tenant:{claims.tid}"), room("lesson:{auth.lesson}"), chat];
    let mut world = World::new(with(&rooms));
    let connect = format!(r#"40{{"token":"{}","lesson":5}}"#, world.token(Duration::from_secs(60)));
    world.client(&connect);
    world.opens();
    assert_eq!(moves(&mut world), [""; 0], "the service may refuse it");
    world.service(r#"40{"sid":"first"}"#);
    assert_eq!(moves(&mut world), ["+/ first", "+/ user:ada", "+/ lesson:5"], "the token has no claim tid");
}

/// A token of one user for this tenant.
fn of_tenant(world: &World, tenant: &str, lives: Duration) -> String {
    let exp = unix_seconds(world.now.wall() + lives);
    world.signed(&serde_json::json!({ "sub": "ada", "tid": tenant, "exp": exp }))
}

/// The client joins a namespace with this token; its socket id there is the name of the namespace.
fn enters(world: &mut World, namespace: &str, token: &str) {
    let is_first = world.view().identity().is_none();
    world.client(&format!(r#"40{namespace},{{"token":"{token}"}}"#));
    if is_first {
        world.opens();
    }
    world.service(&format!(r#"40{namespace},{{"sid":"{namespace}"}}"#));
}

/// A room of the tenant in each of two namespaces.
fn tenants() -> Vec<RoomTable> {
    ["/a", "/b"].map(|of| RoomTable { namespace: of.to_owned(), ..room("tenant:{claims.tid}") }).to_vec()
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn in_each_namespace_the_claims_are_those_of_its_own_token() {
    for (first, second) in [(MINUTE, MINUTE * 2), (MINUTE * 2, MINUTE), (MINUTE, MINUTE)] {
        let mut world = World::new(with(&tenants()));
        let (north, south) = (of_tenant(&world, "north", first), of_tenant(&world, "south", second));
        enters(&mut world, "/a", &north);
        enters(&mut world, "/b", &south);
        assert_eq!(moves(&mut world), ["+/a /a", "+/a tenant:north", "+/b /b", "+/b tenant:south"]);
        restarts(&mut world, "/a,", "again");
        world.service(r#"40/b,{"sid":"/b"}"#);
        assert_eq!(moves(&mut world), ["-/a /a", "+/a again"]);
        world.client("41/b,");
        enters(&mut world, "/b", &north);
        assert_eq!(moves(&mut world), ["-/b /b", "-/b tenant:south", "+/b /b", "+/b tenant:north"]);
    }
}

#[test]
fn a_namespace_that_is_opened_without_a_token_has_the_claims_of_one_that_was_shown() {
    let mut world = World::new(with(&tenants()));
    let north = of_tenant(&world, "north", MINUTE);
    assert_eq!(world.session.shows(&shown(&north), world.now), Ok(()));
    world.client("40/a,");
    world.opens();
    world.service(r#"40/a,{"sid":"/a"}"#);
    let south = of_tenant(&world, "south", MINUTE);
    enters(&mut world, "/b", &south);
    moves(&mut world);
    // Rooms of /a follow the token that is shown beside; /b has its own, with other claims.
    let west = of_tenant(&world, "west", MINUTE * 2);
    assert_eq!(world.session.shows(&shown(&west), world.now), Ok(()));
    world.passes(Duration::ZERO);
    assert_eq!(moves(&mut world), ["-/a tenant:north", "+/a tenant:west"]);
    let same = of_tenant(&world, "south", MINUTE * 3);
    assert_eq!(world.session.shows(&shown(&same), world.now), Ok(()));
    world.passes_with_a_heartbeat(MINUTE);
    assert_eq!(world.ended(), None);
    assert_eq!(moves(&mut world), ["-/a tenant:west", "+/a tenant:south"], "and /b lives on with the same claims");
}

#[test]
fn a_namespace_with_claims_of_its_own_ends_with_its_token() {
    let mut world = World::new(with(&tenants()));
    let (north, south) = (of_tenant(&world, "north", MINUTE / 6), of_tenant(&world, "south", MINUTE));
    enters(&mut world, "/a", &north);
    enters(&mut world, "/b", &south);
    moves(&mut world);
    let longer = of_tenant(&world, "south", MINUTE * 2);
    assert_eq!(world.session.shows(&shown(&longer), world.now), Ok(()));
    world.passes(MINUTE / 6);
    assert_eq!(moves(&mut world), ["-/a /a", "-/a tenant:north"]);
}

#[test]
fn claims_of_namespaces_go_on_elsewhere() {
    let mut world = World::new(|config| {
        with(&tenants())(config);
        config.session.resume = Period::from_secs(30);
    });
    let (north, south) = (of_tenant(&world, "north", MINUTE), of_tenant(&world, "south", MINUTE * 2));
    enters(&mut world, "/a", &north);
    enters(&mut world, "/b", &south);
    world.event(Event::Lost(Ended::ClientLost));
    world.loses(Ended::ServiceLost);
    let mut world = world.continued().unwrap();
    world.passes(Duration::ZERO);
    assert_eq!(moves(&mut world), ["+/a /a", "+/a tenant:north", "+/b /b", "+/b tenant:south"]);
    world.opens();
    for namespace in ["/a", "/b"] {
        world.service(&format!(r#"40{namespace},{{"sid":"other{namespace}"}}"#));
    }
    assert_eq!(moves(&mut world), ["-/a /a", "+/a other/a", "-/b /b", "+/b other/b"], "the rules name the same rooms");
}

#[test]
fn a_guest_is_in_no_room_of_claims() {
    let mut world = joined(&[room("user:{claims.sub}")]);
    world.client("40/chat,");
    assert_eq!(moves(&mut world), [""; 0]);
}

#[test]
fn an_event_joins_a_room_when_the_service_acknowledges_it() {
    let mut world = joined(&[lesson()]);
    assert_eq!(world.client(r#"421["join",{"id":5}]"#), Fate::Pass);
    world.client(r#"422["other",{"id":6}]"#);
    world.service("432[]");
    assert_eq!(moves(&mut world), [""; 0]);
    assert_eq!(world.service(r#"431[{"ok":true}]"#), Fate::Pass);
    assert_eq!(moves(&mut world), ["+/ lesson:5"]);
    world.client(r#"423["join",{"id":6}]"#);
    world.service(r#"433[{"error":"full"}]"#);
    world.client(r#"42["join",{"id":7}]"#);
    world.client(r#"424["join",{}]"#);
    world.service("434[]");
    assert_eq!(moves(&mut world), [""; 0], "refused, not acknowledged, without a room");
    world.client(r#"42["leave",{"id":5}]"#);
    assert_eq!(moves(&mut world), ["-/ lesson:5"]);
}

#[test]
fn a_leave_that_names_no_room_leaves_all_that_were_asked_for() {
    let mut world = joined(&[lesson(), room("everyone")]);
    for id in 1..4 {
        world.client(&format!(r#"42{id}["join",{{"id":{id}}}]"#));
    }
    world.service("431[]");
    world.service("432[]");
    moves(&mut world);
    world.client(r#"42["leave"]"#);
    assert_eq!(moves(&mut world), ["-/ lesson:1", "-/ lesson:2"]);
    world.service("433[]");
    assert_eq!(moves(&mut world), [""; 0], "the client has left before it was let in");
}

#[test]
fn the_ack_of_another_event_lets_nobody_in() {
    let mut world = joined(&[lesson()]);
    // The client uses one ack id twice, for an event that the service acknowledges anyway.
    world.client(r#"421["ping"]"#);
    world.client(r#"421["join",{"id":5}]"#);
    world.service("431[]");
    world.service("431[]");
    world.client(r#"422["join",{"id":5}]"#);
    world.client(r#"422["ping"]"#);
    world.service("432[]");
    world.service("432[]");
    world.client("40/chat,");
    world.service(r#"40/chat,{"sid":"chat"}"#);
    moves(&mut world);
    world.client(r#"423["join",{"id":5}]"#);
    world.client(r#"42/chat,3["ping"]"#);
    world.service("43/chat,3[]");
    assert_eq!(moves(&mut world), [""; 0]);
    world.service("433[]");
    assert_eq!(moves(&mut world), ["+/ lesson:5"]);
}

/// A handler of socket.io acknowledges also when its socket has left the namespace.
#[test]
fn the_ack_of_an_event_of_before_the_client_has_come_again_lets_nobody_in() {
    let mut world = joined(&[lesson()]);
    world.client(r#"421["slow"]"#);
    world.client("41");
    world.client("40");
    world.service(r#"40{"sid":"second"}"#);
    moves(&mut world);
    world.client(r#"421["join",{"id":5}]"#);
    world.service("431[]");
    world.service(r#"431[{"error":"no"}]"#);
    assert_eq!(moves(&mut world), [""; 0]);
    world.client(r#"422["join",{"id":6}]"#);
    world.service("432[]");
    assert_eq!(moves(&mut world), ["+/ lesson:6"]);
}

#[test]
fn nor_where_another_namespace_has_taken_its_place_meanwhile() {
    let mut world = joined(&[RoomTable { namespace: "/chat".to_owned(), ..lesson() }]);
    world.client("40/chat,");
    world.service(r#"40/chat,{"sid":"chat"}"#);
    world.client(r#"42/chat,1["slow"]"#);
    world.client("41/chat,");
    for namespace in ["/news", "/chat"] {
        world.client(&format!("40{namespace},"));
        world.service(&format!(r#"40{namespace},{{"sid":"{namespace}"}}"#));
    }
    moves(&mut world);
    world.client(r#"42/chat,1["join",{"id":5}]"#);
    world.service("43/chat,1[]");
    assert_eq!(moves(&mut world), [""; 0]);
}

#[test]
fn an_ack_that_says_a_word_lets_in() {
    let table = RoomTable {
        confirm_when: Some("arg0.state".to_owned()),
        confirm_equals: Some("entered".to_owned()),
        ..lesson()
    };
    let mut world = joined(&[table]);
    world.client(r#"421["join",{"id":5}]"#);
    world.client(r#"422["join",{"id":6}]"#);
    world.service("431[]");
    world.service(r#"432[{"state":"entered"}]"#);
    assert_eq!(moves(&mut world), ["+/ lesson:6"]);
}

#[test]
fn without_confirmation_asking_is_enough() {
    let mut world = joined(&[RoomTable { confirm: None, unconfirmed: true, ..lesson() }]);
    world.client(r#"42["join",{"id":5}]"#);
    assert_eq!(moves(&mut world), ["+/ lesson:5"]);
}

#[test]
fn packets_of_which_something_is_read_are_awaited_to_their_end() {
    let mut world = joined(&[lesson()]);
    let mut part = |from, text: &str| {
        let bytes = text.as_bytes();
        let message = Message { opcode: OpCode::Text, bytes, len: 100_000, complete: false, here: true };
        world.session.message(from, &message, world.now).0
    };
    let long = "x".repeat(300);
    assert_ne!(part(Side::Client, &format!(r#"421["say",{{"text":"{long}"#)), Fate::Gather);
    assert_eq!(part(Side::Client, &format!(r#"421["join",{{"text":"{long}"#)), Fate::Gather);
    assert_ne!(part(Side::Service, &format!(r#"437[{{"text":"{long}"#)), Fate::Gather);
    world.client(r#"427["join",{"id":5}]"#);
    let message =
        Message { opcode: OpCode::Text, bytes: br#"437[{"text":"#, len: 100_000, complete: false, here: true };
    assert_eq!(world.session.message(Side::Service, &message, world.now).0, Fate::Gather);
}

#[test]
fn a_client_keeps_its_rooms_when_the_service_restarts() {
    let rooms = [lesson(), room("lesson:{auth.lesson}")];
    let mut world = World::without_auth(with(&rooms));
    world.client(r#"40{"lesson":1}"#);
    world.opens();
    world.service(r#"40{"sid":"first"}"#);
    world.client(r#"421["join",{"id":5}]"#);
    world.service("431[]");
    world.event(Event::JoinRooms("/", &["outside".into()]));
    assert_eq!(moves(&mut world), ["+/ first", "+/ lesson:1", "+/ lesson:5", "+/ outside"]);
    restarts(&mut world, "", "second");
    assert_eq!(moves(&mut world), ["-/ first", "+/ second"]);
    world.client(r#"42["leave",{"id":5}]"#);
    assert_eq!(moves(&mut world), ["-/ lesson:5"]);
}

#[test]
fn a_client_that_comes_back_is_in_rooms_of_its_new_connect_once_the_service_lets_it_in() {
    let mut world = World::without_auth(|config| {
        with(&[room("lesson:{auth.lesson}")])(config);
        config.session.resume = Period::from_secs(30);
    });
    world.client(r#"40{"lesson":1}"#);
    world.opens();
    world.service(r#"40{"sid":"first"}"#);
    assert_eq!(moves(&mut world), ["+/ first", "+/ lesson:1"]);
    let comes_back = |world: &mut World, connect: &[u8]| {
        world.event(Event::Lost(Ended::ClientLost));
        let claim = Claim { user: None, namespace: "/".into(), offset: None };
        let (peer, identity, connect) = (world.view().peer(), Identity::anonymous(), connect.to_vec().into());
        world.event(Event::Returned(Returning { pid: id(9), claim, sid: id(1), peer, identity, connect }));
    };
    comes_back(&mut world, br#"{"lesson":2}"#);
    assert_eq!(moves(&mut world), [""; 0], "the service may refuse it");
    restarts(&mut world, "", "second");
    assert_eq!(moves(&mut world), ["-/ first", "-/ lesson:1", "+/ second", "+/ lesson:2"]);
    // It is back before the service has answered about what it had said before.
    assert!(world.loses(Ended::ServiceLost));
    world.opens();
    comes_back(&mut world, br#"{"lesson":3}"#);
    world.service(r#"40{"sid":"third"}"#);
    assert_eq!(moves(&mut world), ["-/ second", "+/ third"]);
}

#[test]
fn an_event_that_waits_for_the_service_joins_when_that_has_acknowledged_it() {
    let mut world = joined(&[lesson()]);
    assert!(world.loses(Ended::ServiceLost));
    world.client(r#"421["join",{"id":5}]"#);
    world.opens();
    world.service(r#"40{"sid":"second"}"#);
    world.answers_pings();
    assert!(world.service_got().contains(&r#"421["join",{"id":5}]"#.to_owned()));
    moves(&mut world);
    world.service("431[]");
    assert_eq!(moves(&mut world), ["+/ lesson:5"]);
}

#[test]
fn whoever_leaves_a_namespace_leaves_its_rooms() {
    for (side, packet) in [(Side::Client, "41"), (Side::Service, "41")] {
        let mut world = joined(&[room("everyone")]);
        world.client("40/chat,");
        world.service(r#"40/chat,{"sid":"chat"}"#);
        world.client(r#"421["join",{"id":5}]"#);
        moves(&mut world);
        world.message(side, OpCode::Text, packet.as_bytes());
        assert_eq!(moves(&mut world), ["-/ first", "-/ everyone"]);
    }
}

#[test]
fn a_session_that_ends_leaves_every_room() {
    let mut world = joined(&[room("everyone")]);
    world.client("40/chat,");
    world.service(r#"40/chat,{"sid":"chat"}"#);
    moves(&mut world);
    world.event(Event::Lost(Ended::ClientLost));
    assert!(world.ended().is_some());
    assert_eq!(moves(&mut world), ["-/ first", "-/ everyone", "-/chat chat"]);
}

#[test]
fn an_absent_client_stays_in_its_rooms() {
    let mut world = World::joined(|config| {
        with(&[room("everyone")])(config);
        config.session.resume = Period::from_secs(30);
    });
    world.event(Event::Lost(Ended::ClientLost));
    assert_eq!((world.ended(), moves(&mut world)), (None, Vec::new()));
    world.passes(Duration::from_secs(31));
    assert_eq!(moves(&mut world), ["-/ first", "-/ everyone"]);
}

#[test]
fn other_programs_move_clients_between_rooms() {
    let mut world = joined(&[lesson()]);
    world.client(r#"421["join",{"id":5}]"#);
    world.service("431[]");
    moves(&mut world);
    let rooms = ["a", "lesson:5"].map(Into::into);
    world.event(Event::JoinRooms("/", &rooms));
    world.event(Event::JoinRooms("/elsewhere", &rooms));
    assert_eq!(moves(&mut world), ["+/ a"]);
    world.event(Event::LeaveRooms("/", &["a", "lesson:5", "first", "b"].map(Into::into)));
    assert_eq!(moves(&mut world), ["-/ lesson:5", "-/ a"], "a socket stays in its own room");
}

#[test]
fn a_session_has_a_bounded_number_of_rooms() {
    let mut world = World::joined(|config| {
        with(&[lesson()])(config);
        config.limits.rooms_per_session = 2;
    });
    world.event(Event::JoinRooms("/", &["a", "b", "c", "d"].map(Into::into)));
    assert_eq!(moves(&mut world), ["+/ a", "+/ b", "full true"], "the others are not tried");
    world.client(r#"421["join",{"id":5}]"#);
    world.service("431[]");
    assert_eq!(moves(&mut world), ["full false"]);
}

#[test]
fn rooms_follow_rules_that_are_changed() {
    let mut world = joined(&[room("old"), lesson()]);
    world.client(r#"421["join",{"id":5}]"#);
    world.service("431[]");
    moves(&mut world);
    let without_auth = |rooms: Vec<RoomTable>| {
        move |config: &mut Config| {
            with(&rooms)(config);
            config.auth.required = false;
        }
    };
    world.reloads(without_auth(vec![lesson(), room("new")]));
    assert_eq!(moves(&mut world), ["-/ old", "+/ new"]);
    world.client(r#"42["leave"]"#);
    assert_eq!(moves(&mut world), ["-/ lesson:5"]);
    world.client(r#"422["join",{"id":6}]"#);
    world.service("432[]");
    world.reloads(without_auth(Vec::new()));
    assert_eq!(moves(&mut world), ["+/ lesson:6", "-/ lesson:6", "-/ new"]);
}

#[test]
fn a_session_that_goes_on_elsewhere_is_in_its_rooms_there() {
    let mut world = World::joined(|config| {
        with(&[lesson(), room("everyone")])(config);
        config.session.resume = Period::from_secs(30);
    });
    world.client(r#"421["join",{"id":5}]"#);
    world.service("431[]");
    world.event(Event::Lost(Ended::ClientLost));
    world.loses(Ended::ServiceLost);
    let mut world = world.continued().unwrap();
    world.passes(Duration::ZERO);
    assert_eq!(moves(&mut world), ["+/ first", "+/ everyone", "+/ lesson:5"]);
}
