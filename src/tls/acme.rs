//! Orders a certificate from an ACME server (RFC 8555) and renews it in time.

mod authority;
pub mod cache;
pub(super) mod certificate;
pub mod challenges;
mod entries;
pub mod http01;
mod order;
mod renewal;
mod schedule;
pub mod survey;
mod table;

use std::{net::SocketAddr, sync::Arc};

use self::{authority::Authority, challenges::Challenges, entries::Entries, renewal::Renewal, table::AcmeRules};
pub use self::{
    cache::{Cache, CacheError, FileCache},
    certificate::Ordered,
    table::{AcmeTable, ChallengeType},
};
use crate::{fault::Fault, observe::gauges::Gauges};

/// The certificate of one node: [`run`](Self::run) is its task, [`Challenges`] answer the authority.
#[derive(Debug)]
pub struct Acme {
    challenges: Arc<Challenges>,
    renewal: Renewal,
    http_address: Option<SocketAddr>,
}

impl Acme {
    /// Checks the table. Makes no file and no connection. `runs_it`: this user runs the gate, and must be able to use the
    /// `cache` folder.
    ///
    /// # Errors
    /// What is wrong with the table, or with the files it names.
    pub fn verify(table: &AcmeTable, runs_it: bool) -> Result<(), Vec<Fault>> {
        table.check()?;
        if !table.is_cached_in_redis() {
            let verified = FileCache::verify(&table.cache);
            let usable = verified.and_then(|()| if runs_it { FileCache::could_open(&table.cache) } else { Ok(()) });
            usable.map_err(Fault::from)?;
        }
        Authority::new(table.root_ca.as_deref())?;
        Ok(())
    }

    /// Compiles the table and opens its `cache` folder, which is made if it is missing. `gauges` record every order.
    ///
    /// # Errors
    /// As for [`verify`](Self::verify).
    pub fn new(table: &AcmeTable, gauges: Arc<Gauges>) -> Result<Self, Vec<Fault>> {
        table.check()?;
        let cache = FileCache::open(&table.cache).map_err(Fault::from)?;
        Self::with_cache(table, Arc::new(cache), gauges)
    }

    /// The same, where account and certificate are in this cache.
    ///
    /// # Errors
    /// As for [`verify`](Self::verify).
    pub fn with_cache(table: &AcmeTable, cache: Arc<dyn Cache>, gauges: Arc<Gauges>) -> Result<Self, Vec<Fault>> {
        let rules = table.check()?;
        let authority = Authority::new(table.root_ca.as_deref())?;
        Ok(Self::assemble(rules, cache, authority, gauges, table.http_address))
    }

    fn assemble(
        rules: AcmeRules,
        cache: Arc<dyn Cache>,
        authority: Authority,
        gauges: Arc<Gauges>,
        http_address: Option<SocketAddr>,
    ) -> Self {
        gauges.acme.in_use();
        let entries = Arc::new(Entries::new(cache, &rules, Arc::clone(&gauges)));
        let challenges = Arc::new(Challenges::new(&rules.domains, Arc::clone(&entries)));
        let renewal = Renewal::new(rules, entries, Arc::clone(&challenges), authority, gauges);
        Self { challenges, renewal, http_address }
    }

    /// The answers to challenges, for every listener of this node.
    #[must_use]
    pub fn challenges(&self) -> Arc<Challenges> {
        Arc::clone(&self.challenges)
    }

    /// The address for [`http01::serve`]. `None` where HTTP-01 is not configured.
    #[must_use]
    pub const fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Calls `publish` with each certificate to be used: first the cached one, then each new one, whichever replica
    /// ordered it. Never returns. If the authority fails or refuses, only log and metrics change.
    pub async fn run(self, publish: impl FnMut(&Ordered)) {
        self.renewal.run(publish).await;
    }
}

impl From<CacheError> for Fault {
    fn from(error: CacheError) -> Self {
        Self::unread("tls.acme.cache", error.to_string())
    }
}
