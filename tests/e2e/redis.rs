//! The connection to Redis: what the gate says and does while it is unreachable, and that it comes back by itself.

mod backends;
mod faults;
mod places;

use crate::support::{Gate, Value, eventually, http, tidegate::Setup};

/// A gate whose service nobody asks for.
fn gate(url: &str) -> Setup {
    Gate::before_url("http://127.0.0.1:9").with(&format!("redis.url = \"{url}\"\ncluster.name = \"app\""))
}

/// Events of other nodes come.
async fn is_up(gate: &Gate) {
    gate.counts(1.0, "tidegate_redis_up", &[]).await;
}

/// They do not.
async fn is_down(gate: &Gate) {
    gate.counts(0.0, "tidegate_redis_up", &[]).await;
}

/// How often the gate has connected.
async fn connects(gate: &Gate) -> f64 {
    gate.metrics().await.sum("tidegate_redis_connects_total", &[("result", "ok")])
}

/// The gate has connected once more than `before`, and hears others again.
async fn is_back(gate: &Gate, before: f64) {
    eventually("the gate connects again", async || (connects(gate).await > before).then_some(())).await;
    is_up(gate).await;
}

/// The seconds without events of other nodes.
async fn gap(gate: &Gate) -> f64 {
    gate.metrics().await.sum("tidegate_mirror_gap_seconds", &[])
}

/// What `/readyz` says of Redis, and whether the node is ready.
async fn readiness(gate: &Gate) -> (Value, bool) {
    let ready = http::get(&gate.admin_url("/readyz")).await.json();
    let conditions = ready["conditions"].as_array().unwrap();
    let redis = conditions.iter().find(|condition| condition["name"] == "redis").unwrap();
    (redis.clone(), ready["ready"].as_bool().unwrap())
}
