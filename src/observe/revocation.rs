//! Figures of what is revoked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What is revoked, and what that has done.
#[derive(Debug, Default)]
pub struct RevocationGauges {
    in_use: AtomicBool,
    entries: AtomicU64,
    forgotten: AtomicU64,
    sessions: AtomicU64,
}

/// The figures at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RevocationFigures {
    pub(super) entries: u64,
    pub(super) forgotten: u64,
    pub(super) sessions: u64,
}

impl RevocationGauges {
    /// Tokens can be revoked: the figures are shown from now on.
    pub fn in_use(&self) {
        self.in_use.store(true, Relaxed);
    }

    /// So many revocations are in force now.
    pub fn set_entries(&self, entries: usize) {
        self.entries.store(entries as u64, Relaxed);
    }

    /// So many revocations are in force now, so many were forgotten for others, and so many sessions were met.
    pub fn revoked(&self, entries: usize, forgotten: usize, sessions: usize) {
        self.set_entries(entries);
        self.forgotten.fetch_add(forgotten as u64, Relaxed);
        self.sessions.fetch_add(sessions as u64, Relaxed);
    }

    /// `None` if tokens cannot be revoked.
    pub(super) fn figures(&self) -> Option<RevocationFigures> {
        self.in_use.load(Relaxed).then(|| RevocationFigures {
            entries: self.entries.load(Relaxed),
            forgotten: self.forgotten.load(Relaxed),
            sessions: self.sessions.load(Relaxed),
        })
    }
}
