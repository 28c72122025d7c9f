//! Messages of bridged routes: what official encoders write comes to the client as it was meant, and what the client says in the
//! same form official parsers read so.

use serde_json::Value;
use tidegate::wire::{
    bridge::{message_of, packet_of},
    socketio::peek::peek_service,
};

use crate::{Oracle, generated, packets, strings};

/// The arguments of a message, in either form.
fn arguments(message: &Value) -> Vec<Value> {
    let mut members = message.as_object().unwrap().clone();
    members.remove("type");
    members.remove("ackId");
    match members.get("args") {
        Some(Value::Array(args)) if members.len() == 1 => args.clone(),
        _ => vec![members.into()],
    }
}

#[test]
fn messages_of_the_bridge_are_read_by_node_as_they_were_meant() {
    let official = generated(&packets::official_packets(), strings() / 4);
    let is_said = |packet: &&Value| matches!(packet["type"].as_u64(), Some(2 | 3));
    let official: Vec<Value> = official.iter().filter(is_said).cloned().collect();
    let texts: Vec<String> = Oracle::encode(&official)
        .into_iter()
        .filter(|encoded| encoded.attachments == 0 && !encoded.text.contains("[\"ack\""))
        .map(|encoded| encoded.text)
        .collect();
    let mut back = Vec::new();
    for text in &texts {
        let head = peek_service(text.as_bytes(), true).unwrap();
        let said = message_of(text.as_bytes(), std::iter::empty(), "type").unwrap().unwrap();
        let message: Value = serde_json::from_slice(&said).unwrap();
        let mut array: Vec<Value> = serde_json::from_str(&text[head.data_at..]).unwrap();
        if head.kind.is_event() {
            let name = array.remove(0);
            let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
            assert_eq!(message["type"], name.as_str(), "{text}");
        } else {
            assert_eq!(message["type"], "ack", "{text}");
        }
        assert_eq!(message.get("ackId").and_then(Value::as_u64), head.ack_id, "{text}");
        assert_eq!(arguments(&message), array, "{text}");
        let packet = packet_of(&said, "type", head.namespace).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        back.push(String::from_utf8(packet).unwrap());
    }
    assert!(texts.len() > strings() / 16, "{} packets", texts.len());
    for ((text, back), (said, meant)) in
        texts.iter().zip(&back).zip(Oracle::decode(&back).into_iter().zip(Oracle::decode(&texts)))
    {
        // A number names the same event as its digits.
        assert_eq!(said, meant, "{text} became {back}");
    }
}
