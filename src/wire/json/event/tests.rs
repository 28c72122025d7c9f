//! Messages, and what may be understood of them.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// `Ok(Some(""))`: it is unclear.
fn text(message: &str) -> Result<Option<String>, Unreadable> {
    plain(event_in_text(message.as_bytes(), "type"))
}

fn binary(message: impl AsRef<[u8]>) -> Result<Option<String>, Unreadable> {
    plain(event_in_binary(message.as_ref(), "type"))
}

fn plain(named: Result<NamedEvent<'_>, Unreadable>) -> Result<Option<String>, Unreadable> {
    Ok(match named? {
        NamedEvent::One(name) => Some(name.as_str().to_owned()),
        NamedEvent::None => None,
        NamedEvent::Unclear => Some(UNCLEAR.to_owned()),
    })
}

type Named = Result<Option<&'static str>, Unreadable>;

const UNCLEAR: &str = "(unclear)";

#[test]
fn messages_and_what_they_name() {
    use Unreadable::{NotJson, Repeated};
    let unclear = Ok(Some(UNCLEAR));
    // (message, as text, as binary)
    let rows: &[(&str, Named, Named)] = &[
        (r#"{"type":"chat"}"#, Ok(Some("chat")), Ok(Some("chat"))),
        ("\r\n\t {\"a\":[{}], \"type\" : \"chat\"} \n", Ok(Some("chat")), Ok(Some("chat"))),
        (r#"{"ty\u0070e":"ch\u0061t"}"#, Ok(Some("chat")), Ok(Some("chat"))),
        (r#"{"type":""}"#, Ok(Some("")), Ok(Some(""))),
        (r#"{"a":{"type":"chat"},"b":["type","chat"]}"#, Ok(None), Ok(None)),
        ("{}", Ok(None), Ok(None)),
        (" { } \r\n", Ok(None), Ok(None)),
        (r#"{"type":null}"#, Ok(None), Ok(None)),
        (r#"{"types":"chat","typ":1,"\ud800type":"chat"}"#, Ok(None), Ok(None)),
        // What one reader finds, and another does not.
        (r#"{"Type":"chat"}"#, unclear, unclear),
        (r#"{"type":"ping","TYPE":"chat"}"#, unclear, unclear),
        (r#"{"__proto__":{"type":"chat"}}"#, unclear, unclear),
        (r#"{"type":["chat"]}"#, unclear, unclear),
        (r#"{"type":7}"#, unclear, unclear),
        (r#"{"type":true}"#, unclear, unclear),
        (r#"{"type":"\ud800"}"#, unclear, unclear),
        (r#"{"type":"chat","type":"chat"}"#, Err(Repeated), Err(Repeated)),
        (r#"{"type":"ping","t\u0079pe":"chat"}"#, Err(Repeated), Err(Repeated)),
        // What no JSON reader takes, and another one may.
        (r#"{"type":"chat""#, Err(NotJson), unclear),
        (r#"{"type":"chat",}"#, Err(NotJson), unclear),
        (r#"{type:"chat"}"#, Err(NotJson), unclear),
        (r#"{'type':'chat'}"#, Err(NotJson), unclear),
        (r#"{"type":"chat"}x"#, Err(NotJson), unclear),
        (r#"{"a":NaN,"type":"chat"}"#, Err(NotJson), unclear),
        ("{\"a\":\"\n\",\"type\":\"chat\"}", Err(NotJson), unclear),
        ("\u{feff}{\"type\":\"chat\"}", unclear, unclear),
        ("\u{a0}{\"type\":\"chat\"}", unclear, unclear),
        ("\u{b}{\"type\":\"chat\"}", unclear, unclear),
        ("/**/{\"type\":\"chat\"}", unclear, unclear),
        ("hello {name}", unclear, unclear),
        // Other JSON, and text.
        (r#"[{"type":"chat"}]"#, Ok(None), Ok(None)),
        (r#""{\"type\":\"chat\"}""#, Ok(None), Ok(None)),
        ("7", Ok(None), Ok(None)),
        ("null", Ok(None), Ok(None)),
        ("", Ok(None), unclear),
        ("ping", Ok(None), unclear),
        ("not JSON at all, é∴🌊", Ok(None), unclear),
        ("[info] hello", Ok(None), unclear),
    ];
    for (message, as_text, as_binary) in rows {
        let owned = |named: &Named| named.map(|name| name.map(str::to_owned));
        assert_eq!(text(message), owned(as_text), "{message:?}");
        assert_eq!(binary(message), owned(as_binary), "{message:?} in binary");
    }
}

#[test]
fn a_name_that_differs_in_capitals_alone_is_near() {
    for (name, field) in [("TYPE", "type"), ("Straße", "STRASSE"), ("ſay", "say"), ("\u{212a}ey", "key"), ("É", "é")]
    {
        assert!(is_nearly(name, field), "{name} {field}");
    }
    for (name, field) in [("types", "type"), ("typ", "type"), ("é", "e"), ("", "type")] {
        assert!(!is_nearly(name, field), "{name} {field}");
    }
}

#[test]
fn what_is_nested_too_deeply_is_refused_in_whatever_form_it_comes() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(text(&format!(r#"{{"a":{},"type":"chat"}}"#, deep(63))), Ok(Some("chat".to_owned())));
    assert_eq!(text(&deep(64)), Ok(None));
    for levels in [65, 8_000, 100_000] {
        let forms = [
            format!(r#"{{"a":{},"type":"chat"}}"#, deep(levels)),
            format!(r#"{{"type":"chat","a":{}}}"#, deep(levels)),
            format!("\u{feff}{{\"a\":{},\"type\":\"chat\"}}", deep(levels)),
            deep(levels),
            "[".repeat(levels),
        ];
        for form in forms {
            assert_eq!(text(&form), Err(Unreadable::TooDeep));
            assert_eq!(binary(&form), Err(Unreadable::TooDeep));
        }
        // A service that reads bytes as text puts other characters in the place of what is none.
        let broken = [b"{\"a\":\"\xff\",\"b\":", deep(levels).as_bytes(), b"}"].concat();
        assert_eq!(binary(broken), Err(Unreadable::TooDeep));
    }
}

#[test]
fn bytes_of_another_encoding_may_mean_anything() {
    let chat = r#"{"type":"chat"}"#;
    let utf16: Vec<u8> = chat.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf32: Vec<u8> = chat.chars().flat_map(|char| u32::from(char).to_be_bytes()).collect();
    let audio: Vec<u8> = (0..4000_u32).map(|at| ((at * 7919) >> 3) as u8).collect();
    for bytes in [utf16, utf32, audio, b"{\"ty\xffpe\":\"chat\"}".to_vec(), b"{\"type\":\"ch\xffat\"}".to_vec(), vec![]]
    {
        assert_eq!(binary(&bytes), Ok(Some(UNCLEAR.to_owned())), "{bytes:?}");
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("type|Type|__proto__|[a-c]|\\PC{0,3}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_json_writes_names_what_it_says(value in json(), pretty in any::<bool>()) {
        let message = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let unclear = value.as_object().is_some_and(|object| {
            object.keys().any(|name| name == "__proto__" || (name != "type" && name.eq_ignore_ascii_case("type")))
        });
        let expected = match value.get("type") {
            _ if unclear => Some(UNCLEAR),
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name.as_str()),
            Some(_) => Some(UNCLEAR),
        };
        prop_assert_eq!(text(&message), Ok(expected.map(str::to_owned)), "{}", message);
        prop_assert_eq!(binary(&message), text(&message));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
        for bytes in [&bytes[..], &[b"{\"", &bytes[..]].concat(), &[b"{\"type\":\"a\",", &bytes[..], b"}"].concat()] {
            let _ = event_in_text(bytes, "type");
            let _ = event_in_binary(bytes, "type");
        }
    }
}
