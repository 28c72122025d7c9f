//! What other nodes want of a session: which events its client gets and in which form, and how it is put out.

use std::sync::Arc;

use super::{
    resumed::read,
    world::{World, id},
};
use crate::{
    policy::identity::Identity,
    session::{
        action::{Action, Ready, Spoken},
        delivery::Delivery,
        ended::Ended,
        event::Event,
        hold::Overflow,
        message::{Note, Reached, Side},
        question::{Claim, Returning},
    },
    units::Period,
};

fn event(namespace: &str, json: &str, is_volatile: bool) -> Event<'static> {
    Event::Delivered(Arc::new(Delivery::new(namespace, json.to_owned().into(), Vec::new(), is_volatile)))
}

fn reached(note: &Note) -> Option<Reached> {
    match note {
        Note::Delivered(_, reached) => Some(*reached),
        _ => None,
    }
}

/// A client in `/` that may come back.
fn resumable() -> World {
    World::joined(|config| config.session.resume = Period::from_secs(30))
}

/// The client comes back to `/`, where it has got no event.
fn comes_back(world: &mut World) {
    let claim = Claim { user: None, namespace: "/".into(), offset: None };
    let peer = world.view().peer();
    world.event(Event::Returned(Returning {
        pid: id(9),
        claim,
        sid: id(1),
        peer,
        identity: Identity::anonymous(),
        connect: Vec::new().into(),
    }));
}

