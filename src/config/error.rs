//! What is wrong with a configuration, told to whoever wrote it: where, which key, what was found, what to write.

use std::{fmt, io, path::Path};

/// A configuration that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    place: Place,
    key: String,
    message: String,
}

/// Where the mistake stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// In this line of the file, counted from 1.
    Line(String, usize),
    /// Somewhere in the file.
    File(String),
    /// In an environment variable.
    Variable(String),
    /// In an option of the command line.
    Option(&'static str),
    /// In what all sources together say.
    Everywhere,
}

/// Something that works, and that its writer may not have meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The key.
    pub key: String,
    /// What about it.
    pub message: String,
}

impl ConfigError {
    /// Of a key, wherever that was written. A message that begins with `is` reads on from the key.
    #[must_use]
    pub fn of_key(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: Place::Everywhere, key: key.into(), message: message.into() }
    }

    pub(super) fn in_variable(variable: &str, key: String, message: impl Into<String>) -> Self {
        Self { place: Place::Variable(variable.to_owned()), key, message: message.into() }
    }

    pub(super) fn unreadable(path: &Path, source: &io::Error) -> Self {
        let message = format!("cannot be read: {source}");
        Self { place: Place::File(path.display().to_string()), key: String::new(), message }
    }

    pub(super) fn in_file(file: &str, line: Option<usize>, key: String, message: String) -> Self {
        let place = line.map_or_else(|| Place::File(file.to_owned()), |line| Place::Line(file.to_owned(), line));
        Self { place, key, message }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The same, caused by this environment variable.
    pub(super) fn of_variable(self, variable: &str) -> Self {
        Self { place: Place::Variable(variable.to_owned()), ..self }
    }

    /// The same, caused by this option of the command line.
    pub(super) fn of_option(self, option: &'static str) -> Self {
        Self { place: Place::Option(option), ..self }
    }

    /// The same in `file`, at the line that `line_of` knows for the key.
    pub(super) fn located(self, file: &str, line_of: impl FnOnce(&str) -> Option<usize>) -> Self {
        match (&self.place, line_of(&self.key)) {
            (Place::Everywhere, Some(line)) => Self { place: Place::Line(file.to_owned(), line), ..self },
            _ => self,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line(file, line) => write!(f, "{file}:{line}: ")?,
            Place::File(file) => write!(f, "{file}: ")?,
            Place::Variable(variable) => write!(f, "environment variable {variable}: ")?,
            Place::Option(option) => write!(f, "{option}: ")?,
            Place::Everywhere => {}
        }
        let reads_on = ["is ", "are ", "has ", "needs ", "cannot "].iter().any(|verb| self.message.starts_with(verb));
        match (self.key.as_str(), reads_on) {
            ("" | ".", _) => f.write_str(&self.message),
            (key, true) => write!(f, "{key} {}", self.message),
            (key, false) => write!(f, "{key}: {}", self.message),
        }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.message)
    }
}
