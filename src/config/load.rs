//! Reads the configuration: defaults, then the file, then `TIDEGATE__TABLE__KEY`. Later ones win; unknown keys are
//! refused wherever they stand.

use std::{env, fs, net::SocketAddr, path::Path};

use figment::{
    Figment, Metadata, Profile, Provider,
    error::Kind,
    providers::{Format as _, Toml},
    value::{Dict, Map, Value},
};
use toml_edit::{ImDocument, Item};

use super::{
    Config,
    error::{ConfigError, unknown_key},
};

/// Two underscores: a Kubernetes Service named `tidegate` puts `TIDEGATE_PORT` into every pod of its namespace.
const VARIABLE_PREFIX: &str = "TIDEGATE__";

/// Between table and key.
const VARIABLE_SEPARATOR: &str = "__";

/// What the command line says over everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--upstream`
    pub upstream: Option<String>,
}

impl Overrides {
    /// Puts it into the configuration.
    pub fn apply(&self, config: &mut Config) {
        if let Some(address) = self.listen {
            config.listen.address = address;
        }
        if let Some(url) = &self.upstream {
            config.upstream.url.clone_from(url);
        }
    }
}

/// Reads and checks the configuration, of this file or of none, and this process's environment.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
    let variables: Vec<_> =
        env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))).collect();
    load_from(path, variables)
}

fn load_from(path: Option<&Path>, variables: Vec<(String, String)>) -> Result<Config, ConfigError> {
    let file = path.map(read).transpose()?;
    let (name, text) = file.unwrap_or_default();
    parse(&name, &text)?;
    let config = layered(&text, variables)?;
    config.check().map_err(|error| error.located(&name, |key| line_of_key(&text, key)))?;
    Ok(config)
}

/// Reads one file's text alone, unchecked. `name` is what errors call it.
///
/// # Errors
/// The first thing that is no configuration, with its line.
pub fn parse(name: &str, text: &str) -> Result<Config, ConfigError> {
    let line = |span: Option<std::ops::Range<usize>>| span.map(|span| line_at(text, span.start));
    let deserializer = toml_edit::de::Deserializer::parse(text)
        .map_err(|error| ConfigError::in_file(name, line(error.span()), String::new(), error.message()))?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let key = error.path().to_string();
        let cause = error.inner();
        let line = line(cause.span()).or_else(|| line_of_key(text, &key));
        ConfigError::in_file(name, line, key, cause.message())
    })
}

fn read(path: &Path) -> Result<(String, String), ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::unreadable(path, &source))?;
    Ok((path.display().to_string(), text))
}

fn layered(text: &str, variables: Vec<(String, String)>) -> Result<Config, ConfigError> {
    Figment::new().merge(Toml::string(text)).merge(Environment(variables)).extract().map_err(|error| {
        let key = error.path.join(".");
        let variable = format!("{VARIABLE_PREFIX}{}", error.path.join(VARIABLE_SEPARATOR).to_uppercase());
        let message = match &error.kind {
            Kind::UnknownField(found, known) => unknown_key(found, known),
            other => other.to_string(),
        };
        ConfigError::in_variable(variable, key, &message)
    })
}

/// The variables that begin with the prefix, as tables. figment's own would trim what is in them.
struct Environment(Vec<(String, String)>);

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut tables = Dict::new();
        for (variable, text) in &self.0 {
            let Some(path) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
            let keys: Vec<String> = path.split(VARIABLE_SEPARATOR).map(str::to_lowercase).collect();
            insert(&mut tables, &keys, typed(text));
        }
        Ok(Map::from([(Profile::Default, tables)]))
    }
}

fn insert(table: &mut Dict, keys: &[String], value: Value) {
    match keys {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [key, deeper @ ..] => {
            let mut inner = match table.remove(key) {
                Some(Value::Dict(_, inner)) => inner,
                _ => Dict::new(),
            };
            insert(&mut inner, deeper, value);
            table.insert(key.clone(), Value::from(inner));
        }
    }
}

/// As TOML would read it; what is no TOML value is text.
fn typed(text: &str) -> Value {
    let read = Toml::string(&format!("value = {text}")).data().ok();
    let value = read.and_then(|mut data| data.remove(&Profile::Default)?.remove("value"));
    value.unwrap_or_else(|| Value::from(text))
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

/// The line of a dotted key such as `rate_limit[0].per`, or of the last part of it that is there.
fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let document = ImDocument::parse(text).ok()?;
    let mut item: &Item = document.as_item();
    let mut offset = None;
    for part in key.split(['.', '[']).map(|part| part.trim_end_matches(']')) {
        let next = match part.parse::<usize>() {
            Ok(index) => item.get(index),
            Err(_) => item.get(part),
        };
        let Some(next) = next else { break };
        let key_span = item.as_table_like().and_then(|table| table.key(part)).and_then(toml_edit::Key::span);
        offset = key_span.or_else(|| next.span()).map(|span| span.start).or(offset);
        item = next;
    }
    offset.map(|offset| line_at(text, offset))
}

#[cfg(test)]
mod tests;
