//! Joins the parts that exchange events with other nodes through Redis.

use std::sync::Arc;

use crate::{
    cluster::{
        conflict::Guard,
        dispatch::Dispatch,
        link::{Link, RedisRules},
        offers::{self, Backlog, Encoder},
        queue::{Inbound, Outbound},
        standing::Standing,
    },
    observe::mirror::MirrorGauges,
    relay::{outlet::Outlet, registry::Registry},
};

/// Publishes mirrored events, and delivers those of other nodes.
#[derive(Debug)]
pub struct Bus {
    uid: Arc<str>,
    key: Arc<str>,
    outlet: Arc<dyn Outlet>,
    backlog: Backlog,
    encoder: Encoder,
    standing: Standing,
    gauges: Arc<MirrorGauges>,
}

impl Bus {
    /// Of a node with these rules. What it publishes goes to `outbound`.
    #[must_use]
    pub fn new(rules: &RedisRules, outbound: Outbound, gauges: Arc<MirrorGauges>) -> Self {
        gauges.in_use();
        // Nobody else has it: adapters draw their own, and the emitter is called by its name.
        let uid: Arc<str> = format!("tg{:016x}", rand::random::<u64>()).into();
        let standing = Standing::default();
        let (offers, encoder) = offers::channel(Arc::clone(&uid), outbound, standing.clone(), Arc::clone(&gauges));
        let (key, backlog) = (Arc::clone(&rules.key), offers.backlog());
        Self { uid, key, outlet: Arc::new(offers), backlog, encoder, standing, gauges }
    }

    /// Takes what is to be published.
    #[must_use]
    pub fn outlet(&self) -> Arc<dyn Outlet> {
        Arc::clone(&self.outlet)
    }

    /// What the workers have said, and is not encoded yet.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.backlog.clone()
    }

    /// Runs as long as the node.
    pub async fn run(self, link: Link, inbound: Inbound, registry: Registry) {
        let Self { uid, key, outlet: _, backlog: _, encoder, standing, gauges } = self;
        let guard = Guard::new(key, link, standing.clone(), Arc::clone(&gauges));
        let dispatch = Dispatch::new(uid, registry, standing, gauges);
        tokio::join!(guard.run(), encoder.run(), dispatch.run(inbound));
    }
}
