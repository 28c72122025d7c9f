//! Plain counters of one worker, written by it alone, read at scrape.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    counter::{Counter, LabelCounters},
    histogram::{Bounds, Histogram},
};
use crate::event_names::{EventNames, EventSlot};

/// Upper bounds of the heartbeat's round trip, in milliseconds. Users grade connections at 100, 250 and 500.
const RTT_BOUNDS_MS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];
/// Upper bounds of a batch's time in the gate, in microseconds.
const TRANSIT_BOUNDS_US: [u64; 12] = [10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 100_000];

/// The direction of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Read from the client leg.
    FromClient,
    /// Written to the client leg.
    ToClient,
}

/// Everything one worker thread counts.
///
/// Only that thread may call the methods that count; any thread may read. Counting takes no lock and no locked
/// instruction, and allocates once per event name that is ever acknowledged.
#[derive(Debug)]
pub struct Tally {
    pub(super) received: Box<[Counter]>,
    pub(super) sent: Box<[Counter]>,
    pub(super) latency: Box<[OnceLock<Box<Histogram>>]>,
    latency_bounds: Bounds,
    pub(super) rtt: Histogram,
    pub(super) transit: Histogram,
    pub(super) counts: Counts,
}

/// What starts at zero.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) opened: Counter,
    pub(super) ended: LabelCounters<&'static str>,
    pub(super) authenticated: Counter,
    pub(super) left: Counter,
    pub(super) errors: LabelCounters<&'static str>,

    pub(super) from_client: Volume,
    pub(super) to_client: Volume,
    /// Rule and action.
    pub(super) verdicts: LabelCounters<(u8, &'static str)>,
    /// Stage and reason.
    pub(super) refused: LabelCounters<(&'static str, &'static str)>,
    pub(super) tls_handshakes: LabelCounters<&'static str>,
    pub(super) accept_errors: Counter,

    upstream_open: AtomicI64,
    polling: AtomicI64,
    absent: AtomicU64,
    /// As [`Graded`].
    graded: [[AtomicU64; QUALITIES.len()]; 2],
    /// By [`QualityPing`].
    pub(super) quality_pings: [Counter; QualityPing::NAMES.len()],
    pub(super) resumes_ok: Counter,
    pub(super) resumes_failed: Counter,
    held: AtomicU64,
    held_oldest_ms: AtomicU64,
    queued_packets: AtomicI64,
    queued_bytes: AtomicI64,
    pub(super) queue_dropped: Counter,
    pub(super) events_lost: Counter,
    /// By [`Delivered`].
    pub(super) deliveries: [Counter; Delivered::NAMES.len()],
    rooms: AtomicU64,
    /// By the setting whose bound was reached.
    pub(super) rooms_refused: LabelCounters<&'static str>,
    pub(super) room_commands_dropped: Counter,
    pub(super) mirror_unresolved: Counter,
    pub(super) clock_jumps: Counter,
    pub(super) upgrades_ok: Counter,
    pub(super) upgrades_failed: Counter,
    /// By hundreds of the status; index 0 is for numbers that are no status.
    pub(super) http: [Counter; 6],
    last_tick_ms: AtomicU64,
}

/// Sessions that have lost their service.
#[derive(Debug, Default, Clone, Copy)]
pub struct HeldSessions {
    sessions: u64,
    longest: Duration,
}

impl HeldSessions {
    /// Counts one more, which has been without the service for `since`.
    pub fn count(&mut self, since: Duration) {
        self.sessions += 1;
        self.longest = self.longest.max(since);
    }
}

/// What became of an event from another node for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// It was said to the client.
    Said,
    /// It waits for the client to come back.
    Kept,
    /// It is volatile, and the client is absent.
    Absent,
    /// It is volatile, and the client has yet to take what was said before.
    Behind,
    /// Too much waits for the session.
    Full,
}

