//! Acks that were lost with the service, until the client has had its time to repeat their packets.
//!
//! An ack that the gate makes up looks like an answer of the service: a client that repeats its packets (`retries` of
//! socket.io-client) would take the packet for delivered. So the ack fails behind the ack of the repeat, which such a client
//! ignores, or when no repeat has come in time.

use std::time::{Duration, Instant};

use crate::session::{
    digest::{Digest, Digests},
    queue::allocated,
};

/// At most so many lost acks of one session are remembered. A client that repeats its packets has few; beyond that the
/// oldest fails at once.
pub(super) const LOST_MAX: usize = 1024;

/// A client waits no shorter for an ack before it repeats the packet. Packets that are alike and come faster are no repeats,
/// unless the client has been told meanwhile that it is connected anew: then it repeats at once.
const REPEATS_AFTER: Duration = Duration::from_millis(100);

/// An ack of the client: the number of its namespace, and its id.
pub(super) type AckOf = (u8, u64);

/// What is known of lost acks. `None` in nearly every session, nearly always.
#[derive(Debug)]
pub(super) struct Late {
    lost: Vec<LostAck>,
    renamed: Vec<Renamed>,
    /// Acks that fail as soon as the ack has been said that they wait behind.
    released: Vec<AckOf>,
    window: Window,
    /// When the client was last told that it is connected.
    told_at: Option<Instant>,
    /// What it said before it heard that has come.
    has_heard: bool,
}

/// Whether packets of the client may be repeats of those that were sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Window {
    /// The service is not back yet.
    Waits,
    /// The client has until then.
    Open(Instant),
    Closed,
}

#[derive(Debug)]
struct LostAck {
    of: AckOf,
    digest: Digest,
    /// When its packet came.
    since: Instant,
    /// The ack id of the repeat, whose ack it fails behind. `None`: there is no repeat yet.
    behind: Option<u64>,
}

/// The service knows a packet by one ack id, and the client waits for another one: that of its repeat.
#[derive(Debug)]
struct Renamed {
    namespace: u8,
    at_service: u64,
    for_client: u64,
}

impl Late {
    pub(super) const fn new() -> Self {
        Self {
            lost: Vec::new(),
            renamed: Vec::new(),
            released: Vec::new(),
            window: Window::Waits,
            told_at: None,
            has_heard: true,
        }
    }

    /// What it takes in memory, in bytes.
    pub(super) fn memory(&self) -> usize {
        allocated(size_of::<Self>())
            + allocated(self.lost.capacity() * size_of::<LostAck>())
            + allocated(self.renamed.capacity() * size_of::<Renamed>())
            + allocated(self.released.capacity() * size_of::<AckOf>())
    }

    /// The service is lost (again).
    pub(super) const fn service_lost(&mut self) {
        self.window = Window::Waits;
    }

    /// The service is back, and the client has until `until`. False: it has been told so before.
    pub(super) fn service_back(&mut self, until: Instant) -> bool {
        let waits = self.window == Window::Waits;
        if waits {
            self.window = Window::Open(until);
        }
        waits
    }

    /// The client is told that it is connected.
    pub(super) const fn told(&mut self, now: Instant) {
        self.told_at = Some(now);
        self.has_heard = false;
    }

    /// Everything has come that the client said before it heard that it is connected, and at once then.
    pub(super) const fn heard(&mut self) {
        self.has_heard = true;
    }

    /// Whether the client may repeat at once what it says now, because it has not heard that it is connected.
    pub(super) const fn may_hear(&self) -> bool {
        !self.has_heard
    }

    /// Whether what the client sends may repeat what was sent before.
    pub(super) fn is_open(&self) -> bool {
        self.window != Window::Closed
    }

