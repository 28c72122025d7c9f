//! JSON objects that have one reading: no repeated member, no deep nesting.

use serde_json::{Map, Value};

use crate::wire::json;

/// How deeply arrays and objects may be nested.
const DEPTH_MAX: u32 = 16;

/// The object in `bytes`. `None` if `bytes` are not a JSON object, have a repeated member anywhere, or are nested deeper
/// than 16 levels. Of two members with one name parsers take either one, so gate and service might read different values.
pub(super) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    if json::has_one_reading(bytes, DEPTH_MAX) { serde_json::from_slice(bytes).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_as_serde_json_reads_it() {
        let text = r#"{"a":1,"b":-1,"c":1.5,"d":"x\u00e9","e":null,"f":[true,{"a":[]}],"g":{}}"#;
        assert_eq!(Value::Object(object(text.as_bytes()).unwrap()), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let deep = |levels: u32| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels as usize), "]".repeat(levels as usize));
        assert!(object(deep(DEPTH_MAX - 1).as_bytes()).is_some());
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"a":1,"a":2}]}"#,
            "[]",
            "1",
            "",
            "{}{}",
            "{} x",
            r#"{"a":NaN}"#,
            r#"{"a":1e999}"#,
            r#"{"a":01}"#,
            "\u{feff}{}",
            &deep(DEPTH_MAX),
            &deep(100_000),
        ] {
            assert!(object(text.as_bytes()).is_none(), "{}", &text[..text.len().min(40)]);
        }
    }
}
