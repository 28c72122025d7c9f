//! Decides from all sessions of the node whether the service is down, or closed one connection because of its client's packets.
//!
//! A service that goes down loses every connection within moments, whoever spoke last; one of several replicas loses
//! several. A service that objects to a client closes the connection of that client alone, right after a packet of it, and
//! the others go on. So after a loss the state of the remaining sessions decides, and a dial that succeeds confirms it. A loss
//! with an unknown cause counts as an outage, in which clients wait. The exception is a session that loses the service
//! repeatedly.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{observe::service_record::ServiceRecord, relay::reconnect_pacer::ReconnectPacer};

/// A loss this soon after something of the client was sent may be the doing of that.
pub const PROVOKED_WITHIN: Duration = Duration::from_secs(1);

/// So many losses without that, of different sessions, are no objection to any of them: the service, or a part of it,
/// closes connections by itself. ...
const INDEPENDENT: usize = 2;

/// ... That holds for every loss from then on for this long.
const TOGETHER: Duration = Duration::from_secs(2);

/// After the last loss of any session it takes this long until those that still have the service count; losses of several
/// sessions that are no further apart may be those of a replica that stops, ...
const SETTLE: Duration = Duration::from_millis(250);

/// ... but no longer than this after the loss that is judged, for some lose the service all the time.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// A worker that looks this long after a loss has noticed what other sessions lost together with it.
const NOTICED: Duration = Duration::from_millis(100);

/// Workers that have not looked by then are not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// How soon a loss is judged again that could not be judged yet.
const LOOK: Duration = Duration::from_millis(100);

/// So many losses of one session that may be its own doing are, even if no other session is there to compare with, where
/// each dial between them succeeded and all of them fall within [`REPEATED_WITHIN`].
const REPEATED: u8 = 3;

/// Losses of one session that lie further apart than this do not add up.
pub const REPEATED_WITHIN: Duration = Duration::from_secs(60);

/// What the sessions of all workers know of the service. Asked at dials, losses and sweeps only.
#[derive(Debug, Default)]
pub struct ServiceState {
    evidence: Mutex<Evidence>,
    pacer: ReconnectPacer,
    lacks_websocket: AtomicBool,
    /// Changed under the lock of `evidence`, so that it agrees with the pacer.
    record: Arc<ServiceRecord>,
}

#[derive(Debug, Default)]
struct Evidence {
    /// By worker.
    looks: Vec<Look>,
    last_loss: Option<Instant>,
    losses: Latest,
    /// Those that came without an [`Occasion`].
    unprovoked: Latest,
    /// When a dial last failed as it does when the service is down.
    failed: Option<Instant>,
    /// When a dial last succeeded, with its handshake.
    reached: Option<Instant>,
    /// When the service last accepted a connection for a forwarded request.
    accepted: Option<Instant>,
}

/// The latest losses, each of another session: its number, and when.
#[derive(Debug, Default)]
struct Latest([Option<(u64, Instant)>; INDEPENDENT]);

/// A worker has looked at its sessions.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    /// With those that were connected since, and without those that have lost it.
    flowing: Flowing,
}

/// Sessions that have the service. Only those count that read what it sends, for only they notice that they have lost it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Flowing {
    /// How many they are.
    pub sessions: usize,
    /// Since when that of them has had the service that has had it longest.
    pub since: Option<Instant>,
}

/// What came before a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// Something that the client sent, within [`PROVOKED_WITHIN`].
    Packet,
    /// It may be the client's doing or not: the connection had just been made, or the service says that it comes back.
    Unclear,
    /// Nothing.
    None,
}

/// A session has lost the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// When.
    pub at: Instant,
    /// The number of the session.
    pub session: u64,
    /// Its worker.
    pub worker: usize,
    /// What came before it.
    pub occasion: Occasion,
    /// How many losses of the session may be its own doing, with this one, as far as they follow each other within
    /// [`REPEATED_WITHIN`].
    pub repeats: u8,
}

