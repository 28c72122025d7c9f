//! Keeps the events of an absent client, and sends them when it returns with its `pid`.
//!
//! This is Socket.IO's connection state recovery (socket.io-protocol v5), done here for a service that does not do it:
//! the upstream leg stays, and the service does not notice the absence. Every event carries its number as one more
//! argument, which stock clients remember and send when they connect again.

use std::{borrow::Cow, collections::VecDeque, time::Instant};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    session::{
        ended::Ended,
        hold::HoldRules,
        namespace_set::NamespaceSet,
        queue::{QueueBounds, WholePacket},
        reach::Reach,
        snapshot::{EndData, KeptData, ResumeData},
    },
    wire::{engineio::id::Pid, json::members},
};

/// What is needed to resume a client that comes back.
#[derive(Debug)]
pub(super) struct Resume {
    /// The secret that the client sends to resume. It cannot be guessed.
    pub(super) pid: Pid,
    /// How often the client has joined a namespace, or got another socket there.
    joins: u32,
    /// The client has been given a `pid` for `/`, and knows it if it knows recovery.
    pub(super) has_joined_root: bool,
    /// The number of the first event. Each session has another one: the offset that a stock client says may be of an
    /// earlier session, for a new `pid` does not reset it.
    first: u64,
    /// The number of the next event.
    next: u64,
    /// The highest position that was dropped without being known to be heard, or with a number. `None` if every event is
    /// kept.
    dropped: Option<u64>,
    /// Events that the client has missed for good, or may have.
    lost: u64,
    events: VecDeque<Kept>,
    /// What the packets take in memory.
    bytes: usize,
    /// Since when the client is absent, and how its connection ended. `None` while it is connected.
    absent: Option<(Instant, Ended)>,
    /// The namespaces that the client has joined and not joined again since its return.
    unreturned: NamespaceSet,
    /// When it must have joined them again. `None` if there is no such namespace, or the client is absent.
    returns_by: Option<Instant>,
}

/// An event that the client may have missed.
#[derive(Debug)]
struct Kept {
    /// Its number or, if it asks for an ack, the number of the next event that asks for none. A client that knows this
    /// number or a higher one of the same namespace has got this event, for a connection keeps the order.
    position: u64,
    reach: Reach,
    packet: WholePacket,
}

impl Kept {
    const fn asks(&self) -> bool {
        self.packet.ack_id.is_some()
    }

    fn is_within(&self, offset: Option<u64>) -> bool {
        offset.is_some_and(|offset| self.position <= offset)
    }
}

/// What a client sends in CONNECT about its earlier session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recovery {
    /// The `pid` of the session.
    pub(super) pid: Pid,
    /// The number of the last event that it got.
    pub(super) offset: Option<u64>,
}

impl Recovery {
    /// Reads it from the JSON of a CONNECT. `None` if the JSON has no `pid` of Tidegate. `numbered`: events have numbers in this
    /// namespace. Where they have none, the client takes any text at the end of an event for one, and shows that.
    pub(super) fn read(json: &[u8], numbered: bool) -> Option<Self> {
        #[derive(Deserialize)]
        struct Said<'a> {
            #[serde(borrow)]
            pid: Cow<'a, str>,
            #[serde(borrow, default)]
            offset: Option<Cow<'a, str>>,
        }
        let said: Said<'_> = serde_json::from_slice(json).ok()?;
        let offset = said.offset.filter(|_| numbered).map(|offset| offset.parse()).transpose().ok()?;
        // Which join it is matters to the client alone.
        let pid = said.pid.split_once('.').map_or(&*said.pid, |(pid, _)| pid);
        Some(Self { pid: Pid::parse(pid)?, offset })
    }

    /// The JSON of a CONNECT without that, as the service gets it. `None`: it is no object.
    pub(super) fn left_out_of(json: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        members::without(json, &["pid", "offset"]).map(Zeroizing::new)
    }
}

