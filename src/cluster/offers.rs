//! Selects and encodes the service events that a `[[mirror]]` rule names, for other nodes.
//!
//! A worker decides whether a copy is published; the thread of Redis encodes it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    cluster::{
        envelope::{Envelope, Topic},
        queue::Outbound,
        standing::{Known, Standing},
    },
    mirror::copies::{self, Copies, Keys, Parts},
    observe::{
        journal,
        mirror::{Dropped, MirrorGauges},
    },
    relay::outlet::{Offer, Outlet},
    session::action::Offered,
    wire::redis_adapter::{PAYLOAD_BYTES_MAX, broadcast::Broadcast, malformed::Malformed},
};

/// So many events may wait to be encoded, ...
const BACKLOG_MAX: usize = 4096;

/// ... and so many bytes of events.
const BACKLOG_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Takes the copies of all workers, and lets one of each event go on.
#[derive(Debug)]
pub(super) struct Offers {
    keys: Keys,
    copies: Mutex<Copies>,
    backlog: mpsc::Sender<Offered>,
    waiting_bytes: Arc<AtomicUsize>,
    standing: Standing,
    gauges: Arc<MirrorGauges>,
}

/// What waits to be encoded.
#[derive(Debug, Clone)]
pub struct Backlog(mpsc::WeakSender<Offered>);

impl Backlog {
    /// How many events. None: they are all with the messages that wait to be published.
    pub(super) fn len(&self) -> usize {
        self.0.upgrade().map_or(0, |sender| sender.max_capacity() - sender.capacity())
    }
}

/// Encodes what goes on.
#[derive(Debug)]
pub(super) struct Encoder {
    uid: Arc<str>,
    backlog: mpsc::Receiver<Offered>,
    waiting_bytes: Arc<AtomicUsize>,
    outbound: Outbound,
    gauges: Arc<MirrorGauges>,
}

/// Both ends. `uid`: who publishes.
pub(super) fn channel(
    uid: Arc<str>,
    outbound: Outbound,
    standing: Standing,
    gauges: Arc<MirrorGauges>,
) -> (Offers, Encoder) {
    let (sender, receiver) = mpsc::channel(BACKLOG_MAX);
    let waiting_bytes = Arc::<AtomicUsize>::default();
    let offers = Offers {
        keys: Keys::new(&rand::random()),
        copies: Mutex::new(Copies::new(copies::Bounds::default())),
        backlog: sender,
        waiting_bytes: Arc::clone(&waiting_bytes),
        standing,
        gauges: Arc::clone(&gauges),
    };
    (offers, Encoder { uid, backlog: receiver, waiting_bytes, outbound, gauges })
}

impl Outlet for Offers {
    fn offer(&self, offer: Offer) {
        match self.standing.known() {
            Known::Alone => {}
            Known::Nothing => return self.gauges.dropped(Dropped::OutUnchecked),
            Known::Adapter => return self.gauges.dropped(Dropped::OutConflict),
        }
        let Offer { session, event, at } = offer;
        let key = self.keys.key(&Parts {
            rule: event.rule,
            namespace: &event.namespace,
            room: event.room.as_deref(),
            json: &event.json,
            attachments: &event.attachments,
            offset: event.offset.as_deref(),
        });
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = copies.offer(key, session, at);
        self.gauges.set_forgotten_early(copies.forgotten_early());
        if goes_on {
            // Under the lock: events leave in the order in which the service said them.
            self.enqueue(event);
        } else {
            self.gauges.copy();
        }
    }

    fn session_ended(&self, session: u64) {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).session_ended(session);
    }
}

impl Offers {
    /// What waits for the encoder.
    pub(super) fn backlog(&self) -> Backlog {
        Backlog(self.backlog.downgrade())
    }