impl Delivered {
    /// The values of the label `result`, in the order of the enum.
    pub(super) const NAMES: [&'static str; 5] =
        ["said", "kept", "dropped_absent", "dropped_behind", "dropped_mailbox_full"];
}

/// The grades of a connection, the best first.
pub(super) const QUALITIES: [&str; 4] = ["excellent", "good", "fair", "poor"];

/// Sessions by the quality of their connection, the best first: those over WebSocket, and those that poll.
#[derive(Debug, Default, Clone, Copy)]
pub struct Graded([[u64; QUALITIES.len()]; 2]);

impl Graded {
    /// Counts one more, of the grade with this number.
    pub fn count(&mut self, polls: bool, grade: usize) {
        self.0[usize::from(polls)][grade] += 1;
    }
}

/// What became of a ping by which a client measures its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QualityPing {
    /// It was answered.
    Answered,
    /// It was one too many.
    Limited,
    /// It asked for no answer.
    WithoutId,
    /// It was binary.
    Binary,
}

impl QualityPing {
    /// The values of the label `result`, in the order of the enum.
    pub(super) const NAMES: [&'static str; 4] = ["answered", "limited", "no_id", "binary"];
}

/// Frames of one direction.
#[derive(Debug, Default)]
pub(super) struct Volume {
    pub(super) frames: Counter,
    pub(super) bytes: Counter,
}

impl Tally {
    /// Counters at zero. `latency_buckets_ms`: upper bounds in milliseconds, ascending.
    #[must_use]
    pub fn new(latency_buckets_ms: &[u32]) -> Arc<Self> {
        let per_event = || (0..EventNames::SLOTS).map(|_| Counter::default()).collect();
        Arc::new(Self {
            received: per_event(),
            sent: per_event(),
            latency: (0..EventNames::SLOTS).map(|_| OnceLock::new()).collect(),
            latency_bounds: Bounds::new(latency_buckets_ms.iter().map(|ms| Duration::from_millis((*ms).into()))),
            rtt: Histogram::new(Bounds::new(RTT_BOUNDS_MS.map(Duration::from_millis))),
            transit: Histogram::new(Bounds::new(TRANSIT_BOUNDS_US.map(Duration::from_micros))),
            counts: Counts::default(),
        })
    }

    /// An event or plain message from a client.
    pub fn received(&self, slot: EventSlot) {
        self.received[slot.index()].add(1);
    }

    /// An event or plain message to a client.
    pub fn sent(&self, slot: EventSlot) {
        self.sent[slot.index()].add(1);
    }

    /// So many messages, with so many bytes together.
    pub fn packets(&self, direction: Direction, messages: u64, bytes: u64) {
        let volume = match direction {
            Direction::FromClient => &self.counts.from_client,
            Direction::ToClient => &self.counts.to_client,
        };
        volume.frames.add(messages);
        volume.bytes.add(bytes);
    }

    /// The time from a client's packet to its ack.
    pub fn latency(&self, slot: EventSlot, took: Duration) {
        self.latency[slot.index()].get_or_init(|| Box::new(Histogram::new(self.latency_bounds.clone()))).observe(took);
    }

    /// A session was opened. Each is [`ended`](Self::ended) once.
    pub fn opened(&self) {
        self.counts.opened.add(1);
    }

    /// A session has a verified user. Each call is followed by one of [`left_authenticated`](Self::left_authenticated).
    pub fn authenticated(&self) {
        self.counts.authenticated.add(1);
    }

    /// An authenticated session is over.
    pub fn left_authenticated(&self) {
        self.counts.left.add(1);
    }

    /// A connection is over, and why.
    pub fn ended(&self, reason: &'static str) {
        self.counts.ended.bump(reason);
    }

    /// Something went wrong on a connection: `rate_limit`, `auth`, `protocol`, …
    pub fn error(&self, kind: &'static str) {
        self.counts.errors.bump(kind);
    }

    /// A rate limit, counted from 0, did not forward a packet: `reply`, `drop`, `delay` or `close`.
    pub fn verdict(&self, rule: u8, action: &'static str) {
        self.counts.verdicts.bump((rule, action));
    }

