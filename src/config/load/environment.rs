//! The environment's layer: `TIDEGATE__TABLE__KEY` over what the file says.

use std::ffi::OsString;

use toml_edit::{DocumentMut, Item, TableLike, Value};

use crate::config::error::ConfigError;

/// Two underscores: a Kubernetes Service named `tidegate` puts `TIDEGATE_PORT` into every pod of its namespace.
const PREFIX: &str = "TIDEGATE__";

/// Between table and key.
const SEPARATOR: &str = "__";

/// A secret has one source: a variable that names one takes the place of whatever the file names.
const SECRET_SOURCES: [&str; 2] = ["env", "file"];

/// One environment variable that sets a key.
#[derive(Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) text: String,
    keys: Vec<String>,
    /// Its text as TOML, once it has turned out that the key wants no text.
    value: Option<Value>,
}

/// Those that begin with the prefix.
///
/// # Errors
/// One of them is not UTF-8, or sets what another one sets.
pub(super) fn variables(all: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<Variable>, ConfigError> {
    let mut variables = Vec::new();
    for (name, value) in all {
        let Ok(name) = name.into_string() else { continue };
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let keys: Vec<_> = path.split(SEPARATOR).map(str::to_lowercase).collect();
        let text = value
            .into_string()
            .map_err(|_| ConfigError::in_variable(&name, keys.join("."), "is not UTF-8; write it in UTF-8"))?;
        variables.push(Variable { name, text, keys, value: None });
    }
    variables.sort_by(|one, other| one.keys.cmp(&other.keys));
    // Sorted, whatever sets a part of something comes right behind what sets the whole of it.
    let twice = variables.windows(2).find(|pair| pair[1].keys.starts_with(&pair[0].keys));
    if let Some([whole, part]) = twice {
        let message = format!("is set by {} too; keep one of them", whole.name);
        return Err(ConfigError::in_variable(&part.name, part.keys.join("."), message));
    }
    Ok(variables)
}

/// Writes them over the file's values.
pub(super) fn overlay(document: &mut DocumentMut, variables: &[Variable]) {
    for variable in variables {
        if let Some((last, tables)) = variable.keys.split_last()
            && SECRET_SOURCES.contains(&last.as_str())
        {
            let secret = table_at(document, tables);
            for source in SECRET_SOURCES {
                secret.remove(source);
            }
        }
    }
    for variable in variables {
        if let Some((last, tables)) = variable.keys.split_last() {
            table_at(document, tables).insert(last, variable.item());
        }
    }
}

/// The table of these keys. What is no table makes room for one.
fn table_at<'d>(document: &'d mut DocumentMut, keys: &[String]) -> &'d mut dyn TableLike {
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for key in keys {
        let item = table.entry(key).or_insert_with(toml_edit::table);
        if !item.is_table_like() {
            *item = toml_edit::table();
        }
        table = item.as_table_like_mut().expect("it has just been made one where it was none");
    }
    table
}

impl Variable {
    /// From now on its text is read as TOML. False where it is already, or is none.
    pub(super) fn read_as_toml(&mut self) -> bool {
        if self.value.is_some() {
            return false;
        }
        self.value = self.text.parse().ok();
        self.value.is_some()
    }

    /// Does it set this dotted key, or something above or below it?
    pub(super) fn concerns(&self, key: &str) -> bool {
        let mut parts = key.split(['.', '[']);
        self.keys.iter().all(|own| parts.next().is_none_or(|part| part == own))
    }

    fn item(&self) -> Item {
        Item::Value(self.value.clone().unwrap_or_else(|| Value::from(&self.text)))
    }
}
