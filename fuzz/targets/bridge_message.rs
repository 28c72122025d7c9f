//! A message of a bridged route: it is refused, or becomes one canonical packet that says what `serde_json` reads in it. Any packet
//! of a service becomes a message, or is called untranslatable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate::wire::{
    bridge::{message_of, packet_of},
    socketio::{
        packet::PacketType,
        peek::{PeekError, peek_client},
    },
};

fuzz_target!(|text: &[u8]| {
    let attachment: &[u8] = b"bytes";
    let _ = message_of(text, std::iter::once(attachment), "type");
    // The gate has checked that text is UTF-8.
    let Some(packet) = std::str::from_utf8(text).ok().and_then(|_| packet_of(text, "type", "/").ok()) else { return };
    assert!(packet.len() <= text.len() + 32);
    let head = match peek_client(&packet, true) {
        Ok(head) => head,
        Err(error) => return assert!(matches!(error, PeekError::EventReserved | PeekError::NotUtf8), "{error}"),
    };
    assert!(head.is_canonical);
    // serde_json refuses half of a surrogate pair and numbers that are too great, which JavaScript takes.
    let Ok(Value::Object(mut said)) = serde_json::from_slice(text) else { return };
    let Ok(Value::Array(mut array)) = serde_json::from_slice(&packet[head.data_at..]) else {
        panic!("what is made of JSON is JSON");
    };
    let (name, id) = (said.remove("type"), said.remove("ackId"));
    assert_eq!(id.and_then(|id| id.as_u64()), head.ack_id);
    if head.kind == PacketType::Event {
        assert_eq!(name, Some(array.remove(0)));
    }
    let arguments = match said.get("args") {
        Some(Value::Array(args)) if said.len() == 1 => args.clone(),
        _ => vec![said.into()],
    };
    assert_eq!(array, arguments);
});
