//! What heartbeats tell of a connection, and the pings by which a client measures it itself.

use std::time::Duration;

use super::{
    LIMITED,
    world::{World, id},
};
use crate::{
    policy::identity::Identity,
    session::{
        ended::Ended,
        event::Event,
        message::{Fate, Note, Pinged, Side},
        plain::{OnUpstreamLoss, PlainRules},
        quality::Quality,
        question::{Claim, Returning},
    },
    units::Period,
    wire::websocket::frame::OpCode,
};

const INTERVAL: Duration = Duration::from_secs(25);

/// The gate pings a Socket.IO client, which takes so many milliseconds to answer.
fn beats(world: &mut World, ms: u64) {
    world.passes(INTERVAL);
    world.now = world.now.at(world.now.instant + Duration::from_millis(ms));
    world.client("3");
    if world.view().service_down_since().is_none() {
        world.service("2");
    }
}

/// The last round trip, the average and the jitter in milliseconds, the loss in percent, and the grade.
fn known(world: &World) -> ([Option<u128>; 3], Option<u8>, Option<Quality>) {
    let view = world.view();
    let ms = |took: Option<Duration>| took.map(|took| took.as_millis());
    ([view.rtt(), view.rtt_average(), view.jitter()].map(ms), view.loss_percent(), view.quality())
}

fn joined() -> World {
    World::joined(|config| config.rate_limit.clear())
}

#[test]
fn heartbeats_grade_a_connection_from_the_first_answer_on() {
    let mut world = joined();
    assert_eq!(known(&world), ([None; 3], None, None));
    world.client("3");
    assert_eq!(known(&world).2, None, "a pong that nobody asked for says nothing");
    beats(&mut world, 40);
    assert_eq!(known(&world), ([Some(40), Some(40), None], Some(0), Some(Quality::Excellent)));
    beats(&mut world, 360);
    assert_eq!(known(&world), ([Some(360), Some(200), Some(160)], Some(0), Some(Quality::Good)));
    beats(&mut world, 6000);
    assert_eq!(known(&world), ([Some(6000), Some(200), Some(160)], Some(33), Some(Quality::Good)));
    (0..10).for_each(|_| beats(&mut world, 300));
    assert_eq!(known(&world), ([Some(300), Some(300), Some(0)], Some(0), Some(Quality::Fair)));
}

