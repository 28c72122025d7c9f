//! Batches that a cluster refuses or does not answer, with a cluster of one server that says what the test likes.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use redis::cmd;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::*;
use crate::cluster::{
    envelope::{Envelope, Topic},
    open::open,
    queue::Bounds,
    rules::RedisRules,
    table::{BackendKind, ClusterTable, RedisTable},
};

/// What the server says to a message.
#[derive(Debug, Clone, Copy)]
enum Says {
    Published,
    /// Another server has the slot.
    Moved,
    /// It stands still, and says all that it owes at the next PING.
    NothingYet,
}

#[derive(Debug)]
struct FakeCluster {
    port: u16,
    says: Mutex<Says>,
    /// Messages that have come.
    came: AtomicU32,
}

impl FakeCluster {
    async fn start(says: Says) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cluster = Arc::new(Self { port, says: Mutex::new(says), came: AtomicU32::new(0) });
        let accepting = Arc::clone(&cluster);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&accepting).serve(stream));
            }
        });
        cluster
    }

    fn says(&self, says: Says) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = says;
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let (mut stream, mut late) = (BufReader::new(stream), String::new());
        while let Some(words) = command(&mut stream).await {
            let port = self.port;
            let answer = match &*words[0] {
                "HELLO" => "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned(),
                "CLUSTER" => {
                    let id = "0".repeat(40);
                    format!("*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$40\r\n{id}\r\n")
                }
                "SPUBLISH" | "XADD" => {
                    self.came.fetch_add(1, Relaxed);
                    match *self.says.lock().unwrap_or_else(PoisonError::into_inner) {
                        Says::Published => ":1\r\n".to_owned(),
                        Says::Moved => format!("-MOVED 1 127.0.0.1:{port}\r\n"),
                        Says::NothingYet => {
                            late.push_str(":1\r\n");
                            continue;
                        }
                    }
                }
                _ => "+OK\r\n".to_owned(),
            };
            if !late.is_empty() && words[0] != "PING" {
                late.push_str(&answer);
                continue;
            }
            late.push_str(&answer);
            stream.get_mut().write_all(std::mem::take(&mut late).as_bytes()).await.unwrap();
        }
    }
}

/// `None`: the connection has ended.
async fn command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for _ in 0..number(stream).await? {
        let mut word = vec![0; number(stream).await?];
        stream.read_exact(&mut word).await.ok()?;
        stream.read_exact(&mut [0; 2]).await.ok()?;
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(words)
}

/// Of a line like `*3` or `$8`.
async fn number(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.get(1..)?.trim_end().parse().ok()
}

/// How long an answer is waited for: long enough for a busy machine to give the one that there is.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// How long a message waits at most.
const PATIENCE: Duration = Duration::from_hours(1);

struct Node {
    publisher: Publisher,
    connection: Connection,
    gauges: Arc<RedisGauges>,
    /// When the first message was there, and when all were that are in the batch.
    said: [Instant; 2],
}

impl Node {
    /// It has so many messages to publish, in one batch.
    async fn before(cluster: &FakeCluster, backend: BackendKind, messages: usize) -> Self {
        let table =
            RedisTable { url: format!("redis+cluster://127.0.0.1:{}", cluster.port), backend, ..RedisTable::default() };
        let name = ClusterTable { name: Some("app".to_owned()), ..ClusterTable::default() };
        let rules = RedisRules::compile(&table, &name, "").unwrap();
        let connection = open(&rules, None, ANSWER_WITHIN).await.unwrap();
        let gauges = Arc::new(RedisGauges::default());
        let outbound = Outbound::new(Bounds { messages: 10, bytes: 10_000, age: None }, Arc::clone(&gauges));
        let began = Instant::now();
        for _ in 0..messages {
            let topic = Topic::Broadcast { namespace: "/".into(), room: None };
            outbound.push(Envelope { topic, payload: b"payload"[..].into() });
        }
        let said = [began, Instant::now()];
        let home = Arc::clone(&rules.prefix);
        let mut publisher = Publisher::new(Backend::new(&rules, 7), outbound, Arc::clone(&gauges), home, PATIENCE);
        publisher.ready().await;
        Self { publisher, connection, gauges, said }
    }

    async fn publishes(&mut self) -> RedisResult<Option<RedisError>> {
        self.publisher.publish(&mut self.connection).await
    }

    /// The same while others use the connection.
    async fn publishes_among_others(&mut self) -> RedisResult<Option<RedisError>> {
        let connection = self.connection.clone();
        let others = async {
            loop {
                let mut connection = connection.clone();
                tokio::spawn(async move { ask("GET", &mut connection).await });
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            outcome = self.publishes() => outcome,
            () = others => unreachable!(),
        }
    }

    /// All that was sent before has come.
    async fn catches_up(&mut self) {
        ask("PING", &mut self.connection).await.unwrap();
    }
}

async fn ask(command: &str, connection: &mut Connection) -> RedisResult<()> {
    let mut question = Pipeline::new();
    question.add_command(cmd(command));
    connection.send_in_order(&question, "{app}").await.map(drop)
}

#[tokio::test]
async fn a_batch_without_an_answer_is_sent_once_and_only_a_stream_keeps_it() {
    for (backend, kept) in [(BackendKind::Sharded, 0), (BackendKind::Streams, 3)] {
        let cluster = FakeCluster::start(Says::NothingYet).await;
        let mut node = Node::before(&cluster, backend, 3).await;
        assert!(node.publishes_among_others().await.unwrap_err().is_timeout());
        node.catches_up().await;
        assert_eq!(cluster.came.load(Relaxed), 3, "{backend:?}");
        assert_eq!((node.publisher.pending.len(), node.gauges.dropped_out()), (kept, 3 - kept as u64), "{backend:?}");
    }
}

#[tokio::test]
async fn of_a_slot_that_has_moved_a_message_is_kept_and_a_batch_only_in_a_stream() {
    for (backend, messages, kept) in
        [(BackendKind::Sharded, 1, 1), (BackendKind::Sharded, 3, 0), (BackendKind::Streams, 3, 3)]
    {
        let cluster = FakeCluster::start(Says::Moved).await;
        let mut node = Node::before(&cluster, backend, messages).await;
        assert!(passes(&node.publishes().await.unwrap_err()));
        assert_eq!(cluster.came.load(Relaxed) as usize, messages, "{backend:?}: it is sent once");
        let dropped = (messages - kept) as u64;
        assert_eq!((node.publisher.pending.len(), node.gauges.dropped_out()), (kept, dropped), "{backend:?}");
        if kept == 0 {
            continue;
        }
        cluster.says(Says::Published);
        assert!(node.publishes().await.unwrap().is_none());
        assert_eq!(cluster.came.load(Relaxed) as usize, messages + kept, "{backend:?}");
        assert_eq!((node.publisher.pending.len(), node.gauges.dropped_out()), (0, dropped), "{backend:?}");
    }
}

#[tokio::test]
async fn a_message_waits_no_longer_in_queue_and_batch_together_than_it_may() {
    let cluster = FakeCluster::start(Says::Published).await;
    let mut node = Node::before(&cluster, BackendKind::Streams, 3).await;
    let [first, last] = node.said;
    node.publisher.expire(first + PATIENCE);
    assert_eq!((node.publisher.pending.len(), node.gauges.dropped_out()), (3, 0));
    node.publisher.expire(last + PATIENCE + Duration::from_nanos(1));
    assert_eq!((node.publisher.pending.len(), node.gauges.dropped_out()), (0, 3));
}
