//! A bound that is exceeded costs the packet, not the session.

use super::{world::World, *};
use crate::{
    event_names::EventSlot,
    policy::rate_limit::RateLimitTable,
    wire::socketio::packet::{NAMESPACE_BYTES_MAX, PEEK_BYTES},
};

/// The code with which a CONNECT for this namespace is refused, as the client hears it.
fn connect_error(said: &[String], namespace: &str) -> Option<String> {
    let json = said.last()?.strip_prefix(&format!("44{namespace},"))?;
    let json: serde_json::Value = serde_json::from_str(json).ok()?;
    Some(json["data"]["code"].as_str()?.to_owned())
}

#[test]
fn a_namespace_too_many_is_refused_and_the_others_stay() {
    let mut world = World::joined(|config| config.socketio.max_namespaces = 3);
    for name in ["/a", "/b"] {
        world.client(&format!("40{name},"));
        world.service(&format!(r#"40{name},{{"sid":"x"}}"#));
    }
    world.forget_what_was_said();
    for round in 0..500 {
        assert_eq!(world.client(&format!("40/c{round},")), Fate::Drop);
        assert_eq!(refused(&world), Some(("too_many_namespaces", Answered::WithPacket)));
        let name = format!("/c{round}");
        assert_eq!(connect_error(&world.client_got(), &name).as_deref(), Some("too_many_namespaces"));
    }
    assert_eq!((world.ended(), world.service_got().len()), (None, 0), "however often");
    let Note::Refused(refused) = &world.note else { panic!() };
    assert_eq!((refused.setting(), refused.is_connect), (Some("socketio.max_namespaces"), true));
    assert!(world.client(r#"42/a,["e"]"#).passes());
    // A place that is left is free again.
    world.client("41/b,");
    world.client("40/c,");
    assert_eq!(world.service_got(), [r#"42/a,["e"]"#, "41/b,", "40/c,"]);
}

#[test]
fn as_delivered_a_session_joins_sixty_four_namespaces_at_once() {
    let mut world = World::joined(|_| ());
    for number in 1..64 {
        world.client(&format!("40/{number},"));
        world.service(&format!(r#"40/{number},{{"sid":"x"}}"#));
    }
    world.forget_what_was_said();
    for number in 64..100 {
        assert_eq!(world.client(&format!("40/{number},")), Fate::Drop);
        let name = format!("/{number}");
        assert_eq!(connect_error(&world.client_got(), &name).as_deref(), Some("too_many_namespaces"));
    }
    assert_eq!(world.ended(), None);
    assert!(world.client(r#"42/63,["e"]"#).passes(), "nothing slows it down");
}

#[test]
fn a_client_comes_back_to_more_namespaces_than_a_word_has_bits() {
    let mut world = World::joined(|config| {
        config.session.resume = Period::from_secs(60);
        config.socketio.max_namespaces = 255;
        config.socketio.joins = 1000;
        config.rate_limit.clear();
    });
    for number in 1..255 {
        while let Fate::Wait(_) = world.client(&format!("40/{number},")) {
            world.passes(Duration::from_millis(100));
        }
        world.service(&format!(r#"40/{number},{{"sid":"x"}}"#));
    }
    world.event(Event::Lost(Ended::ClientLost));
    assert_eq!(world.ended(), None);
    let mut next = world.continued();
    assert!(next.is_none(), "its service is there");
    assert!(world.loses(Ended::ServiceLost));
    next = world.continued();
    assert_eq!(next.unwrap().view().namespaces().len(), 255);
}

#[test]
fn a_namespace_with_an_unfit_name_is_refused_by_that_name() {
    let long = format!("/{}", "n".repeat(NAMESPACE_BYTES_MAX));
    for (name, code) in
        [(&*long, "namespace_too_long"), ("/chat?token=1", "namespace_character"), ("/a\tb", "namespace_character")]
    {
        for rest in [",", "", r#",{"x":1}"#] {
            let mut world = World::joined(|_| ());
            let said = format!("40{name}{rest}");
            assert_eq!(world.client(&said), Fate::Drop);
            assert_eq!(refused(&world), Some((code, Answered::WithPacket)), "{said}");
            assert_eq!(connect_error(&world.client_got(), name).as_deref(), Some(code), "{said}");
            assert_eq!((world.ended(), world.service_got().len()), (None, 0));
            // Whoever uses it all the same has not joined it.
            world.client(&format!(r#"42{name},["e"]"#));
            assert_eq!(world.ended().map(Ended::cause), Some(code));
        }
    }
}

#[test]
fn a_name_longer_than_what_is_shown_is_put_together_and_refused() {
    let mut world = World::joined(|_| ());
    let max = world.session.core.rules.max_connect;
    let shown = |len: usize| {
        let text = format!("40/{},", "n".repeat(len - 4));
        text.into_bytes()
    };
    let mut judge = |text: &[u8], complete: bool| {
        let bytes = if complete { text } else { &text[..PEEK_BYTES] };
        let message = Message { opcode: OpCode::Text, bytes, len: text.len(), complete, here: true };
        world.session.message(Side::Client, &message, world.now)
    };
    let text = shown(2 * PEEK_BYTES);
    assert_eq!(judge(&text, false).0, Fate::Gather);
    let (fate, note) = judge(&text, true);
    assert!(matches!((fate, &note), (Fate::Drop, Note::Refused(refused)) if refused.answer == Answered::WithPacket));
    // Nobody could be told by its name what is longer than anything that is kept.
    let (fate, note) = judge(&shown(max + 1), false);
    assert!(matches!((fate, &note), (Fate::Drop, Note::Refused(refused)) if refused.answer == Answered::Silently));
    assert_eq!(world.ended(), None);
}

#[test]
fn a_long_event_name_passes_counts_as_other_and_is_judged_by_its_whole_name() {
    let name = format!("{}:end", "n".repeat(300));
    let mut world = World::joined(|config| {
        let rule = RateLimitTable {
            events: vec!["n*:end".to_owned()],
            messages: 2,
            per: Period::from_secs(3600),
            ..RateLimitTable::default()
        };
        config.rate_limit = vec![rule];
    });
    for (id, passes) in [(1, true), (2, true), (3, false)] {
        let said = format!(r#"42{id}["{name}"]"#);
        assert_eq!(world.client(&said).passes(), passes);
        match (&world.note, passes) {
            (Note::Event(slot), true) => assert_eq!(*slot, EventSlot::OTHER),
            (Note::Refused(refused), false) => assert_eq!(refused.event, Some(EventSlot::OTHER)),
            (note, _) => panic!("{note:?}"),
        }
    }
    assert_eq!(world.client_got(), [format!("433[{LIMITED}]")]);
    // Another name as long is not counted by that rule.
    assert!(world.client(&format!(r#"42["{}"]"#, "n".repeat(300))).passes());
    assert_eq!(world.ended(), None);
}

#[test]
fn a_head_longer_than_what_is_shown_is_put_together_first() {
    let mut world = World::joined(|config| config.rate_limit.clear());
    for text in
        [format!(r#"42["{}"]"#, "n".repeat(2 * PEEK_BYTES)), format!(r#"42{}7["e"]"#, "0".repeat(2 * PEEK_BYTES))]
    {
        let message = |bytes, complete| Message { opcode: OpCode::Text, bytes, len: text.len(), complete, here: true };
        let (fate, _) = world.session.message(Side::Client, &message(&text.as_bytes()[..PEEK_BYTES], false), world.now);
        assert_eq!(fate, Fate::Gather);
        let (fate, _) = world.session.message(Side::Client, &message(text.as_bytes(), true), world.now);
        assert!(fate.passes());
    }
}
