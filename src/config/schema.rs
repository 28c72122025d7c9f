//! What the types of the tables say of the configuration file: its JSON schema, the commented reference file, and how
//! any configuration is written.

mod text;

use schemars::{Schema, schema_for};
use serde_json::Value;

use self::text::{Comments, written};
use super::model::Config;

/// What the reference file begins with.
const REFERENCE_HEAD: &str = "\
# Tidegate's configuration: every table and key with its meaning and its default.
# `tidegate check --reference` prints this file. Whatever is left out has the default.
#
# Defaults, this file, and environment variables TIDEGATE__TABLE__KEY count, the later over the
# earlier; --listen and --upstream of the command line count over all of them. SIGHUP, or a change
# of the file, reloads it; the log names a changed key that waits for a restart.
#
# A key right behind a `#`, without a space, is not set and shows an example.
";

/// The schema as text, as `tidegate check --schema` prints it.
#[must_use]
pub fn schema() -> String {
    format!("{:#}", generate().as_value())
}

/// The reference file: every table and key, with its doc as a comment and its default as its value. Read as a
/// configuration, it is the default one. The repository keeps it as `config/tidegate.toml`.
#[must_use]
pub fn reference() -> String {
    let tables = written(&Config::default(), generate().as_value(), Comments::Docs);
    format!("{REFERENCE_HEAD}\n{tables}")
}

/// A configuration as a file that says the same, every key that has a value written out. Of secrets it shows where they
/// are read from, never more: that is all a configuration holds.
#[must_use]
pub fn effective(config: &Config) -> String {
    written(config, generate().as_value(), Comments::None)
}

/// The schema as a value: tables and keys in the order in which they are written, with their docs as descriptions.
pub(super) fn generate() -> Schema {
    schema_for!(Config)
}

/// What the schema says of a table or key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    root: &'a Value,
    node: &'a Value,
}

impl<'a> Node<'a> {
    /// The file as a whole.
    pub(super) const fn root(schema: &'a Value) -> Self {
        Self { root: schema, node: schema }
    }

    /// A key of this table. `None` where the table has no such key, or this is no table.
    pub(super) fn key(self, name: &str) -> Option<Self> {
        let of = |node: &'a Value| node["properties"].get(name).or(node.get("additionalProperties"));
        let node = self.forms().into_iter().filter_map(of).find(|node| node.is_object())?;
        Some(Self { node, ..self })
    }

    /// Does this table name the key, rather than take any?
    pub(super) fn names(self, key: &str) -> bool {
        self.forms().into_iter().any(|node| node["properties"].get(key).is_some())
    }

    /// May text stand here?
    pub(super) fn wants_text(self) -> bool {
        let is_text = |node: &Value| match &node["type"] {
            Value::Array(types) => types.iter().any(|one| one == "string"),
            one => one == "string",
        };
        self.forms().into_iter().any(is_text)
    }

    /// The forms it may have, behind references and in alternatives.
    fn forms(self) -> Vec<&'a Value> {
        let definition =
            self.node["$ref"].as_str().and_then(|reference| self.root.pointer(reference.strip_prefix('#')?));
        let node = definition.unwrap_or(self.node);
        let alternatives = [&node["anyOf"], &node["oneOf"]].into_iter().filter_map(Value::as_array).flatten();
        let deeper = alternatives.flat_map(|node| Self { node, ..self }.forms());
        std::iter::once(node).chain(deeper).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;
    use crate::{
        config::load::Loaded, gateway::websocket::WebsocketTable, session::plain::OnUpstreamLoss, units::SecretSource,
    };

    const REFERENCE_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/tidegate.toml");

    fn keys(table: &Value) -> Vec<&str> {
        table["properties"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    fn read(text: &str) -> Config {
        Loaded::of_text("tidegate.toml", text).unwrap().config
    }

    fn is_table(definition: &str) -> bool {
        definition.ends_with("Table")
    }

    #[test]
    fn the_tables_are_all_there_in_their_order() {
        let schema = generate();
        let tables = [
            "listen",
            "tls",
            "admin",
            "upstream",
            "origins",
            "auth",
            "socketio",
            "websocket",
            "rate_limit",
            "session",
            "limits",
            "metrics",
            "log",
        ];
        assert_eq!(keys(schema.as_value()), tables);
    }

    #[test]
    fn every_key_is_described_and_no_other_is_allowed() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let tables = schema["$defs"].as_object().unwrap().iter().filter(|(name, _)| is_table(name));
        for (name, table) in tables.chain([(&"Config".to_owned(), &schema)]) {
            assert_eq!(table["additionalProperties"], false, "{name}");
            for key in keys(table) {
                assert!(table["properties"][key]["description"].is_string(), "{name}.{key}");
            }
        }
    }

    #[test]
    fn the_reference_file_is_as_the_types_say() {
        if env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(REFERENCE_FILE, reference()).unwrap();
        }
        let found = fs::read_to_string(REFERENCE_FILE).unwrap_or_default();
        assert!(
            found == reference(),
            "config/tidegate.toml is not what the docs and defaults of the tables say; \
             UPDATE_EXPECT=1 cargo test --lib config::schema writes it anew"
        );
    }

    #[test]
    fn the_reference_read_is_the_default() {
        assert_eq!(read(&reference()), Config::default());
    }

    #[test]
    fn every_key_is_in_the_reference() {
        let (schema, reference) = (generate(), reference());
        let lines: Vec<_> = reference.lines().map(|line| line.trim_start_matches('#')).collect();
        for (name, table) in schema.as_value()["$defs"].as_object().unwrap().iter().filter(|(name, _)| is_table(name)) {
            for key in keys(table) {
                let is_there = |line: &&str| {
                    line.starts_with(&format!("{key} = ")) || line.trim_end_matches(']').ends_with(&format!(".{key}"))
                };
                assert!(lines.iter().any(is_there), "{name}.{key} has no example");
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut config = Config::default();
        config.auth.secret = Some(SecretSource::Env("NEXTAUTH_SECRET".to_owned()));
        config.auth.forward_claims.insert("x-user-id".to_owned(), "sub".to_owned());
        assert_eq!(read(&effective(&config)), config);
        config.rate_limit.clear();
        config.websocket.push(WebsocketTable {
            path: "/ws".to_owned(),
            event_field: Some("type".to_owned()),
            on_upstream_loss: OnUpstreamLoss::Hold,
            replay_first: 1,
            replay_events: vec!["subscribe".to_owned()],
        });
        assert_eq!(read(&effective(&config)), config);
    }
}