    /// A heartbeat came back.
    pub fn rtt(&self, took: Duration) {
        self.rtt.observe(took);
    }

    /// The time a batch of frames spent in the gate. Callers sample.
    pub fn transit(&self, took: Duration) {
        self.transit.observe(took);
    }

    /// Connections to the service were opened (above zero) or closed (below).
    pub fn upstream_open(&self, delta: i64) {
        self.counts.upstream_open.store(self.upstreams() + delta, Relaxed);
    }

    /// Sessions over long-polling came (above zero), or left or were upgraded (below).
    pub fn polling(&self, delta: i64) {
        self.counts.polling.store(self.polling_now() + delta, Relaxed);
    }

    /// The sessions that have lost their service.
    pub fn held(&self, held: HeldSessions) {
        self.counts.held.store(held.sessions, Relaxed);
        self.counts.held_oldest_ms.store(u64::try_from(held.longest.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The sessions whose clients are absent and may reconnect.
    pub fn absent(&self, sessions: u64) {
        self.counts.absent.store(sessions, Relaxed);
    }

    /// How many sessions have a connection of each quality.
    pub fn graded(&self, Graded(sessions): Graded) {
        let counts = self.counts.graded.iter().flatten().zip(sessions.into_iter().flatten());
        counts.for_each(|(count, sessions)| count.store(sessions, Relaxed));
    }

    /// A client has measured its connection.
    pub fn quality_ping(&self, what: QualityPing) {
        self.counts.quality_pings[what as usize].add(1);
    }

    /// A client asked to resume an earlier session.
    pub fn resume(&self, ok: bool) {
        if ok { &self.counts.resumes_ok } else { &self.counts.resumes_failed }.add(1);
    }

    /// More packets and bytes wait for the service (above zero), or less (below).
    pub fn queued(&self, packets: i64, bytes: i64) {
        self.counts.queued_packets.store(self.counts.queued_packets.load(Relaxed) + packets, Relaxed);
        self.counts.queued_bytes.store(self.counts.queued_bytes.load(Relaxed) + bytes, Relaxed);
    }

    /// Packets that waited for the service were dropped.
    pub fn queue_dropped(&self, packets: u64) {
        self.counts.queue_dropped.add(packets);
    }

    /// Events for absent clients were lost, or may have been.
    pub fn events_lost(&self, events: u64) {
        self.counts.events_lost.add(events);
    }

    /// An event from another node for one client.
    pub fn delivered(&self, what: Delivered) {
        self.counts.deliveries[what as usize].add(1);
    }

    /// So many rooms have a member here.
    pub fn rooms(&self, rooms: usize) {
        self.counts.rooms.store(rooms as u64, Relaxed);
    }

    /// A client was not entered in a room, because of the bound of this setting.
    pub fn room_refused(&self, setting: &'static str) {
        self.counts.rooms_refused.bump(setting);
    }

    /// What another node wanted done with clients was dropped: too much of that waits.
    pub fn room_command_dropped(&self) {
        self.counts.room_commands_dropped.add(1);
    }

    /// An event was not published, because the room of its `[[mirror]]` cannot be named for it.
    pub fn mirror_unresolved(&self) {
        self.counts.mirror_unresolved.add(1);
    }

    /// The wall clock was set by more than a few seconds, or the machine has slept.
    pub fn clock_jumped(&self) {
        self.counts.clock_jumps.add(1);
    }

    /// All packets so far that were dropped while they waited for the service.
    #[must_use]
    pub fn queue_dropped_so_far(&self) -> u64 {
        self.counts.queue_dropped.get()
    }

    /// A client tried to upgrade from polling to WebSocket.
    pub fn upgrade(&self, ok: bool) {
        if ok { &self.counts.upgrades_ok } else { &self.counts.upgrades_failed }.add(1);
    }

    /// An HTTP request was forwarded and answered with this status.
    pub fn http(&self, status: u16) {
        let class = usize::from(status / 100);
        self.counts.http.get(class).unwrap_or(&self.counts.http[0]).add(1);
    }

    /// A request did not become a session: the stage and the reason of its refusal.
    pub fn refused(&self, stage: &'static str, reason: &'static str) {
        self.counts.refused.bump((stage, reason));
    }

    /// The result of a TLS handshake: `full`, `resumed`, or the reason of its failure.
    pub fn tls_handshake(&self, result: &'static str) {
        self.counts.tls_handshakes.bump(result);
    }

    /// `accept` failed.
    pub fn accept_error(&self) {
        self.counts.accept_errors.add(1);
    }

    /// The worker is alive. To be called at least every second, with the milliseconds since the process started.
    pub fn tick(&self, ms_since_start: u64) {
        self.counts.last_tick_ms.store(ms_since_start, Relaxed);
    }

    /// The worker has ended in good order: from now on it counts as alive.
    pub fn retire(&self) {
        self.tick(u64::MAX);
    }

    /// When the worker was last known to be alive, in milliseconds since the process started.
    #[must_use]
    pub fn last_tick(&self) -> u64 {
        self.counts.last_tick_ms.load(Relaxed)
    }

    /// Connections to the service that are open now. Below zero where one was opened by another worker.
    pub(super) fn upstreams(&self) -> i64 {
        self.counts.upstream_open.load(Relaxed)
    }

    /// Sessions over long-polling that are open now.
    pub(super) fn polling_now(&self) -> i64 {
        self.counts.polling.load(Relaxed)
    }

    /// How many sessions have lost their service, and the longest time in milliseconds.
    pub(super) fn held_now(&self) -> (u64, u64) {
        (self.counts.held.load(Relaxed), self.counts.held_oldest_ms.load(Relaxed))
    }

    /// How many rooms have a member here.
    pub(super) fn rooms_now(&self) -> u64 {
        self.counts.rooms.load(Relaxed)
    }

    /// How many sessions that poll, or do not, have a connection of each quality.
    pub(super) fn graded_now(&self, polls: bool) -> [u64; QUALITIES.len()] {
        self.counts.graded[usize::from(polls)].each_ref().map(|count| count.load(Relaxed))
    }

    /// How many clients are absent.
    pub(super) fn absent_now(&self) -> u64 {
        self.counts.absent.load(Relaxed)
    }

    /// Packets and bytes that wait for the service.
    pub(super) fn queued_now(&self) -> (i64, i64) {
        (self.counts.queued_packets.load(Relaxed), self.counts.queued_bytes.load(Relaxed))
    }
}

/// Sessions that are open now, of these workers.
#[must_use]
pub fn open_sessions(tallies: &[Arc<Tally>]) -> u64 {
    let sum = |count: fn(&Tally) -> u64| tallies.iter().map(|tally| count(tally)).sum::<u64>();
    // Ends are read first, so that a session which begins and ends meanwhile does not count below zero.
    let ended = sum(|tally| tally.counts.ended.total());
    sum(|tally| tally.counts.opened.get()).saturating_sub(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_by_event() {
        let tally = Tally::new(&[1, 5]);
        tally.received(EventSlot::OTHER);
        tally.received(EventSlot::OTHER);
        tally.sent(EventSlot::OTHER);
        assert_eq!(tally.received[0].get(), 2);
        assert_eq!(tally.sent[0].get(), 1);
        assert_eq!(tally.received.len(), EventNames::SLOTS);
    }

    #[test]
    fn a_latency_histogram_exists_once_its_event_was_acknowledged() {
        let tally = Tally::new(&[1, 5]);
        assert!(tally.latency[0].get().is_none());
        tally.latency(EventSlot::OTHER, Duration::from_millis(3));
        assert!(tally.latency[0].get().is_some());
    }

    #[test]
    fn statuses_are_counted_by_class() {
        let tally = Tally::new(&[]);
        for status in [200, 204, 404, 999] {
            tally.http(status);
        }
        assert_eq!(tally.counts.http.each_ref().map(Counter::get), [1, 0, 2, 0, 1, 0]);
    }
}
