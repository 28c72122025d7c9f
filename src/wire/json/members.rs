//! A JSON object without some of its members.

use super::Scanner;

/// The object without the members of these names, the others as they are written. `None`: it is no object, or malformed as far as
/// it was read.
#[must_use]
pub fn without(object: &[u8], names: &[&str]) -> Option<Vec<u8>> {
    let mut scanner = Scanner::new(object);
    scanner.skip_space();
    if scanner.peek() != Some(b'{') {
        return None;
    }
    // What is left is never longer, so no copy of it is left behind in memory.
    let mut left = Vec::with_capacity(object.len());
    left.push(b'{');
    let mut is_over = scanner.enters(b'}');
    while !is_over {
        let begin = scanner.position();
        let is_named = scanner.name()?.decode().is_some_and(|name| names.contains(&&*name));
        scanner.skip_value()?;
        let member = scanner.since(begin);
        is_over = scanner.closes(b'}')?;
        if !is_named {
            if left.len() > 1 {
                left.push(b',');
            }
            left.extend_from_slice(member);
        }
    }
    left.push(b'}');
    Some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_left_out_by_their_names_and_others_stay_as_they_are_written() {
        for (object, left) in [
            (r#"{"pid":"p","offset":"o","token":"t"}"#, Some(r#"{"token":"t"}"#)),
            (
                r#" { "a" : [1.50, {"pid":2}] , "pid":"p","b":"\u0061" } "#,
                Some(r#"{"a" : [1.50, {"pid":2}],"b":"\u0061"}"#),
            ),
            (r#"{"\u0070id":1,"a":"pid","pid":2}"#, Some(r#"{"a":"pid"}"#)),
            (r#"{"pid":"p"}"#, Some("{}")),
            ("{}", Some("{}")),
            ("", None),
            (r#"["pid"]"#, None),
            (r#"{"a":1"#, None),
            (r#"{"a":1,}"#, None),
        ] {
            let found = without(object.as_bytes(), &["pid", "offset"]).map(|left| String::from_utf8(left).unwrap());
            assert_eq!(found.as_deref(), left, "{object}");
        }
    }
}
