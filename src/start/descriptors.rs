//! Counts the available descriptors at the start, and warns if they are too few.

use std::{fs, sync::Arc};

use crate::{
    config::Config,
    gateway::listener,
    observe::journal::{self, LogLevel},
    policy::descriptors::{Descriptors, PER_CLIENT, Split},
    start::acme,
};

/// What each worker opens for itself: its reactor, its listener, a spare descriptor.
const PER_WORKER: usize = 6;
/// What the control thread and that of Redis open: their reactors, signals, watches on files, the listeners beside the gate.
const OF_CONTROL: usize = 20;

/// The descriptors with which this process has begun. Asked before it opens any, so that all commands find the same.
#[derive(Debug, Clone, Copy)]
pub struct FirstDescriptors {
    /// The limit, not yet raised. `None`: the system does not tell.
    pub limit: Option<u64>,
    open: usize,
}

impl FirstDescriptors {
    /// As they are now. Where the system does not tell how many are open, as many as a process usually begins with.
    #[must_use]
    pub fn now() -> Self {
        let open = fs::read_dir("/proc/self/fd").map_or(10, Iterator::count);
        Self { limit: listener::descriptor_limit().ok(), open }
    }
}

/// The descriptors of this process.
#[derive(Debug)]
pub(super) struct Found {
    /// Those of clients.
    pub(super) descriptors: Arc<Descriptors>,
    /// Who may have how many.
    pub(super) split: Split,
    limit: u64,
}

impl Found {
    /// Raises the limit as far as it goes, before the workers start.
    pub(super) fn at_start(config: &Config, workers: usize, first: FirstDescriptors) -> Self {
        let limit = match listener::raise_descriptor_limit() {
            Ok((_, limit)) => limit,
            Err(error) => {
                journal::line(LogLevel::Warn, &format!("the limit of open descriptors could not be raised: {error}"));
                listener::descriptor_limit().unwrap_or(u64::MAX)
            }
        };
        let sides = 1 + usize::from(acme::table(config).is_some());
        Self::of(limit, first.open + OF_CONTROL + PER_WORKER * workers, workers, sides)
    }

    fn of(limit: u64, open: usize, workers: usize, sides: usize) -> Self {
        let split = Split::of(limit, open, workers, sides);
        Self { descriptors: Descriptors::new(split.clients), split, limit }
    }

    /// How many connections there can be: `limits.connections`, or fewer.
    pub(super) fn connections(&self, config: &Config) -> u64 {
        u64::from(config.limits.connections).min(self.split.connections() as u64)
    }

    /// Where `limits.connections` is more than there can be: what happens, and what to do. `None` where all is well.
    pub(super) fn warning(&self, config: &Config) -> Option<String> {
        let (wanted, possible) = (u64::from(config.limits.connections), self.connections(config));
        let needed = wanted * PER_CLIENT as u64 + (self.limit - (self.split.clients as u64).min(self.limit));
        (possible < wanted).then(|| {
            format!(
                "limits.connections is {wanted}, but {} descriptors allow for {possible}: one more client gets 503. \
                 Raise the limit of open files (ulimit -n, LimitNOFILE) to {needed} or lower limits.connections",
                self.limit
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_descriptors_are_told_with_the_setting_and_the_number() {
        let config = Config::default();
        assert_eq!(Found::of(1 << 20, 40, 2, 1).warning(&config), None);
        let few = Found::of(1024, 40, 2, 1);
        let warning = few.warning(&config).unwrap();
        assert!(few.connections(&config) < 512, "{few:?}");
        for part in ["limits.connections is 20000", "1024 descriptors", "503", "ulimit -n"] {
            assert!(warning.contains(part), "{warning}");
        }
    }
}
