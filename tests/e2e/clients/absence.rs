//! What a client that was absent gets, and what never waits for a service or a client.

use crate::support::{Client, Gate, Service, Value, json, token};

const RESUME: &str = "rate_limit = []\nsession.resume = \"1m\"";

async fn gate(service: &Service, settings: &str) -> Gate {
    Gate::before(service).with(RESUME).with(settings).await
}

async fn client(gate: &Gate) -> Client {
    let by_hand = json!({ "reconnection": false });
    let client = gate.connect_with(json!({ "token": token("ada") }), by_hand).await;
    client.connected().await;
    client
}

/// The client is cut off, and what `meanwhile` lets the service say reaches it later or never: it comes back once the gate has
/// read that.
async fn is_absent(gate: &Gate, service: &Service, client: &Client, meanwhile: impl AsyncFnOnce()) {
    client.cut().await;
    gate.counts(1.0, "tidegate_absent_sessions", &[]).await;
    meanwhile().await;
    let emitted = service.seen().await["emitted"].clone();
    let said: u64 = emitted.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    gate.counts(said as f64, "websocket_messages_sent_total", &[]).await;
    client.disconnected().await;
    client.connect_again().await;
    client.connected().await;
}

async fn says(service: &Service, event: &str, n: u32) {
    service.emit("ada", event, json!([{ "n": n }])).await;
}

#[tokio::test]
async fn where_the_oldest_is_dropped_a_client_goes_on_with_its_socket_and_knows_of_the_gap() {
    let service = Service::start().await;
    let bounds = "session.queue_packets = 10\nsession.overflow = \"drop_oldest\"";
    let gate = gate(&service, bounds).await;
    let client = client(&gate).await;
    let socket = service.seen().await["connections"][0]["sid"].clone();
    is_absent(&gate, &service, &client, async || {
        for n in 0..20 {
            says(&service, "tutor:message", n).await;
        }
    })
    .await;

    assert!(!client.recovered().await, "it has missed something, and must know");
    for n in 10..20 {
        assert_eq!(client.next("tutor:message").await[0]["n"], n);
    }
    assert_eq!(client.ask("echo", json!([1])).await, 1);
    let seen = service.seen().await;
    assert_eq!((seen["connections"].as_array().unwrap().len(), &seen["disconnects"]), (1, &json!([])));
    assert_eq!(seen["connections"][0]["sid"], socket);
    let lost = gate.metrics().await.sum("tidegate_events_lost_total", &[]);
    assert!(lost >= 10.0, "{lost}");
    let lines = gate.log().wait_for(1, &["a queue is full"]).await;
    assert!(lines.len() == 1 && lines[0].contains("tutor:message") && lines[0].contains("resume"), "{lines:?}");
    // Nothing is missing the next time.
    is_absent(&gate, &service, &client, async || says(&service, "tutor:message", 20).await).await;
    assert_eq!(client.next("tutor:message").await[0]["n"], 20);
    assert!(client.recovered().await);
}

#[tokio::test]
async fn what_is_worth_nothing_later_displaces_nothing_that_is_kept() {
    let mut service = Service::start().await;
    let volatile = "session.queue_packets = 5\nsession.volatile_events = [\"silence\", \"counted\"]";
    let gate = gate(&service, volatile).await;
    let client = client(&gate).await;
    is_absent(&gate, &service, &client, async || {
        for n in 0..20 {
            service.emit("ada", "counted", json!([n])).await;
        }
        says(&service, "tutor:message", 1).await;
    })
    .await;
    assert!(client.recovered().await);
    assert_eq!(client.next("tutor:message").await[0]["n"], 1);
    assert_eq!(client.untaken("counted"), 0);

    service.kill().await;
    gate.counts(1.0, "tidegate_held_sessions", &[]).await;
    for _ in 0..20 {
        client.send("silence", json!([])).await;
    }
    let asked = {
        let client = client.clone();
        tokio::spawn(async move { client.try_ask("echo", json!(["important"])).await })
    };
    gate.counts(20.0, "tidegate_queue_dropped_total", &[]).await;
    service.restart().await;
    assert_eq!(asked.await.unwrap(), Ok(json!("important")));
    assert_eq!((client.untaken("disconnect"), service.received("silence").await), (0, 0));
    // While both are there they pass, without one more argument.
    client.send("silence", json!([])).await;
    service.emit("ada", "counted", json!([7])).await;
    assert_eq!(client.next("counted").await, json!([7]));
    assert_eq!(service.received("silence").await, 1);
}

#[tokio::test]
async fn the_log_names_the_event_that_fills_the_queue() {
    let mut service = Service::start().await;
    let gate = gate(&service, "session.queue_packets = 5").await;
    let client = client(&gate).await;
    service.kill().await;
    gate.counts(1.0, "tidegate_held_sessions", &[]).await;
    client.send("echo", json!([])).await;
    for _ in 0..5 {
        client.send("silence", json!([])).await;
    }
    client.disconnected().await;
    let line = gate.log().wait(&["a queue is full"]).await;
    assert!(line.contains("silence") && line.contains("hold") && line.contains("session.volatile_events"), "{line}");
}

/// The arguments with which events of the service reach a client.
async fn arguments(client: &Client, service: &Service, event: &str) -> usize {
    service.emit("ada", event, json!(["one"])).await;
    client.next(event).await.as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn only_events_and_namespaces_that_are_kept_have_one_more_argument() {
    let service = Service::start().await;
    let gate = gate(&service, "session.resume_events = [\"tutor:*\"]").await;
    let client = client(&gate).await;
    assert_eq!(arguments(&client, &service, "tutor:message").await, 2);
    says(&service, "lesson", 0).await;
    assert_eq!(client.next("lesson").await.as_array().map_or(0, Vec::len), 1);
    is_absent(&gate, &service, &client, async || {
        says(&service, "lesson", 1).await;
        says(&service, "tutor:message", 2).await;
    })
    .await;
    assert!(client.recovered().await);
    assert_eq!(client.next("tutor:message").await[0]["n"], 2);
    assert_eq!(client.untaken("lesson"), 0);
}

#[tokio::test]
async fn in_other_namespaces_a_client_goes_on_with_its_socket_and_has_not_recovered() {
    let service = Service::start().await;
    let gate = gate(&service, "session.resume_namespaces = [\"/chat\"]").await;
    let client = client(&gate).await;
    let chat = client.namespace("/chat", json!({ "token": token("ada") })).await;
    chat.connected().await;
    assert_eq!(arguments(&client, &service, "lesson").await, 1);
    is_absent(&gate, &service, &client, async || says(&service, "lesson", 1).await).await;
    chat.disconnected().await;
    chat.connected().await;
    assert!(chat.recovered().await && !client.recovered().await);
    assert_eq!(client.untaken("lesson"), 0);
    assert_eq!(service.seen().await["disconnects"], json!([]));
    chat.send("say", json!(["hello"])).await;
    let said: Value = chat.next("said").await;
    assert_eq!(said.as_array().map_or(0, Vec::len), 2);
}