#[test]
fn the_pongs_of_a_plain_route_do_so_too() {
    let mut world = World::plain(PlainRules::default(), |config| config.auth.required = false);
    for ms in [100, 200] {
        world.passes(INTERVAL);
        assert_eq!(world.client_got(), [r#"Ping []"#]);
        world.now = world.now.at(world.now.instant + Duration::from_millis(ms));
        world.event(Event::Control(Side::Client, OpCode::Pong, b""));
    }
    assert_eq!(known(&world), ([Some(200), Some(150), Some(50)], Some(0), Some(Quality::Good)));
}

#[test]
fn an_absent_client_keeps_its_grade_and_goes_on_with_it() {
    let mut world = World::joined(|config| config.session.resume = Period::from_secs(60));
    (0..3).for_each(|_| beats(&mut world, 260));
    let before = known(&world);
    assert_eq!(before.2, Some(Quality::Fair));
    world.event(Event::Lost(Ended::ClientLost));
    assert_eq!(known(&world), before, "it is absent");
    world.passes(INTERVAL);
    world.service("2");
    let claim = Claim { user: None, namespace: "/".into(), offset: None };
    let peer = [127, 0, 0, 1].into();
    let identity = Identity::anonymous();
    world.event(Event::Returned(Returning {
        pid: id(9),
        claim,
        sid: id(8),
        peer,
        identity,
        connect: Vec::new().into(),
    }));
    assert_eq!((known(&world), world.ended()), (before, None), "it is back");
    world.client("3");
    assert_eq!(known(&world), before, "the new connection was not pinged yet");
    beats(&mut world, 20);
    assert_eq!(known(&world).0[1], Some(200));
}

#[test]
fn a_ping_of_the_client_is_answered_and_goes_no_further() {
    let mut world = joined();
    world.client("40/chat,");
    world.service(r#"40/chat,{"sid":"c"}"#);
    world.forget_what_was_said();
    for (ping, answer) in [
        (r#"427["quality_ping"]"#, Some("437[]")),
        (r#"42/chat,0["quality_ping",{"at":1},[2]]"#, Some("43/chat,0[]")),
        (r#"42["quality_ping"]"#, None),
        (r#"428["quality_ping2"]"#, None),
    ] {
        let fate = world.client(ping);
        assert_eq!(fate, if ping.contains("ping2") { Fate::Pass } else { Fate::Drop }, "{ping}");
        assert_eq!(world.client_got(), answer.into_iter().collect::<Vec<_>>(), "{ping}");
    }
    assert_eq!(world.service_got(), [r#"428["quality_ping2"]"#]);
    world.service("438[1]");
    assert_eq!(world.client_got(), ["438[1]"]);
    assert_eq!(world.client(r#"42/other,1["quality_ping"]"#), Fate::Drop);
    assert_eq!(world.ended(), Some(Ended::ClientPacket("namespace_not_joined")));
}

#[test]
fn what_became_of_a_ping_is_told_to_who_counts() {
    let mut world = joined();
    let mut is = |ping: &str| {
        world.client(ping);
        world.note.clone()
    };
    assert_eq!(is(r#"421["quality_ping"]"#), Note::Pinged(Pinged::Answered));
    assert_eq!(is(r#"42["quality_ping"]"#), Note::Pinged(Pinged::WithoutId));
    assert_eq!(is(r#"451-2["quality_ping",{"_placeholder":true,"num":0}]"#), Note::Pinged(Pinged::Binary));
    assert_eq!(world.attaches(b"x"), Fate::Drop);
    assert_eq!((world.ended(), world.service_got()), (None, Vec::new()), "the attachment goes with its packet");
    assert_eq!(world.client_got(), ["431[]"]);
}

#[test]
fn three_pings_at_once_are_answered_and_one_a_second_and_the_others_are_refused() {
    let mut world = World::joined(|config| config.rate_limit[0].messages = 2);
    let answers = |world: &mut World| {
        (0..5).for_each(|id| assert_eq!(world.client(&format!(r#"42{id}["quality_ping"]"#)), Fate::Drop));
        world.client_got()
    };
    let limited = [format!("433[{LIMITED}]"), format!("434[{LIMITED}]")];
    assert_eq!(answers(&mut world), ["430[]", "431[]", "432[]", &limited[0], &limited[1]]);
    assert_eq!(world.note, Note::Pinged(Pinged::Limited));
    world.passes(Duration::from_secs(1));
    assert_eq!(answers(&mut world)[..2], ["430[]".to_owned(), format!("431[{LIMITED}]")]);
    assert_eq!(world.client(r#"42["say"]"#), Fate::Pass, "pings count in no limit");
    assert_eq!(world.client(r#"42["say"]"#), Fate::Pass);
    assert_eq!(world.client(r#"42["say"]"#), Fate::Drop);
}

#[test]
fn a_flood_of_pings_is_slowed_down_and_closed() {
    let mut world = joined();
    let mut sent = 0;
    while world.ended().is_none() && sent < 100_000 {
        match world.client(r#"421["quality_ping"]"#) {
            Fate::Wait(_) => world.passes_with_a_heartbeat(Duration::from_millis(100)),
            fate => assert_eq!(fate, Fate::Drop),
        }
        sent += 1;
    }
    assert!(matches!(world.ended(), Some(Ended::ClientPacket(_))), "{:?} after {sent}", world.ended());
}

#[test]
fn a_ping_is_answered_while_the_service_is_down_and_waits_in_no_queue() {
    let mut world = joined();
    assert!(world.loses(Ended::ServiceLost));
    world.client(r#"421["quality_ping"]"#);
    world.client(r#"42["say"]"#);
    assert_eq!(world.client_got(), ["431[]"]);
    assert_eq!(world.view().waiting().0, 1);
    beats(&mut world, 120);
    assert_eq!(world.view().quality(), Some(Quality::Good), "it is measured meanwhile");
}

#[test]
fn another_event_is_a_ping_after_a_reload_or_none_is() {
    let mut world = joined();
    let mut fates = |ping_event: &str| {
        world.reloads(|config| {
            config.auth.required = false;
            config.rate_limit.clear();
            ping_event.clone_into(&mut config.quality.ping_event);
        });
        (world.client(r#"421["quality_ping"]"#), world.client(r#"422["rtt"]"#))
    };
    assert_eq!(fates("quality_ping"), (Fate::Drop, Fate::Pass));
    assert_eq!(fates("rtt"), (Fate::Pass, Fate::Drop));
    assert_eq!(fates(""), (Fate::Pass, Fate::Pass));
}

#[test]
fn a_client_that_only_pings_is_idle() {
    let mut world = joined();
    let idle = |world: &World| world.session.core.quiet_for(world.now).0;
    world.now = world.now.at(world.now.instant + Duration::from_secs(9));
    world.client(r#"421["quality_ping"]"#);
    assert_eq!(idle(&world), Duration::from_secs(9));
    world.client(r#"42["say"]"#);
    assert_eq!(idle(&world), Duration::ZERO);
}

/// A plain route with this field, and what its client gets for a message.
fn on_a_route(on_upstream_loss: OnUpstreamLoss) -> World {
    let route = PlainRules { event_field: Some("type".into()), on_upstream_loss, ..PlainRules::default() };
    World::plain(route, |config| {
        config.auth.required = false;
        config.rate_limit[0].messages = 1;
    })
}

#[test]
fn a_plain_route_with_an_event_field_answers_as_well() {
    let mut world = on_a_route(OnUpstreamLoss::Close);
    let pong = r#"{"type":"quality_pong","pingId":"a-1"}"#;
    assert_eq!(world.client(r#"{"type":"quality_ping","pingId":"a-1"}"#), Fate::Drop);
    assert_eq!((world.client_got(), world.service_got()), (vec![pong.to_owned()], Vec::new()));
    for (ping, pinged) in [
        (r#"{"type":"quality_ping"}"#, Pinged::WithoutId),
        (r#"{"pingId":{},"type":"quality_ping"}"#, Pinged::WithoutId),
    ] {
        assert_eq!((world.client(ping), &world.note), (Fate::Drop, &Note::Pinged(pinged)), "{ping}");
    }
    world.message(Side::Client, OpCode::Binary, br#"{"type":"quality_ping","pingId":1}"#);
    assert_eq!(world.note, Note::Pinged(Pinged::Binary));
    assert_eq!(world.client_got(), [""; 0]);
    assert_eq!(world.client(r#"{"type":"say","pingId":1}"#), Fate::Pass, "pings count in no limit");
    assert_eq!(world.service_got(), [r#"{"type":"say","pingId":1}"#]);
}

#[test]
fn pings_over_the_limit_are_answered_on_a_plain_route_once_a_second() {
    let mut world = on_a_route(OnUpstreamLoss::Close);
    (0..6).for_each(|n| assert_eq!(world.client(&format!(r#"{{"pingId":{n},"type":"quality_ping"}}"#)), Fate::Drop));
    let pong = |n: u8| format!(r#"{{"type":"quality_pong","pingId":{n}}}"#);
    let refused = crate::session::answer::RATE_LIMITED_TEXT.to_owned();
    assert_eq!(world.client_got(), [pong(0), pong(1), pong(2), refused]);
    world.passes(Duration::from_secs(1));
    world.client(r#"{"pingId":7,"type":"quality_ping"}"#);
    assert_eq!(world.client_got(), [pong(7)]);
}

#[test]
fn a_plain_client_is_answered_while_its_service_is_down() {
    let mut world = on_a_route(OnUpstreamLoss::Hold);
    assert!(world.loses(Ended::ServiceLost));
    world.client(r#"{"pingId":7,"type":"quality_ping"}"#);
    assert_eq!(world.client_got(), [r#"{"type":"quality_pong","pingId":7}"#]);
    assert_eq!(world.view().waiting().0, 0);
}

#[test]
fn a_route_without_an_event_field_passes_everything() {
    let mut world = World::plain(PlainRules::default(), |config| config.auth.required = false);
    assert_eq!(world.client(r#"{"type":"quality_ping","pingId":1}"#), Fate::Pass);
}
