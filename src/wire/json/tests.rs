//! Texts and what is found in them, and `serde_json` as the judge of what is JSON.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// What is found, so that a row can be written down.
#[derive(Debug, PartialEq)]
enum Row {
    NotAnObject,
    Absent,
    Says(&'static str),
    Null,
    Other,
    Repeated,
    Malformed,
}

fn assert_found(text: &str, row: &Row) {
    let found = top_level_string(text.as_bytes(), "type");
    let same = match (&found, row) {
        (Found::String(name), Row::Says(says)) => name.as_str() == *says,
        (Found::NotAnObject, Row::NotAnObject)
        | (Found::Absent, Row::Absent)
        | (Found::Null, Row::Null)
        | (Found::Other, Row::Other)
        | (Found::Repeated, Row::Repeated)
        | (Found::Malformed, Row::Malformed) => true,
        _ => false,
    };
    assert!(same, "{text}: {found:?} is not {row:?}");
}

#[test]
fn texts_and_what_is_found_in_them() {
    let rows = [
        (r#"{"type":"say"}"#, Row::Says("say")),
        (r#"{"type":""}"#, Row::Says("")),
        (" { \"a\" : [ 1 , { } ] ,\r\n\t\"type\" : \"say\" } ", Row::Says("say")),
        (r#"{"a":{"type":"inner"},"type":"outer","b":[{"type":"inner"}]}"#, Row::Says("outer")),
        (r#"{"a":"\"type\":\"no\"","type":"yes"}"#, Row::Says("yes")),
        // Other spellings of the same name, names that only look alike.
        (r#"{"\u0074ype":"s\u0061y"}"#, Row::Says("say")),
        (r#"{"Type":"say","typ":1,"types":2,"__proto__":{"type":"x"}}"#, Row::Absent),
        ("{}", Row::Absent),
        ("{ }", Row::Absent),
        // JSON.parse takes the last of two, other parsers the first.
        (r#"{"type":"a","type":"b"}"#, Row::Repeated),
        (r#"{"type":"a","t\u0079pe":1}"#, Row::Repeated),
        (r#"{"type":1,"b":2,"type":"b","type":"c"}"#, Row::Repeated),
        (r#"{"type":null}"#, Row::Null),
        (r#"{"type":-1.5e+3}"#, Row::Other),
        (r#"{"type":["say"]}"#, Row::Other),
        (r#"{"type":{"type":"say"}}"#, Row::Other),
        (r#"{"type":"\ud800"}"#, Row::Other),
        ("", Row::NotAnObject),
        ("[{\"type\":\"say\"}]", Row::NotAnObject),
        ("\"type\"", Row::NotAnObject),
        ("\u{feff}{\"type\":\"say\"}", Row::NotAnObject),
        ("{", Row::Malformed),
        (r#"{"type":"say""#, Row::Malformed),
        (r#"{"type":"say",}"#, Row::Malformed),
        (r#"{"type":"say"}}"#, Row::Malformed),
        (r#"{"type":"say"} x"#, Row::Malformed),
        (r#"{"type" "say"}"#, Row::Malformed),
        (r#"{type:"say"}"#, Row::Malformed),
        (r#"{"type":"say","a":01}"#, Row::Malformed),
        (r#"{"type":"say","a":+1}"#, Row::Malformed),
        (r#"{"type":"say","a":.5}"#, Row::Malformed),
        (r#"{"type":"say","a":NaN}"#, Row::Malformed),
        (r#"{"type":"say","a":[1,]}"#, Row::Malformed),
        (r#"{"type":"say","a":[1}}"#, Row::Malformed),
        (r#"{"type":"say","a":{"b":1]}"#, Row::Malformed),
        (r#"{"type":"say","a":tru}"#, Row::Malformed),
        ("{\"type\":\"a\nb\"}", Row::Malformed),
    ];
    for (text, row) in rows {
        assert_found(text, &row);
    }
}

#[test]
fn nesting_is_bounded_and_needs_no_stack() {
    // 50,000 brackets.
    let nested = |levels: usize| format!(r#"{{"a":{}{},"type":"say"}}"#, "[".repeat(levels), "]".repeat(levels));
    assert_found(&nested(62), &Row::Says("say"));
    assert_found(&format!(r#"{{"a":{}1{},"type":"say"}}"#, "[".repeat(63), "]".repeat(63)), &Row::Says("say"));
    assert_found(&format!(r#"{{"a":{}1{},"type":"say"}}"#, "[".repeat(64), "]".repeat(64)), &Row::Malformed);
    assert_found(&nested(50_000), &Row::Malformed);
    let mixed = format!("{}1{}", r#"{"b":["#.repeat(31), "]}".repeat(31));
    assert_found(&format!(r#"{{"a":{mixed},"type":"say"}}"#), &Row::Says("say"));
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("type|[a-c]|\\PC{0,3}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_json_writes_has_one_reading_and_a_second_member_of_a_name_another(value in json()) {
        let text = serde_json::to_string(&value).unwrap();
        prop_assert!(has_one_reading(text.as_bytes(), 64), "{text}");
        let twice = format!(r#"[{{"a\u0062":{text},"c":0,"ab":{text}}}]"#);
        prop_assert!(!has_one_reading(twice.as_bytes(), 64), "{twice}");
    }

    #[test]
    fn it_finds_what_serde_json_finds(value in json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let expected = match value.as_object().map(|object| object.get("type")) {
            None => None,
            Some(None) => Some(None),
            Some(Some(field)) => Some(Some(field.as_str())),
        };
        match (top_level_string(&text, "type"), expected) {
            (Found::NotAnObject, None) | (Found::Absent, Some(None)) => {}
            (Found::Null | Found::Other, Some(Some(None))) => {}
            (Found::String(name), Some(Some(Some(says)))) => prop_assert_eq!(name.as_str(), says),
            (found, _) => prop_assert!(false, "{found:?} in {value}"),
        }
    }

    #[test]
    fn it_takes_for_json_what_serde_json_takes(
        value in json(), at in any::<prop::sample::Index>(), put in r#"[\[\]{}",:0-9eE+. \\tn-]{0,2}"#, cut in 0..3usize,
    ) {
        let mut text = format!(r#"{{"a":{value}}}"#);
        let at = text.floor_char_boundary(at.index(text.len()));
        let end = text.ceil_char_boundary((at + cut).min(text.len()));
        text.replace_range(at..end, &put);
        let json = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
        let malformed = top_level_string(text.as_bytes(), "type") == Found::Malformed;
        prop_assert!(!(json && malformed), "{} was refused", text);
        let object = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
        prop_assert!(json || malformed || !object, "{} was taken", text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
        let _ = top_level_string(&bytes, "type");
        let _ = top_level_string(&[b"{\"", &bytes[..]].concat(), "type");
    }
}
