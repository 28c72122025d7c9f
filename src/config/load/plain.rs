//! serde's error messages, in the words of the configuration file.

use std::net::IpAddr;

use serde_json::Value;
use strsim::osa_distance;

use super::address::no_address;
use crate::config::schema::Node;

/// Where serde stopped.
pub(super) struct At<'a> {
    /// The key's name, with the tables around it.
    pub(super) key: &'a str,
    /// Is this a table of the file, rather than a key in one?
    pub(super) is_top: bool,
    /// The file as a whole.
    pub(super) schema: Node<'a>,
    /// The key. `None` where there is no such key.
    pub(super) node: Option<Node<'a>>,
    /// What stands there.
    pub(super) found: Option<&'a Value>,
}

/// What to say of it.
pub(super) struct Explanation {
    pub(super) message: String,
    /// The key that an unknown one seems to stand for.
    pub(super) meant: Option<String>,
}

/// What to say where serde says `message`.
pub(super) fn plain(message: &str, at: &At<'_>) -> Explanation {
    let message = message.trim().replace('\n', " ");
    if let Some(unknown) = message.strip_prefix("unknown field `") {
        let mut names = unknown.split('`').step_by(2);
        let key = names.next().unwrap_or_default();
        return unknown_key(key, &names.filter(|name| !name.is_empty()).collect::<Vec<_>>(), at);
    }
    Explanation { message: of_value(message, at), meant: None }
}

fn of_value(message: String, at: &At<'_>) -> String {
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("needs {}", field.replace('`', "\""));
    }
    let text = at.found.and_then(Value::as_str);
    let found = text.map_or_else(|| "not valid".to_owned(), |text| format!("{text:?}"));
    match message.as_str() {
        "invalid socket address syntax" => {
            return format!("is {found}; {}", no_address(text.unwrap_or_default()));
        }
        "invalid IP address syntax" => {
            let network = match text.and_then(|text| text.parse::<IpAddr>().ok()) {
                Some(IpAddr::V4(ip)) => format!("{ip}/32"),
                Some(IpAddr::V6(ip)) => format!("{ip}/128"),
                None => "10.0.0.0/8".to_owned(),
            };
            return format!("is {found}; a network is written {network:?}");
        }
        _ => {}
    }
    let rejected = ["invalid type: ", "invalid value: ", "unknown variant "].iter().find_map(|kind| {
        let (found, wanted) = message.strip_prefix(kind)?.split_once(", expected ")?;
        let found = value(found);
        match (wanted, at.node) {
            ("a sequence", Some(node)) => Some(no_list(node, at, &found)),
            _ => Some(format!(
                "is {found}; it must be {}{}",
                kind_of_value(wanted, at.node),
                without_quotes(wanted, text)
            )),
        }
    });
    rejected.unwrap_or(message)
}

/// From ``integer `5` `` to `5`, from ``unknown variant `x` `` to `"x"`.
fn value(found: &str) -> String {
    match found {
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        variant if variant.starts_with('`') => variant.replace('`', "\""),
        other => other.split_once(['`', '"']).map_or_else(
            || other.to_owned(),
            |(kind, value)| match kind {
                "string " => format!("\"{value}"),
                _ => value.trim_end_matches('`').to_owned(),
            },
        ),
    }
}

/// Rust's types as TOML's.
fn kind_of_value(wanted: &str, node: Option<Node<'_>>) -> String {
    match wanted {
        "u32" => whole_number(node, Some(u32::MAX.into())),
        "u16" => whole_number(node, Some(u16::MAX.into())),
        "u8" => whole_number(node, Some(u8::MAX.into())),
        "u64" | "usize" => whole_number(node, None),
        "a boolean" => "true or false".to_owned(),
        "a string" | "a borrowed string" | "path string" => "text in quotes".to_owned(),
        "a map" => "a table".to_owned(),
        "socket address" => "IP:PORT in quotes, for example \"0.0.0.0:8443\"".to_owned(),
        "string or map" => "one of its words in quotes".to_owned(),
        "IPv4 or IPv6 network address" => "a network in quotes, for example \"10.0.0.0/8\"".to_owned(),
        table if table.starts_with("struct ") => "a table".to_owned(),
        variants => variants.replace('`', "\""),
    }
}

/// With the bounds of the key, where it has some; its type has `most` at any rate.
fn whole_number(node: Option<Node<'_>>, most: Option<u64>) -> String {
    let [least, own] = node.map_or([None; 2], Node::bounds);
    let least = least.unwrap_or_default();
    match own.or(most) {
        Some(most) => format!("a whole number from {least} to {most}"),
        None => format!("a whole number, {least} or more"),
    }
}

/// Where only the quotes are wrong.
fn without_quotes(wanted: &str, text: Option<&str>) -> String {
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    match (wanted, text) {
        ("u8" | "u16" | "u32" | "u64" | "usize", Some(text)) if is_number(text) => format!(", without quotes: {text}"),
        ("a boolean", Some(text @ ("true" | "false"))) => format!(", without quotes: {text}"),
        _ => String::new(),
    }
}

/// Where a list should stand.
fn no_list(node: Node<'_>, at: &At<'_>, shown: &str) -> String {
    if !node.entry().is_some_and(Node::is_table) {
        let list = at.found.filter(|found| !found.is_object()).map_or_else(String::new, |found| format!(": [{found}]"));
        return format!("is {shown}; it must be a list{list}");
    }
    format!("is {shown}; it must be a list of tables: [[{}]] in the file, or [{{ … }}] in a variable", at.key)
}

/// Keys that had another name before.
const RENAMED: &[(&str, &str)] = &[("queue_total", "limits.session_memory")];

/// What to say of a key that is none of those known.
fn unknown_key(found: &str, known: &[&str], at: &At<'_>) -> Explanation {
    if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == found) {
        return Explanation { message: format!("is not a key any more; it is {new:?} now"), meant: None };
    }
    if let Some(table) = at.schema.key(found).filter(|_| !at.is_top) {
        let is_list = table.entry().is_some();
        let heading = if is_list { format!("[[{found}]]") } else { format!("[{found}]") };
        let message = format!("is not a key here; {heading} is a table of its own, in a line before its keys");
        return Explanation { message, meant: None };
    }
    let tables = at.schema.tables_with(found);
    let nearest = known.iter().min_by_key(|name| osa_distance(found, name));
    let nearest = nearest.filter(|nearest| osa_distance(found, nearest) <= found.len().max(nearest.len()) / 2);
    let message = match nearest {
        _ if !tables.is_empty() => format!("is not a key here, but of {}; write it there", tables.join(" and ")),
        Some(nearest) => {
            let is_list = at.is_top && at.schema.key(nearest).and_then(Node::entry).is_some_and(Node::is_table);
            let nearest = if is_list { format!("[[{nearest}]]") } else { format!("{nearest:?}") };
            format!("is not a key here; did you mean {nearest}?")
        }
        None => format!("is not a key here; the keys are {}", known.join(", ")),
    };
    Explanation { message, meant: nearest.map(|name| (*name).to_owned()) }
}
