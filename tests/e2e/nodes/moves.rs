//! Another server of Redis takes the place of one, by Sentinel or in a Cluster: sessions stay, and events, limits and revocations
//! go on.

use std::cell::Cell;

use super::MIRROR;
use crate::{
    revocation::{OPERATOR, is_out, named, refuses, revoke},
    shared_limits::{HUNDRED, burst},
    support::{Client, Gate, RedisCluster, Sentinel, Service, eventually, json, token},
};

const NAME: &str = "app";

/// Two nodes that share events, limits and revocations, each with a service of its own.
struct Two {
    gates: [Gate; 2],
    services: [Service; 2],
    /// Numbers that the first service has said.
    said: Cell<u64>,
}

impl Two {
    async fn start(url: &str, backend: &str) -> Self {
        let services = [Service::start().await, Service::start().await];
        let gate = async |service| {
            let settings = format!(
                "redis.url = {url:?}\nredis.backend = {backend:?}\ncluster.name = {NAME:?}\nauth.revoke = true\n\
                 admin.token = {{ env = \"TIDEGATE_ADMIN_TOKEN\" }}\n{MIRROR}\n{HUNDRED}"
            );
            Gate::before(service).with(&settings).variable("TIDEGATE_ADMIN_TOKEN", OPERATOR).await
        };
        let gates = [gate(&services[0]).await, gate(&services[1]).await];
        let two = Self { gates, services, said: Cell::new(0) };
        two.are_up().await;
        two
    }

    /// Both hear each other, share limits and revocations.
    async fn are_up(&self) {
        for gate in &self.gates {
            gate.counts(1.0, "tidegate_redis_up", &[]).await;
            gate.counts(1.0, "tidegate_shared_limit_up", &[]).await;
            gate.counts(2.0, "tidegate_cluster_nodes", &[]).await;
            reaches(gate, "nodes").await;
        }
    }

    async fn on_both(&self, token: &str) -> [Client; 2] {
        [self.gates[0].client(token.to_owned()).await, self.gates[1].client(token.to_owned()).await]
    }

    /// The first service says the next number to Ada.
    async fn says(&self) {
        let number = self.said.replace(self.said.get() + 1);
        self.services[0].emit("ada", "tutor:message", json!([number])).await;
    }

    /// It says one after the other until one reaches the client of the other node.
    async fn says_until_heard(&self, far: &Client) {
        eventually("events reach the other node", async || {
            self.says().await;
            (far.untaken("tutor:message") > 0).then_some(())
        })
        .await;
    }

    async fn gaps(&self) -> [f64; 2] {
        let [a, b] = &self.gates;
        [gap(a).await, gap(b).await]
    }
}

async fn gap(gate: &Gate) -> f64 {
    gate.metrics().await.sum("tidegate_mirror_gap_seconds", &[])
}

/// What is revoked at this node reaches `whom`.
async fn reaches(gate: &Gate, whom: &str) {
    eventually("the node knows whether Redis is there", async || {
        (revoke(gate, &json!({ "socket": "none", "for": "1s" })).await.json()["reach"] == whom).then_some(())
    })
    .await;
}

/// What has come so far rises: nothing came twice, or late.
async fn heard_once(client: &Client) -> Vec<u64> {
    let mut heard = Vec::new();
    while client.untaken("tutor:message") > 0 {
        heard.push(client.next("tutor:message").await[0].as_u64().unwrap());
    }
    assert!(heard.is_sorted_by(|earlier, later| earlier < later), "{heard:?}");
    heard
}

#[tokio::test]
async fn a_failover_ends_no_session_and_events_limits_and_revocations_go_on() {
    let mut sentinel = Sentinel::start().await;
    let two = Two::start(&format!("redis+sentinel://127.0.0.1:{}/tidegate", sentinel.port()), "pubsub").await;
    let bobs = named("bob", "bobs");
    let [ada, bob, eve] =
        [two.on_both(&token("ada")).await, two.on_both(&bobs).await, two.on_both(&token("eve")).await];
    two.says_until_heard(&ada[1]).await;
    let passed = burst(&eve[0], 30).await;
    assert_eq!(passed, 30);
    // So that the replica knows of it.
    assert_eq!(sentinel.master().await.cli(&["WAIT", "1", "0"]).await, "1");
    let before = two.gaps().await;

    sentinel.kill_master_unnoticed().await;
    for gate in &two.gates {
        gate.counts(0.0, "tidegate_redis_up", &[]).await;
        gate.counts(0.0, "tidegate_shared_limit_up", &[]).await;
        gate.log().wait(&["WARN", "is unreachable", "clients stay connected"]).await;
        reaches(gate, "later").await;
    }
    assert_eq!(revoke(&two.gates[0], &json!({ "jti": "bobs" })).await.json()["reach"], "later");
    is_out(&bob[0]).await;
    bob[1].ask("echo", json!([1])).await;
    let alone = [burst(&eve[0], 100).await, burst(&eve[1], 100).await];
    assert!(alone[0] <= 50 && alone[1] <= 50, "a half each: {alone:?}");
    two.says().await;

    sentinel.notices().await;
    two.are_up().await;
    is_out(&bob[1]).await;
    for gate in &two.gates {
        refuses(gate, &bobs).await;
        gate.log().wait(&["INFO", "is there, after", "events of other nodes come"]).await;
    }
    heard_once(&ada[1]).await;
    two.says_until_heard(&ada[1]).await;
    let after = burst(&eve[0], 100).await + burst(&eve[1], 100).await;
    let all = passed + alone[0] + alone[1] + after;
    assert!(all <= 105, "{passed}, {alone:?}, {after}");
    for (gap, before) in two.gaps().await.into_iter().zip(before) {
        assert!(gap > before, "{before} s before, {gap} s after");
    }
    for client in ada.iter().chain(&eve) {
        assert_eq!(client.untaken("disconnect"), 0);
    }
    for client in &ada {
        heard_once(client).await;
    }
}

