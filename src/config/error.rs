//! What is wrong with a configuration, and where that is written.

use std::fmt;

use crate::fault::Fault;

/// A configuration that cannot be used: its mistakes, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(Vec<Mistake>);

/// A fault and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// `tidegate.toml:14`, an environment variable, an option of the command line; the file alone where no source says the
    /// key. `None` where no file was read either.
    place: Option<String>,
    fault: Fault,
}

/// Something that works, and that may not be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The key.
    pub key: &'static str,
    /// What about it.
    pub message: &'static str,
}

impl ConfigError {
    pub(super) fn new(mistakes: impl IntoIterator<Item = (Option<String>, Fault)>) -> Self {
        Self(mistakes.into_iter().map(|(place, fault)| Mistake { place, fault }).collect())
    }

    pub(super) fn one(place: String, fault: Fault) -> Self {
        Self::new([(Some(place), fault)])
    }

    /// Takes in those mistakes of another one whose fault is told too, unless they are known.
    pub(super) fn add(&mut self, other: Self, is_told: impl Fn(&Fault) -> bool) {
        for mistake in other.0 {
            if is_told(&mistake.fault) && !self.0.contains(&mistake) {
                self.0.push(mistake);
            }
        }
    }

    /// Those that are in the configuration itself, wherever it is read. `None`: there is none.
    pub(crate) fn without_unread(self) -> Option<Self> {
        let rest: Vec<_> = self.0.into_iter().filter(|mistake| !mistake.fault.is_unread).collect();
        if rest.is_empty() { None } else { Some(Self(rest)) }
    }

    /// Those of a file in the order of its lines, then the others.
    pub(super) fn sort(&mut self) {
        let line = |mistake: &Mistake| -> Option<usize> { mistake.place.as_ref()?.rsplit_once(':')?.1.parse().ok() };
        self.0.sort_by_key(|mistake| line(mistake).unwrap_or(usize::MAX));
    }

    /// Each mistake, for a line of its own.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        &self.0
    }
}

impl Mistake {
    /// The key that is at fault.
    pub(crate) fn key(&self) -> &str {
        &self.fault.key
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.message)
    }
}
