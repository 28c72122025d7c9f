//! Revokes on this node: adds to the list that tokens are verified against, and ends open sessions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::SystemTime,
};

use tokio::sync::Notify;

use crate::{
    observe::{
        gauges::Gauges,
        journal::{self, LogLevel},
    },
    policy::auth::{
        revoked::{REVOKED_MAX, Revocation, Revoked},
        shared_revoked::SharedRevoked,
    },
    relay::registry::Registry,
};

/// Revokes on this node. All clones are the same one.
#[derive(Debug, Clone)]
pub struct Revoker(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    list: Arc<SharedRevoked>,
    registry: Registry,
    gauges: Arc<Gauges>,
    added: Notify,
    reach: AtomicU8,
}

/// How far a revocation reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RevocationScope {
    /// This node alone: there is no `[redis]`.
    Node = 0,
    /// This node now, the others once Redis is there again.
    Later = 1,
    /// All nodes, within a second.
    Nodes = 2,
}

/// What a revocation has done here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Revoking {
    /// Sessions that end, or whose clients are put out of a namespace.
    pub sessions: usize,
    /// Revocations that were new, those of tokens of revoked sockets among them.
    pub new: usize,
}

impl Revoker {
    /// Of a node without Redis. Tokens are verified against `list`.
    #[must_use]
    pub fn new(list: Arc<SharedRevoked>, registry: Registry, gauges: Arc<Gauges>) -> Self {
        gauges.revocation.in_use();
        Self(Arc::new(Parts {
            list,
            registry,
            gauges,
            added: Notify::new(),
            reach: AtomicU8::new(RevocationScope::Node as u8),
        }))
    }

    /// Refuses these from now on, and ends the sessions that have them.
    pub async fn revoke(&self, revocations: &[Revocation], now: SystemTime) -> Revoking {
        let mut done = self.revoke_once(revocations, now).await;
        if !done.1.is_empty() {
            // Other sessions may have the same tokens.
            let (more, _) = self.revoke_once(&done.1, now).await;
            done.0 = Revoking { sessions: done.0.sessions + more.sessions, new: done.0.new + more.new };
        }
        done.0
    }

    async fn revoke_once(&self, revocations: &[Revocation], now: SystemTime) -> (Revoking, Vec<Revocation>) {
        let Parts { list, registry, gauges, added, .. } = &*self.0;
        let change = list.add(revocations, now);
        if change.new == 0 {
            return (Revoking::default(), Vec::new());
        }
        if change.forgotten > 0 {
            let sentence = format!(
                "{} revocations are forgotten before their time: more than {REVOKED_MAX} are in force; those stay that last \
                 longest",
                change.forgotten
            );
            journal::line(LogLevel::Error, &sentence);
        }
        let met = registry.revoked().await;
        gauges.revocation.revoked(list.current().len(), change.forgotten, met.sessions);
        added.notify_one();
        (Revoking { sessions: met.sessions, new: change.new }, met.tokens)
    }

    /// Forgets what has ended.
    pub fn tidy(&self, now: SystemTime) {
        self.0.gauges.revocation.set_entries(self.0.list.tidy(now));
    }

    /// Everything that is revoked.
    #[must_use]
    pub fn list(&self) -> Arc<Revoked> {
        self.0.list.current()
    }

    /// Waits until something is revoked that was not before.
    pub async fn added(&self) {
        self.0.added.notified().await;
    }

    /// How far a revocation reaches now.
    #[must_use]
    pub fn reach(&self) -> RevocationScope {
        match self.0.reach.load(Relaxed) {
            0 => RevocationScope::Node,
            1 => RevocationScope::Later,
            _ => RevocationScope::Nodes,
        }
    }

    /// For what connects this node with others: revocations reach so far from now on.
    pub fn reaches(&self, reach: RevocationScope) {
        self.0.reach.store(reach as u8, Relaxed);
    }
}
