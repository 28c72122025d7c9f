//! The file's layer, and the lines in it.

use std::{fs, io, path::Path};

use figment::{
    Error, Metadata, Profile, Provider,
    value::{Dict, Map},
};
use serde::Deserialize as _;
use toml_edit::{ImDocument, Item};

use super::syntax;
use crate::{config::error::ConfigError, fault::Fault};

/// Some editors put it before the text.
const BYTE_ORDER_MARK: char = '\u{feff}';

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
        let unfit = |place: String, message: String| ConfigError::one(place, Fault::new("", message));
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => return Err(unfit(name, unreadable(path, &error))),
        };
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(name, text.strip_prefix(BYTE_ORDER_MARK).map(str::to_owned).unwrap_or(text)),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line = error.as_bytes().iter().take(good).filter(|&&byte| byte == b'\n').count() + 1;
                let message = "this line is not UTF-8; save the file in UTF-8, without other characters";
                Err(unfit(format!("{name}:{line}"), message.to_owned()))
            }
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
                let at = error.span().map_or(0, |span| span.start);
                let message = syntax::in_plain_words(&text, at, error.message());
                Err(ConfigError::one(place.unwrap_or(name), Fault::new("", message)))
            }
        }
    }

    /// What errors call it. `None` where no file was read.
    pub(super) fn name(&self) -> Option<&str> {
        (!self.name.is_empty()).then_some(&*self.name)
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

pub(super) fn unreadable(path: &Path, error: &io::Error) -> String {
    let fix = match error.kind() {
        io::ErrorKind::IsADirectory => {
            return format!(
                "is a directory; name the file in it, for example {}",
                path.join("tidegate.toml").display()
            );
        }
        io::ErrorKind::NotFound => "; name a file that is there",
        io::ErrorKind::PermissionDenied => "; give the user that runs Tidegate read access",
        _ => "",
    };
    format!("cannot be read: {error}{fix}")
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}
