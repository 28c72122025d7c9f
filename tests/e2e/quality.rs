//! How good connections are: what the gate learns of them by its heartbeats, and what it answers clients that ask themselves.

use std::time::Duration;

use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Gate, Plain, Service, SlowLine, Value, Way, eventually, http, json, token};

/// A plain route beside the endpoint.
const ROUTE: &str = r#"
    auth.token_from = ["connect:token", "query:token"]
    [[websocket]]
    path = "/ws"
    event_field = "type"
"#;

/// A heartbeat ten times a second, so that ten of them are soon there.
const OFTEN: &str = "socketio.ping_interval = \"100ms\"";

/// What a client hears of a ping over the limit.
fn refusal() -> Value {
    json!({ "error": "Rate limit exceeded. Please slow down.", "rateLimited": true })
}

/// The only session of a gate, as the operator sees it.
async fn session(gate: &Gate) -> Value {
    let listing = http::get(&gate.admin_url("/sessions")).await.json();
    let sessions = listing["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1, "{listing}");
    sessions[0].clone()
}

/// The grade of an average round trip in milliseconds. A busy machine may add to what the way takes.
const fn grade(average: f64) -> &'static str {
    match average {
        _ if average < 100.0 => "excellent",
        _ if average < 250.0 => "good",
        _ if average < 500.0 => "fair",
        _ => "poor",
    }
}

/// Waits until the average round trip of the only session of a gate is one of `wanted`, and graded as it must be, in the list and
/// in the metrics.
async fn is_graded(gate: &Gate, wanted: impl Fn(f64) -> bool) -> Value {
    eventually("the connection is graded", async || {
        let session = session(gate).await;
        let average = session["rtt_avg_ms"].as_f64().filter(|average| wanted(*average))?;
        let metrics = gate.metrics().await;
        let in_metrics = |labels: &[(&str, &str)]| metrics.sum("tidegate_sessions", labels);
        let is_so = session["quality"] == grade(average) && in_metrics(&[("quality", grade(average))]) == 1.0;
        (is_so && in_metrics(&[]) == 1.0).then_some(session)
    })
    .await
}

/// How long the way takes.
fn ms(there_and_back: u64) -> Duration {
    Duration::from_millis(there_and_back)
}

#[tokio::test]
async fn a_connection_is_graded_by_how_long_its_way_is() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(OFTEN).await;
    let line = SlowLine::to(gate.address).await;

    line.takes(ms(150));
    let client = gate.connect_at(&line.url(), json!({ "token": token("ada") })).await;
    client.connected().await;
    let good = is_graded(&gate, |average| average >= 150.0).await;
    assert!(good["rtt_ms"].as_f64().unwrap() >= 150.0, "{good}");
    assert_eq!(good["loss_percent"], 0, "{good}");
    line.takes(ms(300));
    let fair = is_graded(&gate, |average| average >= 300.0).await;
    assert!(fair["jitter_ms"].as_f64().unwrap() > 0.0, "{fair}");
    line.takes(ms(0));
    is_graded(&gate, |average| average < 250.0).await;
    assert_eq!(client.ask("echo", json!([1])).await, 1);
}

#[tokio::test]
async fn a_connection_that_polls_is_graded_too() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(OFTEN).await;
    let line = SlowLine::to(gate.address).await;

    line.takes(ms(300));
    let auth = json!({ "token": token("ada") });
    let client = Client::begin(gate.driver().await, &line.url(), auth, Way::Polling.options()).await;
    client.connected().await;
    let fair = is_graded(&gate, |average| average >= 300.0).await;
    assert_eq!(fair["transport"], "polling");
    line.takes(ms(0));
    is_graded(&gate, |average| average < 250.0).await;
}

#[tokio::test]
async fn a_plain_connection_is_graded_too() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(OFTEN).with(ROUTE).await;
    let line = SlowLine::to(gate.address).await;

    line.takes(ms(300));
    let mut client = Plain::connect(line.address, &format!("/ws?token={}", token("ada")), &[]).await.unwrap();
    // It answers the pings that it reads.
    let reading = tokio::spawn(async move { client.closed().await });
    is_graded(&gate, |average| average >= 300.0).await;
    line.takes(ms(0));
    is_graded(&gate, |average| average < 250.0).await;
    reading.abort();
}

