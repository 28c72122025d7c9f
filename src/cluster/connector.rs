//! Keeps the node connected to Redis: connects, subscribes, publishes what waits, and notices when any of it fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    cluster::{
        advice::{Advice, Complaints},
        backend::Backend,
        connection::Connection,
        link::Link,
        open::{PushSender, RESPONSE_TIMEOUT, install_cryptography, open},
        pace::Pace,
        publisher::Publisher,
        pushes::Pushes,
        queue::{Bounds, Feeder, Inbound, Outbound},
        rules::RedisRules,
        serving::{Lost, Serving},
        stream::Reader,
        table::BackendKind,
    },
    observe::{
        journal::{self, LogLevel},
        redis::RedisGauges,
    },
};

/// What waits to be published: where a message reaches those who hear it at that moment, ...
const OUTBOUND: Bounds = Bounds { messages: 4096, bytes: 8 << 20, age: Some(Duration::from_secs(5)) };

/// ... and how long where it reaches those who come back later.
const STREAM_PATIENCE: Duration = Duration::from_secs(60);

/// What waits to be delivered.
const INBOUND: Bounds = Bounds { messages: 8192, bytes: 16 << 20, age: None };

/// Keeps a [`Link`] connected.
pub struct Connector {
    rules: RedisRules,
    /// A number that no other start of a node has.
    node: u64,
    current: watch::Sender<Option<Connection>>,
    link: Link,
    gauges: Arc<RedisGauges>,
    publisher: Publisher,
    feeder: Feeder,
}

impl Connector {
    /// Not connected yet, with the queues of what is published and of what has come.
    #[must_use]
    pub fn new(rules: RedisRules, gauges: Arc<RedisGauges>) -> (Self, Outbound, Inbound) {
        gauges.in_use(Instant::now());
        let node = rand::random();
        let patience = match rules.backend {
            BackendKind::Streams => STREAM_PATIENCE,
            BackendKind::Pubsub | BackendKind::Sharded => OUTBOUND.age.unwrap_or_default(),
        };
        let outbound = Outbound::new(Bounds { age: Some(patience), ..OUTBOUND }, Arc::clone(&gauges));
        let (feeder, inbound) = Inbound::new(INBOUND, Arc::clone(&gauges));
        let (current, link) = Link::new();
        let (backend, home) = (Backend::new(&rules, node), Arc::clone(&rules.prefix));
        let publisher = Publisher::new(backend, outbound.clone(), Arc::clone(&gauges), home, patience);
        (Self { rules, node, current, link, gauges, publisher, feeder }, outbound, inbound)
    }

    /// For users of the connection.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// Connects, and connects again, for ever.
    pub async fn run(mut self) {
        install_cryptography();
        let reading = self.read_stream();
        let (mut pace, mut complaints) = (Pace::default(), Complaints::default());
        loop {
            let began = Instant::now();
            let Lost { told, since } = self.connect_once(&reading, &mut complaints).await;
            let now = Instant::now();
            self.gauges.down(&told.sentence, since);
            self.publisher.expire(now);
            if complaints.admit(&told, now) {
                let consequence = "clients stay connected, and events of other nodes do not reach them";
                let line = format!("Redis at {} is unreachable; {consequence}: {}", self.rules.place(), told.sentence);
                journal::line(LogLevel::Warn, &line);
            }
            pace.wait(began.elapsed()).await;
        }
    }

    /// Reads the stream, if there is one. Returns what says why it is not read.
    fn read_stream(&self) -> Option<watch::Receiver<Option<String>>> {
        (self.rules.backend == BackendKind::Streams).then(|| {
            let (feeder, gauges) = (self.feeder.clone(), Arc::clone(&self.gauges));
            let reader = Reader::new(self.rules.clone(), self.node, feeder, gauges);
            let state = reader.state();
            tokio::spawn(reader.run());
            state
        })
    }

    /// Connects, and works until the connection is lost. Returns how.
    async fn connect_once(
        &mut self,
        reading: &Option<watch::Receiver<Option<String>>>,
        complaints: &mut Complaints,
    ) -> Lost {
        let pushes = Pushes::new(&self.rules, self.node, self.feeder.clone());
        let opened = open(&self.rules, Some(sender(&pushes)), RESPONSE_TIMEOUT).await;
        self.gauges.connected(opened.is_ok());
        let connection = match opened {
            Ok(connection) => connection,
            Err(error) => return Lost { told: Advice::of_open(&error, &self.rules), since: Instant::now() },
        };
        self.current.send_replace(Some(connection.clone()));
        let serving = Serving {
            rules: &self.rules,
            node: self.node,
            gauges: &self.gauges,
            publisher: &mut self.publisher,
            reading: reading.as_ref(),
            complaints,
            pushes: &pushes,
            connection,
            refusals: Complaints::default(),
            answered: Instant::now(),
            heard: Instant::now(),
        };
        let lost = serving.run().await;
        pushes.set_open(false);
        self.current.send_replace(None);
        lost
    }
}

fn sender(pushes: &Arc<Pushes>) -> PushSender {
    let pushes = Arc::clone(pushes);
    Arc::new(move |info| {
        pushes.take(info);
        Ok::<(), redis::aio::SendError>(())
    })
}
