//! A network that goes silent takes what is written to it, and nobody hears of that: what was sent need not have been heard.

use std::sync::Arc;

use crate::support::{Air, Client, Gate, Service, Value, client::Driver, eventually, json, token};

/// Both ends notice a silent network within six seconds, and do not take a slow machine for one.
const SETTINGS: &str = "rate_limit = []\nsession.resume = \"1m\"\n\
                        socketio.ping_interval = \"1s\"\nsocketio.ping_timeout = \"5s\"";

async fn gate(service: &Service) -> Gate {
    Gate::before(service).with(SETTINGS).await
}

async fn over(air: &Air, driver: Arc<Driver>, user: &str) -> Client {
    let at_once = json!({ "reconnectionDelay": 100, "reconnectionDelayMax": 100, "randomizationFactor": 0 });
    with(air, driver, user, at_once).await
}

async fn with(air: &Air, driver: Arc<Driver>, user: &str, options: Value) -> Client {
    let client = Client::begin(driver, &air.url(), json!({ "token": token(user) }), options).await;
    client.connected().await;
    client
}

/// So many questions have left the gate.
async fn asked(gate: &Gate, questions: u32) {
    gate.counts(f64::from(questions), "websocket_messages_sent_total", &[("event", "question")]).await;
}

/// It has noticed the loss, and is back.
async fn returned(client: &Client) {
    client.disconnected().await;
    client.connected().await;
}

#[tokio::test]
async fn a_question_into_a_dead_connection_is_a_loss_that_the_client_learns_of_and_the_gate_counts() {
    let service = Service::start().await;
    let gate = gate(&service).await;
    let air = Air::before(gate.address).await;
    let client = over(&air, gate.driver().await, "ada").await;
    service.emit("ada", "tutor:message", json!([{ "n": 0 }])).await;
    client.next("tutor:message").await;

    air.silence_after(0);
    service.ask("ada", "question", json!(["lost"])).await;
    asked(&gate, 1).await;
    returned(&client).await;

    assert!(!client.recovered().await, "it cannot be told whether it got the question");
    assert_eq!(client.untaken("question"), 0);
    gate.counts(1.0, "tidegate_events_lost_total", &[]).await;
    // For the service it is another socket, as without a gate: the question fails at once.
    service.disconnection().await;
    gate.counts(1.0, "tidegate_upstream_connections", &[]).await;
    service.ask("ada", "question", json!(["heard"])).await;
    assert_eq!(client.next("question").await[0], "heard");
}

/// The control: with Socket.IO's own recovery the client believes that it has missed nothing.
#[tokio::test]
async fn without_the_gate_the_question_is_gone_and_recovered_is_true() {
    let service = Service::with(&[("RECOVERY", "on"), ("PING_MS", "1000"), ("PONG_MS", "5000")]).await;
    let air = Air::before(service.address()).await;
    let client = over(&air, Driver::start(), "ada").await;
    service.emit("ada", "tutor:message", json!([{ "n": 0 }])).await;
    client.next("tutor:message").await;

    air.silence_after(0);
    service.ask("ada", "question", json!(["lost"])).await;
    returned(&client).await;

    assert!(client.recovered().await);
    service.emit("ada", "tutor:message", json!([{ "n": 1 }])).await;
    client.next("tutor:message").await;
    assert_eq!(client.untaken("question"), 0, "it would have come before");
}

#[tokio::test]
async fn a_question_that_was_heard_or_waited_here_is_no_loss() {
    let service = Service::start().await;
    let gate = gate(&service).await;
    let air = Air::before(gate.address).await;
    let by_hand = json!({ "reconnection": false });
    let answers = with(&air, gate.driver().await, "ada", by_hand.clone()).await;
    answers.answer("question", json!(["an answer"])).await;
    let listens = with(&air, gate.driver().await, "eve", by_hand).await;
    for (client, user) in [(&answers, "ada"), (&listens, "eve")] {
        service.ask(user, "question", json!(["before"])).await;
        assert_eq!(client.next("question").await[0], "before");
    }
    // Of the one that does not answer, its answer to a ping tells.
    let pongs = async || gate.metrics().await.sum("tidegate_heartbeat_rtt_seconds_count", &[]);
    let before = pongs().await;
    eventually("both have answered another ping", async || (pongs().await >= before + 4.0).then_some(())).await;

    air.silence_after(0);
    gate.counts(2.0, "tidegate_absent_sessions", &[]).await;
    for user in ["ada", "eve"] {
        service.ask(user, "question", json!(["meanwhile"])).await;
        service.emit(user, "tutor:message", json!([{ "n": 1 }])).await;
    }
    for client in [&answers, &listens] {
        client.disconnected().await;
        client.connect_again().await;
        client.connected().await;
        assert!(client.recovered().await);
        assert_eq!(client.next("question").await[0], "meanwhile");
        client.next("tutor:message").await;
        assert_eq!((client.untaken("question"), client.untaken("tutor:message")), (0, 0));
    }
    gate.counts(0.0, "tidegate_events_lost_total", &[]).await;
    assert_eq!(service.seen().await["disconnects"], json!([]));
}

