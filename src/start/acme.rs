//! Connects the order of a certificate with handshakes, readiness and metrics.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use crate::{
    admin::health::Health,
    config::Config,
    fault::Fault,
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

/// Checks `[tls.acme]`.
pub(super) fn verify(config: &Config) -> Result<(), Vec<Fault>> {
    table(config).map_or(Ok(()), Acme::verify)
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
    /// Prepares the order; makes no connection. `None` where certificates come from files, or without TLS.
    pub(super) fn of(config: &Config, gauges: &Arc<Gauges>) -> Result<Option<Self>, Vec<Fault>> {
        let Some(table) = table(config) else { return Ok(None) };
        let acme = Acme::new(table, Arc::clone(gauges))?;
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
