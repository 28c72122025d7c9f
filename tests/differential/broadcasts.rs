//! Broadcasts on Redis, as we read and write them and as `@socket.io/redis-adapter` does, with notepack.io and
//! socket.io-parser.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};
use tidegate::wire::redis_adapter::broadcast::Broadcast;

use crate::{
    generated,
    oracle::{Oracle, Published},
    strings,
};

/// A broadcast as a node with the adapter would have read it.
fn in_words_of_node(broadcast: &Broadcast) -> Published {
    let names = |names: &[Box<str>]| names.iter().map(|name| name.clone().into_string()).collect();
    let mut flags = json!({});
    if broadcast.is_volatile {
        flags["volatile"] = true.into();
    }
    if broadcast.is_of_gate {
        flags["tg"] = 1.into();
    }
    let kind =
        if broadcast.attachments.is_empty() { "2".to_owned() } else { format!("5{}-", broadcast.attachments.len()) };
    let namespace = if &*broadcast.namespace == "/" { String::new() } else { format!("{},", broadcast.namespace) };
    Published {
        uid: broadcast.uid.clone().into_string(),
        namespace: broadcast.namespace.clone().into_string(),
        rooms: names(&broadcast.rooms),
        except: names(&broadcast.except),
        flags,
        text: kind + &namespace + std::str::from_utf8(&broadcast.json).unwrap(),
        attachments: broadcast.attachments.iter().map(|bytes| STANDARD.encode(bytes)).collect(),
    }
}

/// Values that both ways of writing have, none of them in another.
fn plain() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53)..=1 << 53).prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<i16>().prop_map(Value::from),
        any::<i32>().prop_map(|number| (f64::from(number) / 1024.0).into()),
        any::<String>().prop_map(Value::from),
        "[a-z\"\\\\é]{30,300}".prop_map(Value::from),
    ];
    leaf.boxed()
}

/// And those that JSON does not have, in the oracle's words.
fn special() -> BoxedStrategy<Value> {
    let time = prop_oneof![
        -8_640_000_000_000_100_i64..8_640_000_000_000_100,
        0..2_000_000_000_000_i64,
        (-100_000_i64..300_000).prop_map(|seconds| seconds * 1000 * 86_400),
    ];
    let number =
        prop_oneof![any::<f64>().prop_map(|number| number.to_string()), Just("NaN".to_owned()), Just("-0".to_owned())];
    let leaf = prop_oneof![
        4 => plain(),
        2 => time.prop_map(|ms| json!({ "$date": ms })),
        2 => number.prop_map(|text| json!({ "$number": text.replace("inf", "Infinity") })),
        1 => Just(json!({ "$undefined": true })),
    ];
    leaf.boxed()
}

fn nested(leaf: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
    leaf.prop_recursive(3, 20, 18, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..18).prop_map(Value::from),
            proptest::collection::btree_map("[a-z\"\\\\é0-9]{0,4}|__proto__|toJSON", inner, 0..18)
                .prop_map(|map| json!(map)),
        ]
    })
}

fn bytes() -> impl Strategy<Value = Value> {
    (vec(any::<u8>(), 0..300), any::<bool>()).prop_map(|(bytes, is_buffer)| {
        let bytes = STANDARD.encode(bytes);
        if is_buffer { json!({ "$buffer": bytes }) } else { json!({ "$binary": bytes }) }
    })
}

/// What an adapter is told to publish: `[uid, packet, options]`.
fn broadcasts(leaf: BoxedStrategy<Value>, binary: bool) -> impl Strategy<Value = Value> {
    let names = || vec(".{0,40}", 0..3);
    let name = prop_oneof![6 => "[a-z:]{1,40}".prop_map(Value::from), 1 => (-5_i64..1 << 40).prop_map(Value::from)]
        .prop_filter("reserved", |name| !["connect", "disconnect"].iter().any(|reserved| name == reserved));
    let attachments = vec(bytes(), if binary { 0..3 } else { 0..1 });
    let namespace = select(&["/", "/chat", "/é"][..]);
    (name, vec(nested(leaf), 0..4), attachments, namespace, names(), names(), any::<bool>()).prop_map(
        |(name, args, attachments, namespace, rooms, except, is_volatile)| {
            let data: Vec<_> = std::iter::once(name).chain(args).chain(attachments).collect();
            let flags = if is_volatile { json!({ "volatile": true }) } else { json!({}) };
            json!([
                "ODiCDc",
                { "type": 2, "data": data, "nsp": namespace },
                { "rooms": unique(rooms), "except": unique(except), "flags": flags },
            ])
        },
    )
}

