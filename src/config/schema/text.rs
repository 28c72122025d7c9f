//! Writes a configuration as TOML in the order of its schema: bare, or with every key's doc above it.

use serde::Serialize as _;
use serde_json::Value;
use toml_edit::ser::ValueSerializer;

use crate::config::model::Config;

/// Columns of a comment; one more word would make it longer.
const COMMENT_COLUMNS: usize = 100;

/// Where the schema keeps what tables and keys have in common.
const DEFINITION_PREFIX: &str = "#/$defs/";

/// Behind a key that is not set and shows its default.
const DEFAULT_MARK: &str = "  # the default";

/// What is written above tables and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comments {
    /// Nothing; keys without a value are left out.
    None,
    /// Their docs; keys without a value are there as an example, commented out.
    Docs,
}

/// The whole of `config`.
pub(super) fn written(config: &Config, schema: &Value, comments: Comments) -> String {
    let config = serde_json::to_value(config).unwrap_or_default();
    let mut text = Text { schema, comments, out: String::new() };
    if comments == Comments::None {
        text.empty_lists(&config);
    }
    for (name, property) in properties(schema) {
        text.tables(name, property, &config[name]);
    }
    text.out
}

struct Text<'a> {
    schema: &'a Value,
    comments: Comments,
    out: String,
}

impl<'a> Text<'a> {
    /// Lists of tables that are empty are keys of the file as a whole, and so stand before the first table.
    fn empty_lists(&mut self, config: &Value) {
        for (name, _) in properties(self.schema) {
            if config[name].as_array().is_some_and(Vec::is_empty) {
                self.line(&format!("{name} = []"));
            }
        }
    }

    /// One table, a list of them or, where there is none, what one would be.
    fn tables(&mut self, path: &str, property: &'a Value, value: &Value) {
        match value {
            Value::Object(_) => self.table(&format!("[{path}]"), path, property, value),
            Value::Array(tables) if !tables.is_empty() => {
                tables.iter().for_each(|table| self.table(&format!("[[{path}]]"), path, property, table));
            }
            _ => self.example_table(path, property),
        }
    }

    fn table(&mut self, header: &str, path: &str, property: &'a Value, table: &Value) {
        self.blank_line();
        self.doc(property);
        self.line(header);
        for (key, property) in self.keys(property) {
            match table.get(key) {
                Some(value) => self.key(key, property, value),
                None => self.example_key(key, property),
            }
        }
        for (name, property) in self.tables_in(property) {
            self.tables(&format!("{path}.{name}"), property, &table[name]);
        }
    }

    fn example_table(&mut self, path: &str, property: &'a Value) {
        if self.comments == Comments::None {
            return;
        }
        self.blank_line();
        self.doc(property);
        let is_list = property["items"].is_object();
        self.line(&if is_list { format!("#[[{path}]]") } else { format!("#[{path}]") });
        for (key, property) in self.keys(property) {
            self.example_key(key, property);
        }
        for (name, property) in self.tables_in(property) {
            self.example_table(&format!("{path}.{name}"), property);
        }
    }

    /// The keys of a table that hold values, and those that hold tables: TOML wants these behind the others.
    fn keys(&self, property: &'a Value) -> Vec<(&'a str, &'a Value)> {
        properties(self.definition(property)).filter(|(_, property)| !self.is_table(property)).collect()
    }

    fn tables_in(&self, property: &'a Value) -> Vec<(&'a str, &'a Value)> {
        properties(self.definition(property)).filter(|(_, property)| self.is_table(property)).collect()
    }

    fn is_table(&self, property: &'a Value) -> bool {
        self.definition(property)["properties"].is_object()
    }

    fn key(&mut self, key: &str, property: &'a Value, value: &Value) {
        if self.comments == Comments::Docs {
            self.blank_line();
            self.doc(property);
            self.choices(property);
            if let (true, Some(example)) = (is_empty(value), example(property)) {
                self.comment("", &format!("Example: `{}`", inline(example)));
            }
        }
        self.line(&format!("{key} = {}", inline(value)));
    }

    /// A key that is not set. Whether it shows its default or an example is said.
    fn example_key(&mut self, key: &str, property: &'a Value) {
        let default = property.get("default").filter(|default| !default.is_null());
        let Some(shown) = example(property).or(default).filter(|_| self.comments == Comments::Docs) else { return };
        self.blank_line();
        self.doc(property);
        self.choices(property);
        if let Some(default) = default.filter(|default| *default != shown && !is_empty(default)) {
            self.comment("", &format!("Default: `{}`", inline(default)));
        }
        let mark = if default == Some(shown) { DEFAULT_MARK } else { "" };
        self.line(&format!("#{key} = {}{mark}", inline(shown)));
    }

    /// What a key may be where it is one of a few words.
    fn choices(&mut self, property: &'a Value) {
        let choices = self.definition(property)["oneOf"].as_array();
        for choice in choices.into_iter().flatten().filter(|choice| choice["const"].is_string()) {
            let meaning = choice["description"].as_str().unwrap_or_default();
            self.comment("  ", &format!("{}: {meaning}", choice["const"]));
        }
    }

    fn doc(&mut self, property: &'a Value) {
        if let (Comments::Docs, Some(doc)) = (self.comments, property["description"].as_str()) {
            self.comment("", doc);
        }
    }

    fn comment(&mut self, indent: &str, text: &str) {
        let mut line = format!("#{indent}");
        let empty = line.len();
        for word in text.split_whitespace() {
            if line.len() > empty && line.len() + 1 + word.len() > COMMENT_COLUMNS {
                self.line(&line);
                line.truncate(empty);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }

    fn blank_line(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    /// What a property, or each item of its list, is defined as.
    fn definition(&self, property: &'a Value) -> &'a Value {
        let definition = [&property["items"], &property["anyOf"][0]].into_iter().find(|inner| inner.is_object());
        let definition = definition.unwrap_or(property);
        let name = definition["$ref"].as_str().and_then(|reference| reference.strip_prefix(DEFINITION_PREFIX));
        name.map_or(definition, |name| &self.schema["$defs"][name])
    }
}

fn properties(definition: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let properties = definition["properties"].as_object();
    properties.into_iter().flatten().map(|(name, property)| (name.as_str(), property))
}

fn example(property: &Value) -> Option<&Value> {
    property["examples"].get(0)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(table) => table.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// On one line, as TOML has it behind the equals sign.
fn inline(value: &Value) -> String {
    value.serialize(ValueSerializer::new()).map(|value| value.to_string()).unwrap_or_default()
}
