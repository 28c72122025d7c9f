//! serde's error messages, in the words of the configuration file.

/// `found` is what stands there, quoted, for those messages that do not say so themselves.
pub(super) fn plain(message: &str, found: Option<&str>) -> String {
    let message = message.trim().replace('\n', " ");
    if let Some(unknown) = message.strip_prefix("unknown field `") {
        let mut names = unknown.split('`').step_by(2);
        let key = names.next().unwrap_or_default();
        return unknown_key(key, &names.filter(|name| !name.is_empty()).collect::<Vec<_>>());
    }
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("needs {}", field.replace('`', "\""));
    }
    let found = found.unwrap_or("not valid");
    match message.as_str() {
        "invalid socket address syntax" => {
            return format!("is {found}; an address has a port, for example \"0.0.0.0:8443\"");
        }
        "invalid IP address syntax" => return format!("is {found}; a network is written \"10.0.0.0/8\""),
        _ => {}
    }
    let rejected = ["invalid type: ", "invalid value: ", "unknown variant "].iter().find_map(|kind| {
        let (found, wanted) = message.strip_prefix(kind)?.split_once(", expected ")?;
        Some(format!("is {}; it must be {}", value(found), kind_of_value(wanted)))
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
fn kind_of_value(wanted: &str) -> String {
    match wanted {
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "text in quotes".to_owned(),
        "a map" => "a table".to_owned(),
        "a sequence" => "a list, [ ] of values or [[ ]] of tables".to_owned(),
        table if table.starts_with("struct ") => "a table".to_owned(),
        variants => variants.replace('`', "\""),
    }
}

/// Keys that had another name before.
const RENAMED: &[(&str, &str)] = &[("queue_total", "limits.session_memory")];

/// What to say of a key that is none of those known.
fn unknown_key(found: &str, known: &[&str]) -> String {
    if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == found) {
        return format!("is not a key any more; it is {new:?} now");
    }
    match known.iter().min_by_key(|name| distance(found, name)) {
        Some(nearest) if distance(found, nearest) <= found.len().max(nearest.len()) / 2 => {
            format!("is not a key here; did you mean {nearest:?}?")
        }
        _ => format!("is not a key here; the keys are {}", known.join(", ")),
    }
}

/// How many characters must be changed, added or dropped (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
