//! The JSON of a packet, as we check it and as `JSON.parse` reads it.

use proptest::{collection::vec, prelude::*, sample::select};
use tidegate::wire::json::{
    check::{JsonBounds, JsonReading},
    has_one_reading,
    placeholders::check_placeholders,
};

use crate::{generated, oracle::Oracle, packets, strings};

/// Arrays and objects, right and nearly right.
fn texts() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        6 => r#"[\[\]{}",:]"#,
        2 => r#"\\["\\/bfnrtxu]|\\u[0-9a-fgD]{0,4}"#,
        2 => "[0-9eE+.-]{1,5}|true|false|null|nul|NaN|[ \t\r\n\u{b}\u{a0}\u{feff}\u{2028}]|[_Yy\u{7f}a]",
        2 => "\"\\PC{0,20}\"",
        1 => "\"[\u{0}-\u{20}]\"",
        1 => "\"[a-z]{30,70}\"",
    ];
    let noise =
        (select(&["[", "{"][..]), vec(token, 0..20)).prop_map(|(begin, tokens)| begin.to_owned() + &tokens.concat());
    let leaf = prop_oneof![
        4 => "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?|true|false|null",
        2 => r#""([a-z\[\]{},:]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}){0,20}""#,
        1 => "-?[0-9]{1,3}(\\.[0-9]{0,2})?([eE][0-9]{0,2})?",
    ];
    let value = leaf.prop_recursive(5, 30, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(|values| format!("[{}]", values.join(", "))),
            vec((r#"[a-c"\\]"#, inner), 0..5).prop_map(|members| {
                let member = |(name, value): (String, String)| format!("{}\t:\n{value}", serde_json::json!(name));
                format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
            }),
        ]
    });
    let array = vec(value, 0..4).prop_map(|values| format!("[{}]", values.join(",")));
    let change = (any::<prop::sample::Index>(), r#"[\[\]{}",:0-9eE+. \\tn-]{0,2}"#, 0..3_usize);
    let mutated = (array.clone(), change).prop_map(|(mut text, (at, put, cut))| {
        let at = text.floor_char_boundary(at.index(text.len()));
        let end = text.ceil_char_boundary((at + cut).min(text.len()));
        text.replace_range(at..end, &put);
        text
    });
    prop_oneof![array, mutated, noise]
}

#[test]
fn what_is_read_in_full_is_what_node_parses_and_its_structure_refuses_nothing_of_it() {
    let bounds = |reading| JsonBounds::new(reading, 64).unwrap();
    let (structure, full) = (bounds(JsonReading::Structure), bounds(JsonReading::Full));
    let texts = generated(&texts(), strings());
    // Before a payload stands nothing, and it is an array or object; none of these is nested as deep as is allowed.
    let is_bare = |text: &String| text.starts_with(['[', '{']);
    let texts: Vec<_> = texts.into_iter().filter(is_bare).collect();
    let mut taken = 0;
    for (text, parses) in texts.iter().zip(Oracle::parses(&texts)) {
        assert_eq!(full.check(text.as_bytes()).is_ok(), parses, "in full: {text:?}");
        assert!(!parses || structure.check(text.as_bytes()).is_ok(), "its structure: {text:?}");
        taken += usize::from(parses);
    }
    assert!((texts.len() / 10..texts.len() * 9 / 10).contains(&taken), "{taken} of {} are JSON", texts.len());
}

#[test]
fn what_official_encoders_write_is_json_by_both_readings() {
    let packets = generated(&packets::official_packets(), 5_000);
    for encoded in Oracle::encode(&packets) {
        let text = encoded.text;
        let head = tidegate::wire::socketio::peek::peek_client(text.as_bytes(), true).unwrap();
        let json = &text.as_bytes()[head.data_at..];
        if json.is_empty() {
            continue;
        }
        for reading in [JsonReading::Structure, JsonReading::Full] {
            assert_eq!(JsonBounds::new(reading, 64).unwrap().check(json), Ok(()), "{text:?}");
        }
        if head.attachments > 0 {
            assert_eq!(check_placeholders(json, head.attachments), Ok(()), "{text:?}");
        }
    }
}

#[test]
fn a_packet_whose_placeholders_we_admit_is_decoded_by_node() {
    let number = select(&["0", "1", "2", "-1", "-0", "1e0", "0.5", "9", "\"0\"", "null", "[0]", "{}"][..]);
    let mark = select(&["true", "true", "true", "false", "1", "\"true\""][..]);
    let name = select(&["_placeholder", "_placeholder", "\\u005fplaceholder", "placeholder"][..]);
    let placeholder =
        (name, mark, number).prop_map(|(name, mark, number)| format!(r#"{{"{name}":{mark},"num":{number}}}"#));
    let value = placeholder.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|values| format!("[{}]", values.join(","))),
            vec(("[a-b]|num|_placeholder", inner), 0..3).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    let payloads: Vec<_> = generated(&vec(value, 1..3), strings() / 4);
    let payloads: Vec<_> = payloads.into_iter().map(|values| format!(r#"["e",{}]"#, values.join(","))).collect();
    let packets: Vec<_> = payloads.iter().map(|payload| format!("52-{payload}")).collect();
    let mut admitted = 0;
    for (payload, decoded) in payloads.iter().zip(Oracle::decodes_binary(&packets, 2)) {
        let ours = check_placeholders(payload.as_bytes(), 2).is_ok();
        admitted += usize::from(ours);
        assert!(!ours || decoded, "Node refuses {payload}");
        // A number between two attachments is nothing at all to Node, and of two members with one name it forgets the first.
        let exempt = payload.contains("0.5") || !has_one_reading(payload.as_bytes(), 64);
        assert!(ours || !decoded || exempt, "Node takes {payload}");
    }
    assert!(admitted > payloads.len() / 20, "{admitted} of {}", payloads.len());
}
