//! A client that waits for more acks than the gate can make to fail one by one, when the service dies.

use crate::support::{Client, Gate, Service, Value, eventually, json, token};

/// So many acks are tracked in one session.
const TRACKED: u64 = 1024;

/// The outcome for so many events that the service got and never answers, when it is killed; the gate and the client.
async fn killed_with(events: u64) -> (Vec<Result<Value, String>>, Service, Gate, Client) {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).with("rate_limit = []").await;
    let client = gate.client(token("ada")).await;
    let asked: Vec<_> = (0..events)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.ask_within(60_000, "silence", json!([])).await })
        })
        .collect();
    eventually("the service has all of them", async || (service.received("silence").await == events).then_some(()))
        .await;
    service.restart().await;
    let mut outcomes = Vec::new();
    for asked in asked {
        outcomes.push(crate::support::soon("an event fails", asked).await.unwrap());
    }
    (outcomes, service, gate, client)
}

/// The control: as many as are tracked fail with their acks, and the client stays.
#[tokio::test]
async fn as_many_acks_as_are_tracked_fail_one_by_one() {
    let (outcomes, _service, gate, client) = killed_with(TRACKED).await;
    let restarted = json!({ "error": "Service restarted", "retriable": true });
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(restarted.clone())), "{outcomes:?}");
    assert_eq!(client.untaken("disconnect"), 0);
    gate.counts(0.0, "websocket_disconnections_total", &[]).await;
}

#[tokio::test]
async fn one_ack_more_ends_the_session_so_that_the_client_fails_all_of_them() {
    let (outcomes, _service, gate, client) = killed_with(TRACKED + 1).await;
    let disconnected = Err("socket has been disconnected".to_owned());
    assert!(outcomes.iter().all(|outcome| *outcome == disconnected), "{outcomes:?}");
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "acks_lost")]).await;
    gate.counts(1.0, "websocket_errors_total", &[("type", "acks_lost")]).await;
    assert_eq!(gate.log().wait_for(1, &["acks_lost"]).await.len(), 1);
    client.connected_after_errors().await;
    assert_eq!(client.ask("echo", json!([1])).await, 1);
}
