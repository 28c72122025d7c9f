//! One value in a JSON text by its place, and a scalar as the text that JavaScript makes of it.

use std::borrow::Cow;

use super::{Scanner, string::StringToken};

/// 2^53 - 1. JavaScript reads larger integers as others (ECMA-262, `Number.MAX_SAFE_INTEGER`).
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// An element of an array, as it is written there, with what is behind it unread.
#[must_use]
pub fn element(array: &[u8], at: usize) -> Option<&[u8]> {
    let mut scanner = Scanner { text: array, at: 0 };
    scanner.skip_space();
    scanner.expect(b'[')?;
    if scanner.ends_at_once(b']') {
        return None;
    }
    for _ in 0..at {
        scanner.skip_value()?;
        scanner.skip_space();
        scanner.expect(b',')?;
        scanner.skip_space();
    }
    scanner.value()
}

/// A member of an object, as it is written there. `None` also where it is there twice, for readers differ in which one they
/// take.
#[must_use]
pub fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut scanner = Scanner { text: object, at: 0 };
    scanner.skip_space();
    scanner.expect(b'{')?;
    if scanner.ends_at_once(b'}') {
        return None;
    }
    let mut found = None;
    loop {
        let is_it = scanner.name()?.decode().as_deref() == Some(name);
        let value = scanner.value()?;
        if is_it && found.replace(value).is_some() {
            return None;
        }
        scanner.skip_space();
        match scanner.next()? {
            b',' => scanner.skip_space(),
            b'}' => return found,
            _ => return None,
        }
    }
}

/// A string, an integer or a boolean, as the text that JavaScript makes of it. `None`: it is anything else.
#[must_use]
pub fn scalar(value: &[u8]) -> Option<Cow<'_, str>> {
    match value.first()? {
        b'"' => StringToken::read(value).ok()??.decode(),
        b't' | b'f' => std::str::from_utf8(value).ok().map(Cow::Borrowed),
        b'-' | b'0'..=b'9' => {
            let text = std::str::from_utf8(value).ok()?;
            let integer: i64 = text.parse().ok().filter(|integer: &i64| integer.unsigned_abs() <= INTEGER_MAX)?;
            // -0 is 0.
            Some(if integer == 0 { Cow::Borrowed("0") } else { Cow::Borrowed(text) })
        }
        _ => None,
    }
}

impl<'a> Scanner<'a> {
    fn value(&mut self) -> Option<&'a [u8]> {
        let begin = self.at;
        self.skip_value()?;
        Some(&self.text[begin..self.at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str, at: usize, names: &[&str]) -> Option<String> {
        let value = names.iter().try_fold(element(text.as_bytes(), at)?, |value, name| member(value, name));
        scalar(value?).map(Cow::into_owned)
    }

    #[test]
    fn a_scalar_is_found_by_its_place() {
        let event = r#"["join", {"a":{"b":"x\u00e9"},"n":7} ,-5,true,"t"]"#;
        for (at, names, found) in [
            (0, &[][..], Some("join")),
            (1, &["a", "b"], Some("xé")),
            (1, &["n"], Some("7")),
            (2, &[], Some("-5")),
            (3, &[], Some("true")),
            (4, &[], Some("t")),
            (5, &[], None),
            (1, &[], None),
            (1, &["a"], None),
            (1, &["b"], None),
            (1, &["n", "b"], None),
            (4, &["length"], None),
        ] {
            assert_eq!(text(event, at, names).as_deref(), found, "{at} {names:?}");
        }
    }

    #[test]
    fn what_readers_understand_in_several_ways_is_not_found() {
        for value in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"a":1.5}"#,
            r#"{"a":1e3}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"a":null}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":1"#,
            r#"{"b":1}"#,
            r#"[{"a":1}]"#,
        ] {
            assert_eq!(text(&format!(r#"["e",{value}]"#), 1, &["a"]), None, "{value}");
        }
        assert_eq!(text(r#"["e",{"a":9007199254740991}]"#, 1, &["a"]).as_deref(), Some("9007199254740991"));
        assert_eq!(text(r#"["e",-0]"#, 1, &[]).as_deref(), Some("0"));
    }
}
