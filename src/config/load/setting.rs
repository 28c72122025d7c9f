//! Layers of one key each: an environment variable `TIDEGATE__TABLE__KEY`, or an option of the command line.

use std::ffi::OsString;

use figment::{
    Error, Metadata, Profile, Provider,
    value::{Dict, Empty, Map, Tag, Value},
};
use serde::Deserialize;
use toml_edit::de::ValueDeserializer;

use crate::{
    config::schema::{self, Node, SECRET_SOURCES},
    fault::Fault,
};

/// Two underscores: a Kubernetes Service named `tidegate` puts `TIDEGATE_PORT` into every pod of its namespace.
const PREFIX: &str = "TIDEGATE__";

/// Between table and key.
const SEPARATOR: &str = "__";

/// What errors write before the name of a variable.
const VARIABLE: &str = "environment variable ";

/// What figment knows these layers by.
const SOURCE: &str = "one key";

/// One key and its value.
#[derive(Debug)]
pub(super) struct Setting {
    /// What errors call it.
    name: String,
    /// The tables, and the key in the last of them.
    keys: Vec<String>,
    value: Value,
}

impl Setting {
    /// An option of the command line.
    pub(super) fn option(name: &str, key: &str, text: impl Into<String>) -> Self {
        let keys = key.split('.').map(str::to_owned).collect();
        Self { name: name.to_owned(), keys, value: Value::from(text.into()) }
    }

    fn variable(name: &str, mut keys: Vec<String>, text: String, schema: Node<'_>) -> Self {
        let node = |keys: &[String]| keys.iter().try_fold(schema, |node, key| node.key(key));
        let mut value = read(node(&keys), text);
        if let Some((source, secret)) = keys.split_last()
            && SECRET_SOURCES.contains(&source.as_str())
            && node(secret).is_some_and(Node::is_secret)
        {
            value = Value::from(Dict::from([(source.clone(), value)]));
            keys.pop();
        }
        if let Some(node) = node(&keys) {
            take_back_secrets(node, &mut value);
        }
        Self { name: format!("{VARIABLE}{name}"), keys, value }
    }
}

/// Of each secret that this value names: nothing in the place of its other source. A variable that names a source takes the
/// place of whatever the file names.
fn take_back_secrets(node: Node<'_>, value: &mut Value) {
    let Value::Dict(_, table) = value else { return };
    if node.is_secret() {
        for source in SECRET_SOURCES {
            table.entry(source.to_owned()).or_insert(Value::Empty(Tag::Default, Empty::None));
        }
        return;
    }
    for (key, value) in table {
        if let Some(node) = node.key(key) {
            take_back_secrets(node, value);
        }
    }
}

/// What errors call the layer, where it is one of these.
pub(super) fn name(metadata: &Metadata) -> Option<&str> {
    let is_setting = metadata.source.as_ref().and_then(figment::Source::custom) == Some(SOURCE);
    is_setting.then_some(&*metadata.name)
}

/// A variable that is not used: its name, and why.
pub(super) type Refused = (String, Fault);

/// The variables that begin with the prefix, and those of them that are not UTF-8, or set what another one sets.
pub(super) fn variables(all: impl IntoIterator<Item = (OsString, OsString)>) -> (Vec<Setting>, Vec<Refused>) {
    let schema = schema::generate();
    let schema = Node::root(schema.as_value());
    let (mut settings, mut refused) = (Vec::new(), Vec::new());
    let mut refuse = |name: String, keys: &[String], message: &str| {
        refused.push((name, Fault::new(keys.join("."), message)));
    };
    for (name, value) in all {
        let Ok(name) = name.into_string() else { continue };
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let keys: Vec<_> = path.split(SEPARATOR).map(str::to_lowercase).collect();
        match value.into_string() {
            Ok(text) => settings.push(Setting::variable(&name, keys, text, schema)),
            Err(_) => refuse(format!("{VARIABLE}{name}"), &keys, "is not UTF-8; write it in UTF-8"),
        }
    }
    settings.sort_unstable_by(|one, other| (&one.keys, &one.name).cmp(&(&other.keys, &other.name)));
    // Sorted, whatever sets parts of something comes right behind what sets the whole of it.
    let mut kept: Vec<Setting> = Vec::with_capacity(settings.len());
    for part in settings {
        match kept.last().filter(|whole| part.keys.starts_with(&whole.keys)) {
            Some(whole) => {
                let other = whole.name.trim_start_matches(VARIABLE);
                refuse(part.name, &part.keys, &format!("is set by {other} too; keep one of them"));
            }
            None => kept.push(part),
        }
    }
    (kept, refused)
}

/// A key that wants text gets it byte for byte. Another one gets TOML, and where that is none, the text all the same:
/// the error then shows it. So does a key that does not exist.
fn read(node: Option<Node<'_>>, text: String) -> Value {
    if node.is_none_or(Node::wants_text) {
        return Value::from(text);
    }
    let toml = text.parse::<ValueDeserializer>().and_then(<Value as Deserialize>::deserialize);
    toml.unwrap_or_else(|_| Value::from(text))
}

impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        Metadata::from(self.name.clone(), SOURCE)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let nested = |value, key: &String| Value::from(Dict::from([(key.clone(), value)]));
        let nested = self.keys.iter().rev().fold(self.value.clone(), nested);
        Ok(Profile::Default.collect(nested.into_dict().unwrap_or_default()))
    }
}