/// What a loss means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossVerdict {
    /// The service is down, or closes connections by itself: the client waits for it.
    Absence,
    /// There is nothing to tell it from, or other sessions have lost the service at the same time: the client waits.
    Unexplained,
    /// The service does not want what this client sends.
    Objection,
    /// It is an objection if the next dial succeeds, and an absence if not.
    Unconfirmed,
    /// It is too early to tell; ask again then.
    Undecided(Instant),
}

/// What a dial that failed says of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It may be this client's handshake: other sessions have the service.
    OfOne,
    /// The service is down, and nobody was told of it yet.
    Down,
    /// The service is still down.
    StillDown,
}

impl ServiceState {
    /// Nothing is known yet. What is learned goes into `record` too.
    #[must_use]
    pub fn new(record: Arc<ServiceRecord>) -> Self {
        Self { record, ..Self::default() }
    }

    /// What metrics and `/readyz` say of the service.
    #[must_use]
    pub fn record(&self) -> &ServiceRecord {
        &self.record
    }

    /// When sessions dial.
    #[must_use]
    pub const fn pacer(&self) -> &ReconnectPacer {
        &self.pacer
    }

    /// The service was dialled: whether its Engine.IO takes no websocket. True: that is news.
    pub fn lacks_websocket(&self, lacks: bool) -> bool {
        // Nearly always it is known already.
        self.lacks_websocket.load(Ordering::Relaxed) != lacks
            && self.lacks_websocket.swap(lacks, Ordering::Relaxed) != lacks
    }

    /// A worker has looked at its sessions.
    pub fn looked(&self, worker: usize, flowing: Flowing, now: Instant) {
        *self.evidence().look_of(worker, now) = Look { at: now, flowing };
    }

    /// A session of this worker has been connected.
    pub fn opened(&self, worker: usize, now: Instant) {
        self.evidence().look_of(worker, now).flowing.add(now);
    }

    /// A session has lost the service.
    pub fn lost(&self, loss: &Loss) {
        let mut evidence = self.evidence();
        evidence.last_loss = evidence.last_loss.max(Some(loss.at));
        let flowing = &mut evidence.look_of(loss.worker, loss.at).flowing;
        flowing.sessions = flowing.sessions.saturating_sub(1);
        evidence.losses.note(loss);
        if loss.occasion == Occasion::None {
            evidence.unprovoked.note(loss);
        }
    }

    /// What a loss means.
    #[must_use]
    pub fn judge(&self, loss: &Loss, now: Instant) -> LossVerdict {
        let evidence = self.evidence();
        let is_since = |at: Option<Instant>| at.is_some_and(|at| at >= loss.at);
        let flows = evidence.flows_after(loss);
        if flows == Some(false) && !is_since(evidence.reached) {
            self.pacer.lost_by_all(now);
        }
        let all_lost_it = flows == Some(false) && evidence.losses.near(loss, TOGETHER) > 0;
        if is_since(evidence.failed) || all_lost_it || evidence.unprovoked.near(loss, TOGETHER) >= INDEPENDENT {
            return LossVerdict::Absence;
        }
        let objection = if is_since(evidence.reached) { LossVerdict::Objection } else { LossVerdict::Unconfirmed };
        if loss.repeats >= REPEATED {
            return objection;
        }
        if loss.occasion != Occasion::Packet || flows == Some(false) {
            return LossVerdict::Unexplained;
        }
        let settled = evidence.last_loss_for(loss) + SETTLE;
        match flows {
            _ if now < settled => LossVerdict::Undecided(settled),
            Some(_) if evidence.losses.near(loss, SETTLE) > 0 => LossVerdict::Unexplained,
            Some(_) => objection,
            None if now < loss.at + PATIENCE => LossVerdict::Undecided(now + LOOK),
            None => LossVerdict::Unexplained,
        }
    }

