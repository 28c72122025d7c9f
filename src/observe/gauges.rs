//! Figures of the whole process that change rarely.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    acme::AcmeGauges,
    limits::LimitGauges,
    memory::Memory,
    mirror::MirrorGauges,
    redis::{RedisFigures, RedisGauges},
    revocation::RevocationGauges,
    service_record::ServiceRecord,
};

/// The figures that no worker counts.
#[derive(Debug)]
pub struct Gauges {
    /// Of the certificate that is ordered.
    pub acme: AcmeGauges,
    /// Of the limits that all nodes share.
    pub limits: LimitGauges,
    /// What clients make the node keep.
    pub memory: Arc<Memory>,
    /// What nodes tell each other.
    pub mirror: Arc<MirrorGauges>,
    /// Of what is revoked.
    pub revocation: RevocationGauges,
    /// Whether the service is there.
    pub service: Arc<ServiceRecord>,
    /// Of the connection to Redis.
    pub redis: Arc<RedisGauges>,
    reload_ok: AtomicBool,
    /// Seconds since 1970, as every time here.
    reload_last_success: AtomicU64,
    /// Of the server in force. `0`: no key set was fetched yet.
    jwks_last_success: AtomicU64,
    jwks_failures: AtomicU64,
    connections_max: AtomicU64,
    certificates_ok: AtomicBool,
    /// Name and end of each certificate from files; empty without TLS.
    certificates: Mutex<BTreeMap<String, u64>>,
    /// Name and end of the one that was ordered.
    ordered: Mutex<Option<(String, u64)>>,
}

impl Gauges {
    /// The figures of a start with a valid configuration.
    #[must_use]
    pub fn new() -> Self {
        Self {
            acme: AcmeGauges::default(),
            limits: LimitGauges::default(),
            memory: Arc::default(),
            mirror: Arc::default(),
            revocation: RevocationGauges::default(),
            service: Arc::default(),
            redis: Arc::default(),
            reload_ok: AtomicBool::new(true),
            reload_last_success: AtomicU64::new(unix_seconds()),
            jwks_last_success: AtomicU64::new(0),
            jwks_failures: AtomicU64::new(0),
            connections_max: AtomicU64::new(0),
            certificates_ok: AtomicBool::new(true),
            certificates: Mutex::default(),
            ordered: Mutex::default(),
        }
    }

    /// The configuration was reloaded, successfully or not.
    pub fn reloaded(&self, ok: bool) {
        self.reload_ok.store(ok, Relaxed);
        if ok {
            self.reload_last_success.store(unix_seconds(), Relaxed);
        }
    }

    /// So many connections can be open at once.
    pub fn set_connections_max(&self, connections: u64) {
        self.connections_max.store(connections, Relaxed);
    }

    pub(super) fn connections_max(&self) -> u64 {
        self.connections_max.load(Relaxed)
    }

    /// The key set was fetched, or could not be.
    pub fn jwks_fetched(&self, ok: bool) {
        if ok {
            self.jwks_last_success.store(unix_seconds(), Relaxed);
        } else {
            self.jwks_failures.fetch_add(1, Relaxed);
        }
    }

    /// No key set is in use, or another one: what was fetched before says nothing of it.
    pub fn jwks_reset(&self) {
        self.jwks_last_success.store(0, Relaxed);
        self.jwks_failures.store(0, Relaxed);
    }

    /// The gate uses these certificates from files from now on. Of several for one name the first to expire counts.
    pub fn certificates_read(&self, validity: &[(String, SystemTime)]) {
        let mut ends: BTreeMap<String, u64> = BTreeMap::new();
        for (name, not_after) in validity {
            let end = seconds(*not_after);
            ends.entry(name.clone()).and_modify(|other| *other = end.min(*other)).or_insert(end);
        }
        *self.certificates.lock().unwrap_or_else(PoisonError::into_inner) = ends;
    }

    /// Whether the gate uses what the files of certificates say now, those for the service among them. Otherwise it still
    /// uses what they said earlier.
    pub fn certificates_reloaded(&self, ok: bool) {
        self.certificates_ok.store(ok, Relaxed);
    }

    /// The gate uses this ordered certificate from now on.
    pub fn certificate_ordered(&self, name: &str, not_after: SystemTime) {
        *self.ordered.lock().unwrap_or_else(PoisonError::into_inner) = Some((name.to_owned(), seconds(not_after)));
    }

    pub(super) fn certificates(&self) -> (bool, Vec<(String, u64)>) {
        let mut ends = self.certificates.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((name, end)) = self.ordered.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            ends.entry(name).and_modify(|other| *other = end.min(*other)).or_insert(end);
        }
        (self.certificates_ok.load(Relaxed), ends.into_iter().collect())
    }

    pub(super) fn reload(&self) -> (bool, u64) {
        (self.reload_ok.load(Relaxed), self.reload_last_success.load(Relaxed))
    }

    /// `None` if the node does not use Redis.
    pub(super) fn redis(&self) -> Option<RedisFigures> {
        self.redis.figures(Instant::now())
    }

    /// Time of the last success and number of failures; `None` if no key set is in use.
    pub(crate) fn jwks(&self) -> Option<(u64, u64)> {
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
    seconds(SystemTime::now())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
