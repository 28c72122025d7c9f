//! Texts whole and in pieces, with `serde_json` as the judge of what is JSON.

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

const STRUCTURE: JsonBounds = JsonBounds { reading: JsonReading::Structure, levels: 64 };
const FULL: JsonBounds = JsonBounds { reading: JsonReading::Full, levels: 64 };

/// Whatever the pieces, the answer is one.
fn check(bounds: JsonBounds, text: &[u8]) -> Result<(), JsonFault> {
    let whole = bounds.check(text);
    for size in [1, 2, 3, 7, 8, 9, 31, 64] {
        let mut check = JsonCheck::new(bounds);
        let fed = text.chunks(size).try_for_each(|piece| check.feed(piece)).and_then(|()| check.finish());
        assert_eq!(fed, whole, "{:?} in pieces of {size}", String::from_utf8_lossy(text));
    }
    whole
}

#[test]
fn the_first_fault_is_told_wherever_the_text_is_cut() {
    let bounds = JsonBounds::new(JsonReading::Structure, 2).unwrap();
    assert_eq!(check(bounds, b"[[[\\"), Err(JsonFault::TooDeep));
    assert_eq!(check(bounds, b"[\\[["), Err(JsonFault::Structure));
    assert_eq!(check(bounds, b"[[\\]["), Err(JsonFault::Structure));
}

