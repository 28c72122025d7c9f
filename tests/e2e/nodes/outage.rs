//! Redis stands still or is gone: the clients of each node and their own service notice nothing.

use std::{cell::Cell, sync::Arc};

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{MIRROR, Nodes};
use crate::support::{Client, Gate, Redis, Service, Value, client::Driver, eventually, json, token};

const CLIENTS: u32 = 6;
const RATE: u32 = 20;

/// So many more acks are waited for while Redis is unreachable.
const ACKS: u64 = 300;

/// Clients of one node that ask their service all the time, over each transport.
struct Local<'a> {
    service: &'a Service,
    driver: Arc<Driver>,
    outcome: JoinHandle<Value>,
}

impl<'a> Local<'a> {
    async fn start(gate: &Gate, service: &'a Service) -> Self {
        let driver = gate.driver().await;
        let with = json!({ "url": gate.url(), "token": token("bob"), "clients": CLIENTS, "rate": RATE });
        let asking = Arc::clone(&driver);
        let outcome = tokio::spawn(async move { asking.call("steady", with).await.unwrap() });
        let local = Self { service, driver, outcome };
        local.goes_on().await;
        local
    }

    /// Waits until the service has answered as often again.
    async fn goes_on(&self) {
        let before = self.service.received("step").await;
        eventually("the service is asked", async || {
            (self.service.received("step").await >= before + ACKS).then_some(())
        })
        .await;
    }

    /// Every event was answered, by clients that stayed connected.
    async fn has_noticed_nothing(self, what: &str) {
        self.driver.call("endSteady", json!({})).await.unwrap();
        let total = self.outcome.await.unwrap();
        eprintln!(
            "{what}: {} events, acks after {} ms in the median, p99 {} ms",
            total["emitted"], total["median"], total["p99"]
        );
        assert_eq!((&total["disconnects"], &total["wrong"]), (&json!([]), &json!([])), "{total}");
        assert_eq!((&total["lost"], &total["doubled"], &total["failed"]), (&json!(0), &json!(0), &json!(0)), "{total}");
        assert_eq!((&total["acked"], &total["connects"]), (&total["emitted"], &json!(CLIENTS)), "{total}");
    }
}

async fn two_nodes(journals: &TempDir) -> Nodes {
    let service = async |name| {
        let journal = journals.path().join(name);
        Service::with(&[("JOURNAL", journal.to_str().unwrap())]).await
    };
    let settings = format!("rate_limit = []\nlimits.connections_per_ip = 1000\n{MIRROR}");
    Nodes::of(Redis::start().await, [service("a").await, service("b").await], &settings).await
}

async fn up(nodes: &Nodes, up: f64) {
    for gate in [&nodes.a, &nodes.b] {
        gate.counts(up, "tidegate_redis_up", &[]).await;
    }
}

async fn gap(gate: &Gate) -> f64 {
    gate.metrics().await.sum("tidegate_mirror_gap_seconds", &[])
}

async fn say(service: &Service, next: &Cell<u64>) {
    service.emit("ada", "tutor:message", json!([next.replace(next.get() + 1)])).await;
}

/// Says one number after the other until one reaches the client of the other node.
async fn mirrored_again(nodes: &Nodes, far: &Client, next: &Cell<u64>) {
    eventually("events reach the other node again", async || {
        say(&nodes.service_a, next).await;
        (far.untaken("tutor:message") > 0).then_some(())
    })
    .await;
}

async fn number(client: &Client) -> u64 {
    client.next("tutor:message").await[0].as_u64().unwrap()
}

/// What the client has heard rises: nothing came twice, or late.
async fn heard_once(client: &Client) {
    let mut last = None;
    while client.untaken("tutor:message") > 0 {
        let number = number(client).await;
        assert!(last < Some(number), "{number} after {last:?}");
        last = Some(number);
    }
}

/// Takes Redis away and brings it back, by these two, and looks at both nodes meanwhile.
async fn notices_nothing(what: &str, outage: impl AsyncFn(&mut Redis), back: impl AsyncFn(&mut Redis)) {
    let journals = TempDir::new().unwrap();
    let mut nodes = two_nodes(&journals).await;
    let (near, far) = (nodes.a.client(token("ada")).await, nodes.b.client(token("ada")).await);
    let next = Cell::new(0);
    let gaps = [gap(&nodes.a).await, gap(&nodes.b).await];
    let Nodes { a, b, service_a, service_b, redis, .. } = &mut nodes;
    let control = [Local::start(a, service_a).await, Local::start(b, service_b).await];
    for local in &control {
        local.goes_on().await;
    }
    for local in control {
        local.has_noticed_nothing("Redis is there").await;
    }
    let locals = [Local::start(a, service_a).await, Local::start(b, service_b).await];

    outage(redis).await;
    for gate in [&*a, &*b] {
        gate.counts(0.0, "tidegate_redis_up", &[]).await;
    }
    for local in &locals {
        local.goes_on().await;
    }
    say(service_a, &next).await;
    assert_eq!(near.next("tutor:message").await, json!([0]), "a local client hears its own service");
    back(redis).await;

    let [local_a, local_b] = locals;
    local_a.goes_on().await;
    local_a.has_noticed_nothing(&format!("{what}, node a")).await;
    local_b.has_noticed_nothing(&format!("{what}, node b")).await;
    up(&nodes, 1.0).await;
    mirrored_again(&nodes, &far, &next).await;
    nodes.emitter.all().emit("end", json!([])).await;
    for client in [&near, &far] {
        client.next("end").await;
        heard_once(client).await;
        assert_eq!(client.untaken("disconnect"), 0);
    }
    for (gate, before) in [&nodes.a, &nodes.b].into_iter().zip(gaps) {
        let after = gap(gate).await;
        assert!(after > before, "{before} s before, {after} s after");
    }
}

/// It answers nobody, and its connections stay open, as with `DEBUG SLEEP`, for as long as the test needs.
#[tokio::test]
async fn while_redis_stands_still_local_clients_notice_nothing_and_afterwards_events_go_on() {
    notices_nothing("stands still", async |redis| redis.freeze(), async |redis| redis.thaw()).await;
}

#[tokio::test]
async fn while_redis_is_gone_local_clients_notice_nothing_and_afterwards_events_go_on() {
    notices_nothing("killed", async |redis| redis.kill().await, async |redis| redis.restart().await).await;
}
