//! Packets: as official clients build them, and as somebody might who wants to be read in two ways.

use proptest::{collection::vec, option, prelude::*, sample::select, strategy::Union};
use serde_json::{Value, json};

/// Texts made of the parts of a packet, each mostly right and sometimes strange.
pub(crate) fn nearly_packets() -> impl Strategy<Value = String> {
    let part = |right: &'static [&'static str], strange: &'static [&'static str]| prop_oneof![6 => select(right), 1 => select(strange)];
    let engine = part(&["4"], &["", "2", "b", "04", " 4", "\u{feff}4", "44"]);
    let kind = part(&["0", "1", "2", "2", "2", "3", "5", "6"], &["", "4", "7", "9", "02", " 2", "٢"]);
    let count = part(
        &["", "", "", "1-", "2-", "10-"],
        &["0-", "00-", "01-", "11-", "1e0-", "0x1-", " 1-", "1 -", "-", "--", "1", "1.0-", "+1-", "999-", "١-"],
    );
    let namespace = part(
        &["", "", "", "/chat,", "/a/b,", "/é∴,"],
        &["/,", "/", "//,", "/chat", "/a b,", "/a?x=1,", "/\u{0},", "chat,", "/\u{85},", "/a,,", ",", "/ ,"],
    );
    let id = part(
        &["", "", "0", "7", "12", "9007199254740991"],
        &[
            "00",
            "07",
            "-1",
            "+1",
            "1e3",
            "0x1",
            " ",
            "1 2",
            "\t",
            "9007199254740993",
            "1.5",
            "\u{a0}",
            "٣",
            "123456789012345678901",
        ],
    );
    let name = prop_oneof![
        6 => select(&["\"q\"", "\"agent:learning\"", "\"\"", "\"é∴🌊\"", "\"a b\"", "\"\\u0071\"", "\"\\\"\\\\\\n\""][..]),
        1 => select(&[
            "1", "null", "q", "'q'", "\"q", "\"\\q\"", "\"\\ud800\"", "\"\\ud83c\\udf0a\"", "\"\n\"", "\"connect\"", "[]",
            "\"disconn\\u0065ct\"", "\"newListener\"", "true", "{}", "\"\\u00\"",
        ][..]),
    ];
    let rest = part(
        &["]", ",1]", ",{\"a\":[1,2,{}]}]", ",{\"_placeholder\":true,\"num\":0}]", ",\"]\"]", ",null]"],
        &["", ",", "}", "]]", "],", ",]", "]x", " ]", "] ", ",1]\n", ",\"\\ud800\"]", ",1e999]", ",01]"],
    );
    let array = (select(&["[", "[", "[", "[", "[", "[ ", " [", "\u{feff}[", "{", ""][..]), name, rest)
        .prop_map(|(begin, name, rest)| format!("{begin}{name}{rest}"));
    let other = select(&["", "{}", "{\"token\":\"x\"}", "[1]", "[]", "{", "null", "\"x\"", "{}x", " {}"][..]);
    let payload = prop_oneof![4 => array, 1 => other.prop_map(str::to_owned)];
    (engine, kind, count, namespace, id, payload).prop_map(|(engine, kind, count, namespace, id, payload)| {
        format!("{engine}{kind}{count}{namespace}{id}{payload}")
    })
}

/// Packets whose parts are all right, each in one of the spellings that it may have.
pub(crate) fn spellings() -> impl Strategy<Value = String> {
    let kind = select(&["0", "1", "2", "2", "2", "3", "501-", "51-", "5002-", "61-", "6010-"][..]);
    let namespace = select(&["", "", "/,", "/,", "/", "/chat,", "/chat", "/a-1/b,", "/é,"][..]);
    let id = "([ \\t\\n\\r]{0,2})(0{0,3})([0-9]{0,4}|9007199254740991)([ \\t\\n\\r]{0,2})";
    let name =
        select(&["\"q\"", "\"é∴\"", "\"\"", "7", "0", "-12", "9007199254740991", "\"\\u0071\"", "1.5", "1e3"][..]);
    let blank = "[ \\t\\n\\r]{0,2}";
    let rest = select(&["", ",1", ",{\"a\": [1, 2]}", ",{\"_placeholder\":true,\"num\":0}"][..]);
    let array = (blank, name, blank, rest, blank)
        .prop_map(|(before, name, behind, rest, end)| format!("[{before}{name}{behind}{rest}]{end}"));
    let object = select(&["", "", "{}", "{\"x\": 1} ", "{ }\n"][..]).prop_map(str::to_owned);
    let payload = prop_oneof![3 => array, 1 => object];
    (kind, namespace, id, payload).prop_map(|(kind, namespace, id, payload)| format!("4{kind}{namespace}{id}{payload}"))
}

