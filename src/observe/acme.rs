//! Figures of the certificate that is ordered.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The results of orders, and when the next one is due.
#[derive(Debug, Default)]
pub struct AcmeGauges {
    in_use: AtomicBool,
    ok: AtomicU64,
    failed: AtomicU64,
    cache_failures: AtomicU64,
    /// Seconds since 1970.
    next_order: AtomicU64,
}

/// The figures at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AcmeFigures {
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) cache_failures: u64,
    pub(super) next_order: u64,
}

impl AcmeGauges {
    /// Certificates are ordered: the figures are shown from now on.
    pub fn in_use(&self) {
        self.in_use.store(true, Relaxed);
    }

    /// An order brought a certificate, or did not.
    pub fn ordered(&self, ok: bool) {
        let counter = if ok { &self.ok } else { &self.failed };
        counter.fetch_add(1, Relaxed);
    }

    /// The cache could not be read or written.
    pub fn cache_failed(&self) {
        self.cache_failures.fetch_add(1, Relaxed);
    }

    /// The next order is due then, in seconds since 1970.
    pub fn next_order(&self, at: u64) {
        self.next_order.store(at, Relaxed);
    }

    /// `None` if no certificate is ordered.
    pub(super) fn figures(&self) -> Option<AcmeFigures> {
        self.in_use.load(Relaxed).then(|| AcmeFigures {
            ok: self.ok.load(Relaxed),
            failed: self.failed.load(Relaxed),
            cache_failures: self.cache_failures.load(Relaxed),
            next_order: self.next_order.load(Relaxed),
        })
    }
}
