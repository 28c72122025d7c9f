//! Values written as YAML lines or in flow style, which is JSON.

use granit_parser::ScalarStyle;
use serde_json::Value;

use super::yaml::{Kind, Tree};

/// How the document at hand is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) line_end: &'static str,
    /// By how many spaces a nested mapping is indented.
    pub(super) step: usize,
    /// By how many spaces the dashes of a sequence stand behind its key.
    pub(super) dash: usize,
}

/// How flow style is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Flow<'a> {
    /// In one line.
    Short,
    /// A line for each entry. `indent`: before the line in which the value begins; `unit`: what each level adds.
    Long { indent: &'a str, unit: &'a str, line_end: &'a str },
}

/// The lines of a pair of a block mapping.
pub(super) fn pair(key: &str, value: &Value, indent: usize, layout: &Layout) -> Vec<String> {
    let spaces = " ".repeat(indent);
    let key = scalar(key);
    let mut lines = vec![format!("{spaces}{key}:")];
    match value {
        Value::Object(map) if !map.is_empty() => lines.extend(block(value, indent + layout.step, layout)),
        Value::Array(items) if !items.is_empty() => lines.extend(block(value, indent + layout.dash, layout)),
        Value::String(text) if is_literal(text) => {
            lines[0].push_str(" |");
            let spaces = " ".repeat(indent + layout.step);
            lines.extend(text.lines().map(|line| format!("{spaces}{line}").trim_end_matches(' ').to_owned()));
        }
        other => lines[0] = format!("{spaces}{key}: {}", inline(other)),
    }
    lines
}

/// The lines of what is in a collection.
pub(super) fn block(value: &Value, indent: usize, layout: &Layout) -> Vec<String> {
    match value {
        Value::Object(map) => map.iter().flat_map(|(key, value)| pair(key, value, indent, layout)).collect(),
        Value::Array(items) => items.iter().flat_map(|value| item(value, indent, layout)).collect(),
        other => vec![format!("{}{}", " ".repeat(indent), inline(other))],
    }
}

/// The lines of an item of a block sequence.
pub(super) fn item(value: &Value, indent: usize, layout: &Layout) -> Vec<String> {
    let spaces = " ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut lines = block(value, indent + 2, layout);
            lines[0].replace_range(indent..=indent, "-");
            lines
        }
        other => vec![format!("{spaces}- {}", inline(other))],
    }
}

/// In flow style.
pub(super) fn flow(value: &Value, style: Flow<'_>) -> String {
    let entries: Vec<String> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| format!("{}: {}", quoted(key), flow(value, deeper(style).as_flow())))
            .collect(),
        Value::Array(items) => items.iter().map(|value| flow(value, deeper(style).as_flow())).collect(),
        Value::String(text) => return quoted(text),
        other => return other.to_string(),
    };
    let (open, close) = if value.is_object() { ('{', '}') } else { ('[', ']') };
    match style {
        _ if entries.is_empty() => format!("{open}{close}"),
        Flow::Short => format!("{open}{}{close}", entries.join(", ")),
        Flow::Long { indent, unit, line_end } => {
            let between = format!(",{line_end}{indent}{unit}");
            format!("{open}{}{}{line_end}{indent}{close}", &between[1..], entries.join(&between))
        }
    }
}

/// One level further in.
enum Deeper<'a> {
    Short,
    Long { indent: String, unit: &'a str, line_end: &'a str },
}

fn deeper(style: Flow<'_>) -> Deeper<'_> {
    match style {
        Flow::Short => Deeper::Short,
        Flow::Long { indent, unit, line_end } => Deeper::Long { indent: format!("{indent}{unit}"), unit, line_end },
    }
}

impl Deeper<'_> {
    fn as_flow(&self) -> Flow<'_> {
        match self {
            Deeper::Short => Flow::Short,
            Deeper::Long { indent, unit, line_end } => Flow::Long { indent, unit, line_end },
        }
    }
}

/// A JSON text as YAML readers take it: an escape is a whole character, never half of one, and a slash needs none.
pub(super) fn yaml_of_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let unit = |at| rest.get(at..at + 6)?.strip_prefix("\\u").and_then(|hex| u16::from_str_radix(hex, 16).ok());
        let pair = unit(0).into_iter().chain(unit(6));
        let whole = char::decode_utf16(pair).next().and_then(Result::ok).filter(|c| c.len_utf16() == 2);
        let length = if whole.is_some() { 12 } else { 2 };
        match whole {
            Some(whole) => out.push(whole),
            None if rest.starts_with("\\/") => out.push('/'),
            None => out.push_str(rest.get(..length).unwrap_or(rest)),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    out + rest
}

/// What a YAML text says, as JSON; a JSON text as it is. `None`: it says nothing that stands in one line.
pub(super) fn json_of_yaml(text: &str) -> Option<String> {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        return Some(text.to_owned());
    }
    let tree = Tree::parse(text).ok()?;
    let Some(document) = tree.documents.first() else { return Some("null".to_owned()) };
    match &tree.node(document.root).kind {
        _ if tree.is_null(document.root) => Some("null".to_owned()),
        Kind::Scalar { value, style: ScalarStyle::Plain } => Some(plain(value).to_string()),
        Kind::Scalar { value, .. } => Some(quoted(value)),
        Kind::Sequence { items, .. } if items.is_empty() => Some("[]".to_owned()),
        Kind::Mapping { pairs, .. } if pairs.is_empty() => Some("{}".to_owned()),
        _ => None,
    }
}

