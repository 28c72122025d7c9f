//! The file's layer, and the lines in it.

use std::{fs, path::Path};

use figment::{
    Error, Metadata, Profile, Provider,
    value::{Dict, Map},
};
use serde::Deserialize as _;
use toml_edit::{ImDocument, Item};

use crate::{config::error::ConfigError, fault::Fault};

/// A file that was read. The default one is empty and has no name.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    name: String,
    text: String,
    tables: Dict,
}

impl ConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(name, text),
            Err(error) => Err(ConfigError::one(name, Fault::new("", format!("cannot be read: {error}")))),
        }
    }

    /// `name` is what errors call the file.
    pub(super) fn parse(name: String, text: String) -> Result<Self, ConfigError> {
        let tables = ImDocument::parse(&*text)
            .map_err(toml_edit::de::Error::from)
            .and_then(|document| Dict::deserialize(toml_edit::de::Deserializer::from(document)));
        match tables {
            Ok(tables) => Ok(Self { name, text, tables }),
            Err(error) => {
                let place = error.span().map(|span| format!("{name}:{}", line_at(&text, span.start)));
                let message = error.message().trim().replace('\n', ", ");
                Err(ConfigError::one(place.unwrap_or(name), Fault::new("", message)))
            }
        }
    }

    /// `NAME:LINE` of a dotted key such as `rate_limit[0].per`, or of the last part of it that is there. `None` where not
    /// even its table is there.
    pub(super) fn place_of(&self, key: &str) -> Option<String> {
        let document = ImDocument::parse(&*self.text).ok()?;
        let mut item: &Item = document.as_item();
        let mut at = None;
        for part in key.split(['.', '[']).map(|part| part.trim_end_matches(']')) {
            let next = match part.parse::<usize>() {
                Ok(index) => item.get(index),
                Err(_) => item.get(part),
            };
            let Some(next) = next else { break };
            let key_span = item.as_table_like().and_then(|table| table.key(part)).and_then(toml_edit::Key::span);
            at = key_span.or_else(|| next.span()).map(|span| span.start).or(at);
            item = next;
        }
        at.map(|at| format!("{}:{}", self.name, line_at(&self.text, at)))
    }
}

impl Provider for &ConfigFile {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.tables.clone()))
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}