    fn enqueue(&self, event: Offered) {
        let bytes = bytes(&event);
        if bytes > PAYLOAD_BYTES_MAX {
            return unfit(&self.gauges, event.rule, Malformed::TooLarge);
        }
        let has_room = self.waiting_bytes.fetch_add(bytes, Relaxed) + bytes <= BACKLOG_BYTES_MAX;
        if !has_room || self.backlog.try_send(event).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Relaxed);
            self.gauges.dropped(Dropped::OutBacklog);
        }
    }
}

impl Encoder {
    /// Runs as long as there is a [`Offers`].
    pub(super) async fn run(mut self) {
        while let Some(event) = self.backlog.recv().await {
            self.waiting_bytes.fetch_sub(bytes(&event), Relaxed);
            if let Some(envelope) = self.encode(event) {
                self.gauges.published();
                self.outbound.push(envelope);
            }
        }
    }

    /// As the classic adapter publishes it: one room has its own channel. `None`: it cannot be published, and that was counted.
    fn encode(&self, event: Offered) -> Option<Envelope> {
        let broadcast = Broadcast {
            uid: Box::from(&*self.uid),
            namespace: event.namespace,
            json: event.json,
            attachments: event.attachments,
            rooms: event.room.iter().cloned().collect(),
            except: Vec::new(),
            is_volatile: false,
            is_of_gate: true,
        };
        let payload = broadcast.encode().inspect_err(|malformed| unfit(&self.gauges, event.rule, *malformed)).ok()?;
        let topic = Topic::Broadcast { namespace: broadcast.namespace, room: event.room };
        Some(Envelope { topic, payload: Bytes::from(payload) })
    }
}

/// What an event keeps while it waits.
fn bytes(event: &Offered) -> usize {
    event.json.len() + event.attachments.iter().map(Vec::len).sum::<usize>()
}

