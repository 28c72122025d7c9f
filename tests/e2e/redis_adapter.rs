//! A service of several nodes, by `@socket.io/redis-adapter`, on the key on which a gate publishes.

use proptest::{
    collection::vec,
    prelude::*,
    strategy::{Strategy, ValueTree as _},
    test_runner::TestRunner,
};
use tidegate::wire::redis_adapter::{broadcast::Broadcast, channel};

use crate::support::{Client, Emitter, Redis, Service, client::Driver, eventually, json};

const KEY: &str = "mine";
const BROADCASTS: usize = 5000;
/// Published at once.
const BATCH: usize = 250;

/// A node passes over it: `["u",{"nsp":"/x"},{}]`.
const OF_ANOTHER_NAMESPACE: &[u8] = b"\x93\xa1u\x81\xa3nsp\xa2/x\x80";

async fn node(redis: &Redis) -> Service {
    let port = redis.port().to_string();
    let service = Service::with(&[("AUTH", "off"), ("REDIS_PORT", &port), ("REDIS_KEY", KEY)]).await;
    eventually("the node has subscribed", async || {
        let channel = channel::broadcast(KEY, "/", None);
        (redis.publish(&channel, OF_ANOTHER_NAMESPACE).await == 1).then_some(())
    })
    .await;
    service
}

/// JSON in whatever spelling, with names of members that have a meaning to JavaScript, and places of two attachments.
fn argument() -> impl Strategy<Value = String> {
    let place = prop::sample::select(vec!["0", "1"]).prop_map(|num| format!(r#"{{"_placeholder":true,"num":{num}}}"#));
    let leaf = prop_oneof![
        2 => "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        2 => any::<String>().prop_map(|text| json!(text).to_string()),
        1 => r#""([a-z]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}){0,20}""#,
        1 => "true|false|null",
        1 => place,
    ];
    let name = "[a-c]|[0-9]|__proto__|toJSON|constructor|hasOwnProperty|then|length|nsp";
    leaf.prop_recursive(3, 12, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|values| format!("[{}]", values.join(" ,"))),
            vec((name, inner), 0..6).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// What a gate publishes of a service whose events are these.
fn payloads() -> Vec<Vec<u8>> {
    let mut runner = TestRunner::default();
    let attachments = vec![b"x".to_vec(), vec![0xff; 300]];
    let published = |seq: usize, args: Vec<String>| {
        let json = format!("[{}]", [vec!["\"seq\"".to_owned(), seq.to_string()], args].concat().join(","));
        let (namespace, uid) = ("/".into(), "tg1".into());
        Broadcast {
            uid,
            namespace,
            json: json.into(),
            attachments: attachments.clone(),
            is_of_gate: true,
            ..Broadcast::default()
        }
        .encode()
    };
    // Of some events there is nothing to publish: they have too many attachments.
    let events = std::iter::repeat_with(|| vec(argument(), 0..3).new_tree(&mut runner).unwrap().current());
    events.enumerate().filter_map(|(seq, args)| published(seq, args).ok()).take(BROADCASTS).collect()
}

#[tokio::test]
async fn a_node_delivers_whatever_a_gate_publishes_and_lives_on() {
    let redis = Redis::start().await;
    let mut service = node(&redis).await;
    let client = Client::begin(Driver::start(), &service.url(), json!({}), json!({})).await;
    client.connected().await;

    let (emitter, channel) = (Emitter::with_key(&redis, KEY).await, channel::broadcast(KEY, "/", None));
    let payloads = payloads();
    for batch in payloads.chunks(BATCH) {
        assert_eq!(emitter.publish(&channel, batch).await, batch.len() as u64);
    }
    eventually("all of it is delivered", async || (client.untaken("seq") == BROADCASTS).then_some(())).await;
    assert_eq!(client.untaken("disconnect"), 0);
    assert_eq!(client.ask("echo", json!([1])).await, 1);
    assert!(service.is_running());
}

#[tokio::test]
async fn control_what_a_gate_never_publishes_ends_a_node() {
    let event = b"\x82\xa4type\x02\xa4data\x91\xa1e";
    let prototype = b"\x82\xa4type\x02\xa4data\x92\xa1e\x81\xa9__proto__\xc4\x01x";
    let packet = |packet: &[u8], rest: &[u8]| [b"\x93\xa1u", packet, rest].concat();
    for payload in [
        b"\xc1".to_vec(),
        b"\xc0".to_vec(),
        packet(event, b"\x80\x00"),
        packet(event, b"\xc0"),
        packet(prototype, b"\x80"),
    ] {
        assert!(Broadcast::decode(&payload).is_err() || payload == packet(prototype, b"\x80"), "{payload:x?}");
        let redis = Redis::start().await;
        let mut service = node(&redis).await;
        redis.publish(&channel::broadcast(KEY, "/", None), &payload).await;
        service.dies().await;
    }
}