/// The messages that the client got up to the last one, number 9, and how many questions.
async fn heard(client: &Client) -> (Vec<u64>, usize) {
    let mut messages = Vec::new();
    while messages.last() != Some(&9) {
        messages.push(client.next("tutor:message").await[0]["n"].as_u64().unwrap());
    }
    (messages, client.untaken("question"))
}

/// Between two events that ask for no ack lies one that does. For one client after the other the network goes silent a few
/// bytes later.
#[tokio::test]
async fn wherever_the_network_goes_silent_nothing_is_lost_or_doubled_that_counts_as_recovered() {
    let service = Service::start().await;
    let gate = gate(&service).await;
    let mut clients = Vec::new();
    for bytes in (0..14).map(|place| place * 12) {
        let (air, user) = (Air::before(gate.address).await, format!("user-{bytes}"));
        clients.push((over(&air, gate.driver().await, &user).await, air, user, bytes));
    }
    for (_, air, user, bytes) in &clients {
        air.silence_after(*bytes);
        service.emit(user, "tutor:message", json!([{ "n": 1 }])).await;
        service.ask(user, "question", json!(["?"])).await;
        service.emit(user, "tutor:message", json!([{ "n": 2 }])).await;
    }
    let mut recovered = Vec::new();
    for (client, _, user, bytes) in &clients {
        returned(client).await;
        recovered.push(client.recovered().await);
        service.emit(user, "tutor:message", json!([{ "n": 9 }])).await;
        let (messages, questions) = heard(client).await;
        assert!(questions <= 1, "silent after {bytes} bytes");
        if client.recovered().await {
            assert_eq!((messages, questions), (vec![1, 2, 9], 1), "silent after {bytes} bytes");
        }
    }
    // The first got nothing; the last got everything, and its offset tells.
    assert_eq!((recovered.first(), recovered.last()), (Some(&false), Some(&true)), "{recovered:?}");
    let unrecovered = recovered.iter().filter(|recovered| !**recovered).count() as f64;
    gate.counts(unrecovered, "tidegate_resumes_total", &[("result", "failed")]).await;
    assert!(gate.metrics().await.sum("tidegate_events_lost_total", &[]) >= unrecovered);
}

/// Here the gate learns of the loss only because the client is back.
#[tokio::test]
async fn a_client_that_notices_first_is_not_told_more_than_is_known() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(SETTINGS).with("socketio.ping_interval = \"1m\"").await;
    let air = Air::before(gate.address).await;
    let client = over(&air, gate.driver().await, "ada").await;

    air.silence_after(0);
    service.ask("ada", "question", json!(["lost"])).await;
    asked(&gate, 1).await;
    client.cut().await;
    returned(&client).await;

    assert!(!client.recovered().await);
    gate.counts(1.0, "tidegate_events_lost_total", &[]).await;
    service.disconnection().await;
    gate.counts(0.0, "tidegate_absent_sessions", &[]).await;
}

#[tokio::test]
async fn a_client_whose_service_was_killed_learns_that_its_socket_is_another_one() {
    let mut service = Service::start().await;
    let gate = gate(&service).await;
    let client = gate.client(token("ada")).await;
    service.emit("ada", "tutor:message", json!([{ "n": 0 }])).await;
    client.next("tutor:message").await;

    service.restart().await;
    client.connected().await;
    assert!(!client.recovered().await, "what the service said to it is lost with the service");
    // From then on it comes back as before.
    client.cut().await;
    returned(&client).await;
    assert!(client.recovered().await);
    assert_eq!(client.untaken("disconnect"), 0);
    client.disconnect().await;
    client.connect_again().await;
    client.connected().await;
    assert!(!client.recovered().await, "it left, and is a new socket");
}
