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

    pub(super) fn in_variable(variable: String, key: String, message: &str) -> Self {
        Self { place: Place::Variable(variable), key, message: readable(message) }
    }

    pub(super) fn unreadable(path: &Path, source: &io::Error) -> Self {
        let message = format!("cannot be read: {source}");
        Self { place: Place::File(path.display().to_string()), key: String::new(), message }
    }

    pub(super) fn in_file(file: &str, line: Option<usize>, key: String, message: &str) -> Self {
        let place = line.map_or_else(|| Place::File(file.to_owned()), |line| Place::Line(file.to_owned(), line));
        Self { place, key, message: readable(message) }
    }

    /// The same in `file`, at the line that `line_of` knows for the key.
    pub(super) fn located(self, file: &str, line_of: impl FnOnce(&str) -> Option<usize>) -> Self {
        match (&self.place, line_of(&self.key)) {
            (Place::Everywhere, Some(line)) => Self { place: Place::Line(file.to_owned(), line), ..self },
            _ => self,
        }
    }
}

/// serde names Rust's types and every field there is; people want to know what they mistyped.
fn readable(message: &str) -> String {
    let message = message.trim().replace('\n', " ");
    let Some(unknown) = message.strip_prefix("unknown field `") else { return message };
    let mut names = unknown.split('`').step_by(2);
    let found = names.next().unwrap_or_default();
    unknown_key(found, &names.filter(|name| !name.is_empty()).collect::<Vec<_>>())
}

/// What to say of a key that is none of those known.
pub(super) fn unknown_key(found: &str, known: &[&str]) -> String {
    match known.iter().min_by_key(|name| distance(found, name)) {
        Some(nearest) if distance(found, nearest) <= found.len().max(nearest.len()) / 2 => {
            format!("is not a key here; did you mean {nearest:?}?")
        }
        _ => format!("is not a key here; the keys are {}", known.join(", ")),
    }
}

/// How many characters must be changed, added or dropped (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line(file, line) => write!(f, "{file}:{line}: ")?,
            Place::File(file) => write!(f, "{file}: ")?,
            Place::Variable(variable) => write!(f, "environment variable {variable}: ")?,
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
