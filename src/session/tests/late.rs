//! Acks that are lost with the service, and clients that repeat their packets.

use std::time::Duration;

use super::{
    held::flowing,
    world::{GRACE, RESTARTED, World},
};
use crate::session::{ended::Ended, hold::OnLostAck};

const BACK: &str = r#"40{"sid":"second"}"#;

/// The service is lost with an ack open.
fn lost(packet: &str) -> World {
    let mut world = flowing(|_| ());
    world.client(packet);
    assert_eq!(world.service_got(), [packet]);
    assert!(world.loses(Ended::ServiceLost));
    world
}

fn comes_back(world: &mut World) {
    world.passes(Duration::from_millis(50));
    world.opens();
    world.service(BACK);
    let heard: Vec<_> = world.at_client.iter().filter(|text| *text != "2").collect();
    assert_eq!(heard, [BACK], "no ack fails before the client has had its time");
    world.at_client.retain(|text| text == "2");
}

fn failed(id: u64) -> String {
    format!("43{id}[{RESTARTED}]")
}

#[test]
fn an_ack_fails_when_the_service_is_back_and_the_client_has_had_its_time() {
    let mut world = lost(r#"420["order",1]"#);
    world.passes(Duration::from_secs(10));
    assert_eq!(world.client_got(), [""; 0], "the service is not back");
    comes_back(&mut world);
    world.passes(GRACE - Duration::from_millis(1));
    assert_eq!(world.client_got(), [""; 0]);
    world.passes(Duration::from_millis(1));
    assert_eq!(world.client_got(), [failed(0)]);
    assert_eq!(world.service_got(), ["40"]);
    assert!(format!("{:?}", world.session).contains("late: None"));
}

#[test]
fn no_ack_fails_where_the_service_does_not_come_back() {
    let mut world = lost(r#"420["order",1]"#);
    world.passes(Duration::from_secs(31));
    assert_eq!((world.ended(), world.client_got()), (Some(Ended::ServiceLost), Vec::new()));
}

#[test]
fn the_time_of_the_client_begins_anew_when_the_service_is_lost_again() {
    let mut world = lost(r#"420["order",1]"#);
    comes_back(&mut world);
    world.passes(GRACE / 2);
    assert!(world.loses(Ended::ServiceLost));
    world.passes(GRACE);
    comes_back(&mut world);
    world.passes(GRACE);
    assert_eq!(world.client_got(), [failed(0)]);
}

#[test]
fn a_repeat_goes_to_the_service_and_the_ack_that_was_lost_fails_behind_its_ack() {
    let mut world = lost(r#"420["order",1]"#);
    comes_back(&mut world);
    world.service_got();
    world.client(r#"421["order",1]"#);
    world.client(r#"422["order",2]"#);
    assert_eq!(world.service_got(), [""; 0], "a client that has not heard yet may repeat both at once");
    world.answers_pings();
    assert_eq!(world.service_got(), [r#"421["order",1]"#, r#"422["order",2]"#]);
    world.passes(GRACE);
    assert_eq!(world.client_got(), [""; 0], "the repeat has no ack yet");
    world.service(r#"431["stored"]"#);
    assert_eq!(world.client_got(), [r#"431["stored"]"#.to_owned(), failed(0)]);
    world.service(r#"432["stored"]"#);
    assert_eq!(world.client_got(), [r#"432["stored"]"#]);
    assert!(format!("{:?}", world.session).contains("late: None"));
}

#[test]
fn of_a_packet_that_waits_the_last_repeat_alone_goes_to_the_service() {
    for begins_in_flight in [true, false] {
        let mut world = if begins_in_flight { lost(r#"420["order",1]"#) } else { flowing(|_| ()) };
        if !begins_in_flight {
            world.loses(Ended::ServiceLost);
            world.client(r#"420["order",1]"#);
        }
        world.client(r#"42["behind it"]"#);
        world.passes(Duration::from_millis(300));
        world.client(r#"421["order",1]"#);
        comes_back(&mut world);
        assert_eq!(world.service_got(), ["40"]);
        // It looks at what it has heard behind its answer to the ping.
        world.at_client.clear();
        world.client("3");
        world.client(r#"422["order",1]"#);
        assert_eq!(world.service_got(), [""; 0]);
        world.answers_pings();
        assert_eq!(world.service_got(), [r#"42["behind it"]"#, r#"422["order",1]"#]);
        world.service(r#"432["stored"]"#);
        let heard = world.client_got();
        assert_eq!(heard[0], r#"432["stored"]"#);
        assert_eq!(heard.len(), 3, "{heard:?}");
        assert!(heard.contains(&failed(0)) && heard.contains(&failed(1)));
        assert_eq!((world.view().dropped(), world.service_got()), (0, Vec::new()));
    }
}

#[test]
fn a_repeat_of_what_the_service_has_already_is_answered_with_its_ack() {
    let mut world = lost(r#"420["order",1]"#);
    comes_back(&mut world);
    world.client(r#"421["order",1]"#);
    world.answers_pings();
    assert_eq!(world.service_got(), ["40", r#"421["order",1]"#]);
    // The time is over that the client waits for the first ack.
    world.passes(Duration::from_millis(500));
    world.client(r#"422["order",1]"#);
    assert_eq!(world.service_got(), [""; 0]);
    world.service(r#"431["stored"]"#);
    assert_eq!(world.client_got()[0], r#"432["stored"]"#);
    // The ack of an event like it is its own.
    world.passes(Duration::from_millis(500));
    world.client(r#"423["order",1]"#);
    assert_eq!(world.service_got(), [r#"423["order",1]"#]);
}

#[test]
fn the_gate_does_not_send_again_what_the_client_repeats() {
    let mut world = flowing(|_| ());
    world.client(r#"420["again",1]"#);
    world.loses(Ended::ServiceLost);
    world.service_got();
    comes_back(&mut world);
    world.client(r#"421["again",1]"#);
    world.answers_pings();
    assert_eq!(world.service_got(), ["40", r#"421["again",1]"#]);
    world.loses(Ended::ServiceLost);
    comes_back(&mut world);
    world.answers_pings();
    assert_eq!(world.service_got(), ["40", r#"421["again",1]"#], "it is sent again itself");
    world.service(r#"431["stored"]"#);
    assert_eq!(world.client_got(), [r#"431["stored"]"#.to_owned(), failed(0)]);
}

#[test]
fn packets_that_are_alike_are_no_repeats_of_each_other() {
    let mut world = flowing(|_| ());
    world.loses(Ended::ServiceLost);
    for id in 0..3 {
        world.client(&format!(r#"42{id}["click"]"#));
    }
    world.client(r#"423["other"]"#);
    comes_back(&mut world);
    world.answers_pings();
    assert_eq!(
        world.service_got(),
        ["40", r#"420["click"]"#, r#"421["click"]"#, r#"422["click"]"#, r#"423["other"]"#],
        "no client repeats as fast as that"
    );

    let mut world = flowing(|session| session.ack_grace = crate::units::Period::OFF);
    world.loses(Ended::ServiceLost);
    world.client(r#"420["click"]"#);
    world.passes(Duration::from_secs(1));
    world.client(r#"421["click"]"#);
    comes_back(&mut world);
    assert_eq!(world.service_got(), ["40", r#"420["click"]"#, r#"421["click"]"#], "repeats are not looked for");
}

#[test]
fn a_repeat_with_attachments_has_the_same_attachments() {
    let packet = |id: u64| format!(r#"451-{id}["file",{{"_placeholder":true,"num":0}}]"#);
    let mut world = flowing(|_| ());
    world.loses(Ended::ServiceLost);
    for (id, bytes) in [(0, b"one"), (1, b"two"), (2, b"one")] {
        world.passes(Duration::from_millis(200));
        world.client(&packet(id));
        world.attaches(bytes);
    }
    comes_back(&mut world);
    world.answers_pings();
    assert_eq!(world.service_got(), ["40", &packet(1), "<3 bytes>", &packet(2), "<3 bytes>"]);
}

#[test]
fn a_client_that_answers_no_pings_delays_its_packets_and_nothing_else() {
    let mut world = flowing(|_| ());
    world.loses(Ended::ServiceLost);
    world.client(r#"420["order",1]"#);
    comes_back(&mut world);
    world.passes(GRACE);
    assert_eq!(world.service_got(), ["40", r#"420["order",1]"#]);

    let mut world = flowing(|_| ());
    world.loses(Ended::ServiceLost);
    world.client(r#"42["order",1]"#);
    comes_back(&mut world);
    assert_eq!(world.service_got(), ["40", r#"42["order",1]"#], "without an ack there is nothing to wait for");
}

#[test]
fn a_client_of_a_service_that_knows_it_still_is_told_that_it_may_repeat() {
    let mut world = World::without_auth(|_| ());
    world.client("40");
    world.opens();
    let known = r#"40{"sid":"x","pid":"p"}"#;
    world.service(known);
    world.client(r#"420["order",1]"#);
    world.loses(Ended::ServiceLost);
    world.forget_what_was_said();
    world.opens();
    world.service(known);
    assert_eq!(world.client_got(), [known]);
}

#[test]
fn a_session_that_loses_an_ack_is_closed_where_that_is_wanted() {
    let closing = || flowing(|session| session.on_lost_ack = OnLostAck::Close);
    let mut world = closing();
    world.client(r#"420["order",1]"#);
    assert!(!world.loses(Ended::ServiceLost));
    assert_eq!((world.ended(), world.client_got()), (Some(Ended::AcksLost), Vec::new()));

    let mut world = closing();
    world.client(r#"420["again",1]"#);
    world.client(r#"42["order",1]"#);
    assert!(world.loses(Ended::ServiceLost), "no ack is lost");
    world.client(r#"421["order",1]"#);
    comes_back(&mut world);
    world.answers_pings();
    let sent = ["420[\"again\",1]", r#"421["order",1]"#];
    let got = world.service_got();
    assert!(got.ends_with(&sent.map(str::to_owned)), "{got:?}");
}

#[test]
fn a_reload_and_an_absence_leave_no_ack_behind() {
    let mut world = lost(r#"420["order",1]"#);
    world.reloads(|config| config.session.ack_grace = crate::units::Period::OFF);
    world.opens();
    world.service(BACK);
    world.passes(Duration::ZERO);
    assert_eq!(world.client_got(), [BACK.to_owned(), failed(0)]);
}

#[test]
fn what_is_on_its_way_when_the_client_is_told_is_repeated_too() {
    let mut world = flowing(|_| ());
    world.loses(Ended::ServiceLost);
    comes_back(&mut world);
    world.client(r#"42["passes"]"#);
    assert_eq!(world.service_got(), ["40", r#"42["passes"]"#]);
    world.passes(Duration::from_millis(10));
    // The client sent it before it heard, and repeats it when it hears.
    world.client(r#"420["order",1]"#);
    world.at_client.clear();
    world.client("3");
    world.client(r#"421["order",1]"#);
    world.answers_pings();
    assert_eq!(world.service_got(), [r#"421["order",1]"#]);
    world.client(r#"422["order",1]"#);
    assert_eq!(world.service_got(), [r#"422["order",1]"#], "it has heard");
}
