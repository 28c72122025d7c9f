//! That the servers are as they are said to be.

use std::time::Duration;

use super::*;
use crate::support::{Emitter, RedisCluster, Sentinel, Service, json};

#[tokio::test]
async fn a_server_is_killed_and_comes_back_empty_on_its_port() {
    let mut redis = Redis::start().await;
    let url = redis.url();
    assert_eq!(redis.cli(&["SET", "a", "1"]).await, "OK");
    redis.restart().await;
    assert_eq!((redis.cli(&["GET", "a"]).await.as_str(), redis.url()), ("", url));
}

#[tokio::test]
async fn a_server_has_passwords_and_users() {
    let setup = Redis::setup().password("secret").acl("ada", "other", "+ping ~* &*");
    let redis = setup.start().await;
    assert_eq!(redis.cli(&["PING"]).await, "PONG");
    assert_eq!(redis.cli(&["AUTH", "ada", "other"]).await, "OK");
    assert!(redis.cli(&["AUTH", "ada", "secret"]).await.starts_with("WRONGPASS"));
    assert_eq!(redis.cli(&["ACL", "DRYRUN", "ada", "ping"]).await, "OK");
    assert!(redis.cli(&["ACL", "DRYRUN", "ada", "publish", "a", "b"]).await.contains("no permissions"));
}

#[tokio::test]
async fn a_server_over_tls_shows_a_certificate_and_may_want_one() {
    let pki = Pki::new();
    for setup in [Redis::setup().tls(&pki), Redis::setup().mutual_tls(&pki)] {
        let redis = setup.start().await;
        assert_eq!(redis.cli(&["PING"]).await, "PONG");
        assert!(redis.url().starts_with("rediss://"));
        let (certificate, key) = redis.client_pair();
        assert!(redis.authority().exists() && certificate.exists() && key.exists());
    }
}

#[tokio::test]
async fn a_server_that_is_frozen_answers_afterwards() {
    let redis = Redis::start().await;
    redis.freeze();
    let asked = redis.cli(&["PING"]);
    tokio::pin!(asked);
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut asked).await.is_err());
    redis.thaw();
    assert_eq!(asked.await, "PONG");
}

/// Node passes over it: `["u",{"nsp":"/x"},{}]`.
const OF_ANOTHER_NAMESPACE: &[u8] = b"\x93\xa1u\x81\xa3nsp\xa2/x\x80";

#[tokio::test]
async fn what_an_emitter_says_reaches_a_service_whose_adapter_has_its_key() {
    let redis = Redis::start().await;
    let port = redis.port().to_string();
    let variables = [("AUTH", "off"), ("REDIS_PORT", &port), ("REDIS_KEY", "mine")];
    let (service, other) = (Service::with(&variables).await, Service::with(&variables).await);
    eventually("both have subscribed", async || (service.servers("count", json!({})).await == 2).then_some(())).await;
    assert_eq!(service.servers("ports", json!({})).await, json!([other.address().port()]));
    assert_eq!(service.servers("sockets", json!({ "of": "/chat" })).await, json!([]));
    assert_eq!(service.servers("ask", json!({ "event": "question", "args": [] })).await, json!([]));
    service.broadcast(json!({ "to": ["a"], "event": "news", "args": [] })).await;

    let emitter = Emitter::with_key(&redis, "mine").await;
    let subscribed = eventually("it is heard", async || {
        emitter.to("a").to("b").except("c").volatile().emit("news", json!([{ "$binary": "aGk=" }])).await;
        emitter.of("/chat").emit("news", json!([])).await;
        emitter.all().sockets_join(&["a"]).await;
        emitter.all().sockets_leave(&["a"]).await;
        emitter.all().disconnect_sockets(true).await;
        emitter.all().server_side_emit("which port", json!([])).await;
        Some(emitter.publish("mine#/#", &[OF_ANOTHER_NAMESPACE.to_vec()]).await)
    })
    .await;
    assert_eq!(subscribed, 2);
    assert_eq!(redis.publish("mine#/#", OF_ANOTHER_NAMESPACE).await, 2);
    assert!(redis.kill_clients().await >= 4);
    drop(Emitter::start(&redis).await);
}

#[tokio::test]
async fn the_replica_becomes_the_master_when_told_and_when_the_master_is_killed() {
    let mut sentinel = Sentinel::start().await;
    let first = sentinel.master().await.port();
    sentinel.failover().await;
    assert_ne!(sentinel.master().await.port(), first);

    let mut sentinel = Sentinel::start().await;
    let first = sentinel.master().await.port();
    sentinel.kill_master().await;
    assert_ne!(sentinel.master().await.port(), first);
}

#[tokio::test]
async fn a_key_moves_to_another_server_with_its_slot() {
    let mut cluster = RedisCluster::start().await;
    assert_eq!(cluster.cli(&["SET", "{a}:1", "x"]).await, "OK");
    let before = cluster.owner("{a}:1").await;
    let after = cluster.reshard("{a}:1").await;
    assert_ne!(before, after);
    assert_eq!(cluster.cli(&["GET", "{a}:1"]).await, "x");
    assert_eq!(cluster.urls().len(), cluster.nodes().len());
}