#[test]
fn escapes_are_told_wherever_a_block_ends() {
    for before in 0..140 {
        for (end, expected) in [
            (r#""]"#, Ok(())),
            (r#"\""]"#, Ok(())),
            (r#"\\"]"#, Ok(())),
            (r#"\\\"["]"#, Ok(())),
            (r#"\"]"#, Err(JsonFault::Structure)),
            (r#"\\\"]"#, Err(JsonFault::Structure)),
            (r#"\\"["]"#, Err(JsonFault::Structure)),
            (r#"",{"]":[]}]"#, Ok(())),
            (r#""]]"#, Err(JsonFault::Structure)),
            ("\"] \t\r\n", Ok(())),
            ("\"]\u{b}", Err(JsonFault::Structure)),
            ("\"] ]", Err(JsonFault::Structure)),
            ("\"] \"", Err(JsonFault::Structure)),
            ("\"] \\", Err(JsonFault::Structure)),
        ] {
            let text = format!("[\"{}{end}", "x".repeat(before));
            assert_eq!(check(STRUCTURE, text.as_bytes()), expected, "{text}");
        }
    }
}

fn is_json(text: &str) -> bool {
    // It refuses strings that are no text, such as half a surrogate pair; RawValue looks at the grammar alone.
    serde_json::from_str::<&RawValue>(text).is_ok()
}

#[test]
fn texts_and_what_each_reading_says_of_them() {
    use JsonFault::{Grammar, Structure};
    type Checked = Result<(), JsonFault>;
    let rows: &[(&str, Checked, Checked)] = &[
        (r#"["say"]"#, Ok(()), Ok(())),
        ("[]", Ok(()), Ok(())),
        ("{}", Ok(()), Ok(())),
        (r#"["say",{"a":[1,-0.5e+3,true,false,null,"\u00e9\n\\\"]"],"b":{}}, [ ] ]"#, Ok(()), Ok(())),
        ("[\"é∴🌊\",\"\\ud800\"]", Ok(()), Ok(())),
        (r#"["[{",'"',"}]"]"#, Err(Structure), Err(Grammar)),
        (r#"["]"]"#, Ok(()), Ok(())),
        (r#"["\"]"]"#, Ok(()), Ok(())),
        (r#"["\\"]"#, Ok(()), Ok(())),
        (r#"["\\\"]"#, Err(Structure), Err(Grammar)),
        (r#"["x"]]"#, Err(Structure), Err(Grammar)),
        (r#"["x"],"#, Err(Structure), Err(Grammar)),
        ("[\"x\"] \r\n\t", Ok(()), Ok(())),
        ("[\"x\"]\u{c}", Err(Structure), Err(Grammar)),
        ("[\"x\"]\u{a0}", Err(Structure), Err(Grammar)),
        (r#"["x"] ,"#, Err(Structure), Err(Grammar)),
        (r#" ["x"]"#, Err(Structure), Err(Grammar)),
        (r#"["x"]["y"]"#, Err(Structure), Err(Grammar)),
        (r#"["x""#, Err(Structure), Err(Grammar)),
        (r#"["x"#, Err(Structure), Err(Grammar)),
        (r#"["x\"#, Err(Structure), Err(Grammar)),
        (r#"["x",{"a":1]}"#, Err(Structure), Err(Grammar)),
        (r#"["x",{]"#, Err(Structure), Err(Grammar)),
        (r#"["x"\n]"#, Err(Structure), Err(Grammar)),
        (r#"["x",\"y"]"#, Err(Structure), Err(Grammar)),
        ("", Err(Structure), Err(Grammar)),
        ("1", Err(Structure), Err(Grammar)),
        ("\"x\"", Err(Structure), Err(Grammar)),
        ("}", Err(Structure), Err(Grammar)),
        // What only the full reading refuses.
        (r#"["x",]"#, Ok(()), Err(Grammar)),
        ("[_Yy\u{7f}]", Ok(()), Err(Grammar)),
        ("[01]", Ok(()), Err(Grammar)),
        ("[1.]", Ok(()), Err(Grammar)),
        ("[.5]", Ok(()), Err(Grammar)),
        ("[-]", Ok(()), Err(Grammar)),
        ("[+1]", Ok(()), Err(Grammar)),
        ("[1e]", Ok(()), Err(Grammar)),
        ("[1 2]", Ok(()), Err(Grammar)),
        ("[tru]", Ok(()), Err(Grammar)),
        ("[truee]", Ok(()), Err(Grammar)),
        ("[NaN]", Ok(()), Err(Grammar)),
        ("{1:2}", Ok(()), Err(Grammar)),
        (r#"{"a"}"#, Ok(()), Err(Grammar)),
        (r#"{"a":}"#, Ok(()), Err(Grammar)),
        (r#"{"a":1,}"#, Ok(()), Err(Grammar)),
        (r#"{"a" "b"}"#, Ok(()), Err(Grammar)),
        (r#"["\x"]"#, Ok(()), Err(Grammar)),
        (r#"["\u12g4"]"#, Ok(()), Err(Grammar)),
        ("[\"a\nb\"]", Ok(()), Err(Grammar)),
        ("[\u{a0}1]", Ok(()), Err(Grammar)),
        ("[\u{c}1]", Ok(()), Err(Grammar)),
    ];
    for (text, structure, full) in rows {
        assert_eq!(check(STRUCTURE, text.as_bytes()), *structure, "structure of {text:?}");
        assert_eq!(check(FULL, text.as_bytes()), *full, "{text:?} in full");
        let preceded = !text.starts_with(['[', '{']);
        assert!(preceded || is_json(text) == full.is_ok(), "serde_json reads {text:?} otherwise");
    }
}

#[test]
fn nesting_is_bounded_at_every_level() {
    for levels in [1, 2, 63, 64] {
        for reading in [JsonReading::Structure, JsonReading::Full] {
            let bounds = JsonBounds::new(reading, levels).unwrap();
            let arrays = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
            let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
            let levels = levels as usize;
            for text in [arrays(levels), objects(levels)] {
                assert_eq!(check(bounds, text.as_bytes()), Ok(()), "{text}");
            }
            for text in [arrays(levels + 1), objects(levels + 1), arrays(50_000), "[".repeat(50_000)] {
                assert_eq!(bounds.check(text.as_bytes()), Err(JsonFault::TooDeep));
            }
            // Side by side is not one in the other, and brackets in a string are none.
            let wide = format!("[{}[]]", "[],".repeat(1000));
            let quoted = format!("[\"{}\"]", "[".repeat(1000));
            assert_eq!(check(bounds, wide.as_bytes()).is_ok(), levels > 1);
            assert_eq!(check(bounds, quoted.as_bytes()), Ok(()));
        }
    }
    assert_eq!(JsonBounds::new(JsonReading::Full, 0), None);
    assert_eq!(JsonBounds::new(JsonReading::Full, 65), None);
}

#[test]
fn it_is_small_enough_to_be_handed_about() {
    assert_eq!(size_of::<JsonCheck>(), 16);
}

/// JSON, and texts that are nearly JSON.
fn texts() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        4 => r#"[\[\]{}",:]"#,
        1 => r#"\\["\\/bfnrtx]|\\u[0-9a-fg]{0,4}"#,
        1 => "[0-9eE+.-]{1,4}|true|false|null|nul|[ \t\r\n]|[_Yy\u{7f}\u{a0}a]",
        1 => "\"\\PC{0,20}\"",
        1 => "\"[a-z]{30,70}\"",
    ];
    let noise = prop::collection::vec(token, 0..30).prop_map(|tokens| format!("[{}", tokens.concat()));
    let leaf =
        prop_oneof!["-?[0-9]{1,3}(\\.[0-9]+)?", "true|null", "\"[a-z\\[\\]{}]{0,40}\"", r#""(\\"|\\\\|x){0,9}""#];
    let value = leaf.prop_recursive(5, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|values| format!("[{}]", values.join(", "))),
            prop::collection::vec(("[a-c]", inner), 0..5).prop_map(|members| {
                let members: Vec<_> = members.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    let value = prop::collection::vec(value, 0..4).prop_map(|values| format!("[{}]", values.join(",")));
    let mutated = (value.clone(), any::<prop::sample::Index>(), r#"[\[\]{}",:0-9eE+. \\tn-]{0,2}"#, 0..3_usize);
    let mutated = mutated.prop_map(|(mut text, at, put, cut)| {
        let at = text.floor_char_boundary(at.index(text.len()));
        let end = text.ceil_char_boundary((at + cut).min(text.len()));
        text.replace_range(at..end, &put);
        text
    });
    prop_oneof![value, mutated, noise]
}

proptest! {
    #[test]
    fn in_full_it_takes_what_serde_json_takes_and_its_structure_is_never_less(text in texts()) {
        let structure = check(STRUCTURE, text.as_bytes());
        let full = check(FULL, text.as_bytes());
        let bare = text.starts_with(['[', '{']);
        if bare && full != Err(JsonFault::TooDeep) {
            prop_assert_eq!(full.is_ok(), is_json(&text), "{}", text);
        }
        prop_assert!(full.is_err() || structure.is_ok(), "{}", text);
    }

    #[test]
    fn no_bytes_make_it_panic_and_no_cut_changes_its_answer(bytes in any::<Vec<u8>>()) {
        let text = [b"[\"", &bytes[..], b"\"]"].concat();
        for bounds in [STRUCTURE, FULL] {
            let _ = check(bounds, &bytes);
            let _ = check(bounds, &text);
        }
    }
}
