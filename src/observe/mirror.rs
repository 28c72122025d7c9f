//! Figures of the events that nodes exchange through Redis.

use std::{
    array,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use super::counter::LabelCounters;

/// What was published, received and dropped. Shown only where nodes share a Redis.
#[derive(Debug, Default)]
pub struct MirrorGauges {
    in_use: AtomicBool,
    conflict: AtomicBool,
    published: AtomicU64,
    copies: AtomicU64,
    forgotten_early: AtomicU64,
    delivered: AtomicU64,
    received: Counts<3>,
    requests: Counts<5>,
    dropped: Counts<8>,
    /// One thread reads what other nodes publish.
    malformed: LabelCounters<&'static str>,
}

/// Who publishes a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Another gate.
    Gate,
    /// `@socket.io/redis-emitter`, in any program.
    Emitter,
    /// A service with a Redis adapter of its own.
    Adapter,
}

/// What a request wants of all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeRequest {
    /// Sockets put into rooms.
    Join,
    /// Sockets taken out of rooms.
    Leave,
    /// Sockets disconnected.
    Disconnect,
    /// An event for servers, of which a gate is none: it is ignored.
    ServerSideEmit,
    /// An answer, which only members of the adapter's cluster give: it is ignored.
    Question,
}

/// Why a message between nodes goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Not published: the service has an adapter of its own on the same key.
    OutConflict,
    /// Not published: it is not known yet whether the service has an adapter of its own.
    OutUnchecked,
    /// Not published: it is longer than a message between nodes may be.
    OutTooBig,
    /// Not published: what waits to be encoded is too much.
    OutBacklog,
    /// Not published: the event does not fit into the adapter's format.
    OutUnfit,
    /// Not delivered: the service has an adapter of its own on the same key.
    InConflict,
    /// Not delivered: it is not known yet whether the service has an adapter of its own.
    InUnchecked,
    /// Not delivered to the sessions of one worker, which has too much to take.
    InWorkerFull,
}

/// The labels `from`, in the order of [`Sender`].
const SENDERS: [&str; 3] = ["gate", "emitter", "adapter"];

/// The labels `kind`, in the order of [`NodeRequest`].
const ASKED: [&str; 5] = ["join", "leave", "disconnect", "server_side_emit", "question"];

/// The labels `direction` and `reason`, in the order of [`Dropped`].
const DROPPED: [(&str, &str); 8] = [
    ("out", "conflict"),
    ("out", "unchecked"),
    ("out", "too_big"),
    ("out", "backlog"),
    ("out", "unfit"),
    ("in", "conflict"),
    ("in", "unchecked"),
    ("in", "worker_full"),
];

/// Counts of a few things, of all threads.
#[derive(Debug)]
struct Counts<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::default()))
    }
}

impl<const N: usize> Counts<N> {
    fn bump(&self, at: usize) {
        self.0[at].fetch_add(1, Relaxed);
    }

    fn read<L: Copy>(&self, labels: [L; N]) -> [(L, u64); N] {
        array::from_fn(|at| (labels[at], self.0[at].load(Relaxed)))
    }
}

/// The figures at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorFigures {
    /// Whether the service has an adapter of its own on the same key.
    pub conflict: bool,
    /// Events that went to Redis.
    pub published: u64,
    /// Further copies of them.
    pub copies: u64,
    /// Events and counters of sessions that were forgotten early.
    pub forgotten_early: u64,
    /// What the workers were given.
    pub delivered: u64,
    /// Broadcasts, by who published them.
    pub received: [(&'static str, u64); 3],
    /// Requests, by kind.
    pub requests: [(&'static str, u64); 5],
    /// What went no further, by direction and reason.
    pub dropped: [((&'static str, &'static str), u64); 8],
    /// What was not understood, by reason. `None` stands for every reason beyond the bound.
    pub malformed: Vec<(Option<&'static str>, u64)>,
}

impl MirrorGauges {
    /// Nodes share a Redis: the figures are shown from now on.
    pub fn in_use(&self) {
        self.in_use.store(true, Relaxed);
    }

    /// Whether the service has an adapter of its own on the same key.
    pub fn set_conflict(&self, stands: bool) {
        self.conflict.store(stands, Relaxed);
    }

    /// An event of the service goes to Redis.
    pub fn published(&self) {
        self.published.fetch_add(1, Relaxed);
    }

    /// A further copy of an event that has been published.
    pub fn copy(&self) {
        self.copies.fetch_add(1, Relaxed);
    }

    /// So many events and counters of sessions were forgotten early, because too many were remembered.
    pub fn set_forgotten_early(&self, so_far: u64) {
        self.forgotten_early.store(so_far, Relaxed);
    }

    /// A broadcast came from Redis.
    pub fn received(&self, from: Sender) {
        self.received.bump(from as usize);
    }

    /// A request came from Redis.
    pub fn requested(&self, what: NodeRequest) {
        self.requests.bump(what as usize);
    }

    /// A broadcast or a request was handed to the workers.
    pub fn delivered(&self) {
        self.delivered.fetch_add(1, Relaxed);
    }

    /// A message goes no further.
    pub fn dropped(&self, why: Dropped) {
        self.dropped.bump(why as usize);
    }

    /// A message from Redis is none of the adapter's. For the one thread that reads them.
    pub fn malformed(&self, reason: &'static str) {
        self.malformed.bump(reason);
    }

    /// `None` where the node is alone.
    #[must_use]
    pub fn figures(&self) -> Option<MirrorFigures> {
        self.in_use.load(Relaxed).then(|| MirrorFigures {
            conflict: self.conflict.load(Relaxed),
            published: self.published.load(Relaxed),
            copies: self.copies.load(Relaxed),
            forgotten_early: self.forgotten_early.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            received: self.received.read(SENDERS),
            requests: self.requests.read(ASKED),
            dropped: self.dropped.read(DROPPED),
            malformed: self.malformed.read().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_alone_shows_nothing() {
        let gauges = MirrorGauges::default();
        gauges.published();
        assert_eq!(gauges.figures(), None);
        gauges.in_use();
        assert_eq!(gauges.figures().map(|figures| figures.published), Some(1));
    }

    #[test]
    fn each_variant_counts_under_its_own_labels() {
        let gauges = MirrorGauges::default();
        gauges.in_use();
        gauges.received(Sender::Adapter);
        gauges.requested(NodeRequest::Question);
        gauges.dropped(Dropped::OutUnfit);
        gauges.dropped(Dropped::InWorkerFull);
        let figures = gauges.figures().unwrap();
        let counted = |labels: &[((&'static str, &'static str), u64)]| {
            labels.iter().filter(|(_, count)| *count > 0).map(|(labels, _)| *labels).collect::<Vec<_>>()
        };
        assert_eq!(counted(&figures.dropped), [("out", "unfit"), ("in", "worker_full")]);
        assert_eq!(figures.received, [("gate", 0), ("emitter", 0), ("adapter", 1)]);
        assert_eq!(figures.requests[4], ("question", 1));
    }
}
