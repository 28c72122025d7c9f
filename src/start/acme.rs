//! Joins the certificate that is ordered with what it is for: handshakes, readiness, metrics.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use crate::{
    admin::health::Health,
    config::Config,
    observe::gauges::Gauges,
    tls::{
        CertificateSlot, OrderedHere,
        acme::{Acme, AcmeError, AcmeTable, challenges::Challenges, http01},
    },
};

/// What `[tls.acme]` says of a certificate that is ordered, if one is.
pub(super) fn table(config: &Config) -> Option<&AcmeTable> {
    config.tls.as_ref().and_then(|table| table.acme.as_ref())
}

/// Could a certificate be ordered so, after a start?
pub(super) fn verify(config: &Config) -> Result<(), AcmeError> {
    table(config).map_or(Ok(()), Acme::verify)
}

/// A certificate that will be ordered.
pub(super) struct CertificateOrder {
    acme: Acme,
    slot: Arc<CertificateSlot>,
    challenges: Arc<Challenges>,
    gauges: Arc<Gauges>,
    /// At `tls.acme.http_address`.
    listener: Option<TcpListener>,
}

impl CertificateOrder {
    /// As the configuration says; none where certificates come from files, or clients without TLS. Contacts nobody.
    pub(super) fn of(config: &Config, gauges: &Arc<Gauges>) -> Result<Option<Self>, AcmeError> {
        let Some(table) = table(config) else { return Ok(None) };
        let acme = Acme::new(table, Arc::clone(gauges))?;
        let (slot, challenges) = (Arc::default(), acme.challenges());
        Ok(Some(Self { acme, slot, challenges, gauges: Arc::clone(gauges), listener: None }))
    }

    /// The same as handshakes see it.
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

    /// Orders, for as long as the node lives; the node is ready once there is a certificate. Must be called within a
    /// tokio runtime.
    pub(super) fn begin(self, health: Arc<Health>) -> io::Result<()> {
        let Self { acme, slot, challenges, gauges, listener } = self;
        if let Some(listener) = listener {
            tokio::spawn(http01::serve(tokio::net::TcpListener::from_std(listener)?, challenges));
        }
        tokio::spawn(acme.run(move |certificate| {
            gauges.certificate_ordered(certificate.label(), certificate.not_after());
            slot.set(certificate.clone());
            health.set_certificate(true);
        }));
        Ok(())
    }
}