impl Resume {
    /// For a client that gets this `pid`, with chance for the numbers of its events.
    pub(super) fn new(pid: Pid, seed: u32) -> Self {
        // So far apart that the numbers of two sessions do not meet.
        Self::numbered(pid, u64::from(seed) << 16)
    }

    fn numbered(pid: Pid, first: u64) -> Self {
        Self {
            pid,
            joins: 0,
            has_joined_root: false,
            first,
            next: first,
            dropped: None,
            lost: 0,
            events: VecDeque::new(),
            bytes: 0,
            absent: None,
            unreturned: NamespaceSet::default(),
            returns_by: None,
        }
    }

    /// As plain data. `None` while the client is connected.
    pub(super) fn save(&self, now: Instant) -> Option<ResumeData> {
        let (since, why) = self.absent?;
        let kept = |kept: &Kept| KeptData { position: kept.position, reach: kept.reach, packet: kept.packet.save() };
        Some(ResumeData {
            first: self.first,
            next: self.next,
            dropped: self.dropped,
            absent_for: now.saturating_duration_since(since),
            why: EndData::of(why)?,
            unreturned: self.unreturned,
            joins: self.joins,
            events: self.events.iter().map(kept).collect(),
        })
    }

    /// What was [saved](Self::save).
    pub(super) fn load(pid: Pid, saved: ResumeData, now: Instant) -> Self {
        let kept = |kept: KeptData| Kept {
            position: kept.position,
            reach: kept.reach,
            packet: WholePacket::load(kept.packet),
        };
        let since = now.checked_sub(saved.absent_for).unwrap_or(now);
        let mut resume = Self {
            next: saved.next,
            dropped: saved.dropped,
            events: saved.events.into_iter().map(kept).collect(),
            absent: Some((since, saved.why.ended())),
            unreturned: saved.unreturned,
            joins: saved.joins,
            ..Self::numbered(pid, saved.first)
        };
        resume.count_bytes();
        resume
    }

    /// What the events take, in bytes of memory.
    pub(super) const fn memory(&self) -> usize {
        self.bytes
    }

    /// The client joins a namespace, or gets another socket there: the number of this join, from 0.
    pub(super) const fn next_join(&mut self) -> u32 {
        let join = self.joins;
        self.joins += 1;
        join
    }

    /// Since when the client is absent. `None` while it is connected.
    pub(super) fn absent_since(&self) -> Option<Instant> {
        self.absent.map(|(since, _)| since)
    }

    /// Whether the client has not joined this namespace again yet.
    pub(super) const fn is_unreturned(&self, namespace: u8) -> bool {
        self.unreturned.contains(namespace)
    }

    /// The client's connection has ended. It may join these namespaces again.
    pub(super) fn client_lost(&mut self, joined: impl Iterator<Item = u8>, why: Ended, now: Instant) {
        self.unreturned = joined.collect();
        self.returns_by = None;
        self.absent = Some((now, why));
        // A pong of another connection proves nothing of this one.
        for kept in self.events.iter_mut().filter(|kept| kept.reach == Reach::Pinged) {
            kept.reach = Reach::Said;
        }
    }

    /// The client is back, and has until `returns_by` to join its namespaces again.
    pub(super) fn client_returned(&mut self, returns_by: Instant) {
        self.absent = None;
        self.returns_by = Some(returns_by);
    }

    /// The client has left this namespace: its events are dropped. If it is absent from it, those that it may not have got
    /// are lost.
    pub(super) fn forget(&mut self, namespace: u8) {
        if self.is_unreturned(namespace) {
            self.loses(|kept| kept.packet.namespace == namespace);
        }
        self.mark_returned(namespace);
        self.events.retain(|kept| kept.packet.namespace != namespace);
        self.count_bytes();
    }

