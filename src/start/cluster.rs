//! The thread that speaks with Redis. Absent when the node is alone.

use std::{io, sync::Arc, thread::JoinHandle};

use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use crate::{
    cluster::{
        bus::Bus,
        connector::Connector,
        leaving::{LAST_MESSAGES, Leaving},
        limits::SharedLimits,
        link::{Link, RedisRules},
        queue::Inbound,
        revocation::Revocations,
    },
    gateway::drain::Stage,
    observe::gauges::Gauges,
    policy::rate_limit::sharing::Sharing,
    relay::{
        outlet::{NoOutlet, Outlet},
        registry::Registry,
        revoker::Revoker,
    },
};

/// What the node has of Redis before it runs.
pub(super) struct Cluster {
    parts: Option<Parts>,
    sharing: Arc<Sharing>,
}

struct Parts {
    connector: Connector,
    bus: Bus,
    inbound: Inbound,
    leaving: Leaving,
    limits: SharedLimits,
    prefix: Arc<str>,
}

impl Cluster {
    /// As `[redis]` says; alone without it.
    pub(super) fn of(rules: Option<RedisRules>, gauges: &Arc<Gauges>) -> Self {
        let limits = SharedLimits::new(gauges);
        let sharing = Arc::clone(limits.sharing());
        let parts = rules.map(|rules| {
            let (connector, outbound, inbound) = Connector::new(rules.clone(), Arc::clone(&gauges.redis));
            let bus = Bus::new(&rules, outbound.clone(), Arc::clone(&gauges.mirror));
            let leaving = Leaving::new(connector.link(), outbound, bus.backlog(), Arc::clone(&gauges.redis));
            Parts { connector, bus, inbound, leaving, limits, prefix: rules.prefix }
        });
        Self { parts, sharing }
    }

    /// Takes the events that are mirrored to other nodes.
    pub(super) fn outlet(&self) -> Arc<dyn Outlet> {
        self.parts.as_ref().map_or_else(|| Arc::new(NoOutlet) as _, |parts| parts.bus.outlet())
    }

    /// For the limits that count on all nodes, also after a reload.
    pub(super) fn sharing(&self) -> Arc<Sharing> {
        Arc::clone(&self.sharing)
    }

    /// The connection and what keys begin with, for everything beside the bus. `None`: the node is alone.
    pub(super) fn link(&self) -> Option<(Link, Arc<str>)> {
        self.parts.as_ref().map(|parts| (parts.connector.link(), Arc::clone(&parts.prefix)))
    }

    /// Starts the thread, if there is one. It ends when `done` does and, where Redis is there, the last events are published and the leases given back.
    pub(super) fn spawn(
        self,
        registry: Registry,
        revoker: Option<Revoker>,
        mut stage: watch::Receiver<Stage>,
        done: oneshot::Receiver<()>,
    ) -> io::Result<Option<JoinHandle<()>>> {
        let Some(Parts { connector, bus, inbound, leaving, limits, prefix }) = self.parts else { return Ok(None) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("redis".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let link = connector.link();
                if let Some(revoker) = revoker {
                    tokio::spawn(Revocations::new(&prefix, connector.link(), revoker).run());
                }
                let end_limits = limits.end();
                let limits = tokio::spawn(limits.run(connector.link(), prefix));
                tokio::spawn(connector.run());
                tokio::spawn(bus.run(link, inbound, registry));
                let leaving = Arc::new(leaving);
                tokio::spawn({
                    let leaving = Arc::clone(&leaving);
                    async move {
                        if stage.wait_for(|stage| *stage != Stage::Serving).await.is_ok() {
                            leaving.begin();
                        }
                    }
                });
                let _ = done.await;
                end_limits();
                let _ = tokio::join!(leaving.publish_last(), timeout(LAST_MESSAGES, limits));
            });
            // The look-up of a name may take longer than anybody waits for a node that ends.
            runtime.shutdown_background();
        })?;
        Ok(Some(thread))
    }
}
