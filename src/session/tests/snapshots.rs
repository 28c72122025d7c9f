//! A session that is continued on another node behaves as it would have on its own node.

use std::time::Duration;

use proptest::prelude::*;

use super::world::{World, id};
use crate::{
    mirror::table::RoomTable,
    policy::identity::Identity,
    session::{
        action::Action,
        ended::Ended,
        event::Event,
        hold::Overflow,
        message::{Answered, Fate, Note, Side},
        question::{Claim, Returning},
        snapshot::{Snapshot, SnapshotError},
    },
    units::Period,
    wire::websocket::frame::OpCode,
};

/// One event of a session, in any state.
#[derive(Debug, Clone)]
enum Input {
    Client(&'static str),
    ClientBytes,
    Service(&'static str),
    ServiceBytes,
    ServiceLost,
    ClientLost,
    Returns { namespace: &'static str, offset: Option<u64> },
    Passes(u64),
}

/// The number of the first event: the world's sessions have 1 for chance.
const FIRST: u64 = 1 << 16;

const OPEN: &str = r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;

fn input() -> impl Strategy<Value = Input> {
    let client = prop::sample::select(vec![
        r#"42["once"]"#,
        r#"421["once",1]"#,
        r#"422["again",2]"#,
        r#"42/chat,3["again",3]"#,
        r#"451-4["bytes",{"_placeholder":true,"num":0}]"#,
        "430[1]",
        "435[1]",
        "3",
        "41/chat,",
        "40/chat,",
        "40/other,",
    ]);
    let service = prop::sample::select(vec![
        OPEN,
        "2",
        r#"40{"sid":"first"}"#,
        r#"40{"sid":"another"}"#,
        r#"40/chat,{"sid":"chat"}"#,
        r#"40/other,{"sid":"other"}"#,
        r#"44/chat,{"message":"no"}"#,
        r#"42["news",1]"#,
        r#"42/chat,["news",2]"#,
        r#"420["asks"]"#,
        r#"451-["picture",{"_placeholder":true,"num":0}]"#,
        "431[1]",
        "432[2]",
        "43/chat,3[3]",
        "41/chat,",
    ]);
    prop_oneof![
        10 => client.prop_map(Input::Client),
        2 => Just(Input::ClientBytes),
        12 => service.prop_map(Input::Service),
        2 => Just(Input::ServiceBytes),
        2 => Just(Input::ServiceLost),
        1 => Just(Input::ClientLost),
        3 => (prop::sample::select(vec!["/", "/chat"]), prop::option::of(FIRST..FIRST + 4))
            .prop_map(|(namespace, offset)| Input::Returns { namespace, offset }),
        2 => (0..12_u64).prop_map(Input::Passes),
    ]
}

/// Everything that both sides and the relay get.
#[derive(Debug, PartialEq)]
struct Seen {
    fate: Option<Fate>,
    note: Note,
    at_client: Vec<String>,
    at_service: Vec<String>,
    actions: Vec<Action>,
    ended: Option<Ended>,
    waiting: (usize, usize),
}

fn happens(world: &mut World, input: &Input) -> Seen {
    let mut fate = None;
    world.note = Note::None;
    let is_absent = world.session.client.absent_since().is_some();
    match input {
        // An absent client has no leg that anything could come from.
        Input::Client(_) | Input::ClientBytes if is_absent => {}
        Input::Client(text) => fate = Some(world.client(text)),
        Input::ClientBytes => fate = Some(world.attaches(b"bytes")),
        Input::Service(text) => fate = Some(world.service(text)),
        Input::ServiceBytes => fate = Some(world.message(Side::Service, OpCode::Binary, b"bytes")),
        Input::ServiceLost => lose_service(world),
        Input::ClientLost => {
            world.event(Event::Lost(Ended::ClientLost));
        }
        Input::Returns { namespace, offset } => {
            let claim = Claim { user: None, namespace: (*namespace).into(), offset: *offset };
            if world.session.takes_back(&claim) {
                comes_back(world, claim, b"");
            }
        }
        Input::Passes(seconds) => world.passes(Duration::from_secs(*seconds)),
    }
    Seen {
        fate,
        note: world.note.clone(),
        at_client: world.client_got(),
        at_service: world.service_got(),
        actions: world.done(),
        ended: world.ended(),
        waiting: world.view().waiting(),
    }
}

/// The next dial is due at once, whatever the random spread is.
fn lose_service(world: &mut World) {
    world.event(Event::Lost(Ended::ServiceLost));
    if world.ended().is_none() {
        world.event(Event::DialLater { at: world.now.instant, reserved: false });
    }
}

fn room_by(event: &str) -> RoomTable {
    let (join_on, confirm) = (Some(event.to_owned()), Some("ack".to_owned()));
    RoomTable { name: "{arg0}".to_owned(), join_on, confirm, ..RoomTable::default() }
}

fn resumable(change: impl FnOnce(&mut crate::config::Config)) -> World {
    let mut world = World::joined(|config| {
        config.rate_limit.clear();
        config.redis = Some(Default::default());
        config.room = ["once", "again"].map(room_by).into();
        config.session.resume = Period::from_secs(30);
        config.session.queue_packets = 6;
        config.session.retry_events = vec!["again".to_owned()];
        config.session.overflow = Overflow::DropOldest;
        change(config);
    });
    world.client("40/chat,");
    world.service(r#"40/chat,{"sid":"chat"}"#);
    world.forget_what_was_said();
    world
}

/// The client is back, with this JSON in its CONNECT.
fn comes_back(world: &mut World, claim: Claim, connect: &[u8]) {
    let (peer, identity) = (world.view().peer(), Identity::anonymous());
    let connect = connect.to_vec().into();
    world.event(Event::Returned(Returning { pid: id(9), claim, sid: id(1), peer, identity, connect }));
}

/// Both legs are lost.
fn suspend(world: &mut World) {
    world.event(Event::Lost(Ended::ClientLost));
    lose_service(world);
    world.forget_what_was_said();
}

proptest! {
    #[test]
    fn a_session_that_is_continued_behaves_as_it_would_have(
        before in prop::collection::vec(input(), 0..40),
        after in prop::collection::vec(input(), 0..40),
    ) {
        let mut original = resumable(|_| ());
        for input in &before {
            happens(&mut original, input);
        }
        suspend(&mut original);
        let continued = original.continued();
        prop_assert_eq!(continued.is_some(), original.ended().is_none(), "{:?}", original.ended());
        let Some(mut continued) = continued else { return Ok(()) };
        for world in [&mut original, &mut continued] {
            // It enters its rooms on the other node.
            world.passes(Duration::ZERO);
            world.forget_what_was_said();
        }
        for input in &after {
            prop_assert_eq!(happens(&mut continued, input), happens(&mut original, input), "{:?}", input);
            if original.ended().is_some() {
                break;
            }
        }
    }
}

#[test]
fn a_used_budget_stays_used_on_the_next_node() {
    let mut world = resumable(|config| config.rate_limit = vec![crate::policy::rate_limit::RateLimitTable::default()]);
    for _ in 0..70 {
        assert_eq!(world.client(r#"42["counted"]"#), Fate::Pass);
    }
    suspend(&mut world);
    let mut world = world.continued().unwrap();
    let claim = Claim { user: None, namespace: "/".into(), offset: None };
    comes_back(&mut world, claim, b"");
    let mut allowed = 0;
    while !matches!(&world.note, Note::Refused(refused) if refused.answer == Answered::WithPacket) {
        world.client(r#"42["counted"]"#);
        allowed += 1;
    }
    assert_eq!(allowed - 1, 30);
}

#[test]
fn the_service_of_the_next_node_hears_the_connect_that_was_said_last() {
    for (has_returned, said) in [(true, r#"40{"n":2}"#), (false, "40")] {
        let mut world = resumable(|_| ());
        if has_returned {
            world.event(Event::Lost(Ended::ClientLost));
            let claim = Claim { user: None, namespace: "/".into(), offset: None };
            comes_back(&mut world, claim, br#"{"n":2}"#);
        }
        suspend(&mut world);
        let mut world = world.continued().unwrap();
        world.passes(Duration::ZERO);
        world.opens();
        assert_eq!(world.service_got()[0], said);
    }
}

#[test]
fn a_session_with_a_connected_leg_is_not_continued_elsewhere() {
    let mut world = resumable(|_| ());
    assert!(world.continued().is_none());
    world.event(Event::Lost(Ended::ClientLost));
    assert!(world.continued().is_none(), "the service is open");
    let mut world = World::joined(|_| ());
    lose_service(&mut world);
    assert!(world.continued().is_none(), "the client could not resume it");
}

#[test]
fn a_snapshot_of_another_version_or_cut_off_is_an_error() {
    let mut world = resumable(|_| ());
    suspend(&mut world);
    let snapshot = world.session.snapshot(b"", world.now).unwrap();
    let bytes = snapshot.encode().unwrap();
    assert!(matches!(Snapshot::decode(&bytes[..bytes.len() - 1]), Err(SnapshotError::Malformed(_))));
    assert!(matches!(Snapshot::decode(b""), Err(SnapshotError::Malformed(_))));
    let newer = rmp_serde::to_vec(&(u16::MAX, "anything else")).unwrap();
    assert!(matches!(Snapshot::decode(&newer), Err(SnapshotError::Version(u16::MAX))));
}
