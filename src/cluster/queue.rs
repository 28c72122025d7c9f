//! What waits to be published, and what waits to be delivered: both bounded, so that neither a slow Redis nor a flood of
//! messages costs more than a fixed amount of memory.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    cluster::envelope::{Envelope, Topic},
    observe::redis::{Dropped, RedisGauges},
};

/// What a message costs beside its payload and names, in bytes.
const ENVELOPE_BYTES: usize = 128;

/// The bounds of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Messages.
    pub messages: usize,
    /// Bytes, with the names.
    pub bytes: usize,
    /// How long a message waits at most. `None`: for ever.
    pub age: Option<Duration>,
}

/// Takes messages that are to be published. Cheap to clone; every thread may have one.
#[derive(Debug, Clone)]
pub struct Outbound(Arc<Queue>);

/// Gives the messages that have come.
#[derive(Debug)]
pub struct Inbound(Arc<Queue>);

/// Puts messages that have come into the queue of an [`Inbound`]. When the last one is gone, the queue ends.
#[derive(Debug, Clone)]
pub(super) struct Feeder(Arc<Feed>);

#[derive(Debug)]
struct Feed(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    bounds: Bounds,
    overflow: Dropped,
    gauges: Arc<RedisGauges>,
    state: Mutex<State>,
    /// A message has come, or none will any more.
    filled: Notify,
    /// A message was taken.
    drained: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Instant, Envelope)>,
    bytes: usize,
    closed: bool,
    /// Of the messages that were taken last, so many are not done with.
    in_hand: usize,
}

impl Outbound {
    /// Empty.
    #[must_use]
    pub fn new(bounds: Bounds, gauges: Arc<RedisGauges>) -> Self {
        Self(Queue::new(bounds, Dropped::OutOverflow, gauges))
    }

    /// Queues a message. Never waits for Redis: where there are too many, the oldest are dropped and counted.
    pub fn push(&self, envelope: Envelope) {
        self.0.push(envelope, Instant::now());
    }

    /// Waits for messages, and takes the oldest, each with the moment since when it waits: at most so many messages and, of more
    /// than one, so many bytes.
    pub(super) async fn take(&self, messages: usize, bytes: usize) -> Vec<(Instant, Envelope)> {
        loop {
            let taken = self.0.take(messages, bytes, Instant::now());
            if !taken.is_empty() {
                self.keeps(taken.len());
                return taken;
            }
            self.0.filled.notified().await;
        }
    }

    /// Of what was taken last, so many messages are still to be published.
    pub(super) fn keeps(&self, messages: usize) {
        self.0.lock().in_hand = messages;
    }

    /// How many messages are still to be published, those among them that were taken.
    pub(super) fn unpublished(&self) -> usize {
        let state = self.0.lock();
        state.waiting.len() + state.in_hand
    }

    /// Drops what has waited for too long.
    pub(super) fn expire(&self, now: Instant) {
        self.0.expire(&mut self.0.lock(), now);
    }
}

impl Inbound {
    /// Empty, with the other end.
    pub(super) fn new(bounds: Bounds, gauges: Arc<RedisGauges>) -> (Feeder, Self) {
        let queue = Queue::new(bounds, Dropped::InOverflow, gauges);
        (Feeder(Arc::new(Feed(Arc::clone(&queue)))), Self(queue))
    }

    /// The next message. `None`: no more will come.
    pub async fn recv(&mut self) -> Option<Envelope> {
        loop {
            if let Some((_, envelope)) = self.0.take(1, 0, Instant::now()).pop() {
                self.0.drained.notify_one();
                return Some(envelope);
            }
            if self.0.lock().closed {
                return None;
            }
            self.0.filled.notified().await;
        }
    }
}

impl Feeder {
    /// Queues a message. Where there are too many, the oldest are dropped and counted.
    pub(super) fn push(&self, envelope: Envelope) {
        self.0.0.push(envelope, Instant::now());
    }

    /// Whether half of the queue is free: for a source that keeps what is not taken yet.
    pub(super) fn has_room(&self) -> bool {
        let state = self.0.0.lock();
        let bounds = self.0.0.bounds;
        state.waiting.len() <= bounds.messages / 2 && state.bytes <= bounds.bytes / 2
    }

    /// Waits until half of the queue is free.
    pub(super) async fn room(&self) {
        while !self.has_room() {
            self.0.0.drained.notified().await;
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.filled.notify_one();
    }
}

impl Queue {
    fn new(bounds: Bounds, overflow: Dropped, gauges: Arc<RedisGauges>) -> Arc<Self> {
        let (state, filled, drained) = Default::default();
        Arc::new(Self { bounds, overflow, gauges, state, filled, drained })
    }

    fn push(&self, envelope: Envelope, now: Instant) {
        if cost(&envelope) > self.bounds.bytes {
            self.gauges.dropped(self.overflow, 1);
            return;
        }
        let mut state = self.lock();
        self.expire(&mut state, now);
        state.bytes += cost(&envelope);
        state.waiting.push_back((now, envelope));
        let mut over = 0;
        while state.waiting.len() > self.bounds.messages || state.bytes > self.bounds.bytes {
            if state.pop().is_none() {
                break;
            }
            over += 1;
        }
        drop(state);
        if over > 0 {
            self.gauges.dropped(self.overflow, over);
        }
        self.filled.notify_one();
    }