    /// When [`timeout`](Self::timeout) has a result.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.window {
            Window::Open(until) => Some(until),
            Window::Waits | Window::Closed => None,
        }
    }

    /// Whether an ack of this namespace is lost.
    pub(super) fn has_lost(&self, namespace: u8) -> bool {
        self.lost.iter().any(|lost| lost.of.0 == namespace)
    }

    /// Whether it can be forgotten.
    pub(super) fn is_over(&self) -> bool {
        self.window == Window::Closed && self.lost.is_empty() && self.renamed.is_empty() && self.released.is_empty()
    }

    /// The ack of a packet is lost, which the service knew by this id. An ack that fails at once, because there are too many.
    pub(super) fn lose(&mut self, (namespace, id): AckOf, digest: Digest, since: Instant) -> Option<AckOf> {
        let id = self.forget_name((namespace, id));
        if self.window == Window::Closed {
            // Nothing else would make it fail: the client has its time once more.
            self.window = Window::Waits;
        }
        self.push(LostAck { of: (namespace, id), digest, since, behind: None })
    }

    fn push(&mut self, lost: LostAck) -> Option<AckOf> {
        let oldest = (self.lost.len() >= LOST_MAX).then(|| self.lost.remove(0).of);
        self.lost.push(lost);
        oldest
    }

    /// The id by which the client knows this ack, from now on forgotten.
    fn forget_name(&mut self, (namespace, id): AckOf) -> u64 {
        let is_it = |renamed: &Renamed| renamed.namespace == namespace && renamed.at_service == id;
        let at = self.renamed.iter().position(is_it);
        at.map_or(id, |at| self.renamed.swap_remove(at).for_client)
    }

    /// Whether a packet that comes now can be a repeat of one that came then.
    pub(super) fn may_repeat(&self, since: Instant, now: Instant) -> bool {
        self.may_hear() || may_repeat(self.told_at, since, now)
    }

    /// The packet that asks for `later` comes: the lost acks of those that it repeats wait behind its ack.
    pub(super) fn repeats_lost(&mut self, later: AckOf, digests: Digests, now: Instant) {
        let (told_at, may_hear) = (self.told_at, self.may_hear());
        for lost in self.lost.iter_mut().filter(|lost| lost.of.0 == later.0 && lost.behind.is_none()) {
            if digests.fits(lost.digest) && (may_hear || may_repeat(told_at, lost.since, now)) {
                lost.behind = Some(later.1);
            }
        }
    }

    /// The packet that asks for `later` goes to the service in place of the one that has not been sent: the ack of that one
    /// waits behind its ack. An ack that fails at once, because there are too many.
    pub(super) fn replaces(&mut self, earlier: AckOf, later: u64, since: Instant) -> Option<AckOf> {
        let id = self.forget_name(earlier);
        self.push(LostAck { of: (earlier.0, id), digest: Digest::None, since, behind: Some(later) })
    }

    /// The packet that asks for `later` goes no further, because the service has the earlier one: its ack answers both. An
    /// ack that fails at once, because there are too many.
    pub(super) fn stands_for(&mut self, earlier: AckOf, later: u64, since: Instant) -> Option<AckOf> {
        let oldest = self.replaces(earlier, later, since);
        self.renamed.push(Renamed { namespace: earlier.0, at_service: earlier.1, for_client: later });
        oldest
    }

    /// The service answers: the id by which the client knows the ack. Those that wait behind it [fail](Self::released) then.
    pub(super) fn answered(&mut self, (namespace, id): AckOf) -> u64 {
        let id = self.forget_name((namespace, id));
        self.release((namespace, id));
        id
    }

    /// Those fail that wait behind this one.
    fn release(&mut self, first: AckOf) {
        let mut ahead = vec![first];
        while let Some((namespace, id)) = ahead.pop() {
            let waits = |lost: &mut LostAck| lost.of.0 == namespace && lost.behind == Some(id);
            for lost in self.lost.extract_if(.., waits) {
                ahead.push(lost.of);
                self.released.push(lost.of);
            }
        }
    }

    /// The acks that fail now, for what they waited behind is said.
    pub(super) fn released(&mut self) -> Vec<AckOf> {
        std::mem::take(&mut self.released)
    }

    /// The acks that fail now, for their packets were not repeated in time.
    pub(super) fn timeout(&mut self, now: Instant) -> Vec<AckOf> {
        if self.deadline().is_none_or(|until| now < until) {
            return Vec::new();
        }
        self.window = Window::Closed;
        let unrepeated: Vec<AckOf> =
            self.lost.extract_if(.., |lost| lost.behind.is_none()).map(|lost| lost.of).collect();
        for of in unrepeated {
            self.released.push(of);
            self.release(of);
        }
        self.released()
    }

    /// The session has left a namespace.
    pub(super) fn forget(&mut self, namespace: u8) {
        self.lost.retain(|lost| lost.of.0 != namespace);
        self.renamed.retain(|renamed| renamed.namespace != namespace);
        self.released.retain(|(of, _)| *of != namespace);
    }
}

fn may_repeat(told_at: Option<Instant>, since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= REPEATS_AFTER || told_at.is_some_and(|told| told >= since)
}
