//! The client is absent: its events are kept, and sent when it comes back with the `pid` that it was given.
//!
//! This is Socket.IO's connection state recovery (socket.io-protocol v5), done here for a service that does not do it:
//! the upstream leg stays, and the service does not notice the absence. Every event carries its number as one more
//! argument, which stock clients remember and send when they connect again.

use std::{borrow::Cow, collections::VecDeque, time::Instant};

use serde::Deserialize;

use crate::{
    session::{
        ended::Ended,
        hold::HoldRules,
        queue::{QueueBounds, WholePacket},
        snapshot::{EndData, KeptData, ResumeData},
    },
    wire::engineio::id::Pid,
};

/// What is needed to resume a client that comes back.
#[derive(Debug)]
pub(super) struct Resume {
    /// The secret that the client sends to resume. It cannot be guessed.
    pub(super) pid: Pid,
    /// The number of the next event.
    next: u64,
    /// The highest number that was dropped. `None` if every event is kept.
    dropped: Option<u64>,
    events: VecDeque<Kept>,
    bytes: usize,
    /// Since when the client is absent, and how its connection ended. `None` while it is connected.
    absent: Option<(Instant, Ended)>,
    /// The namespaces that the client has joined and not joined again since its return, one bit for each number.
    unreturned: u64,
    /// When it must have joined them again. `None` if there is no such namespace, or the client is absent.
    returns_by: Option<Instant>,
}

/// An event that the client may have missed.
#[derive(Debug)]
struct Kept {
    /// `None`: it asks for an ack, and the client certainly has not got it.
    number: Option<u64>,
    /// It was sent to the client, which may have got it or not.
    said: bool,
    packet: WholePacket,
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
    /// Reads it from the JSON of a CONNECT. `None` if the JSON has no `pid` of Tidegate.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Said<'a> {
            #[serde(borrow)]
            pid: Cow<'a, str>,
            #[serde(borrow, default)]
            offset: Option<Cow<'a, str>>,
        }
        let said: Said<'_> = serde_json::from_slice(json).ok()?;
        let offset = said.offset.map(|offset| offset.parse()).transpose().ok()?;
        Some(Self { pid: Pid::parse(&said.pid)?, offset })
    }
}

impl Resume {
    /// For a client that gets this `pid`.
    pub(super) const fn new(pid: Pid) -> Self {
        Self {
            pid,
            next: 0,
            dropped: None,
            events: VecDeque::new(),
            bytes: 0,
            absent: None,
            unreturned: 0,
            returns_by: None,
        }
    }

    /// As plain data. `None` while the client is connected.
    pub(super) fn save(&self, now: Instant) -> Option<ResumeData> {
        let (since, why) = self.absent?;
        let kept = |kept: &Kept| KeptData { number: kept.number, said: kept.said, packet: kept.packet.save() };
        Some(ResumeData {
            next: self.next,
            dropped: self.dropped,
            absent_for: now.saturating_duration_since(since),
            why: EndData::of(why)?,
            unreturned: self.unreturned,
            events: self.events.iter().map(kept).collect(),
        })
    }

    /// What was [saved](Self::save).
    pub(super) fn load(pid: Pid, saved: ResumeData, now: Instant) -> Self {
        let kept =
            |kept: KeptData| Kept { number: kept.number, said: kept.said, packet: WholePacket::load(kept.packet) };
        let since = now.checked_sub(saved.absent_for).unwrap_or(now);
        let mut resume = Self {
            next: saved.next,
            dropped: saved.dropped,
            events: saved.events.into_iter().map(kept).collect(),
            absent: Some((since, saved.why.ended())),
            unreturned: saved.unreturned,
            ..Self::new(pid)
        };
        resume.count_bytes();
        resume
    }

    /// Since when the client is absent. `None` while it is connected.
    pub(super) fn absent_since(&self) -> Option<Instant> {
        self.absent.map(|(since, _)| since)
    }

    /// Whether the client has not joined this namespace again yet.
    pub(super) const fn is_unreturned(&self, namespace: u8) -> bool {
        self.unreturned & 1 << namespace != 0
    }

    /// The client's connection has ended. It may join these namespaces again.
    pub(super) fn client_lost(&mut self, joined: impl Iterator<Item = u8>, why: Ended, now: Instant) {
        self.unreturned = joined.fold(0, |namespaces, number| namespaces | 1 << number);
        self.returns_by = None;
        self.absent = Some((now, why));
    }

    /// The client is back, and has until `returns_by` to join its namespaces again.
    pub(super) fn client_returned(&mut self, returns_by: Instant) {
        self.absent = None;
        self.returns_by = Some(returns_by);
    }

    /// The client has left this namespace: its events are dropped.
    pub(super) fn forget(&mut self, namespace: u8) {
        self.is_back_in(namespace);
        self.events.retain(|kept| kept.packet.namespace != namespace);
        self.count_bytes();
    }

    fn count_bytes(&mut self) {
        self.bytes = self.events.iter().map(|kept| kept.packet.bytes()).sum();
    }

    /// The client has joined this namespace again.
    pub(super) fn is_back_in(&mut self, namespace: u8) {
        self.unreturned &= !(1 << namespace);
        if self.unreturned == 0 {
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
        let unreturned = std::mem::take(&mut self.unreturned);
        (0..64).filter(|number| unreturned & 1 << number != 0).collect()
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

    /// Whether every event after this number is kept.
    pub(super) fn has_all_after(&self, offset: Option<u64>) -> bool {
        match (self.dropped, offset) {
            (None, _) => true,
            (Some(dropped), Some(offset)) => dropped <= offset,
            (Some(_), None) => false,
        }
    }

    /// Keeps an event that the client may miss. Returns how many older events were dropped that the client certainly
    /// has not got.
    pub(super) fn keep(&mut self, packet: &WholePacket, bounds: &QueueBounds) -> u64 {
        let unreturned = self.is_unreturned(packet.namespace);
        let number = packet.ack_id.is_none().then_some(self.next);
        if number.is_some() {
            self.next += 1;
        }
        if number.is_some() || unreturned {
            self.bytes += packet.bytes();
            self.events.push_back(Kept { number, said: !unreturned, packet: packet.clone() });
        }
        let mut missed = 0;
        while self.events.len() > bounds.packets || self.bytes > bounds.bytes {
            missed += u64::from(self.drop_oldest());
        }
        missed
    }

    /// True: the client certainly has not got the dropped event.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.events.pop_front() else { return false };
        self.bytes -= oldest.packet.bytes();
        self.dropped = self.dropped.max(oldest.number);
        !oldest.said
    }

    /// The events of a namespace that a client with this `offset` has missed.
    pub(super) fn missed(&mut self, namespace: u8, offset: Option<u64>) -> Vec<WholePacket> {
        let is_after = |number: u64| offset.is_none_or(|offset| number > offset);
        let missed = self.events.iter().filter(|kept| kept.packet.namespace == namespace);
        let missed = missed.filter(|kept| kept.number.is_none_or(is_after)).map(|kept| kept.packet.clone()).collect();
        // An event that asks for an ack is sent once.
        self.events.retain(|kept| kept.packet.namespace != namespace || kept.number.is_some());
        for kept in self.events.iter_mut().filter(|kept| kept.packet.namespace == namespace) {
            kept.said = true;
        }
        self.count_bytes();
        missed
    }
}
