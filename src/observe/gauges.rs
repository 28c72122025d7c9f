//! Figures of the whole process that change rarely and are set by whoever knows.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

/// What the process knows beside the counters of its workers.
#[derive(Debug)]
pub struct Gauges {
    reload_ok: AtomicBool,
    /// Seconds since 1970, as every time here.
    reload_last_success: AtomicU64,
    /// `0`: no key set was fetched yet.
    jwks_last_success: AtomicU64,
    jwks_failures: AtomicU64,
}

impl Gauges {
    /// As of a start whose configuration was good.
    #[must_use]
    pub fn new() -> Self {
        Self {
            reload_ok: AtomicBool::new(true),
            reload_last_success: AtomicU64::new(unix_seconds()),
            jwks_last_success: AtomicU64::new(0),
            jwks_failures: AtomicU64::new(0),
        }
    }

    /// The configuration was read again, and was good or not.
    pub fn reloaded(&self, ok: bool) {
        self.reload_ok.store(ok, Relaxed);
        if ok {
            self.reload_last_success.store(unix_seconds(), Relaxed);
        }
    }

    /// The key set was fetched, or could not be.
    pub fn jwks_fetched(&self, ok: bool) {
        if ok {
            self.jwks_last_success.store(unix_seconds(), Relaxed);
        } else {
            self.jwks_failures.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn reload(&self) -> (bool, u64) {
        (self.reload_ok.load(Relaxed), self.reload_last_success.load(Relaxed))
    }

    /// Time of the last success and number of failures; `None` where no key set is in use.
    pub(super) fn jwks(&self) -> Option<(u64, u64)> {
        let figures = (self.jwks_last_success.load(Relaxed), self.jwks_failures.load(Relaxed));
        (figures != (0, 0)).then_some(figures)
    }
}

impl Default for Gauges {
    fn default() -> Self {
        Self::new()
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
