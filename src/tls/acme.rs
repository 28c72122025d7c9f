//! Certificates that are ordered: from a certificate authority that speaks ACME (RFC 8555), before the old one ends.

mod authority;
pub mod cache;
pub(super) mod certificate;
pub mod challenges;
mod entries;
pub mod http01;
mod order;
mod renewal;
mod schedule;
mod table;

use std::{net::SocketAddr, sync::Arc};

use self::{authority::Authority, challenges::Challenges, entries::Entries, renewal::Renewal, table::AcmeRules};
pub use self::{
    cache::{Cache, CacheError, FileCache},
    certificate::Ordered,
    table::{AcmeError, AcmeTable, ChallengeType},
};
use crate::observe::gauges::Gauges;

/// Everything for the certificate of one node: its task is [`run`](Self::run), its challenges are answered by
/// [`Challenges`].
#[derive(Debug)]
pub struct Acme {
    challenges: Arc<Challenges>,
    renewal: Renewal,
    http_address: Option<SocketAddr>,
}

impl Acme {
    /// Could a certificate be ordered as the table says? Makes no file and contacts nobody.
    ///
    /// # Errors
    /// See [`AcmeError`].
    pub fn verify(table: &AcmeTable) -> Result<(), AcmeError> {
        table.check()?;
        FileCache::verify(&table.cache).map_err(AcmeError::Cache)?;
        Authority::new(table.root_ca.as_deref()).map(drop)
    }

    /// As the table says, with the files of its `cache` folder, which is made where it is missing. `gauges` are told of
    /// every order.
    ///
    /// # Errors
    /// See [`AcmeError`].
    pub fn new(table: &AcmeTable, gauges: Arc<Gauges>) -> Result<Self, AcmeError> {
        let rules = table.check()?;
        let cache = FileCache::open(&table.cache).map_err(AcmeError::Cache)?;
        let authority = Authority::new(table.root_ca.as_deref())?;
        Ok(Self::assemble(rules, Arc::new(cache), authority, gauges, table.http_address))
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

    /// What the authority is answered with, on every listener of this node.
    #[must_use]
    pub fn challenges(&self) -> Arc<Challenges> {
        Arc::clone(&self.challenges)
    }

    /// Where [`http01::serve`] is to listen, if anywhere.
    #[must_use]
    pub const fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Shows `publish` each certificate from which on it is to be used: the one in the cache at once, then each new
    /// one, whichever replica ordered it. Never returns; an authority that is away or refuses changes nothing but
    /// figures and log.
    pub async fn run(self, publish: impl FnMut(&Ordered)) {
        self.renewal.run(publish).await;
    }
}