/// The Sentinel makes the replica the master while both are well: what was the master refuses to publish, or closes.
#[tokio::test]
async fn a_failover_of_a_master_that_is_well_ends_no_session() {
    let sentinel = Sentinel::start().await;
    let two = Two::start(&format!("redis+sentinel://127.0.0.1:{}/tidegate", sentinel.port()), "streams").await;
    let ada = two.on_both(&token("ada")).await;
    two.says_until_heard(&ada[1]).await;
    let connects = async |gate: &Gate| gate.metrics().await.sum("tidegate_redis_connects_total", &[("result", "ok")]);
    let before = [connects(&two.gates[0]).await, connects(&two.gates[1]).await];
    sentinel.failover().await;
    for (gate, before) in two.gates.iter().zip(before) {
        eventually("the node connects to the new master", async || (connects(gate).await > before).then_some(())).await;
    }
    two.are_up().await;
    heard_once(&ada[1]).await;
    two.says_until_heard(&ada[1]).await;
    for client in &ada {
        heard_once(client).await;
        assert_eq!(client.untaken("disconnect"), 0);
    }
}

#[tokio::test]
async fn a_cluster_that_is_resharded_ends_no_session_and_events_limits_and_revocations_go_on() {
    let cluster = RedisCluster::start().await;
    let url = format!("redis+cluster://{}", cluster.urls().join(",").replace("redis://", ""));
    for backend in ["sharded", "streams"] {
        let two = Two::start(&url, backend).await;
        let (user, jti) = (format!("bob-{backend}"), format!("bobs-{backend}"));
        let bobs = named(&user, &jti);
        let (ada, bob) = (two.on_both(&token("ada")).await, two.on_both(&bobs).await);
        let eve = two.on_both(&token(&format!("eve-{backend}"))).await;
        two.says_until_heard(&ada[1]).await;
        let passed = burst(&eve[0], 30).await;

        let resharded = Cell::new(false);
        let says = async {
            while !resharded.get() {
                two.says().await;
            }
        };
        let reshards = async {
            cluster.reshard(&format!("tidegate:{{{NAME}}}:events")).await;
            resharded.set(true);
        };
        tokio::join!(says, reshards);

        two.are_up().await;
        let mut heard = heard_once(&ada[1]).await;
        two.says_until_heard(&ada[1]).await;
        assert_eq!(revoke(&two.gates[0], &json!({ "jti": jti })).await.json()["reach"], "nodes", "{backend}");
        for client in &bob {
            is_out(client).await;
        }
        let after = burst(&eve[0], 100).await + burst(&eve[1], 100).await;
        assert!(passed + after <= 105, "{backend}: {passed} and {after}");
        for client in ada.iter().chain(&eve) {
            assert_eq!(client.untaken("disconnect"), 0, "{backend}");
        }
        let mut near = heard_once(&ada[0]).await;
        while (near.len() as u64) < two.said.get() {
            near.push(ada[0].next("tutor:message").await[0].as_u64().unwrap());
        }
        assert!(near.into_iter().eq(0..two.said.get()), "{backend}: its own service is heard without Redis");
        heard.extend(heard_once(&ada[1]).await);
        if backend == "streams" {
            // Before the first of them the nodes did not know yet that there is no adapter.
            let all: Vec<_> = (heard[0]..two.said.get()).collect();
            while heard.len() < all.len() {
                heard.push(ada[1].next("tutor:message").await[0].as_u64().unwrap());
            }
            assert_eq!(heard, all, "a stream loses nothing");
        }
    }
}
