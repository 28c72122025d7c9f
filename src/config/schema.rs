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
# A key right behind a `#`, without a space, is not set and shows an example, or its default where
# that is said behind it. A table right behind a `#` is off.
";

/// A secret has one source.
pub(super) const SECRET_SOURCES: [&str; 2] = ["env", "file"];

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

    /// Is this a table whose keys are known?
    pub(super) fn is_table(self) -> bool {
        self.forms().into_iter().any(|node| node["properties"].is_object())
    }

    /// Is this the source of a secret?
    pub(super) fn is_secret(self) -> bool {
        SECRET_SOURCES.iter().all(|source| self.names(source))
    }

    /// An entry of this list. `None` where this is no list.
    pub(super) fn entry(self) -> Option<Self> {
        let node = self.forms().into_iter().map(|node| &node["items"]).find(|node| node.is_object())?;
        Some(Self { node, ..self })
    }

    /// The tables of the file that have this key, as a file writes them.
    pub(super) fn tables_with(self, key: &str) -> Vec<String> {
        let tables = self.forms().into_iter().filter_map(|node| node["properties"].as_object()).flatten();
        let written = tables.filter_map(|(name, node)| {
            let node = Self { node, ..self };
            match node.entry() {
                Some(entry) => entry.names(key).then(|| format!("[[{name}]]")),
                None => node.names(key).then(|| format!("[{name}]")),
            }
        });
        written.collect()
    }

    /// The least and the greatest number that may stand here, as far as it has bounds.
    pub(super) fn bounds(self) -> [Option<u64>; 2] {
        ["minimum", "maximum"].map(|bound| self.forms().into_iter().find_map(|node| node[bound].as_u64()))
    }

    /// May text stand here?
    pub(super) fn wants_text(self) -> bool {
        self.is_of("string")
    }

    /// May a list stand here?
    pub(super) fn is_list(self) -> bool {
        self.is_of("array")
    }

    fn is_of(self, kind: &str) -> bool {
        let is_it = |node: &Value| match &node["type"] {
            Value::Array(types) => types.iter().any(|one| one == kind),
            one => one == kind,
        };
        self.forms().into_iter().any(is_it)
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
        config::load::Loaded, gateway::websocket::WebsocketTable, policy::rate_limit::Exceeded,
        session::plain::OnUpstreamLoss, units::SecretSource,
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
            "quality",
            "redis",
            "cluster",
            "room",
            "mirror",
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
    fn a_key_that_is_not_set_says_whether_it_shows_its_default() {
        let reference = reference();
        let redis = "#url = \"redis://127.0.0.1:6379\"  # the default\n";
        let other = "# Default: `\"close\"`\n#on_upstream_loss = \"hold\"\n";
        assert!(reference.contains(redis) && reference.contains(other));
        assert!(!reference.contains("# Default: `\"\"`"), "an empty name is none");
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
            bridge: Some("/".to_owned()),
            on_upstream_loss: OnUpstreamLoss::Hold,
            replay_first: 1,
            replay_events: vec!["subscribe".to_owned()],
            exceeded: Some(Exceeded::Reply),
            refusal: Some("{\"refused\":${id}}".to_owned()),
            expired_close: 4403,
            limit_close: 4429,
        });
        assert_eq!(read(&effective(&config)), config);
    }
}