/// Packets `{type,nsp,id,data}` as `socket.io-client` hands them to its encoder.
pub(crate) fn official_packets() -> impl Strategy<Value = Value> {
    let namespace = prop_oneof![2 => Just("/".to_owned()), 1 => "/[a-zA-Z0-9_./é-]{1,20}"];
    let id = option::of(0..1_u64 << 53);
    let reserved = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];
    let name = prop_oneof![any::<String>(), "[a-z:_]{1,30}", "\\PC{0,20}"]
        .prop_filter("reserved", move |name| !reserved.contains(&&**name));
    let number = -(1_i64 << 53) + 1..1_i64 << 53;
    let name = prop_oneof![6 => name.prop_map(Value::from), 1 => number.prop_map(Value::from)];
    let event = (name, vec(argument(), 0..4), namespace.clone(), id).prop_map(|(name, mut args, nsp, id)| {
        args.insert(0, name);
        packet(2, &nsp, id, args.into())
    });
    let ack = (vec(argument(), 0..4), namespace.clone(), 0..1_u64 << 53)
        .prop_map(|(args, nsp, id)| packet(3, &nsp, Some(id), args.into()));
    let connect = (namespace.clone(), option::of(".*"))
        .prop_map(|(nsp, token)| packet(0, &nsp, None, token.map_or(Value::Null, |token| json!({ "token": token }))));
    let disconnect = namespace.prop_map(|nsp| packet(1, &nsp, None, Value::Null));
    prop_oneof![6 => event, 2 => ack, 1 => connect, 1 => disconnect]
}

/// What is not there is left out: to the encoder `null` is a value.
fn packet(kind: u8, nsp: &str, id: Option<u64>, data: Value) -> Value {
    let mut packet = json!({ "type": kind, "nsp": nsp });
    if let Some(id) = id {
        packet["id"] = id.into();
    }
    if !data.is_null() {
        packet["data"] = data;
    }
    packet
}

/// Any JSON, at most two of its leaves being bytes, so that four arguments never have too many.
fn argument() -> impl Strategy<Value = Value> {
    let bytes = vec(any::<u8>(), 0..20).prop_map(|bytes| {
        use base64::{Engine, engine::general_purpose::STANDARD};
        json!({ "$binary": STANDARD.encode(bytes) })
    });
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let nested = leaf.prop_recursive(3, 12, 4, |inner| {
        Union::new([
            vec(inner.clone(), 0..4).prop_map(Value::from).boxed(),
            proptest::collection::btree_map("[a-z\"\\\\é]{0,6}", inner, 0..4).prop_map(|map| json!(map)).boxed(),
        ])
    });
    prop_oneof![4 => nested, 1 => bytes.clone(), 1 => (bytes.clone(), bytes).prop_map(|(one, two)| json!({ "a": one, "b": [two] }))]
}

/// One of these texts with a few of its characters taken out, doubled or replaced.
pub(crate) fn mutations(texts: Vec<String>) -> impl Strategy<Value = String> {
    let characters = "0123456789 \t\n-+.,/[]{}\"\\ueabq\u{feff}\u{a0}é٣".chars().collect::<Vec<_>>();
    let change = (any::<prop::sample::Index>(), 0..3_u8, select(characters));
    // Changes near the beginning, where the head is, say more than those in a payload.
    (select(texts), vec((change, any::<bool>()), 1..4)).prop_map(|(text, changes)| {
        let mut text: Vec<char> = text.chars().collect();
        for ((index, way, character), anywhere) in changes {
            if text.is_empty() {
                break;
            }
            let at = index.index(if anywhere { text.len() } else { text.len().min(16) });
            match way {
                0 => drop(text.remove(at)),
                1 => text.insert(at, character),
                _ => text[at] = character,
            }
        }
        text.into_iter().collect()
    })
}
