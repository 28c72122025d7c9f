//! The entries of one certificate in the cache. A failing cache is counted and logged once; serving does not depend on
//! it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use aws_lc_rs::digest::{SHA256, digest};

use super::{
    cache::{Cache, CacheError, Lock},
    table::AcmeRules,
};
use crate::observe::{
    gauges::Gauges,
    journal::{self, LogLevel},
};

/// How much of the first domain is in an entry's name, so that people can read it.
const READABLE_BYTES_MAX: usize = 64;

/// An entry of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// The account at one authority.
    Account,
    /// The certificate for one set of names, with its key.
    Certificate,
    /// The attempts to order it.
    Attempts,
    /// The open challenges.
    Challenges,
}

/// The cache of one node.
#[derive(Debug)]
pub(super) struct Entries {
    cache: Arc<dyn Cache>,
    /// Depends on the directory: an account belongs to one authority.
    account: String,
    /// Depends on directory and names: other names are another certificate.
    certificate: String,
    gauges: Arc<Gauges>,
    failing: AtomicBool,
}

impl Entries {
    pub(super) fn new(cache: Arc<dyn Cache>, rules: &AcmeRules, gauges: Arc<Gauges>) -> Self {
        let mut domains = rules.domains.clone();
        domains.sort_unstable();
        let first = rules.domains.first().map_or("", String::as_str);
        let readable = &first[..first.floor_char_boundary(READABLE_BYTES_MAX)];
        let certificate =
            format!("{readable}-{}", short_digest(&format!("{}\n{}", rules.directory, domains.join("\n"))));
        let account = format!("account-{}", short_digest(&rules.directory));
        Self { cache, account, certificate, gauges, failing: AtomicBool::new(false) }
    }

    /// The content of an entry. `None` if there is none or it cannot be read.
    pub(super) async fn load(&self, entry: Entry) -> Option<Vec<u8>> {
        self.reported(self.cache.load(&self.name(entry)).await).flatten()
    }

    /// Stores an entry. Returns whether that succeeded.
    pub(super) async fn store(&self, entry: Entry, content: Vec<u8>) -> bool {
        self.reported(self.cache.store(&self.name(entry), content).await).is_some()
    }

    pub(super) async fn remove(&self, entry: Entry) {
        self.reported(self.cache.remove(&self.name(entry)).await);
    }

    /// Takes the lock. `None` if another replica holds it. A folder that cannot lock does not prevent orders: each
    /// replica then orders for itself, as often as the schedule allows.
    pub(super) async fn try_lock(&self) -> Option<Lock> {
        let without = || self.cache.orders_without_lock().then(|| Lock::over(()));
        self.reported(self.cache.try_lock().await).unwrap_or_else(without)
    }

    fn name(&self, entry: Entry) -> String {
        match entry {
            Entry::Account => format!("{}.json", self.account),
            Entry::Certificate => format!("{}.pem", self.certificate),
            Entry::Attempts => format!("{}.attempts.json", self.certificate),
            Entry::Challenges => format!("{}.challenges.json", self.certificate),
        }
    }

    fn reported<T>(&self, outcome: Result<T, CacheError>) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.failing.store(false, Relaxed);
                Some(value)
            }
            Err(error) => {
                self.gauges.acme.cache_failed();
                if !self.failing.swap(true, Relaxed) {
                    let sentence = format!("tls.acme.cache: {error}; the certificate in use stays");
                    journal::line(LogLevel::Error, &sentence);
                }
                None
            }
        }
    }
}

fn short_digest(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
