//! The state of the service for one session: unwanted, down, dialling, rejoining, flowing.
//!
//! ```text
//! Unwanted ──first CONNECT──> Down ──dial_at──> Dialling ──OPEN──> Rejoining ──every CONNECT answered──> Flowing
//!                              ^                    │                   │                                   │
//!                              └──── it failed ─────┴─────── lost ──────┴───────────────────────────────────┘
//! ```
//!
//! On a plain route the session begins in Flowing, and Dialling leads back there: no namespace is to be joined.
//!
//! In every state but Flowing the packets of the client wait in the queue; heartbeats go on, so the client notices
//! nothing. A CONNECT never waits there: the namespaces to join are known, and joined when the service is open.

use std::time::{Duration, Instant};

use crate::session::{
    ended::Ended,
    hold::{HoldRules, Overflow},
    queue::{Queue, QueueBounds, WholePacket},
    snapshot::{EndData, UpstreamData},
};

/// A connection shorter than this does not end an outage. Without this bound, a client that makes the service close
/// would cause dials without end.
const STEADY: Duration = Duration::from_secs(1);

/// After its turn to dial a session has this long to join again, even if `hold` is over.
const AFTER_TURN: Duration = Duration::from_secs(5);

/// The service, and what waits for it.
#[derive(Debug)]
pub(super) struct Upstream {
    stage: Stage,
    /// Deadline for the next ping of the service. `None` until it has announced its interval.
    pinged_by: Option<Instant>,
    /// From one ping of the service to the deadline for the next, in milliseconds.
    patience_ms: u32,
    /// Packets that were dropped.
    dropped: u64,
    /// The last message of the service goes to the client as it comes.
    in_parts: bool,
    /// `None` in nearly every session, nearly always.
    backlog: Option<Box<Backlog>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Unwanted,
    Down { dial_at: Instant },
    Dialling,
    Rejoining,
    Flowing,
}

/// The state that is only needed while packets cannot simply pass.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    outage: Option<Outage>,
    /// The client's packet that still lacks attachments.
    pub(super) begun: Option<WholePacket>,
    /// Packets that wait for the service.
    pub(super) queue: Queue,
    /// Packets that are sent again if their acks are lost.
    pub(super) kept: Queue,
    /// So many answers to pings come from the client before its packets are sent. 0: they are sent.
    echoes: u8,
}

impl Backlog {
    fn is_empty(&self) -> bool {
        self.outage.is_none() && self.begun.is_none() && self.queue.is_empty() && self.kept.is_empty()
    }

    /// What all packets take, in bytes of memory.
    pub(super) fn memory(&self) -> usize {
        let begun = self.begun.as_ref().map_or(0, WholePacket::memory);
        self.queue.bytes() + self.kept.bytes() + begun
    }

    /// Whether there is room for one more. What is kept to be sent again goes to the queue when the service is lost.
    fn has_room(&self, packet: &WholePacket, bounds: &QueueBounds) -> bool {
        let (packets, bytes) = (bounds.packets.saturating_sub(self.kept.len()), bounds.bytes);
        self.queue.has_room(packet, &QueueBounds { packets, bytes: bytes.saturating_sub(self.kept.bytes()) })
    }

    /// Whether this event is sent again if its ack is lost now.
    pub(super) fn keeps(&self, namespace: u8, ack_id: u64, retries: u8) -> bool {
        let is_it = |packet: &WholePacket| packet.namespace == namespace && packet.ack_id == Some(ack_id);
        self.kept.iter().any(|packet| is_it(packet) && packet.sent <= retries)
    }

    /// Whether this event has not been sent yet.
    pub(super) fn has_unsent(&self, namespace: u8, ack_id: u64) -> bool {
        let mut unsent = self.queue.iter().chain(&self.begun);
        unsent.any(|packet| packet.namespace == namespace && packet.ack_id == Some(ack_id))
    }
}

/// The service is down, or has been until recently.
#[derive(Debug, Clone, Copy)]
struct Outage {
    since: Instant,
    /// What began the outage, and ends the session if it lasts too long.
    why: Ended,
    /// Dials that failed, or led to a connection shorter than [`STEADY`].
    failures: u32,
    /// When it is this session's turn to dial, after an outage. The session is not given up before. `None`: no turn.
    turn_at: Option<Instant>,
    /// Since when the service is back. If it is lost within [`STEADY`], the outage goes on.
    back: Option<Instant>,
}

impl Outage {
    const fn new(since: Instant, why: Ended) -> Self {
        Self { since, why, failures: 0, turn_at: None, back: None }
    }

