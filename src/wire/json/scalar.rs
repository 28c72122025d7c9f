//! One string or number of an object, as it was written.

use super::path::member;

/// The longest value that is returned, in bytes. Ids are short.
const SCALAR_MAX: usize = 256;

/// The value of one field at the top level of a JSON object as it stands there, with its quotes and escapes, when it is a
/// string or a number of at most 256 bytes in UTF-8. `None` where it is anything else, is missing, or is there twice, and
/// where `text` is not an object.
#[must_use]
pub fn top_level_scalar<'a>(text: &'a [u8], field: &str) -> Option<&'a str> {
    let is_scalar = |value: &&[u8]| matches!(value.first(), Some(b'"' | b'-' | b'0'..=b'9'));
    let value = member(text, field).filter(is_scalar).filter(|value| value.len() <= SCALAR_MAX)?;
    std::str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_or_a_number_is_returned_as_it_was_written() {
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(SCALAR_MAX));
        for (text, found) in [
            (r#"{"id":"a-1","type":"subscribe"}"#, Some(r#""a-1""#)),
            (r#" { "type" : "x" , "\u0069d" : "a\"\u00e9" } "#, Some(r#""a\"\u00e9""#)),
            (r#"{"id":7}"#, Some("7")),
            (r#"{"id":-1.5e3}"#, Some("-1.5e3")),
            (r#"{"a":{"id":1},"id":"x"}"#, Some(r#""x""#)),
            (r#"{"id":null}"#, None),
            (r#"{"id":true}"#, None),
            (r#"{"id":["a"]}"#, None),
            (r#"{"id":{"id":1}}"#, None),
            (r#"{"type":"x"}"#, None),
            (r#"{"id":1,"id":1}"#, None),
            ("{}", None),
            (r#"["id"]"#, None),
            (r#"{"id":1"#, None),
            (&long, None),
        ] {
            assert_eq!(top_level_scalar(text.as_bytes(), "id"), found, "{text}");
        }
        assert_eq!(top_level_scalar(b"{\"id\":\"\xff\"}", "id"), None, "not UTF-8");
    }
}
