//! Our reading of Socket.IO packets and Engine.IO payloads beside that of the official parsers, on the same strings.
//!
//! Two promises: what we admit from a client, Node reads as we do; and what official encoders write is admitted. Of its
//! JSON, read in full, we admit what Node parses, and of its structure no less.
#![allow(clippy::unwrap_used, reason = "what is not there fails the test")]

mod json;
mod oracle;
mod packets;
mod payloads;

use oracle::{Oracle, Reading};
use proptest::{strategy::Strategy, test_runner::TestRunner};
use serde_json::Value;
use tidegate::wire::socketio::peek::peek_client;

/// Strings per run; the oracle reads some 50,000 a second.
const STRINGS: usize = 20_000;

/// How we read a client's text message, in the oracle's words. None: we refuse it.
fn our_reading(text: &str) -> Option<Reading> {
    let head = peek_client(text.as_bytes(), true).ok()?;
    Some(Reading {
        kind: head.kind.digit() - b'0',
        namespace: head.namespace.to_owned(),
        ack_id: head.ack_id.map(Value::from),
        event: head.event.map(|name| name.as_str().to_owned()),
        attachments: head.attachments.into(),
    })
}

fn generated<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
    use proptest::strategy::ValueTree;
    let mut runner = TestRunner::default();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// Node reads what we admit as we do, or refuses it for its payload, which we do not parse. So many were admitted.
fn assert_same_reading(texts: &[String]) -> usize {
    let nodes = Oracle::decode(texts);
    let mut admitted = 0;
    for (text, node) in texts.iter().zip(nodes) {
        let Some(ours) = our_reading(text) else { continue };
        admitted += 1;
        if let Some(node) = node {
            assert_eq!(ours, node, "we and Node read {text:?} differently");
        }
    }
    admitted
}

#[test]
fn what_is_admitted_is_read_by_node_as_by_us() {
    let texts = generated(&packets::nearly_packets(), STRINGS);
    let admitted = assert_same_reading(&texts);
    // The test would prove nothing if all or none of them were packets.
    assert!((STRINGS / 100..STRINGS * 9 / 10).contains(&admitted), "{admitted} of {STRINGS} admitted");
}

#[test]
fn mutations_of_official_packets_are_read_by_node_as_by_us() {
    let packets = generated(&packets::official_packets(), 2_000);
    let encoded: Vec<_> = Oracle::encode(&packets).into_iter().map(|encoded| encoded.text).collect();
    let texts = generated(&packets::mutations(encoded), STRINGS);
    assert_same_reading(&texts);
}

#[test]
fn what_official_encoders_write_is_admitted() {
    let packets = generated(&packets::official_packets(), 10_000);
    for (packet, encoded) in packets.iter().zip(Oracle::encode(&packets)) {
        let text = encoded.text;
        let ours = our_reading(&text)
            .unwrap_or_else(|| panic!("{text:?}: {}", peek_client(text.as_bytes(), true).unwrap_err()));
        assert_eq!(ours.namespace, packet["nsp"], "{text:?}");
        assert_eq!(ours.ack_id.as_ref(), packet.get("id"), "{text:?}");
        assert_eq!(ours.attachments, encoded.attachments, "{text:?}");
        if packet["type"] == 2 {
            assert_eq!(ours.event.map(Value::from).as_ref(), packet["data"].get(0), "{text:?}");
        }
    }
}

#[test]
fn the_table_of_known_disagreements_is_refused() {
    // (what a client may send, how Node 20 with socket.io-parser 4.2 reads it)
    let table = [
        ("42 [\"q\"]", "an event with ack id 0"),
        ("42\t[\"q\"]", "the same"),
        ("42\n[\"q\"]", "the same"),
        ("42\u{feff}[\"q\"]", "the same"),
        ("421 2[\"q\"]", "ack id NaN"),
        ("4207[\"q\"]", "ack id 7"),
        ("42-7[\"q\"]", "no ack id, and a bad payload"),
        ("451e0-[\"q\",{\"_placeholder\":true,\"num\":0}]", "one attachment"),
        ("450x1-[\"q\",{\"_placeholder\":true,\"num\":0}]", "one attachment"),
        ("45 1-[\"q\",{\"_placeholder\":true,\"num\":0}]", "one attachment"),
        ("42/,[\"q\"]", "namespace /"),
        ("42/", "an event without a name"),
        ("42[1,\"x\"]", "an event named 1"),
        ("43[1]", "an ack of nothing"),
        ("3", "a pong"),
        ("6", "nothing"),
        ("2", "a ping, which ends the session"),
        ("bAAAA", "a binary message"),
        ("", "an error"),
    ];
    for (text, node) in table {
        assert_eq!(our_reading(text), None, "Node reads {text:?} as {node}");
    }
    // And their twins, as official clients write them.
    for text in ["42[\"q\"]", "420[\"q\"]", "427[\"q\"]", "42/chat,[\"q\"]", "430[1]"] {
        assert_eq!(our_reading(text), Oracle::decode(&[text.to_owned()]).remove(0), "{text:?}");
        assert!(our_reading(text).is_some(), "{text:?}");
    }
}
