//! What one node publishes comes to another, in each way that nodes have: the connector alone, without sessions.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tidegate::{
    cluster::{
        connector::Connector,
        envelope::{Envelope, Topic},
        queue::{Inbound, Outbound},
        rules::RedisRules,
        table::{BackendKind, ClusterTable, RedisTable},
    },
    observe::redis::{Dropped, RedisGauges},
};

use crate::support::{Redis, RedisCluster, eventually, soon};

const BACKENDS: [BackendKind; 3] = [BackendKind::Pubsub, BackendKind::Sharded, BackendKind::Streams];

struct Node {
    outbound: Outbound,
    inbound: Inbound,
    gauges: Arc<RedisGauges>,
}

impl Node {
    /// Connected and subscribed.
    async fn start(url: &str, backend: BackendKind) -> Self {
        let table = RedisTable { url: url.to_owned(), backend, ..RedisTable::default() };
        let cluster = ClusterTable { name: Some("app".to_owned()), ..ClusterTable::default() };
        let gauges = Arc::new(RedisGauges::default());
        let rules = RedisRules::compile(&table, &cluster, "").unwrap();
        let (connector, outbound, inbound) = Connector::new(rules, Arc::clone(&gauges));
        tokio::spawn(connector.run());
        let node = Self { outbound, inbound, gauges };
        node.is_up().await;
        node
    }

    async fn is_up(&self) {
        eventually("the node hears others", async || self.gauges.seen()?.down.is_none().then_some(())).await;
    }

    fn push(&self, number: u32) {
        let topic = Topic::Broadcast { namespace: "/chat".into(), room: Some("a#room".into()) };
        self.outbound.push(Envelope { topic, payload: Bytes::from(number.to_string()) });
    }

    /// The number of the next message.
    async fn next(&mut self) -> u32 {
        let envelope = soon("a message comes", self.inbound.recv()).await.unwrap();
        let topic = Topic::Broadcast { namespace: "/chat".into(), room: Some("a#room".into()) };
        assert_eq!(envelope.topic, topic);
        std::str::from_utf8(&envelope.payload).unwrap().parse().unwrap()
    }
}

async fn passes(url: &str, backend: BackendKind) {
    let (one, mut other) = (Node::start(url, backend).await, Node::start(url, backend).await);
    (0..1000).for_each(|number| one.push(number));
    for number in 0..1000 {
        assert_eq!(other.next().await, number, "{backend:?}");
    }
}

/// Publishes until a message has passed.
async fn passes_again(one: &Node, other: &mut Node) {
    let publishes = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            one.push(1);
        }
    };
    tokio::select! {
        () = publishes => {}
        number = other.next() => assert_eq!(number, 1),
    }
}

#[tokio::test]
async fn messages_come_in_their_order_in_every_way() {
    let redis = Redis::start().await;
    for backend in BACKENDS {
        passes(&redis.url(), backend).await;
    }
}

#[tokio::test]
async fn messages_come_in_their_order_through_a_cluster() {
    let cluster = RedisCluster::start().await;
    let url = format!("redis+cluster://{}", cluster.urls().join(",").replace("redis://", ""));
    for backend in BACKENDS {
        passes(&url, backend).await;
    }
    for backend in [BackendKind::Sharded, BackendKind::Streams] {
        let (one, mut other) = (Node::start(&url, backend).await, Node::start(&url, backend).await);
        cluster.reshard("tidegate:{app}:events").await;
        passes_again(&one, &mut other).await;
    }
}

#[tokio::test]
async fn what_the_adapter_publishes_is_heard_in_every_way() {
    let redis = Redis::start().await;
    for backend in BACKENDS {
        let mut node = Node::start(&redis.url(), backend).await;
        redis.publish("socket.io#/chat#a#room#", b"7").await;
        assert_eq!(node.next().await, 7, "{backend:?}");
    }
}

#[tokio::test]
async fn pub_sub_goes_on_after_a_restart_of_redis() {
    let mut redis = Redis::start().await;
    let url = redis.url();
    let (one, mut other) = (Node::start(&url, BackendKind::Pubsub).await, Node::start(&url, BackendKind::Pubsub).await);
    redis.restart().await;
    passes_again(&one, &mut other).await;
    one.is_up().await;
    other.is_up().await;
}

/// Kills Redis again and again while one node publishes without a pause.
#[tokio::test]
async fn a_stream_loses_nothing_while_redis_restarts() {
    const MESSAGES: u32 = 3000;
    let mut redis = Redis::setup().args(&["--appendonly", "yes", "--appendfsync", "always"]).start().await;
    let url = redis.url();
    let (one, mut other) =
        (Node::start(&url, BackendKind::Streams).await, Node::start(&url, BackendKind::Streams).await);
    let outbound = one.outbound.clone();
    let publishes = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        for number in 0..MESSAGES {
            ticks.tick().await;
            let topic = Topic::Broadcast { namespace: "/chat".into(), room: Some("a#room".into()) };
            outbound.push(Envelope { topic, payload: Bytes::from(number.to_string()) });
        }
    });
    let reads = tokio::spawn(async move {
        for number in 0..MESSAGES {
            assert_eq!(other.next().await, number);
        }
        other
    });
    for _ in 0..3 {
        redis.restart().await;
        one.is_up().await;
    }
    publishes.await.unwrap();
    let mut other = reads.await.unwrap();
    one.push(MESSAGES);
    assert_eq!(other.next().await, MESSAGES, "nothing comes twice");
    assert_eq!(other.gauges.count(Dropped::InMissed), 0);
}

#[tokio::test]
async fn what_waits_for_redis_is_bounded_and_what_is_dropped_is_counted() {
    let mut redis = Redis::start().await;
    let node = Node::start(&redis.url(), BackendKind::Streams).await;
    redis.kill().await;
    eventually("the loss is noticed", async || node.gauges.seen()?.down).await;
    (0..5000).for_each(|number| node.push(number));
    let dropped = node.gauges.count(Dropped::OutOverflow);
    assert!((600..=904).contains(&dropped), "{dropped} of 5000, where 4096 wait and a batch may be under way");
    redis.restart().await;
    let waited = (5000 - dropped).to_string();
    eventually("those that waited are in the stream", async || {
        (redis.cli(&["XLEN", "tidegate:{app}:stream"]).await == waited).then_some(())
    })
    .await;
}
