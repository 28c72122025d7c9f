//! Connects the order of a certificate with handshakes, readiness and metrics.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use crate::{
    admin::health::Health,
    cluster::{acme_cache::RedisCache, link::Link, seal::ClusterSecret},
    config::Config,
    fault::{Fault, Faults},
    observe::gauges::Gauges,
    tls::{
        CertificateSlot, OrderedHere,
        acme::{Acme, AcmeTable, challenges::Challenges, http01},
    },
};

/// The table `[tls.acme]`. `None` where no certificate is ordered.
pub(super) fn table(config: &Config) -> Option<&AcmeTable> {
    config.tls.as_ref().and_then(|table| table.acme.as_ref())
}

/// Checks `[tls.acme]`, and what it needs of other tables. `runs_it`: as for [`Acme::verify`].
pub(super) fn verify(config: &Config, runs_it: bool) -> Result<(), Vec<Fault>> {
    let mut faults = Faults::default();
    let acme = table(config);
    if let Some(acme) = acme {
        faults.keep(Acme::verify(acme, runs_it));
    }
    let in_redis = acme.is_some_and(AcmeTable::is_cached_in_redis);
    if in_redis && config.redis.is_none() {
        faults.keep::<()>(Err(no_redis()));
    }
    match &config.cluster.secret {
        Some(source) => _ = faults.keep(ClusterSecret::read(source)),
        None if in_redis => _ = faults.keep::<()>(Err(no_secret())),
        None => {}
    }
    faults.finish(Some(()))
}

fn no_redis() -> Fault {
    Fault::new("tls.acme.cache", "is \"redis\", and there is no table [redis]; add it, or name a folder")
}

fn no_secret() -> Fault {
    let message = "is not set; with tls.acme.cache = \"redis\" the key of the certificate is sealed with it: write secret = \
                   { env = \"NAME\" } below [cluster], the same for all nodes";
    Fault::new("cluster.secret", message)
}

/// The cache in Redis. `None`: it is a folder.
fn redis_cache(
    config: &Config,
    table: &AcmeTable,
    redis: Option<(Link, Arc<str>)>,
) -> Result<Option<RedisCache>, Fault> {
    if !table.is_cached_in_redis() {
        return Ok(None);
    }
    let (link, prefix) = redis.ok_or_else(no_redis)?;
    let seal = ClusterSecret::read(config.cluster.secret.as_ref().ok_or_else(no_secret)?)?.seal("acme");
    let seal = seal.map_err(|error| Fault::new("cluster.secret", error.to_string()))?;
    Ok(Some(RedisCache::new(&prefix, link, seal)))
}

/// The order of a certificate.
pub(super) struct CertificateOrder {
    acme: Acme,
    slot: Arc<CertificateSlot>,
    challenges: Arc<Challenges>,
    gauges: Arc<Gauges>,
    /// At `tls.acme.http_address`.
    listener: Option<TcpListener>,
}

impl CertificateOrder {
    /// Prepares the order of a configuration that [is right](verify); makes no connection. `None` where certificates come from files, or without TLS. `redis`: the
    /// connection, and what keys begin with.
    pub(super) fn of(
        config: &Config,
        gauges: &Arc<Gauges>,
        redis: Option<(Link, Arc<str>)>,
    ) -> Result<Option<Self>, Vec<Fault>> {
        let Some(table) = table(config) else { return Ok(None) };
        let acme = match redis_cache(config, table, redis)? {
            Some(cache) => Acme::with_cache(table, Arc::new(cache), Arc::clone(gauges))?,
            None => Acme::new(table, Arc::clone(gauges))?,
        };
        let (slot, challenges) = (Arc::default(), acme.challenges());
        Ok(Some(Self { acme, slot, challenges, gauges: Arc::clone(gauges), listener: None }))
    }

    /// What handshakes need of it.
    pub(super) fn here(&self) -> OrderedHere {
        OrderedHere { slot: Arc::clone(&self.slot), challenges: Arc::clone(&self.challenges) }
    }

    /// Binds the address for HTTP-01 challenges with `bind`, where one is configured.
    pub(super) fn listen<E>(
        mut self,
        bind: impl FnOnce(&'static str, SocketAddr) -> Result<TcpListener, E>,
    ) -> Result<Self, E> {
        let address = self.acme.http_address();
        self.listener = address.map(|address| bind("tls.acme.http_address", address)).transpose()?;
        Ok(self)
    }

    /// Starts ordering and renewing. The node becomes ready with the first certificate. Must be called within a tokio
    /// runtime. The address for challenges has at most `connections_max` at once.
    pub(super) fn begin(self, health: Arc<Health>, connections_max: usize) -> io::Result<()> {
        let Self { acme, slot, challenges, gauges, listener } = self;
        if let Some(listener) = listener {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(http01::serve(listener, challenges, connections_max));
        }
        tokio::spawn(acme.run(move |certificate| {
            gauges.certificate_ordered(certificate.label(), certificate.not_after());
            slot.set(certificate.clone());
            health.set_certificate(true);
        }));
        Ok(())
    }
}