    fn steady_at(&self) -> Option<Instant> {
        self.back.map(|back| back + STEADY)
    }

    /// No connection has been made and lost, and no dial has failed.
    fn is_first_dial(&self) -> bool {
        self.failures == 0 && self.why == Ended::ServiceUnreachable
    }
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Dial,
    GiveUp(Ended),
}

/// What it took to make room for a packet.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) dropped: Vec<WholePacket>,
    /// There is no room, and the session has to end.
    pub(super) is_full: bool,
}

impl Upstream {
    /// For a session whose service is dialled when the first CONNECT is accepted.
    pub(super) const fn unwanted() -> Self {
        Self::at(Stage::Unwanted)
    }

    const fn at(stage: Stage) -> Self {
        Self { stage, pinged_by: None, patience_ms: 0, dropped: 0, in_parts: false, backlog: None }
    }

    /// Whether the last message of the service goes to the client as it comes.
    #[inline]
    pub(super) const fn passes_in_parts(&mut self, in_parts: bool) {
        self.in_parts = in_parts;
    }

    /// Whether the client may have a part of a message, so that nothing can be said to it without the rest.
    pub(super) const fn is_passing_in_parts(&self) -> bool {
        self.in_parts
    }

    /// For a session that begins with an open service.
    pub(super) const fn flowing() -> Self {
        Self::at(Stage::Flowing)
    }

    /// As plain data. `None` while the service is open.
    pub(super) fn save(&self, now: Instant) -> Option<UpstreamData> {
        let outage = self.outage().filter(|_| matches!(self.stage, Stage::Down { .. } | Stage::Dialling))?;
        Some(UpstreamData {
            down_for: now.saturating_duration_since(outage.since),
            why: EndData::of(outage.why)?,
            failures: outage.failures,
            dropped: self.dropped,
            queue: self.backlog.iter().flat_map(|backlog| backlog.queue.iter()).map(WholePacket::save).collect(),
        })
    }

    /// What was [saved](Self::save); a dial is due at once.
    pub(super) fn load(saved: UpstreamData, now: Instant) -> Self {
        let since = now.checked_sub(saved.down_for).unwrap_or(now);
        let outage = Outage { failures: saved.failures, ..Outage::new(since, saved.why.ended()) };
        let mut backlog = Backlog { outage: Some(outage), ..Backlog::default() };
        saved.queue.into_iter().map(WholePacket::load).for_each(|packet| backlog.queue.push(packet));
        Self { dropped: saved.dropped, backlog: Some(Box::new(backlog)), ..Self::at(Stage::Down { dial_at: now }) }
    }