#[test]
fn a_client_gets_the_events_of_the_namespaces_that_it_is_in() {
    let mut world = World::joined(|_| ());
    world.client("40/chat,");
    for (namespace, expected) in [("/", Some(Reached::Said)), ("/chat", None), ("/other", None)] {
        let note = world.event(event(namespace, r#"["news",1]"#, false));
        assert_eq!(reached(&note), expected, "{namespace}; /chat has not answered");
    }
    assert_eq!(world.client_got(), [r#"42["news",1]"#]);
    world.service(r#"40/chat,{"sid":"c"}"#);
    world.client_got();
    world.event(event("/chat", r#"["news",2]"#, false));
    assert_eq!(world.client_got(), [r#"42/chat,["news",2]"#]);
    world.client("41/chat,");
    assert_eq!(reached(&world.event(event("/chat", r#"["news",3]"#, false))), None);
}

#[test]
fn a_client_that_waits_for_the_service_gets_events_at_once() {
    let mut world = World::joined(|_| ());
    assert!(world.loses(Ended::ServiceLost));
    let note = world.event(event("/", r#"["news","x"]"#, false));
    assert_eq!((reached(&note), world.client_got()), (Some(Reached::Said), vec![r#"42["news","x"]"#.to_owned()]));
}

#[test]
fn an_event_waits_for_the_end_of_a_message_that_passes_in_parts() {
    let mut world = World::joined(|_| ());
    let delivery = Arc::new(Delivery::new("/", r#"["news"]"#.into(), Vec::new(), false));
    world.session.event(Event::Delivered(Arc::clone(&delivery)), world.now);
    assert_eq!(world.session.poll(Ready { client: false, service: true }), None);
    let said = world.session.poll(Ready::BOTH);
    assert_eq!(said, Some(Action::Say(Side::Client, Spoken::Delivery(Arc::clone(&delivery)))));
    let Some(Action::Say(_, Spoken::Delivery(said))) = said else { panic!() };
    assert!(Arc::ptr_eq(&said, &delivery), "it is shared, not copied");
}

#[test]
fn an_absent_client_gets_events_in_order_when_it_is_back_as_those_of_the_service() {
    let mut world = resumable();
    world.event(event("/", r#"["elsewhere",1]"#, false));
    world.service(r#"42["here",2]"#);
    let numbers: Vec<Option<u64>> = world.client_got().iter().map(|text| read(text).1).collect();
    let [Some(first), Some(second)] = numbers[..] else { panic!("{numbers:?}") };
    assert_eq!(second, first + 1, "they are numbered together");
    world.event(Event::Lost(Ended::ClientLost));
    assert_eq!(reached(&world.event(event("/", r#"["elsewhere",3]"#, false))), Some(Reached::Kept));
    world.service(r#"42["here",4]"#);
    assert_eq!(world.client_got(), [""; 0]);
    comes_back(&mut world);
    let got = world.client_got();
    let expected = [(1, first), (2, second), (3, second + 1), (4, second + 2)];
    assert_eq!(got[..4].iter().map(|text| read(text)).collect::<Vec<_>>(), expected.map(|(seq, n)| (seq, Some(n))));
}

#[test]
fn a_volatile_event_is_dropped_for_an_absent_client_and_has_no_number() {
    let mut world = resumable();
    world.event(event("/", r#"["cursor",1]"#, true));
    assert_eq!(world.client_got(), [r#"42["cursor",1]"#]);
    world.event(Event::Lost(Ended::ClientLost));
    assert_eq!(reached(&world.event(event("/", r#"["cursor",2]"#, true))), Some(Reached::Dropped));
    comes_back(&mut world);
    let got = world.client_got();
    assert!(got.iter().all(|text| text.starts_with("40")), "{got:?}");
    assert_eq!(world.view().lost(), 0);
}

#[test]
fn events_of_other_nodes_fill_the_queue_of_an_absent_client_as_those_of_the_service_do() {
    let mut world = World::joined(|config| {
        config.session.resume = Period::from_secs(30);
        config.session.queue_packets = 2;
        config.session.overflow = Overflow::Close;
    });
    world.event(Event::Lost(Ended::ClientLost));
    for _ in 0..2 {
        world.event(event("/", r#"["news"]"#, false));
    }
    assert_eq!(world.ended(), None);
    world.event(event("/", r#"["news"]"#, false));
    assert_eq!(world.ended(), Some(Ended::QueueFull));
}

#[test]
fn a_string_at_the_end_is_shielded_where_the_client_would_take_it_for_its_offset() {
    const NEWS: &str = r#"["news","x"]"#;
    let (plain, shielded) = (r#"42["news","x"]"#, r#"42["news","x",null]"#);
    // The service has connection state recovery of its own.
    let mut recovering = World::without_auth(|_| ());
    recovering.client("40");
    recovering.opens();
    recovering.service(r#"40{"sid":"a","pid":"secret"}"#);
    recovering.client_got();
    recovering.event(event("/", NEWS, false));
    recovering.event(event("/", r#"["news",1]"#, false));
    assert_eq!(recovering.client_got(), [shielded, r#"42["news",1]"#]);
    // The gate has given the client a `pid`, and the event has no number.
    let mut world = resumable();
    world.event(event("/", NEWS, true));
    assert_eq!(world.client_got(), [shielded]);
    let mut unnumbered = World::joined(|config| {
        config.session.resume = Period::from_secs(30);
        config.session.resume_namespaces = vec!["/chat".to_owned()];
    });
    unnumbered.event(event("/", NEWS, false));
    assert_eq!(unnumbered.client_got(), [plain], "no offset counts in this namespace");
    let mut world = World::joined(|_| ());
    world.event(event("/", NEWS, false));
    assert_eq!(world.client_got(), [plain]);
}

#[test]
fn a_client_is_put_out_of_one_namespace_on_both_sides() {
    let mut world = World::joined(|_| ());
    world.client("40/chat,");
    world.service(r#"40/chat,{"sid":"c"}"#);
    world.forget_what_was_said();
    world.event(Event::Disconnected("/other", true));
    world.event(Event::Disconnected("/chat", false));
    assert_eq!((world.client_got(), world.service_got()), (vec!["41/chat,".to_owned()], vec!["41/chat,".to_owned()]));
    assert_eq!((world.ended(), world.view().namespaces()), (None, vec!["/".to_owned()]));
}

#[test]
fn a_client_that_is_disconnected_leaves_all_namespaces_before_its_connection_is_closed() {
    let mut world = World::joined(|_| ());
    world.client("40/chat,");
    world.service(r#"40/chat,{"sid":"c"}"#);
    world.forget_what_was_said();
    world.event(Event::Disconnected("/chat", true));
    assert_eq!(world.client_got(), ["41", "41/chat,"]);
    assert_eq!(world.service_got(), ["41", "41/chat,"]);
    assert_eq!((world.ended(), Ended::Disconnected.client_may_return()), (Some(Ended::Disconnected), false));
}

#[test]
fn an_absent_client_that_is_put_out_does_not_get_its_socket_back() {
    let mut world = resumable();
    world.event(event("/", r#"["news"]"#, false));
    world.event(Event::Lost(Ended::ClientLost));
    world.forget_what_was_said();
    world.event(Event::Disconnected("/", false));
    assert_eq!((world.client_got(), world.service_got()), (Vec::new(), vec!["41".to_owned()]));
    let claim = Claim { user: None, namespace: "/".into(), offset: None };
    assert!(!world.session.takes_back(&claim));
}

#[test]
fn a_client_is_put_out_while_the_service_is_down() {
    let mut world = World::joined(|_| ());
    assert!(world.loses(Ended::ServiceLost));
    world.event(Event::Disconnected("/", false));
    assert_eq!((world.client_got(), world.service_got()), (vec!["41".to_owned()], Vec::new()));
    world.opens();
    assert_eq!(world.service_got(), [""; 0], "nothing is asked for again");
}
