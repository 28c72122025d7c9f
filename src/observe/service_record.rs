//! Whether the service is there, as far as dials of the whole node tell, and how many dials there were.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// Dials of all kinds: of sessions, of plain routes, of forwarded requests. Any thread may write; dials are rare.
#[derive(Debug, Default)]
pub struct ServiceRecord {
    succeeded: AtomicU64,
    failed: AtomicU64,
    seen: Mutex<Option<Seen>>,
}

/// What the last dials have shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Since when that is so.
    pub since: Instant,
    /// What failed first, if the service is down. `None`: it is there.
    pub down: Option<String>,
}

impl ServiceRecord {
    /// A connection to the service was tried, with its handshake if it has one.
    pub fn dialled(&self, ok: bool) {
        if ok { &self.succeeded } else { &self.failed }.fetch_add(1, Relaxed);
    }

    /// The service is there.
    pub fn mark_up(&self, now: Instant) {
        let mut seen = self.lock();
        if seen.as_ref().is_none_or(|seen| seen.down.is_some()) {
            *seen = Some(Seen { since: now, down: None });
        }
    }

    /// The service is down. `why`: what failed. Of a service that is down already only the first failure is kept.
    pub fn mark_down(&self, why: &dyn fmt::Display, now: Instant) {
        let mut seen = self.lock();
        if seen.as_ref().is_none_or(|seen| seen.down.is_none()) {
            *seen = Some(Seen { since: now, down: Some(why.to_string()) });
        }
    }

    /// What the last dials have shown; `None` before the first.
    #[must_use]
    pub fn seen(&self) -> Option<Seen> {
        self.lock().clone()
    }

    /// Dials so far that succeeded, and that failed.
    pub(super) fn dials(&self) -> (u64, u64) {
        (self.succeeded.load(Relaxed), self.failed.load(Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_change_is_dated_and_further_failures_are_not_one() {
        let (record, start) = (ServiceRecord::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(record.seen(), None);
        record.mark_up(at(1));
        record.mark_up(at(2));
        assert_eq!(record.seen(), Some(Seen { since: at(1), down: None }));
        record.mark_down(&"refused", at(3));
        record.mark_down(&"timeout", at(4));
        assert_eq!(record.seen(), Some(Seen { since: at(3), down: Some("refused".to_owned()) }));
        record.mark_up(at(5));
        assert_eq!(record.seen(), Some(Seen { since: at(5), down: None }));
    }
}
