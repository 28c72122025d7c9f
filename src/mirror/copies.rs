//! Selects which copy of an event is published: the service sends an event for k clients of this node as k equal packets.
//!
//! *Publish on new maximum*: per event, each session has a counter of its copies, and the maximum of all counters is kept. A copy
//! is published when its session's counter exceeds the maximum. Each session gets its packets in order, and each broadcast once,
//! so as many copies are published as any one session got: right as long as one session was in the room for all of them, also
//! where the service says the same bytes again and again. Nothing waits for other copies.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;

/// A copy that comes so soon after the maximum rose may be the last of the same broadcast.
const IN_FLIGHT: Duration = Duration::from_millis(30);
/// So long after the first copy of an event a session that has had none is taken for one that was in the room before.
const SETTLED_AFTER: Duration = Duration::from_millis(250);
/// Without a copy for so long, an event is forgotten.
const IDLE: Duration = Duration::from_secs(10);
/// So much is forgotten for one copy, in events and counters of sessions, so that no packet waits for all that is idle.
const FORGOTTEN_AT_ONCE: usize = 256;
/// So many events are remembered at once.
const KEYS_MAX: usize = 65_536;
/// So many counters of sessions are kept at once, for all events together. One takes about 100 bytes.
const COUNTERS_MAX: usize = 262_144;

/// Stands for an event: its rule, namespace, room, JSON and attachments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// A keyed hash: nobody can make two events that have the same.
    hash: u128,
    /// The service has numbered its broadcasts, so no other one has this key.
    is_numbered: bool,
}

/// What a [`Key`] is made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The number of the rule.
    pub rule: usize,
    /// The namespace.
    pub namespace: &'a str,
    /// The room. `None`: the whole namespace.
    pub room: Option<&'a str>,
    /// The JSON of the event.
    pub json: &'a [u8],
    /// Its attachments, in order.
    pub attachments: &'a [Vec<u8>],
    /// The offset of connection state recovery, which is the same for all copies of one broadcast, and for no other.
    pub offset: Option<&'a str>,
}

/// Makes keys. Without its seed nobody can tell which events have the same key.
pub struct Keys(hmac::Key);

impl Keys {
    /// With a random seed.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, seed))
    }

    /// The key of an event: the first half of an HMAC-SHA256.
    #[must_use]
    pub fn key(&self, parts: &Parts<'_>) -> Key {
        let mut context = hmac::Context::with_key(&self.0);
        let number = |context: &mut hmac::Context, number: usize| context.update(&(number as u64).to_be_bytes());
        // Each part behind its length, so that no other parts have the same bytes.
        let text = |context: &mut hmac::Context, text: &[u8]| {
            number(context, text.len());
            context.update(text);
        };
        let optional = |context: &mut hmac::Context, part: Option<&str>| {
            context.update(&[u8::from(part.is_some())]);
            text(context, part.unwrap_or_default().as_bytes());
        };
        number(&mut context, parts.rule);
        text(&mut context, parts.namespace.as_bytes());
        optional(&mut context, parts.room);
        optional(&mut context, parts.offset);
        text(&mut context, parts.json);
        for attachment in parts.attachments {
            text(&mut context, attachment);
        }
        let tag = context.sign();
        let half = tag.as_ref().first_chunk().copied().unwrap_or_default();
        Key { hash: u128::from_be_bytes(half), is_numbered: parts.offset.is_some() }
    }
}

/// The seed is a secret.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// How much is remembered, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Without a copy for so long, an event is forgotten.
    pub idle: Duration,
    /// So many events.
    pub keys: usize,
    /// So many counters of sessions, for all events together.
    pub counters: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { idle: IDLE, keys: KEYS_MAX, counters: COUNTERS_MAX }
    }
}

/// The copies of events that this node has seen lately.
#[derive(Debug)]
pub struct Copies {
    bounds: Bounds,
    events: HashMap<Key, Event>,
    /// The events by when they were used last: the first is the one to forget.
    by_use: BTreeMap<u64, Key>,
    /// Which events each session has a counter for.
    by_session: BTreeSet<(u64, Key)>,
    uses: u64,
    forgotten_early: u64,
}

/// An event that was offered.
#[derive(Debug)]
struct Event {
    /// How many copies each session got.
    copies: HashMap<u64, Counter>,
    maximum: u32,
    first_at: Instant,
    rose_at: Instant,
    used_at: Instant,
    /// Its place in [`Copies::by_use`].
    place: u64,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    copies: u32,
    /// When it began, where its beginning was a guess that the next rise of the maximum may correct.
    guessed_at: Option<Instant>,
}

impl Event {
    /// Counts a copy. Whether the maximum has risen.
    fn counts(&mut self, session: u64, now: Instant) -> bool {
        let beginning = self.beginning(now);
        let counter = self.copies.entry(session).or_insert(beginning);
        counter.copies = counter.copies.saturating_add(1);
        if counter.copies <= self.maximum {
            return false;
        }
        self.maximum = counter.copies;
        self.rose_at = now;
        self.correct(session, now);
        true
    }

