//! A node that ends: what its service has said before reaches the other nodes, or the log says that it does not.

use super::{MIRROR, Nodes};
use crate::support::{Redis, Service, json, token};

/// One whose messages are sent once, and one whose messages are sent again.
const BACKENDS: [&str; 2] = ["pubsub", "streams"];

async fn nodes(backend: &str, settings: &str) -> Nodes {
    let settings = format!("redis.backend = {backend:?}\ncluster.name = \"app\"\n{settings}\n{MIRROR}");
    Nodes::of(Redis::start().await, [Service::start().await, Service::start().await], &settings).await
}

/// A service speaks and its node ends, as soon as it can: it has no grace. Does all of it reach the other node? Otherwise the log
/// says that it does not.
async fn the_last_words_arrive(backend: &str) -> bool {
    const EVENTS: usize = 50;
    let mut nodes = nodes(backend, "limits.shutdown_grace = \"0s\"").await;
    let (near, far) = (nodes.a.client(token("ada")).await, nodes.b.client(token("ada")).await);
    for number in 0..EVENTS {
        nodes.service_a.emit("ada", "tutor:message", json!([number])).await;
    }
    for number in 0..EVENTS {
        assert_eq!(near.next("tutor:message").await, json!([number]), "{backend}");
    }

    nodes.a.signal("TERM");

    assert_eq!(nodes.a.exit().await, Some(0), "{backend}");
    nodes.a.log().wait(&["stopped"]).await;
    if !nodes.a.log().containing("were not published").is_empty() {
        return false;
    }
    for number in 0..EVENTS {
        assert_eq!(far.next("tutor:message").await, json!([number]), "{backend}");
    }
    true
}

/// A node waits for half a second, in which a busy machine may let Redis wait as well: then it is tried again.
#[tokio::test]
async fn what_a_service_has_said_before_its_node_ends_reaches_the_other_node() {
    for backend in BACKENDS {
        let mut attempts = 1;
        while !the_last_words_arrive(backend).await {
            assert!(attempts < 4, "{backend}");
            attempts += 1;
        }
    }
}

/// It leaves for as long as the test needs; the second signal ends that.
#[tokio::test]
async fn a_node_that_leaves_while_redis_stands_still_ends_and_says_how_much_was_not_published() {
    for backend in BACKENDS {
        let mut nodes = nodes(backend, "limits.lame_duck = \"5m\"\nlimits.shutdown_grace = \"0s\"").await;
        let near = nodes.a.client(token("ada")).await;
        nodes.a.signal("TERM");
        nodes.a.log().wait(&["not ready any more"]).await;
        nodes.redis.freeze();
        for number in 0..3 {
            nodes.service_a.emit("ada", "tutor:message", json!([number])).await;
            assert_eq!(near.next("tutor:message").await, json!([number]), "{backend}: its own clients notice nothing");
        }

        nodes.a.signal("TERM");

        assert_eq!(nodes.a.exit().await, Some(0), "{backend}");
        let told = ["WARN", "3 messages for other nodes were not published while this node was leaving"];
        assert_eq!(nodes.a.log().wait_for(1, &told).await.len(), 1, "{backend}");
    }
}
