//! The JSON of a client's packets: what it must be for the packet to pass, whatever kind of packet it is.

use super::{world::World, *};
use crate::wire::{
    json::check::{JsonFault, JsonReading},
    socketio::packet::PEEK_BYTES,
};

/// Why a session ends on this packet, in a session that has joined `/` and been asked something. `None`: it goes on.
fn ends(reading: JsonReading, packet: &str) -> Option<&'static str> {
    let mut world = World::joined(|config| {
        config.socketio.json = reading;
        config.socketio.json_depth = 3;
    });
    world.service(r#"427["question"]"#);
    world.forget_what_was_said();
    let fate = world.client(packet);
    let cause = world.ended().map(Ended::cause);
    if cause.is_some() {
        assert_eq!((fate, world.service_got().len()), (Fate::Drop, 0), "{packet}");
    }
    cause
}

#[test]
fn whatever_kind_of_packet_it_is_its_json_is_read() {
    // (packet, what its structure ends the session with, what the full reading does)
    let rows = [
        (r#"42["say",[{}]]"#, None, None),
        (r#"42["say",[[{}]]]"#, Some("json_depth"), Some("json_depth")),
        (r#"42["say"]]"#, Some("json_structure"), Some("json_grammar")),
        (r#"42["say",{"a":1]"#, Some("json_structure"), Some("json_grammar")),
        (r#"42["say","]"#, Some("json_structure"), Some("json_grammar")),
        (r#"42["say",1,]"#, None, Some("json_grammar")),
        (r#"42["say",nul]"#, None, Some("json_grammar")),
        (r#"427["say",[[[]]]]"#, Some("json_depth"), Some("json_depth")),
        (r#"437[[{}]]"#, None, None),
        (r#"437[[[[]]]]"#, Some("json_depth"), Some("json_depth")),
        (r#"437[}]"#, Some("json_structure"), Some("json_grammar")),
        (r#"40/chat,{"a":{"b":[]}}"#, None, None),
        (r#"40/chat,{"a":{"b":[[]]}}"#, Some("json_depth"), Some("json_depth")),
        (r#"40/chat,{"a":{]}"#, Some("json_structure"), Some("json_grammar")),
        (r#"40/chat,{1:2}"#, None, Some("json_grammar")),
        (r#"40/chat,"#, None, None),
        (r#"41"#, None, None),
        (r#"451-["say",{"_placeholder":true,"num":0}]"#, None, None),
        (r#"451-["say",[[{"_placeholder":true,"num":0}]]]"#, Some("json_depth"), Some("json_depth")),
        (r#"451-["say",{"_placeholder":true,"num":0}]]"#, Some("json_structure"), Some("json_grammar")),
        // It is read whole in any case.
        (r#"451-["say",{"_placeholder":true,"num":0},]"#, Some("json_grammar"), Some("json_grammar")),
        (r#"451-["say",{"_placeholder":true,"num":1}]"#, Some("json_placeholder"), Some("json_placeholder")),
        (r#"461-7[{"_placeholder":true,"num":9}]"#, Some("json_placeholder"), Some("json_placeholder")),
        // Without attachments it is an object like any other.
        (r#"42["say",{"_placeholder":true,"num":9}]"#, None, None),
    ];
    for (packet, structure, full) in rows {
        assert_eq!(ends(JsonReading::Structure, packet), structure, "structure of {packet}");
        assert_eq!(ends(JsonReading::Full, packet), full, "{packet} in full");
    }
}

#[test]
fn the_beginning_of_a_long_message_passes_on_condition() {
    let mut world = World::joined(|_| ());
    let beginning = format!(r#"427["say","{}"#, "x".repeat(PEEK_BYTES));
    let message = Message {
        opcode: OpCode::Text,
        bytes: beginning.as_bytes(),
        len: beginning.len() + 2,
        complete: false,
        here: true,
    };
    let (fate, _) = world.session.message(Side::Client, &message, world.now);
    let Fate::PassJson(begin) = fate else { panic!("{fate:?}") };
    assert_eq!(&beginning[begin.at.into()..][..2], "[\"");
    assert_eq!(begin.bounds.check(format!("{}\"]", &beginning[begin.at.into()..]).as_bytes()), Ok(()));
    assert_eq!(begin.bounds.check(b"[\"say\"]]"), Err(JsonFault::Structure));
}
