//! A mistake in the configuration: which key, what is wrong with it, how to fix it. `config` knows where a key stands.

use std::fmt;

/// A message that begins with one of these reads on from the key.
const VERBS: [&str; 6] = ["is ", "has ", "names ", "needs ", "cannot ", "does "];

/// One rule of the configuration that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A path into the configuration, such as `rate_limit[0].per`. Empty where no key is at fault.
    pub key: String,
    /// What is wrong and how to fix it. It shows no secret.
    pub message: String,
    /// Nothing is wrong but that a file, a folder or a variable beside the configuration cannot be read. Elsewhere it may be
    /// there.
    pub is_unread: bool,
}

impl Fault {
    /// `message` reads on from the key where it begins with a verb: `is "60"; a duration needs a unit`.
    #[must_use]
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), is_unread: false }
    }

    /// The same, of something beside the configuration that cannot be read.
    #[must_use]
    pub fn unread(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { is_unread: true, ..Self::new(key, message) }
    }
}

/// Whether `key` is that table, or stands below it.
pub(crate) fn is_within(key: &str, table: &str) -> bool {
    key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reads_on = VERBS.iter().any(|verb| self.message.starts_with(verb));
        match (self.key.as_str(), reads_on) {
            ("", _) => f.write_str(&self.message),
            (key, true) => write!(f, "{key} {}", self.message),
            (key, false) => write!(f, "{key}: {}", self.message),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Vec<Fault> {
    fn from(fault: Fault) -> Self {
        vec![fault]
    }
}

/// Collects the faults of several tables, so that they are reported together.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// What was made, or `None` after taking in why it was not.
    pub fn keep<T>(&mut self, outcome: Result<T, impl Into<Vec<Fault>>>) -> Option<T> {
        outcome.map_err(|faults| self.0.extend(faults.into())).ok()
    }

    /// What was made of each, or `None` after taking in why some were not.
    pub fn keep_all<C: FromIterator<T>, T, F: Into<Vec<Fault>>>(
        &mut self,
        outcomes: impl Iterator<Item = Result<T, F>>,
    ) -> Option<C> {
        let before = self.0.len();
        let made = outcomes.filter_map(|outcome| self.keep(outcome)).collect();
        (self.0.len() == before).then_some(made)
    }

    /// One more, see [`Fault::new`].
    pub fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Fault::new(key, message));
    }

    /// What was made of everything that was kept. `None` only where one of them was at fault.
    ///
    /// # Errors
    /// All faults, in the order in which they were found, each once.
    pub fn finish<T>(mut self, made: Option<T>) -> Result<T, Vec<Fault>> {
        for at in (1..self.0.len()).rev() {
            if self.0[..at].contains(&self.0[at]) {
                self.0.remove(at);
            }
        }
        match made {
            Some(made) if self.0.is_empty() => Ok(made),
            _ => Err(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_on_from_its_key() {
        for (key, message, text) in [
            ("log.level", "is 5; it must be text", "log.level is 5; it must be text"),
            ("admin.token", "the variable X is not set", "admin.token: the variable X is not set"),
            ("", "expected `]`", "expected `]`"),
        ] {
            assert_eq!(Fault::new(key, message).to_string(), text);
        }
    }

    #[test]
    fn a_key_is_within_the_tables_around_it_alone() {
        for (key, table, within) in [
            ("tls", "tls", true),
            ("tls.acme.domains", "tls", true),
            ("rate_limit[0].per", "rate_limit", true),
            ("limits.memory_max", "limits.memory", false),
            ("tls", "tls.acme", false),
        ] {
            assert_eq!(is_within(key, table), within, "{key} in {table}");
        }
    }

    #[test]
    fn all_faults_are_collected_in_order() {
        let fault = |key: &str| Fault::new(key, "is wrong");
        let mut faults = Faults::default();
        assert_eq!(faults.keep(Ok::<_, Fault>(1)), Some(1));
        assert_eq!(faults.keep(Err::<(), _>(fault("a"))), None);
        assert_eq!(faults.keep(Err::<(), _>(vec![fault("b"), fault("c")])), None);
        assert_eq!(faults.keep_all::<Vec<_>, _, _>([Ok(1), Err(fault("d")), Err(fault("a"))].into_iter()), None);
        assert_eq!(faults.keep_all::<Vec<_>, _, _>([Ok::<_, Fault>(1), Ok(2)].into_iter()), Some(vec![1, 2]));
        assert_eq!(faults.finish(Some(1)), Err(vec![fault("a"), fault("b"), fault("c"), fault("d")]), "each once");
        assert_eq!(Faults::default().finish(Some(1)), Ok(1));
    }
}