    /// Whether the service is open, so that packets can be sent to it.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Rejoining | Stage::Flowing)
    }

    /// Whether packets go to the service as they come.
    pub(super) fn flows(&self) -> bool {
        self.stage == Stage::Flowing && self.backlog.as_ref().is_none_or(|backlog| backlog.queue.is_empty())
    }

    /// Whether events of this namespace wait that ask for an ack.
    pub(super) fn has_asking(&self, namespace: u8) -> bool {
        let asks = |packet: &WholePacket| packet.namespace == namespace && packet.ack_id.is_some();
        self.backlog.as_ref().is_some_and(|backlog| backlog.queue.iter().any(asks))
    }

    /// The packets that wait are not sent before the client has answered so many pings.
    pub(super) fn await_echoes(&mut self, echoes: u8) {
        self.backlog_mut().echoes = echoes;
    }

    /// The client has answered a ping. Whether it has to answer more.
    pub(super) fn echoed(&mut self) -> bool {
        let Some(backlog) = &mut self.backlog else { return false };
        backlog.echoes = backlog.echoes.saturating_sub(1);
        backlog.echoes > 0
    }

    /// The packets that wait are sent without more answers.
    pub(super) fn stop_awaiting_echoes(&mut self) {
        if let Some(backlog) = &mut self.backlog {
            backlog.echoes = 0;
        }
    }

    /// Whether packets that are queued now wait there. In Flowing the queue is emptied at once.
    pub(super) fn queues(&self) -> bool {
        self.stage != Stage::Flowing || self.awaits_echoes()
    }

    pub(super) fn awaits_echoes(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| backlog.echoes > 0)
    }

    pub(super) const fn stage(&self) -> Stage {
        self.stage
    }

    /// Since when the service is down. `None`: it is open, or was never wanted.
    pub(super) fn down_since(&self) -> Option<Instant> {
        self.outage_now().map(|outage| outage.since)
    }

    fn outage_now(&self) -> Option<Outage> {
        self.outage().filter(|_| self.stage != Stage::Flowing)
    }

    fn outage(&self) -> Option<Outage> {
        self.backlog.as_ref().and_then(|backlog| backlog.outage)
    }

    fn outage_mut(&mut self) -> Option<&mut Outage> {
        self.backlog.as_mut().and_then(|backlog| backlog.outage.as_mut())
    }

    pub(super) fn backlog_mut(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }

    pub(super) fn backlog(&self) -> Option<&Backlog> {
        self.backlog.as_deref()
    }

    /// Failed dials since the service was last open.
    pub(super) fn failures(&self) -> u32 {
        self.outage().map_or(0, |outage| outage.failures)
    }

    /// Whether the service was connected before in this session, or a dial has failed.
    pub(super) fn is_redial(&self) -> bool {
        self.outage_now().is_some_and(|outage| !outage.is_first_dial())
    }

    /// Whether the service has missed its next ping.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.pinged_by.is_some_and(|at| now >= at)
    }

    /// Packets that were dropped.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The service has pinged. Before it has announced its interval there is no deadline for the next.
    pub(super) fn pinged(&mut self, now: Instant) {
        let patience = Duration::from_millis(self.patience_ms.into());
        self.pinged_by = (!patience.is_zero()).then(|| now + patience);
    }

    /// Nothing is read of the service, so it has all of its time for the next ping again.
    pub(super) fn unread(&mut self, now: Instant) {
        if self.pinged_by.is_some() {
            self.pinged(now);
        }
    }

    /// When [`timeout`](Self::timeout) has something to do. `None`: never.
    pub(super) fn deadline(&self, rules: &HoldRules) -> Option<Instant> {
        let dial_at = match self.stage {
            Stage::Down { dial_at } => Some(dial_at),
            _ => None,
        };
        let given_up = self.given_up_at(rules);
        let steady = self.outage().filter(|_| self.stage == Stage::Flowing).and_then(|outage| outage.steady_at());
        [dial_at, given_up, steady, self.pinged_by].into_iter().flatten().min()
    }

    fn given_up_at(&self, rules: &HoldRules) -> Option<Instant> {
        let (outage, hold) = self.outage_now().zip(rules.hold)?;
        Some((outage.since + hold).max(outage.turn_at.map_or(outage.since, |at| at + AFTER_TURN)))
    }

    /// The first CONNECT was accepted.
    pub(super) fn want(&mut self, now: Instant) {
        self.stage = Stage::Dialling;
        self.backlog_mut().outage = Some(Outage::new(now, Ended::ServiceUnreachable));
    }

    /// The service is not dialled again before the client asks for a namespace anew. None is asked for now.
    pub(super) fn unwant(&mut self) {
        self.stage = Stage::Unwanted;
        self.pinged_by = None;
        self.backlog = None;
    }

    /// What is due now: the next dial, or the end. `None`: nothing.
    pub(super) fn timeout(&mut self, rules: &HoldRules, now: Instant) -> Option<Due> {
        if self.given_up_at(rules).is_some_and(|at| now >= at) {
            return self.outage_now().map(|outage| Due::GiveUp(outage.why));
        }
        if let Stage::Down { dial_at } = self.stage
            && now >= dial_at
        {
            self.stage = Stage::Dialling;
            return Some(Due::Dial);
        }
        self.forget_outage(now);
        None
    }

    /// Ends an outage once the service has been back for [`STEADY`].
    fn forget_outage(&mut self, now: Instant) {
        let Some(backlog) = self.backlog.as_mut().filter(|_| self.stage == Stage::Flowing) else { return };
        backlog.outage = backlog.outage.filter(|outage| outage.steady_at().is_none_or(|at| now < at));
        self.tidy();
    }

    fn tidy(&mut self) {
        self.backlog.take_if(|backlog| backlog.is_empty());
    }

    /// Puts the next dial off until `at`. With a `reserved` turn, the session is not given up before it.
    pub(super) fn dial_later(&mut self, at: Instant, reserved: bool) {
        self.stage = Stage::Down { dial_at: at };
        if let Some(outage) = self.outage_mut().filter(|_| reserved) {
            outage.turn_at = Some(at);
        }
    }

    /// The service has opened, and pings at least every `patience_ms`. Every namespace has yet to be joined again.
    pub(super) fn rejoin(&mut self, patience_ms: u64, now: Instant) {
        self.stage = Stage::Rejoining;
        self.patience_ms = u32::try_from(patience_ms).unwrap_or(u32::MAX);
        self.pinged(now);
        self.come_back(now);
    }

    /// Every CONNECT has been answered.
    pub(super) fn joined(&mut self) {
        if self.stage == Stage::Rejoining {
            self.stage = Stage::Flowing;
            // Nearly every session ends without an outage: it stores nothing.
            if let Some(backlog) = &mut self.backlog {
                backlog.outage = backlog.outage.filter(|outage| !outage.is_first_dial());
            }
            self.tidy();
        }
    }

    /// The service is open, and no namespace is to be joined.
    pub(super) fn flow(&mut self, now: Instant) {
        self.stage = Stage::Flowing;
        self.come_back(now);
    }

    fn come_back(&mut self, now: Instant) {
        if let Some(outage) = self.outage_mut() {
            outage.back = Some(now);
        }
    }

    /// The service is lost, or a dial has failed.
    pub(super) fn lose(&mut self, why: Ended, dial_at: Instant, now: Instant) {
        self.forget_outage(now);
        let dialled = self.stage == Stage::Dialling;
        let outage = self.backlog_mut().outage.get_or_insert(Outage::new(now, why));
        if dialled || outage.back.take().is_some() {
            outage.failures = outage.failures.saturating_add(1);
        }
        // A turn is good for one dial.
        outage.turn_at = None;
        self.stage = Stage::Down { dial_at };
        self.pinged_by = None;
        self.stop_awaiting_echoes();
    }

    /// Queues a packet behind the others, if need be in place of older ones.
    pub(super) fn enqueue(&mut self, packet: WholePacket, rules: &HoldRules) -> Room {
        let bounds = &rules.bounds;
        let mut room = Room::default();
        // The bounds of a queue that is emptied at once do not matter.
        let waits = self.queues();
        while waits && !self.backlog_mut().has_room(&packet, bounds) {
            self.dropped += 1;
            let oldest = match rules.overflow {
                Overflow::Close => {
                    room.is_full = true;
                    return room;
                }
                // A packet that fits no queue does not displace others.
                Overflow::DropOldest if !bounds.may_hold(&packet) => None,
                Overflow::DropOldest => self.backlog_mut().queue.pop(),
            };
            let Some(oldest) = oldest else {
                room.dropped.push(packet);
                return room;
            };
            room.dropped.push(oldest);
        }
        self.backlog_mut().queue.push(packet);
        room
    }

    /// Counts a packet that is dropped.
    pub(super) const fn count_dropped(&mut self) {
        self.dropped += 1;
    }

    /// Whether packets may wait. Nearly every session has none nearly always.
    #[inline]
    pub(super) const fn has_packets(&self) -> bool {
        self.backlog.is_some()
    }

    /// The next packet for the service, in order. `None` while the service is not open, or if none waits.
    pub(super) fn next_packet(&mut self) -> Option<WholePacket> {
        if self.queues() {
            return None;
        }
        let packet = self.backlog.as_mut()?.queue.pop();
        if packet.is_none() {
            self.tidy();
        }
        packet
    }

    /// A namespace is left: none of its packets may reach the service, which would close the session for it.
    pub(super) fn forget_packets(&mut self, namespace: u8) {
        let Some(backlog) = &mut self.backlog else { return };
        let dropped = backlog.queue.retain(|packet| packet.namespace != namespace);
        backlog.kept.retain(|packet| packet.namespace != namespace);
        let begun = backlog.begun.take_if(|packet| packet.namespace == namespace);
        self.dropped += dropped as u64 + u64::from(begun.is_some());
    }

    /// The ack of a packet came: it is not sent again.
    pub(super) fn acknowledged(&mut self, namespace: u8, id: u64) {
        if let Some(backlog) = &mut self.backlog {
            backlog.kept.retain(|kept| kept.namespace != namespace || kept.ack_id != Some(id));
        }
    }

    /// Drops this event, if it has not been sent: another one goes in its place.
    pub(super) fn replaces(&mut self, namespace: u8, id: u64) -> bool {
        let Some(backlog) = &mut self.backlog else { return false };
        backlog.queue.retain(|packet| packet.namespace != namespace || packet.ack_id != Some(id)) > 0
    }

    /// Whether a packet of the client still lacks attachments.
    pub(super) fn has_begun(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| backlog.begun.is_some())
    }

    /// Drops the packet that still lacks attachments.
    pub(super) fn forget_begun(&mut self) {
        if let Some(backlog) = &mut self.backlog {
            backlog.begun = None;
        }
    }

    /// The session is over: wipes all packets that wait.
    pub(super) fn forget_backlog(&mut self) {
        self.backlog = None;
    }
}