/// It cannot be published.
fn unfit(gauges: &MirrorGauges, rule: usize, malformed: Malformed) {
    gauges.dropped(if malformed == Malformed::TooLarge { Dropped::OutTooBig } else { Dropped::OutUnfit });
    let why = format!(
        "an event of mirror[{rule}] is not published to other nodes, because {malformed}; let the service say less in it"
    );
    journal::nodes::mirror_trouble("mirror_unfit", &why);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::{
        cluster::queue::Bounds,
        observe::{mirror::MirrorFigures, redis::RedisGauges},
    };

    /// Offers whose encoder is turned by hand.
    struct World {
        offers: Offers,
        encoder: Encoder,
        outbound: Outbound,
        standing: Standing,
        gauges: Arc<MirrorGauges>,
        start: Instant,
    }

    impl World {
        fn new() -> Self {
            let gauges = Arc::new(MirrorGauges::default());
            gauges.in_use();
            let bounds = Bounds { messages: 100, bytes: 8 << 20, age: None };
            let outbound = Outbound::new(bounds, Arc::new(RedisGauges::default()));
            let standing = Standing::default();
            standing.checked(Some(Known::Alone));
            let (offers, encoder) = channel("tg1".into(), outbound.clone(), standing.clone(), Arc::clone(&gauges));
            Self { offers, encoder, outbound, standing, gauges, start: Instant::now() }
        }

        fn offer(&self, session: u64, json: &str, after_ms: u64) {
            let event = Offered {
                rule: 0,
                namespace: "/".into(),
                room: Some("user:ada".into()),
                json: json.into(),
                attachments: Vec::new(),
                offset: None,
            };
            self.offers.offer(Offer { session, event, at: self.start + Duration::from_millis(after_ms) });
        }

        /// What has been published, as the others read it.
        async fn published(&mut self) -> Vec<(Topic, Broadcast)> {
            let mut envelopes = Vec::new();
            while let Ok(event) = self.encoder.backlog.try_recv() {
                self.encoder.waiting_bytes.fetch_sub(bytes(&event), Relaxed);
                if let Some(envelope) = self.encoder.encode(event) {
                    self.encoder.gauges.published();
                    self.outbound.push(envelope);
                    envelopes.extend(self.outbound.take(1, PAYLOAD_BYTES_MAX).await);
                }
            }
            let decode =
                |(_, envelope): (Instant, Envelope)| (envelope.topic, Broadcast::decode(&envelope.payload).unwrap());
            envelopes.into_iter().map(decode).collect()
        }

        fn figures(&self) -> MirrorFigures {
            self.gauges.figures().unwrap()
        }

        fn dropped(&self) -> Vec<((&'static str, &'static str), u64)> {
            self.figures().dropped.into_iter().filter(|(_, count)| *count > 0).collect()
        }
    }

    #[tokio::test]
    async fn of_the_copies_of_one_event_one_is_published_on_the_channel_of_its_room() {
        let mut world = World::new();
        for session in 1..=3 {
            world.offer(session, r#"["tutor:message",{"text":"hi"}]"#, session);
        }
        let published = world.published().await;
        let topic = Topic::Broadcast { namespace: "/".into(), room: Some("user:ada".into()) };
        let broadcast = Broadcast {
            uid: "tg1".into(),
            namespace: "/".into(),
            json: r#"["tutor:message",{"text":"hi"}]"#.into(),
            rooms: vec!["user:ada".into()],
            is_of_gate: true,
            ..Broadcast::default()
        };
        assert_eq!(published, [(topic, broadcast)]);
        assert_eq!((world.figures().published, world.figures().copies), (1, 2));
    }

    #[tokio::test]
    async fn an_event_that_the_service_says_again_is_published_again() {
        let mut world = World::new();
        for (session, after_ms) in [(1, 0), (2, 1), (1, 100), (2, 101)] {
            world.offer(session, r#"["tick"]"#, after_ms);
        }
        assert_eq!(world.published().await.len(), 2);
    }

    #[tokio::test]
    async fn nothing_is_published_beside_an_adapter_or_before_it_is_known_that_there_is_none() {
        let mut world = World::new();
        world.standing.checked(Some(Known::Adapter));
        world.offer(1, r#"["tick"]"#, 0);
        assert_eq!(world.published().await, []);
        assert_eq!(world.dropped(), [(("out", "conflict"), 1)]);
        world.standing.checked(Some(Known::Nothing));
        world.offer(1, r#"["tick"]"#, 0);
        assert_eq!(world.dropped(), [(("out", "conflict"), 1), (("out", "unchecked"), 1)]);
        world.standing.checked(Some(Known::Alone));
        world.offer(1, r#"["tick"]"#, 0);
        assert_eq!(world.published().await.len(), 1);
    }

    #[tokio::test]
    async fn what_is_too_big_or_no_json_is_counted_once_for_all_copies() {
        let mut world = World::new();
        let big = format!(r#"["x","{}"]"#, "y".repeat(PAYLOAD_BYTES_MAX));
        for session in 1..=2 {
            world.offer(session, &big, 0);
            world.offer(session, r#"["x",nonsense]"#, 0);
        }
        assert_eq!(world.published().await, []);
        assert_eq!(world.dropped(), [(("out", "too_big"), 1), (("out", "unfit"), 1)]);
    }

    /// `0.1,` has four bytes, and nine as MessagePack.
    #[tokio::test]
    async fn what_becomes_too_big_by_its_encoding_is_not_published_either() {
        let mut world = World::new();
        world.offer(1, &format!(r#"["x"{}]"#, ",0.1".repeat(PAYLOAD_BYTES_MAX / 5)), 0);
        assert_eq!(world.published().await, []);
        assert_eq!(world.dropped(), [(("out", "too_big"), 1)]);
    }

    #[tokio::test]
    async fn what_waits_to_be_encoded_is_bounded() {
        let world = World::new();
        assert_eq!(world.offers.backlog().len(), 0);
        for number in 0..BACKLOG_MAX + 3 {
            world.offer(1, &format!(r#"["x",{number}]"#), 0);
        }
        assert_eq!(world.offers.backlog().len(), BACKLOG_MAX);
        assert_eq!(world.dropped(), [(("out", "backlog"), 3)]);
    }
}
