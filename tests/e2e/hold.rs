//! The service is down for a while: its clients stay connected, and what is sent meanwhile arrives once or fails.

mod load;
mod matrix;
mod queue;
mod recovery;
mod rejoin;
mod restart;
mod storm;

use crate::support::{Client, Gate, Service, Value, json, token};

/// What an event hears that was on its way when the service went.
fn restarted() -> Value {
    json!({ "error": "Service restarted", "retriable": true })
}

/// Waits until so many sessions are held.
async fn held(gate: &Gate, sessions: u32) {
    gate.counts(f64::from(sessions), "tidegate_held_sessions", &[]).await;
}

/// A gate without limits, a service, and a client that is connected. However long a busy machine takes to start the service
/// again, the session is held.
async fn connected(settings: &str) -> (Service, Gate, Client) {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("rate_limit = []\nsession.hold = \"5m\"").with(settings).await;
    let client = gate.client(token("ada")).await;
    (service, gate, client)
}

/// Asks without waiting: the ack comes when it comes.
fn asks(client: &Client, event: &'static str, args: Value) -> tokio::task::JoinHandle<Result<Value, String>> {
    let client = client.clone();
    tokio::spawn(async move { client.try_ask(event, args).await })
}
