//! Broadcasts on Redis: what is read is JSON that a client takes, it is written and read back as it was, and what a gate
//! publishes can be read by another reader of MessagePack, to its last byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};
use tidegate::wire::{
    json::placeholders::check_placeholders,
    redis_adapter::{broadcast::Broadcast, malformed::Malformed},
    socketio::packet::{ATTACHMENTS_MAX, is_reserved},
};

fuzz_target!(|data: &[u8]| {
    if let Ok(broadcast) = Broadcast::decode(data) {
        assert_is_for_clients(&broadcast);
        match broadcast.encode() {
            Ok(payload) => {
                assert_is_read_to_its_end(&payload);
                assert_eq!(Broadcast::decode(&payload), Ok(broadcast));
            }
            Err(Malformed::TooLarge) => {}
            Err(rule) => panic!("{rule}: {broadcast:?}"),
        }
    }
    // The other way: an event of a service.
    let event = Broadcast {
        uid: "tg".into(),
        namespace: "/".into(),
        json: data.to_vec(),
        attachments: vec![b"x".to_vec()],
        ..Broadcast::default()
    };
    if let Ok(payload) = event.encode() {
        assert!(serde_json::from_slice::<&RawValue>(data).is_ok(), "what is published was JSON");
        assert_is_read_to_its_end(&payload);
    }
});

fn assert_is_for_clients(broadcast: &Broadcast) {
    let items: Vec<Value> = serde_json::from_slice(&broadcast.json).expect("it is a JSON array");
    match &items[0] {
        Value::String(name) => assert!(!is_reserved(name.as_bytes())),
        name => assert!(name.is_number()),
    }
    let attachments = u8::try_from(broadcast.attachments.len()).expect("they are few");
    assert!(attachments <= ATTACHMENTS_MAX);
    if attachments > 0 {
        assert_eq!(check_placeholders(&broadcast.json, attachments), Ok(()));
    }
}

/// As a node has it: an array of three and nothing behind it.
fn assert_is_read_to_its_end(payload: &[u8]) {
    let mut reader = rmp_serde::Deserializer::new(payload);
    <(String, IgnoredAny, IgnoredAny)>::deserialize(&mut reader).expect("it is MessagePack");
    assert!(reader.get_ref().is_empty());
}
