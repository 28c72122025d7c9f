//! Reads the configuration: defaults, then the file, then `TIDEGATE__TABLE__KEY`, then the command line. Later ones win;
//! unknown keys are refused wherever they stand.

mod environment;
mod plain;

use std::{env, ffi::OsString, fs, net::SocketAddr, path::Path};

use serde::de::IntoDeserializer as _;
use toml_edit::{DocumentMut, ImDocument, Item, TomlError};

use self::{environment::Variable, plain::plain};
use super::{Config, error::ConfigError};

/// What the command line says over everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--upstream`
    pub upstream: Option<String>,
}

impl Overrides {
    fn apply(&self, config: &mut Config) {
        if let Some(address) = self.listen {
            config.listen.address = address;
        }
        if let Some(url) = &self.upstream {
            config.upstream.url.clone_from(url);
        }
    }

    /// The option that sets this key.
    fn option_for(&self, key: &str) -> Option<&'static str> {
        match key {
            "listen.address" => self.listen.map(|_| "--listen"),
            "upstream.url" => self.upstream.as_ref().map(|_| "--upstream"),
            _ => None,
        }
    }
}

/// Reads the configuration, of this file or of none, of this process's environment and of its command line, and checks
/// what they come to.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Config, ConfigError> {
    load_from(path, env::vars_os(), overrides)
}

fn load_from(
    path: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
    overrides: &Overrides,
) -> Result<Config, ConfigError> {
    let (name, text) = path.map(read).transpose()?.unwrap_or_default();
    parse(&name, &text)?;
    let mut variables = environment::variables(environment)?;
    let mut config = layered(&text, &mut variables)?;
    overrides.apply(&mut config);
    config.check().map_err(|error| {
        if let Some(option) = overrides.option_for(error.key()) {
            return error.of_option(option);
        }
        match variables.iter().find(|variable| variable.concerns(error.key())) {
            Some(variable) => error.of_variable(&variable.name),
            None => error.located(&name, |key| Place::of(&text, key).line),
        }
    })?;
    Ok(config)
}

/// Reads one file's text alone, unchecked. `name` is what errors call it.
///
/// # Errors
/// The first thing that is no configuration, with its line.
pub fn parse(name: &str, text: &str) -> Result<Config, ConfigError> {
    let document = ImDocument::parse(text).map_err(|error| no_toml(name, text, &error))?;
    serde_path_to_error::deserialize(toml_edit::de::Deserializer::from(document)).map_err(|error| {
        let key = error.path().to_string();
        let cause = error.inner();
        let place = Place::of(text, &key);
        let line = cause.span().map(|span| line_at(text, span.start)).or(place.line);
        ConfigError::in_file(name, line, key, plain(cause.message(), place.value.as_deref()))
    })
}

fn no_toml(name: &str, text: &str, error: &TomlError) -> ConfigError {
    let line = error.span().map(|span| line_at(text, span.start));
    ConfigError::in_file(name, line, String::new(), error.message().trim().replace('\n', ", "))
}

/// The line of a file, counted from 1, that says a dotted key such as `rate_limit[0].per`, or the last part of it that is
/// there. None where an environment variable says it instead.
#[must_use]
pub fn line_of(path: &Path, key: &str) -> Option<usize> {
    if environment::variables(env::vars_os()).ok()?.iter().any(|variable| variable.concerns(key)) {
        return None;
    }
    Place::of(&fs::read_to_string(path).ok()?, key).line
}

fn read(path: &Path) -> Result<(String, String), ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::unreadable(path, &source))?;
    Ok((path.display().to_string(), text))
}

/// The file's text, which is known to be good alone, under the environment.
fn layered(text: &str, variables: &mut [Variable]) -> Result<Config, ConfigError> {
    // A variable's text is what it says, and TOML only where its key wants no text. Each round settles one of them.
    loop {
        let mut document: DocumentMut = text.parse().map_err(|error| no_toml("", text, &error))?;
        environment::overlay(&mut document, variables);
        let (key, message) = match serde_path_to_error::deserialize(document.into_deserializer()) {
            Ok(config) => return Ok(config),
            Err(error) => (error.path().to_string(), error.inner().message().to_owned()),
        };
        let Some(variable) = variables.iter_mut().find(|variable| variable.concerns(&key)) else {
            return Err(ConfigError::of_key(key, plain(&message, None)));
        };
        if !variable.read_as_toml() {
            let found = format!("{:?}", variable.text);
            return Err(ConfigError::in_variable(&variable.name, key, plain(&message, Some(&found))));
        }
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

/// Where a dotted key such as `rate_limit[0].per` stands in the file.
#[derive(Debug, Default)]
struct Place {
    /// The line of it, or of the last part of it that is there.
    line: Option<usize>,
    /// What is written there, where all of it is.
    value: Option<String>,
}

impl Place {
    fn of(text: &str, key: &str) -> Self {
        let Ok(document) = ImDocument::parse(text) else { return Self::default() };
        let mut item: &Item = document.as_item();
        let mut line = None;
        for part in key.split(['.', '[']).map(|part| part.trim_end_matches(']')) {
            let next = match part.parse::<usize>() {
                Ok(index) => item.get(index),
                Err(_) => item.get(part),
            };
            let Some(next) = next else { return Self { line, value: None } };
            let key_span = item.as_table_like().and_then(|table| table.key(part)).and_then(toml_edit::Key::span);
            line = key_span.or_else(|| next.span()).map(|span| line_at(text, span.start)).or(line);
            item = next;
        }
        Self { line, value: item.as_str().map(|value| format!("{value:?}")) }
    }
}

#[cfg(test)]
mod tests;