    /// The counter of a session that has had no copy yet.
    fn beginning(&self, now: Instant) -> Counter {
        let since = |earlier: Instant| now.saturating_duration_since(earlier);
        let may_be_late = since(self.rose_at) <= IN_FLIGHT;
        let is_early = since(self.first_at) <= SETTLED_AFTER;
        // A single broadcast is the usual case, and its last copy may be as late as its client is slow.
        if (is_early || self.maximum <= 1) && !self.copies.is_empty() {
            return Counter { copies: 0, guessed_at: Some(now).filter(|_| !is_early) };
        }
        Counter { copies: self.maximum.saturating_sub(u32::from(may_be_late)), guessed_at: None }
    }

    /// The maximum has risen. A session that had its first copy just before had it of the same broadcast.
    fn correct(&mut self, raised_by: u64, now: Instant) {
        if self.maximum != 2 {
            return;
        }
        for (session, counter) in &mut self.copies {
            let guessed_at = counter.guessed_at.take().filter(|_| *session != raised_by);
            if guessed_at.is_some_and(|at| now.saturating_duration_since(at) <= IN_FLIGHT) {
                counter.copies = self.maximum;
            }
        }
    }
}

impl Copies {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            events: HashMap::new(),
            by_use: BTreeMap::new(),
            by_session: BTreeSet::new(),
            uses: 0,
            forgotten_early: 0,
        }
    }

    /// A copy of an event has come for a session. Whether it is published.
    pub fn offer(&mut self, key: Key, session: u64, now: Instant) -> bool {
        self.forget_idle(key, now);
        let is_new = !self.events.contains_key(&key);
        if is_new && self.events.len() >= self.bounds.keys {
            self.forget_oldest();
        }
        self.uses += 1;
        let place = self.uses;
        let event = self.events.entry(key).or_insert_with(|| Event {
            copies: HashMap::new(),
            maximum: 0,
            first_at: now,
            rose_at: now,
            used_at: now,
            place,
        });
        if !is_new {
            self.by_use.remove(&event.place);
        }
        (event.used_at, event.place) = (event.used_at.max(now), place);
        self.by_use.insert(place, key);
        if key.is_numbered {
            return is_new;
        }
        if !event.copies.contains_key(&session) && !self.makes_room(key) {
            return false;
        }
        self.by_session.insert((session, key));
        self.events.get_mut(&key).is_some_and(|event| event.counts(session, now))
    }

    /// A session is over: it gets no more copies.
    pub fn session_ended(&mut self, session: u64) {
        let first = Key { hash: 0, is_numbered: false };
        let its: Vec<_> =
            self.by_session.range((session, first)..).take_while(|(of, _)| *of == session).copied().collect();
        for (session, key) in its {
            self.by_session.remove(&(session, key));
            if let Some(event) = self.events.get_mut(&key) {
                event.copies.remove(&session);
            }
        }
    }

    /// How many events were forgotten because too many were remembered, and how many sessions got no counter. Each may mean
    /// that an event is published twice or not at all.
    #[must_use]
    pub const fn forgotten_early(&self) -> u64 {
        self.forgotten_early
    }

    /// How many events are remembered.
    #[must_use]
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// Forgets what is idle: of many events a few, and this one in any case.
    fn forget_idle(&mut self, key: Key, now: Instant) {
        let idle = self.bounds.idle;
        let is_idle = |event: &Event| now.saturating_duration_since(event.used_at) >= idle;
        let mut forgotten = 0;
        while forgotten < FORGOTTEN_AT_ONCE
            && let Some((_, first)) = self.by_use.first_key_value()
            && self.events.get(first).is_none_or(is_idle)
        {
            forgotten += 1 + self.forget_first();
        }
        if let Some(event) = self.events.get(&key).filter(|event| is_idle(event)) {
            self.by_use.remove(&event.place);
            self.forget(key);
        }
    }

    /// Makes room for one more counter. False: those of this event alone are too many.
    fn makes_room(&mut self, key: Key) -> bool {
        while self.by_session.len() >= self.bounds.counters {
            if self.by_use.first_key_value().is_none_or(|(_, first)| *first == key) {
                self.forgotten_early += 1;
                return false;
            }
            self.forget_oldest();
        }
        true
    }

    fn forget_oldest(&mut self) {
        self.forgotten_early += 1;
        self.forget_first();
    }

    /// How many counters were forgotten with it.
    fn forget_first(&mut self) -> usize {
        self.by_use.pop_first().map_or(0, |(_, key)| self.forget(key))
    }

    fn forget(&mut self, key: Key) -> usize {
        let Some(event) = self.events.remove(&key) else { return 0 };
        let counters = event.copies.len();
        for session in event.copies.into_keys() {
            self.by_session.remove(&(session, key));
        }
        counters
    }
}

#[cfg(test)]
mod tests;