    /// A dial has failed. `probed`: it was to tell others. `connected`: the service had accepted the connection, so that
    /// the handshake of this client may be what failed; then it counts only if no session has the service. `began`: when
    /// the dial began; one that has succeeded since then counts more. `why`: what failed.
    pub fn dial_failed(
        &self,
        probed: bool,
        connected: bool,
        began: Instant,
        why: &dyn fmt::Display,
        now: Instant,
    ) -> Failure {
        let mut evidence = self.evidence();
        let is_before = |at: Option<Instant>| at.is_some_and(|at| began < at);
        // A service that stands still accepts connections too: that says nothing of a handshake.
        let is_late = is_before(evidence.reached) || (!connected && is_before(evidence.accepted));
        let down = !is_late && (!connected || !evidence.looks.iter().any(Look::flows));
        if down {
            evidence.failed = Some(now);
        }
        let is_news = self.pacer.failed(probed, !connected && !is_late, down, now);
        if is_news {
            self.record.mark_down(why, now);
        }
        drop(evidence);
        match (down, is_news) {
            (false, _) => Failure::OfOne,
            (true, true) => Failure::Down,
            (true, false) => Failure::StillDown,
        }
    }

    /// Whether a dial has failed since then as it does when the service is down.
    #[must_use]
    pub fn has_failed_since(&self, at: Instant) -> bool {
        self.evidence().failed.is_some_and(|failed| failed >= at)
    }

    /// A dial has reached the service. The length of the outage that ends; `None` if nobody was told of one.
    pub fn reached(&self, now: Instant) -> Option<Duration> {
        let mut evidence = self.evidence();
        evidence.reached = Some(now);
        let down = self.pacer.reached(now);
        self.record.mark_up(now);
        drop(evidence);
        down
    }

    /// The service has accepted a connection, on which nothing was said yet: that ends an outage in which it accepted none,
    /// and is no proof that it answers. `began`: when the dial began. Returns as [`reached`](Self::reached) does.
    pub fn accepted(&self, began: Instant, now: Instant) -> Option<Duration> {
        let mut evidence = self.evidence();
        evidence.accepted = Some(now);
        let down = self.pacer.accepted(began, now);
        if down.is_some() || self.record.seen().is_none() {
            self.record.mark_up(now);
        }
        drop(evidence);
        down
    }

    fn evidence(&self) -> MutexGuard<'_, Evidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Evidence {
    fn look_of(&mut self, worker: usize, now: Instant) -> &mut Look {
        if self.looks.len() <= worker {
            self.looks.resize(worker + 1, Look { at: now, flowing: Flowing::default() });
        }
        &mut self.looks[worker]
    }

    /// The last loss of any session, as far as one that is judged waits for others.
    fn last_loss_for(&self, loss: &Loss) -> Instant {
        let last = self.last_loss.map_or(loss.at, |last| last.max(loss.at));
        last.min(loss.at + SETTLE_MAX.saturating_sub(SETTLE))
    }

    /// Whether a session that had the service at this loss has it still. `None`: nobody has looked yet.
    fn flows_after(&self, loss: &Loss) -> Option<bool> {
        let noticed = self.last_loss_for(loss) + NOTICED;
        let had_it = |look: &&Look| look.flows() && look.flowing.since.is_some_and(|since| since < loss.at);
        let mut flowing = self.looks.iter().filter(had_it).peekable();
        if flowing.peek().is_none() {
            return Some(false);
        }
        flowing.any(|look| look.at >= noticed).then_some(true)
    }
}

impl Flowing {
    /// One more, which has had the service since then.
    pub fn add(&mut self, since: Instant) {
        self.sessions += 1;
        self.since = Some(self.since.map_or(since, |earlier| earlier.min(since)));
    }
}

impl Look {
    const fn flows(&self) -> bool {
        self.flowing.sessions > 0
    }
}

impl Latest {
    /// The place of this session, or else of the one whose loss is the oldest.
    fn note(&mut self, loss: &Loss) {
        let known = self.0.iter().position(|one| one.is_some_and(|(session, _)| session == loss.session));
        self.0[..=known.unwrap_or(INDEPENDENT - 1)].rotate_right(1);
        self.0[0] = Some((loss.session, loss.at));
    }

    /// How many of them are of other sessions than this loss, and at most so long before it.
    fn near(&self, loss: &Loss, before: Duration) -> usize {
        let is_near = |(session, at): &&(u64, Instant)| *session != loss.session && *at + before >= loss.at;
        self.0.iter().flatten().filter(is_near).count()
    }
}

#[cfg(test)]
mod tests;
