//! Redis behind TLS, under Sentinel, as a Cluster.

use super::{connects, gate, is_back, is_up};
use crate::support::{Pki, Redis, RedisCluster, Sentinel};

#[tokio::test]
async fn over_tls_both_sides_show_their_certificates() {
    let redis = Redis::setup().mutual_tls(&Pki::new()).start().await;
    let (certificate, key) = redis.client_pair();
    let ca = format!("redis.tls.ca = {:?}\n", redis.authority());
    let pair = format!("redis.tls.certificate = {certificate:?}\nredis.tls.private_key = {key:?}\n");

    is_up(&gate(&redis.url()).with(&(ca.clone() + &pair)).await).await;

    let without_ca = gate(&redis.url()).with(&pair).await;
    without_ca.log().wait(&["WARN", "is unreachable", "redis.tls.ca"]).await;
    let without_pair = gate(&redis.url()).with(&ca).await;
    without_pair.log().wait(&["WARN", "is unreachable", "redis.tls.certificate"]).await;
    let without_tls = gate(&redis.url().replace("rediss", "redis")).await;
    without_tls.log().wait(&["WARN", "is unreachable", "rediss://"]).await;
}

#[tokio::test]
async fn tls_to_a_server_that_speaks_none_is_told() {
    let redis = Redis::start().await;
    let gate = gate(&redis.url().replace("redis://", "rediss://")).await;
    gate.log().wait(&["WARN", "is unreachable", "redis.url meant to begin with redis://"]).await;
}

#[tokio::test]
async fn the_master_that_sentinel_names_is_followed() {
    let mut sentinel = Sentinel::start().await;
    let url = format!("redis+sentinel://127.0.0.1:{}/tidegate", sentinel.port());
    let gate = gate(&url).with("redis.backend = \"streams\"").await;
    is_up(&gate).await;
    let before = connects(&gate).await;
    sentinel.kill_master().await;
    is_back(&gate, before).await;
    let clients = sentinel.master().await.cli(&["CLIENT", "LIST"]).await;
    assert!(clients.contains("name=tidegate:"), "{clients}");
}

#[tokio::test]
async fn a_name_that_sentinel_does_not_know_is_told() {
    let sentinel = Sentinel::start().await;
    let gate = gate(&format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port())).await;
    gate.log().wait(&["WARN", "is unreachable", "no Sentinel in redis.url answers with a master of this name"]).await;
}

#[tokio::test]
async fn a_cluster_is_heard_also_after_its_slots_have_moved() {
    let cluster = RedisCluster::start().await;
    let hosts = cluster.urls().join(",").replace("redis://", "");
    let url = format!("redis+cluster://{hosts}");
    let (sharded, classic) =
        (gate(&url).with("redis.backend = \"sharded\"").await, gate(&url).with("redis.backend = \"streams\"").await);
    is_up(&sharded).await;
    is_up(&classic).await;
    let before = connects(&sharded).await;
    cluster.reshard("tidegate:{app}:events").await;
    is_back(&sharded, before).await;
    is_up(&classic).await;
}

/// The other servers answer, and none takes its place.
#[tokio::test]
async fn that_the_server_of_the_subscriptions_stands_still_is_noticed() {
    let mut cluster = RedisCluster::start().await;
    for node in cluster.nodes() {
        node.cli(&["CONFIG", "SET", "cluster-node-timeout", "600000"]).await;
    }
    let (own, patterns) = (cluster.owner("tidegate:{app}:").await, cluster.owner("socket.io#/*").await);
    let still = if own == patterns { cluster.reshard("socket.io#/*").await } else { patterns };
    let gate = gate(&format!("redis+cluster://{}", cluster.urls().join(",").replace("redis://", ""))).await;
    is_up(&gate).await;

    cluster.nodes()[still].freeze();
    gate.log().wait(&["WARN", "is unreachable", "a message to ourselves did not come back"]).await;
    gate.counts(0.0, "tidegate_redis_up", &[]).await;
    cluster.nodes()[still].thaw();
    is_up(&gate).await;
}

#[tokio::test]
async fn a_server_of_a_cluster_that_is_named_alone_is_told_where_it_matters() {
    let cluster = RedisCluster::start().await;
    let other = 1 - usize::from(cluster.owner("tidegate:{app}:stream").await == 1);
    let url = cluster.urls()[other].clone();
    let gate = gate(&url).with("redis.backend = \"streams\"").await;
    gate.log().wait(&["WARN", "the stream", "redis+cluster://"]).await;
}