#[tokio::test]
async fn an_absent_client_is_shown_as_it_was_and_a_new_one_is_unknown() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(OFTEN).with("session.resume = \"60s\"").await;
    let client = gate.connect_with(json!({ "token": token("ada") }), json!({ "reconnection": false })).await;
    client.connected().await;
    is_graded(&gate, |_| true).await;

    client.cut().await;
    let absent = eventually("the client is absent", async || {
        Some(session(&gate).await).filter(|session| session["transport"] == "absent")
    })
    .await;
    assert_eq!(absent["quality"], grade(absent["rtt_avg_ms"].as_f64().unwrap()), "{absent}");

    let idle = Gate::before(&service).await;
    let _client = idle.client(token("bob")).await;
    let unknown = session(&idle).await;
    for figure in ["quality", "rtt_ms", "rtt_avg_ms", "jitter_ms", "loss_percent"] {
        assert_eq!(unknown[figure], Value::Null, "{figure}");
    }
    idle.counts(1.0, "tidegate_sessions", &[("quality", "unknown")]).await;
}

/// A client that measures its connection itself, on this way.
async fn asks(way: Way) {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("[[rate_limit]]\nmessages = 1\nper = \"1h\"").await;
    let client = gate.client_by(way, token("ada")).await;
    let chat = client.namespace("/chat", json!({ "token": token("ada") })).await;
    chat.connected().await;

    assert_eq!(client.ask("quality_ping", json!([])).await, Value::Null);
    assert_eq!(chat.ask("quality_ping", json!([{ "at": 1 }, "x"])).await, Value::Null);
    client.send("quality_ping", json!([])).await;
    let answers = client.ask_at_once(60, "quality_ping", json!([{}])).await;
    let answered = answers.iter().filter(|answer| answer.is_null()).count();
    let limited = answers.iter().filter(|answer| **answer == refusal()).count();
    assert!(answers[0].is_null() && limited > 0 && answered + limited == 60, "{answers:?}");
    assert_eq!(client.ask("echo", json!([1])).await, 1, "pings count in no limit");
    assert_eq!(client.ask("echo", json!([1])).await, refusal());
    assert_eq!((service.received("quality_ping").await, service.received("echo").await), (0, 1));
    let pings = async |result, count: usize| {
        gate.counts(count as f64, "tidegate_quality_pings_total", &[("result", result)]).await;
    };
    pings("answered", answered + 2).await;
    pings("limited", limited).await;
    pings("no_id", 1).await;
    gate.counts(0.0, "websocket_messages_received_total", &[("event", "quality_ping")]).await;
}

#[tokio::test]
async fn a_client_that_asks_over_a_websocket_is_answered_by_the_gate() {
    asks(Way::Websocket).await;
}

#[tokio::test]
async fn a_client_that_asks_by_polling_is_answered_by_the_gate() {
    asks(Way::Polling).await;
}

#[tokio::test]
async fn a_client_is_answered_while_the_service_is_down() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).await;
    let client = gate.client(token("ada")).await;
    service.kill().await;
    gate.counts(1.0, "tidegate_held_sessions", &[]).await;

    assert_eq!(client.ask("quality_ping", json!([])).await, Value::Null);
    assert_eq!(gate.metrics().await.sum("tidegate_held_sessions", &[]), 1.0, "the service is down still");
    gate.counts(0.0, "tidegate_queue_packets", &[]).await;
}

#[tokio::test]
async fn a_plain_client_is_answered_with_the_id_that_it_sent() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let mut client = gate.websocket(&format!("/ws?token={}", token("ada")), &[]).await.unwrap();

    let pong = client.echo(r#"{"type":"quality_ping","pingId":"a-1"}"#).await;
    assert_eq!(pong, Message::text(r#"{"type":"quality_pong","pingId":"a-1"}"#));
    let pong = client.echo(r#"{"pingId":1764457200123,"type":"quality_ping"}"#).await;
    assert_eq!(pong, Message::text(r#"{"type":"quality_pong","pingId":1764457200123}"#));
    client.send(r#"{"type":"quality_ping"}"#).await;
    let other = client.echo(r#"{"type":"question"}"#).await;
    assert_eq!(other, Message::text(r#"{"type":"question"}"#));
    assert_eq!(service.seen().await["events"].as_array().unwrap().len(), 1, "the service has got the question alone");
}

#[tokio::test]
async fn a_reload_changes_which_event_open_sessions_ask_by() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with("rate_limit = []").await;
    let client = gate.client(token("ada")).await;
    assert_eq!(client.ask("quality_ping", json!([])).await, Value::Null);

    gate.change("quality.ping_event = \"echo\"");
    eventually("the gate answers `echo` itself, without arguments", async || {
        client.ask("echo", json!([1])).await.is_null().then_some(())
    })
    .await;
    gate.change("quality.ping_event = \"\"");
    eventually("the service answers `echo`", async || (client.ask("echo", json!([1])).await == 1).then_some(())).await;
}