    fn take(&self, messages: usize, bytes: usize, now: Instant) -> Vec<(Instant, Envelope)> {
        let mut state = self.lock();
        self.expire(&mut state, now);
        let (mut taken, mut taken_bytes) = (Vec::new(), 0);
        while taken.len() < messages {
            let Some((_, envelope)) = state.waiting.front() else { break };
            taken_bytes += cost(envelope);
            if taken_bytes > bytes && !taken.is_empty() {
                break;
            }
            taken.extend(state.pop());
        }
        taken
    }

    /// Drops what has waited for too long.
    fn expire(&self, state: &mut State, now: Instant) {
        let Some(age) = self.bounds.age else { return };
        let mut old = 0;
        while state.waiting.front().is_some_and(|(since, _)| now.saturating_duration_since(*since) > age) {
            state.pop();
            old += 1;
        }
        if old > 0 {
            self.gauges.dropped(Dropped::OutExpired, old);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pop(&mut self) -> Option<(Instant, Envelope)> {
        let waiting = self.waiting.pop_front()?;
        self.bytes -= cost(&waiting.1);
        Some(waiting)
    }
}

/// What a waiting message costs, in bytes.
fn cost(envelope: &Envelope) -> usize {
    let names = match &envelope.topic {
        Topic::Broadcast { namespace, room } => namespace.len() + room.as_ref().map_or(0, |room| room.len()),
        Topic::Request { namespace } => namespace.len(),
    };
    ENVELOPE_BYTES + names + envelope.payload.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const BOUNDS: Bounds = Bounds { messages: 3, bytes: 1000, age: Some(Duration::from_secs(5)) };

    fn message(payload: &'static [u8]) -> Envelope {
        Envelope { topic: Topic::Request { namespace: "/".into() }, payload: Bytes::from_static(payload) }
    }

    fn payloads(taken: Vec<(Instant, Envelope)>) -> Vec<Bytes> {
        taken.into_iter().map(|(_, envelope)| envelope.payload).collect()
    }

    fn queue() -> (Arc<Queue>, Arc<RedisGauges>) {
        let gauges = Arc::new(RedisGauges::default());
        gauges.in_use(Instant::now());
        (Queue::new(BOUNDS, Dropped::OutOverflow, Arc::clone(&gauges)), gauges)
    }

    #[test]
    fn of_too_many_messages_the_oldest_are_dropped_and_counted() {
        let (queue, gauges) = queue();
        let now = Instant::now();
        for payload in [b"1", b"2", b"3", b"4", b"5"] {
            queue.push(message(payload), now);
        }
        assert_eq!(gauges.count(Dropped::OutOverflow), 2);
        assert_eq!(payloads(queue.take(2, usize::MAX, now)), [&b"3"[..], b"4"]);
        assert_eq!(payloads(queue.take(2, usize::MAX, now)), [&b"5"[..]]);
        assert_eq!(queue.lock().bytes, 0);
    }

    #[test]
    fn of_too_many_bytes_the_oldest_are_dropped_but_none_for_one_that_can_never_fit() {
        let (queue, gauges) = queue();
        let now = Instant::now();
        queue.push(message(&[1; 500]), now);
        queue.push(message(&[2; 500]), now);
        assert_eq!(gauges.count(Dropped::OutOverflow), 1);
        queue.push(message(&[3; 5000]), now);
        assert_eq!(gauges.count(Dropped::OutOverflow), 2);
        assert_eq!(queue.take(9, usize::MAX, now).len(), 1);
    }

    #[test]
    fn what_has_waited_for_too_long_is_dropped() {
        let (queue, gauges) = queue();
        let now = Instant::now();
        queue.push(message(b"old"), now);
        queue.push(message(b"new"), now + Duration::from_secs(4));
        assert_eq!(payloads(queue.take(9, usize::MAX, now + Duration::from_secs(6))), [&b"new"[..]]);
        assert_eq!(gauges.count(Dropped::OutExpired), 1);
    }

    #[test]
    fn a_batch_is_bounded_in_bytes_and_has_at_least_one_message() {
        let (queue, _) = queue();
        let now = Instant::now();
        for payload in [&[1; 200][..], &[2; 200], &[3; 200]] {
            queue.push(message(payload), now);
        }
        assert_eq!(queue.take(9, 1, now).len(), 1);
        assert_eq!(queue.take(9, 1000, now).len(), 2);
    }

    #[tokio::test]
    async fn what_was_taken_counts_until_it_is_published() {
        let outbound = Outbound::new(BOUNDS, Arc::default());
        assert_eq!(outbound.unpublished(), 0);
        [b"1", b"2", b"3"].into_iter().for_each(|payload| outbound.push(message(payload)));
        assert_eq!(outbound.unpublished(), 3);
        assert_eq!(outbound.take(2, 999).await.len(), 2);
        assert_eq!(outbound.unpublished(), 3, "two are on their way");
        outbound.keeps(1);
        assert_eq!(outbound.unpublished(), 2);
        outbound.keeps(0);
        assert_eq!(outbound.unpublished(), 1);
    }

    #[tokio::test]
    async fn a_receiver_gets_what_has_come_and_then_the_end() {
        let (feeder, mut inbound) = Inbound::new(BOUNDS, Arc::default());
        let other = feeder.clone();
        let source = tokio::spawn(async move {
            for payload in [b"1", b"2", b"3"] {
                other.push(message(payload));
                other.room().await;
            }
        });
        drop(feeder);
        let mut received = Vec::new();
        while let Some(envelope) = inbound.recv().await {
            received.push(envelope.payload);
        }
        source.await.unwrap();
        assert_eq!(received, [&b"1"[..], b"2", b"3"]);
    }
}
