//! The ways in which nodes publish to each other, with sessions: an event arrives once in each of them.

use super::{MIRROR, Nodes};
use crate::support::{Redis, Service, json, token};

async fn nodes(redis: Redis, backend: &str) -> Nodes {
    let settings = format!("redis.backend = {backend:?}\ncluster.name = \"app\"\n{MIRROR}");
    Nodes::of(redis, [Service::start().await, Service::start().await], &settings).await
}

#[tokio::test]
async fn an_event_arrives_once_in_each_way_that_nodes_have() {
    const EVENTS: usize = 20;
    for backend in ["pubsub", "sharded", "streams"] {
        let nodes = nodes(Redis::start().await, backend).await;
        let (near, far) = (nodes.a.client(token("ada")).await, nodes.b.client(token("ada")).await);
        for number in 0..EVENTS {
            nodes.service_a.emit("ada", "tutor:message", json!([number])).await;
        }
        for client in [&near, &far] {
            for number in 0..EVENTS {
                assert_eq!(client.next("tutor:message").await, json!([number]), "{backend}");
            }
        }
        nodes.emitter.to("user:ada").emit("aside", json!([1])).await;
        for client in [&near, &far] {
            assert_eq!(client.next("aside").await, json!([1]), "{backend}: an emitter is heard as well");
        }
        nodes.settled(EVENTS, &[&near, &far]).await;
        for client in [&near, &far] {
            assert_eq!((client.untaken("tutor:message"), client.untaken("aside")), (0, 0), "{backend}");
        }
    }
}

/// Redis keeps its streams in a file.
#[tokio::test]
async fn what_is_said_while_redis_restarts_arrives_once_through_a_stream() {
    const EVENTS: usize = 60;
    let redis = Redis::setup().args(&["--appendonly", "yes", "--appendfsync", "always"]).start().await;
    let mut nodes = nodes(redis, "streams").await;
    let (near, far) = (nodes.a.client(token("ada")).await, nodes.b.client(token("ada")).await);
    let mut said = 0;
    for restarts in 1..=3 {
        while said < restarts * EVENTS / 3 {
            match said % (EVENTS / 3) {
                5 => nodes.redis.kill().await,
                15 => nodes.redis.restart().await,
                _ => {}
            }
            nodes.service_a.emit("ada", "tutor:message", json!([said])).await;
            assert_eq!(near.next("tutor:message").await, json!([said]));
            said += 1;
        }
        for gate in [&nodes.a, &nodes.b] {
            gate.counts(1.0, "tidegate_redis_up", &[]).await;
        }
    }
    for number in 0..EVENTS {
        assert_eq!(far.next("tutor:message").await, json!([number]), "each of them, in order");
    }
    nodes.settled(EVENTS, &[&near, &far]).await;
    assert_eq!((far.untaken("tutor:message"), far.untaken("disconnect")), (0, 0), "none comes twice");
}