/// They come out of a Set.
fn unique(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

#[test]
fn what_an_adapter_publishes_is_read_as_its_nodes_read_it() {
    for notepack in [2, 3] {
        let broadcasts = generated(&broadcasts(special(), true), strings() / 20);
        let payloads = Oracle::publish(&broadcasts, notepack);
        for (payload, node) in payloads.iter().zip(Oracle::published(&payloads)) {
            let ours = Broadcast::decode(payload).unwrap_or_else(|rule| panic!("{rule}: {node:?}, {payload:x?}"));
            match node {
                Ok(node) => assert_eq!(in_words_of_node(&ours), node, "we and Node read {payload:x?} differently"),
                // A date or bytes for a prototype.
                Err(error) => assert!(payload.windows(9).any(|name| name == b"__proto__"), "{error}: {payload:x?}"),
            }
        }
    }
}

#[test]
fn what_is_read_is_written_as_an_adapter_writes_it_byte_for_byte() {
    let broadcasts: Vec<_> = generated(&broadcasts(plain(), false), strings() / 20);
    let without_prototypes = |broadcast: &Value| !broadcast.to_string().contains("__proto__");
    let broadcasts: Vec<_> = broadcasts.into_iter().filter(without_prototypes).collect();
    for payload in Oracle::publish(&broadcasts, 3) {
        let ours = Broadcast::decode(&payload).unwrap();
        assert_eq!(ours.encode().as_ref(), Ok(&payload), "{ours:?}");
    }
}

/// JSON in whatever spelling, with numbers of any length.
fn arguments() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        2 => "-?[1-9][0-9]{15,20}",
        2 => select(&["true", "false", "null", "-0", "1e999", "18446744073709551615", "9007199254740993", "{ }", "[\n]"][..])
            .prop_map(str::to_owned),
        2 => any::<String>().prop_map(|text| json!(text).to_string()),
        1 => r#""([a-z\[\]{},:]|\\["\\/bfnrt]|\\u[0-9a-cA-C][0-9a-fA-F]{3}|\\ud83d\\ude0[0-9a-f]){0,20}""#,
    ];
    leaf.prop_recursive(3, 20, 18, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..18).prop_map(|values| format!("[ {}]", values.join(" ,"))),
            vec(("[a-d]{1,3}|[0-9]", inner), 0..18).prop_map(|members| {
                let member = |(name, value): (String, String)| format!("\t\"{name}\" : {value}");
                format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

#[test]
fn what_a_gate_publishes_is_read_by_a_node_as_it_was() {
    let events = (vec(arguments(), 0..4), vec(vec(any::<u8>(), 0..300), 0..3), any::<bool>(), vec(".{0,40}", 0..20));
    let broadcasts: Vec<_> = generated(&events, strings() / 20)
        .into_iter()
        .map(|(args, attachments, is_volatile, rooms)| {
            let places = (0..attachments.len()).map(|num| format!(r#"{{"_placeholder":true,"num":{num}}}"#));
            let items: Vec<_> = std::iter::once("\"e\"".to_owned()).chain(places).chain(args).collect();
            Broadcast {
                uid: "tg1".into(),
                namespace: "/chat".into(),
                json: format!("[{}]", items.join(",")).into_bytes(),
                attachments,
                rooms: unique(rooms).into_iter().map(String::into_boxed_str).collect(),
                except: vec!["x".into()],
                is_volatile,
                is_of_gate: true,
            }
        })
        .collect();
    let texts: Vec<_> = broadcasts.iter().map(|event| String::from_utf8(event.json.clone()).unwrap()).collect();
    let payloads: Vec<_> = broadcasts.iter().map(|event| event.encode().unwrap()).collect();
    let read: Vec<_> = payloads.iter().map(|payload| Broadcast::decode(payload).unwrap()).collect();
    let said: Vec<_> = read.iter().map(|event| String::from_utf8(event.json.clone()).unwrap()).collect();
    // Of repeated members, which we pass on, JavaScript takes the last.
    let (meant, said) = (Oracle::restated(&texts), Oracle::restated(&said));
    let nodes = Oracle::published(&payloads);
    for (((broadcast, node), meant), said) in broadcasts.into_iter().zip(nodes).zip(meant).zip(said) {
        assert_eq!(said, meant, "{broadcast:?}");
        let meant = Broadcast { json: meant.into_bytes(), ..broadcast };
        assert_eq!(node, Ok(in_words_of_node(&meant)), "{meant:?}");
    }
}