    /// The session is over: a client that is absent gets none of its events any more.
    pub(super) fn abandon(&mut self) {
        let unreturned = self.unreturned;
        self.loses(|kept| unreturned.contains(kept.packet.namespace));
        self.events = VecDeque::new();
        self.bytes = 0;
    }

    /// The client goes on with another session, because it may have missed something of this one.
    pub(super) fn gives_up(&mut self) {
        let lost = self.lost;
        self.loses(|_| true);
        self.events = VecDeque::new();
        self.bytes = 0;
        // What was dropped is not there to be counted.
        self.lost = self.lost.max(lost + 1);
    }

    fn loses(&mut self, which: impl Fn(&Kept) -> bool) {
        let unheard = self.events.iter().filter(|kept| kept.reach != Reach::Heard && which(kept));
        self.lost += unheard.count() as u64;
    }

    /// Events that the client has missed for good, or may have: it cannot be told which. It learns of them because its
    /// `recovered` is false.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    fn count_bytes(&mut self) {
        self.bytes = self.events.iter().map(|kept| kept.packet.memory()).sum();
    }

    /// The client has joined this namespace again.
    pub(super) fn mark_returned(&mut self, namespace: u8) {
        self.unreturned.remove(namespace);
        if self.unreturned.is_empty() {
            self.returns_by = None;
        }
    }

    /// How its connection ended, if the client has been absent for too long. `None`: it may still come back.
    pub(super) fn given_up(&self, rules: &HoldRules, now: Instant) -> Option<Ended> {
        let (since, why) = self.absent?;
        // A reload may have forbidden clients to come back.
        (now >= since + rules.resume.unwrap_or_default()).then_some(why)
    }

    /// The namespaces that the client has not joined again in time. It has left them.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<u8> {
        if self.returns_by.is_none_or(|by| now < by) {
            return Vec::new();
        }
        self.returns_by = None;
        std::mem::take(&mut self.unreturned).numbers().collect()
    }

    /// When [`given_up`](Self::given_up) or [`overdue`](Self::overdue) has a result.
    pub(super) fn deadline(&self, rules: &HoldRules) -> Option<Instant> {
        let given_up = self.absent.map(|(since, _)| since + rules.resume.unwrap_or_default());
        given_up.into_iter().chain(self.returns_by).min()
    }

    /// The number of the next event that asks for no ack.
    pub(super) const fn next_number(&self) -> u64 {
        self.next
    }

    /// The number of the last event that the client got. `None`: it got none of this session.
    fn got(&self, offset: Option<u64>) -> Option<u64> {
        offset.filter(|offset| (self.first..self.next).contains(offset))
    }

    /// A ping is said to the client, behind everything so far.
    pub(super) fn pinged(&mut self) {
        let unreturned = self.unreturned;
        let is_there = |kept: &&mut Kept| !unreturned.contains(kept.packet.namespace);
        for kept in self.events.iter_mut().filter(is_there).filter(|kept| kept.reach == Reach::Said) {
            kept.reach = Reach::Pinged;
        }
    }

    /// The client has answered the ping, so it has got everything before it.
    pub(super) fn ponged(&mut self) {
        self.hears(|_, kept| kept.reach == Reach::Pinged);
    }

    /// The client has answered the event with this ack id, so it has got it and everything before it.
    pub(super) fn answered(&mut self, namespace: u8, id: u64) {
        let is_it = |kept: &Kept| kept.packet.namespace == namespace && kept.packet.ack_id == Some(id);
        if let Some(answered) = self.events.iter().position(is_it) {
            self.hears(|at, kept| at <= answered && kept.packet.namespace == namespace && kept.reach != Reach::Kept);
        }
    }

    /// The client names the last event that it got in this namespace, so it has got everything before it.
    pub(super) fn names(&mut self, namespace: u8, offset: Option<u64>) {
        let offset = self.got(offset);
        self.hears(|_, kept| kept.packet.namespace == namespace && kept.is_within(offset));
    }

    /// The client has got these. Those with a number are kept, because the client may still name an earlier one: it counts
    /// an event when its handlers have returned.
    fn hears(&mut self, which: impl Fn(usize, &Kept) -> bool) {
        let mut at = 0;
        let bytes = &mut self.bytes;
        self.events.retain_mut(|kept| {
            if which(at, kept) {
                kept.reach = Reach::Heard;
            }
            at += 1;
            let stays = !kept.asks() || kept.reach != Reach::Heard;
            if !stays {
                *bytes -= kept.packet.memory();
            }
            stays
        });
    }

    /// Whether a client that got the event with this number, and none later, can be given everything else that was said in
    /// the namespace, and nothing twice. Of an event that asks for an ack nobody can tell whether it arrived, unless the
    /// client has answered it or something later: official clients do not remember its number.
    pub(super) fn recovers(&self, namespace: u8, offset: Option<u64>) -> bool {
        let offset = self.got(offset);
        let is_unknown = |kept: &Kept| {
            kept.packet.namespace == namespace
                && kept.asks()
                && matches!(kept.reach, Reach::Said | Reach::Pinged)
                && !kept.is_within(offset)
        };
        let has_gap = self.dropped.is_some_and(|dropped| offset.is_none_or(|offset| dropped > offset));
        !has_gap && !self.events.iter().any(is_unknown)
    }

    /// The client goes on in this namespace and has missed something: of the events that are left, those are dropped of which
    /// nobody can tell whether it got them.
    pub(super) fn misses(&mut self, namespace: u8, offset: Option<u64>) {
        self.names(namespace, offset);
        let (lost, offset, before) = (self.lost, self.got(offset), self.events.len());
        self.events.retain(|kept| {
            let is_unknown = kept.asks() && matches!(kept.reach, Reach::Said | Reach::Pinged);
            kept.packet.namespace != namespace || !is_unknown || kept.is_within(offset)
        });
        self.lost += (before - self.events.len()) as u64;
        // What was dropped is not there to be counted.
        self.lost = self.lost.max(lost).max(1);
        self.count_bytes();
    }

    /// The packets that are kept.
    pub(super) fn packets(&self) -> impl Iterator<Item = &WholePacket> {
        self.events.iter().map(|kept| &kept.packet)
    }

    /// Keeps an event that the client may miss. False: older ones were dropped for it that the client has not got.
    pub(super) fn keep(&mut self, packet: &WholePacket, bounds: &QueueBounds) -> bool {
        let reach = if self.is_unreturned(packet.namespace) { Reach::Kept } else { Reach::Said };
        let kept = Kept { position: self.next, reach, packet: packet.clone() };
        self.next += u64::from(!kept.asks());
        // The copy may take less than what it was made of, and what is added is taken away again with the copy.
        self.bytes += kept.packet.memory();
        self.events.push_back(kept);
        let lost = self.lost;
        while self.events.len() > bounds.packets || self.bytes > bounds.bytes {
            let Some(oldest) = self.events.pop_front() else { break };
            self.drops(&oldest);
        }
        self.lost == lost
    }

    fn drops(&mut self, oldest: &Kept) {
        self.bytes -= oldest.packet.memory();
        self.dropped = self.dropped.max(Some(oldest.position));
        self.lost += u64::from(oldest.reach == Reach::Kept);
    }

    /// The events of a namespace that a client with this `offset` has missed, once that [is certain](Self::recovers).
    pub(super) fn missed(&mut self, namespace: u8, offset: Option<u64>) -> Vec<WholePacket> {
        self.names(namespace, offset);
        let offset = self.got(offset);
        let is_missed = |kept: &&mut Kept| kept.packet.namespace == namespace && !kept.is_within(offset);
        let said_again = self.events.iter_mut().filter(is_missed).map(|kept| {
            kept.reach = Reach::Said;
            kept.packet.clone()
        });
        said_again.collect()
    }
}