/// What Kubernetes takes a plain scalar for.
fn plain(text: &str) -> Value {
    let digits = text.replace('_', "");
    let radix =
        |prefix: &str, radix| digits.strip_prefix(prefix).and_then(|rest| i64::from_str_radix(rest, radix).ok());
    let number = radix("0o", 8).or_else(|| radix("0x", 16)).or_else(|| radix("0b", 2));
    let octal = || if digits.len() > 1 { radix("0", 8) } else { None };
    match (number.or_else(octal).or_else(|| digits.parse().ok()), text) {
        (Some(number), _) => number.into(),
        (_, "true" | "True" | "TRUE") => true.into(),
        (_, "false" | "False" | "FALSE") => false.into(),
        _ => text.into(),
    }
}

/// What stands behind a key in the same line.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => flow(other, Flow::Short),
    }
}

/// A text as every YAML reader takes it for a text: YAML 1.1 has numbers with colons, and words for true and false.
pub(super) fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '@' | ':' | '-');
    let is_word =
        matches!(&*text.to_ascii_lowercase(), "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null");
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    if begins && !is_word && !text.ends_with(':') && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let is_printable = text.chars().all(|c| c.is_ascii() && !c.is_ascii_control());
    if is_printable && text.contains(['"', '\\']) { format!("'{}'", text.replace('\'', "''")) } else { quoted(text) }
}

/// As JSON writes it, with what YAML cannot print as escapes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    for c in Value::from(text).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// Whether a block scalar `|` says exactly this.
fn is_literal(text: &str) -> bool {
    let prints = |c: char| c == '\n' || c == '\t' || (' '..='~').contains(&c) || (c >= '\u{a0}' && !is_odd(c));
    let is_odd_line = |line: &str| line.ends_with(' ') || line.starts_with(['\t', ' ']) && line.trim().is_empty();
    let starts_inside = text.trim_start_matches('\n').starts_with([' ', '\t']) || text.starts_with('\n');
    let ends_once = text.ends_with('\n') && !text.ends_with("\n\n") && text.len() > 1;
    ends_once && !starts_inside && text.chars().all(prints) && !text.lines().any(is_odd_line)
}

fn is_odd(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KUBECTL: Layout = Layout { line_end: "\n", step: 2, dash: 0 };

    #[test]
    fn what_could_be_read_as_something_else_is_quoted() {
        for (text, written) in [
            ("tidegate:0.1.0", "tidegate:0.1.0"),
            ("/livez", "/livez"),
            ("0.0.0.0:8443", "\"0.0.0.0:8443\""),
            ("5s", "\"5s\""),
            ("true", "\"true\""),
            ("No", "\"No\""),
            ("a: b", "\"a: b\""),
            ("a:", "\"a:\""),
            ("", "\"\""),
            ("{\"a\":'b'}", "'{\"a\":''b''}'"),
            ("é\u{85}", "\"é\\u0085\""),
        ] {
            assert_eq!(scalar(text), written);
        }
    }

    #[test]
    fn blocks_follow_the_layout() {
        let value = json!({"a": [{"b": 1, "c": {"d": "x"}}, "y"], "e": {}, "t": "[x]\n\n  y = 1\n"});
        assert_eq!(
            block(&value, 2, &KUBECTL).join("\n"),
            "  a:\n  - b: 1\n    c:\n      d: x\n  - \"y\"\n  e: {}\n  t: |\n    [x]\n\n      y = 1"
        );
        let wide = Layout { step: 4, dash: 2, ..KUBECTL };
        assert_eq!(
            block(&value, 0, &wide).join("\n"),
            "a:\n  - b: 1\n    c:\n        d: x\n  - \"y\"\ne: {}\nt: |\n    [x]\n\n      y = 1"
        );
    }

    #[test]
    fn a_text_that_a_block_would_change_is_quoted() {
        for text in ["a\n\n", " a\n", "\n\na\n", "a \nb\n", "a\u{feff}\nb\n", "a\rb\n", "\n"] {
            assert!(pair("t", &json!(text), 0, &KUBECTL)[0].starts_with("t: \""), "{text:?}");
        }
        assert_eq!(pair("t", &json!("a\n\tb\n"), 0, &KUBECTL), ["t: |", "  a", "  \tb"]);
    }

    #[test]
    fn what_yaml_says_is_written_as_json() {
        for (text, json) in [
            ("http", "\"http\""),
            ("'4003'", "\"4003\""),
            ("4003", "4003"),
            ("0o36", "30"),
            ("036", "30"),
            ("0x1e", "30"),
            ("0", "0"),
            ("1_000", "1000"),
            (" ~", "null"),
            ("", "null"),
            (" # none\n  []", "[]"),
            (" { }", " { }"),
            ("\"a\"", "\"a\""),
        ] {
            assert_eq!(json_of_yaml(text).as_deref(), Some(json), "{text}");
        }
        assert_eq!(json_of_yaml("a: b"), None);
    }

    #[test]
    fn json_has_whole_characters_in_yaml() {
        for (json, yaml) in [
            (r#"{"a": "\ud83d\ude00 \u00e9\n"}"#, "{\"a\": \"\u{1f600} \\u00e9\\n\"}"),
            (r#""\\ud83d\\ude00""#, r#""\\ud83d\\ude00""#),
            (r#""\ud83d é""#, r#""\ud83d é""#),
            (r#""a\/b\\/""#, r#""a/b\\/""#),
            ("{}", "{}"),
        ] {
            assert_eq!(yaml_of_json(json), yaml);
        }
    }

    #[test]
    fn flow_is_json() {
        let value = json!({"a": [1, {"b": "x"}], "c": {}});
        assert_eq!(flow(&value, Flow::Short), r#"{"a": [1, {"b": "x"}], "c": {}}"#);
        let long = flow(&value, Flow::Long { indent: "", unit: "  ", line_end: "\n" });
        assert_eq!(long, serde_json::to_string_pretty(&value).unwrap());
    }
}
