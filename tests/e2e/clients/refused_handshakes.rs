//! A service that refuses its handshake: the client hears it, and does not come back in a loop.

use crate::support::{Client, Gate, Service, Value, client::Driver, eventually, http, json};

/// As a stock client tries again, ten times as fast, and without chance.
fn patient(transport: &str) -> Value {
    json!({ "transports": [transport], "reconnectionDelay": 100, "reconnectionDelayMax": 500, "randomizationFactor": 0 })
}

/// A gate that lets everybody in.
fn open(service: &Service) -> crate::support::tidegate::Setup {
    Gate::before(service).with("auth.required = false").without("auth.secret")
}

async fn tries(service: &Service) -> u64 {
    service.seen().await["handshakes"].as_object().unwrap().values().map(|tries| tries.as_u64().unwrap()).sum()
}

/// What the service answers, and what the client hears of it.
fn refusals() -> [(Value, &'static str, u16); 5] {
    let json = r#"{"message":"Not before noon","code":17}"#;
    [
        (json!({ "allow": "Too early" }), "Too early", 400),
        (json!({ "status": 401, "body": json, "type": "application/json" }), "Not before noon", 401),
        (json!({ "status": 403, "body": "<html>" }), "Forbidden", 403),
        (json!({ "status": 404 }), "Not Found", 404),
        (json!({ "transports": ["polling"] }), "Transport unknown", 400),
    ]
}

#[tokio::test]
async fn a_client_without_a_gate_tries_again_at_growing_intervals() {
    let service = Service::refusing(&json!({ "allow": "no" })).await;
    for transport in ["websocket", "polling"] {
        let before = tries(&service).await;
        let client = Client::begin(Driver::start(), &service.url(), json!({}), patient(transport)).await;
        for _ in 0..4 {
            client.refused().await;
        }
        assert!(client.is_active().await);
        assert!(tries(&service).await >= before + 4);
        client.disconnect().await;
    }
}

#[tokio::test]
async fn what_the_service_says_at_its_handshake_is_a_connect_error() {
    for (mode, message, status) in refusals() {
        for transport in ["websocket", "polling"] {
            let mut service = Service::refusing(&mode).await;
            let gate = open(&service).await;

            let client = gate.connect_with(json!({}), patient(transport)).await;
            let refused = client.refused().await;

            let expected = json!({ "message": message, "data": { "code": "upstream.refused", "status": status } });
            assert_eq!(refused, expected, "{mode} {transport}");
            // Once its connection is over it has had the time for a second try.
            gate.counts(0.0, "websocket_connections_total", &[]).await;
            assert!(!client.is_active().await, "{mode}: the application decides whether it tries again");
            assert_eq!(tries(&service).await, 1, "{mode} {transport}");
            assert_eq!((client.untaken("disconnect"), client.untaken("connect")), (0, 0), "{mode}");
            gate.counts(1.0, "tidegate_refused_total", &[("stage", "connect"), ("reason", "upstream.refused")]).await;
            gate.log().wait(&[message]).await;

            service.restart_with(&[]).await;
            client.connect_again().await;
            client.connected().await;
            assert_eq!(client.ask("echo", json!([1])).await, 1, "{mode} {transport}");
        }
    }
}

#[tokio::test]
async fn where_the_service_is_dialled_first_the_client_tries_again_as_without_a_gate() {
    for (mode, message, status) in refusals() {
        for transport in ["websocket", "polling"] {
            let service = Service::refusing(&mode).await;
            let gate = open(&service).with(r#"socketio.dial = "first""#).await;

            let target = format!("{}/socket.io/?EIO=4&transport=polling", gate.url());
            let answer = http::get(&target).await;
            assert_eq!((answer.status, &answer.json()["message"]), (status, &message.into()), "{mode}");

            let mut options = patient(transport);
            options["reconnectionAttempts"] = 3.into();
            let client = gate.connect_with(json!({}), options).await;
            for _ in 0..4 {
                client.refused().await;
            }
            assert_eq!(tries(&service).await, 1 + 4, "{mode} {transport}: one dial for each try");
            assert!(client.is_active().await);
            assert_eq!((client.untaken("disconnect"), client.untaken("connect")), (0, 0), "{mode}");
            let at = service.seen().await["at"].clone();
            // 100, 200 and 400 ms, and what the machine takes; without growth it is 300 ms.
            assert!(at[4].as_u64().unwrap() - at[1].as_u64().unwrap() >= 500, "its delay grows: {at}");
            client.disconnect().await;
        }
    }
}

#[tokio::test]
async fn every_namespace_that_is_asked_for_hears_it() {
    let service = Service::refusing(&json!({ "allow": "no" })).await;
    let gate = open(&service).await;
    let root = gate.connect_with(json!({}), patient("websocket")).await;
    let chat = root.namespace("/chat", json!({})).await;

    assert_eq!(root.refused().await["message"], "no");
    assert_eq!(chat.refused().await["message"], "no");
}

#[tokio::test]
async fn a_refusal_for_a_time_is_waited_for_as_the_client_would() {
    let service = Service::refusing(&json!({ "status": 429, "body": "Slow down" })).await;
    let gate = open(&service).await;

    let client = gate.connect_with(json!({}), patient("websocket")).await;
    eventually("a second try", async || (tries(&service).await >= 2).then_some(())).await;
    let at = service.seen().await["at"].clone();
    assert!(at[1].as_u64().unwrap() - at[0].as_u64().unwrap() >= 300, "no sooner than the client itself: {at}");
    service.refuses(&json!({})).await;

    client.connected().await;
    assert_eq!(client.untaken("disconnect") + client.untaken("connect_error"), 0);
}

#[tokio::test]
async fn a_live_session_ends_when_its_service_refuses_it_and_the_others_go_on() {
    let mut service = Service::refusing(&json!({})).await;
    let gate = open(&service).await;
    let with = |name: &str| {
        let mut options = patient("websocket");
        options["extraHeaders"] = json!({ "x-client": name });
        options
    };
    let one = gate.connect_with(json!({}), with("one")).await;
    let other = gate.connect_with(json!({}), with("other")).await;
    one.connected().await;
    other.connected().await;

    service.restart_with(&[("MODE", r#"{"allow":"not you","only":"one"}"#)]).await;

    assert_eq!(one.disconnected().await, "transport close", "what it had is lost");
    assert_eq!(one.refused().await["message"], "not you", "it came back, and hears why not");
    assert!(!one.is_active().await);
    assert_eq!(other.ask("echo", json!([1])).await, 1, "it was held");
    assert_eq!(other.untaken("disconnect"), 0);
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "service_refused")]).await;
}

#[tokio::test]
async fn a_service_without_websockets_is_named_once() {
    let mut service = Service::refusing(&json!({ "transports": ["polling"] })).await;
    let gate = open(&service).await;
    for _ in 0..3 {
        gate.connect_with(json!({}), patient("polling")).await.refused().await;
    }
    assert_eq!(gate.logged().await.containing("takes no websocket").len(), 1);

    service.restart_with(&[]).await;
    gate.connect_with(json!({}), patient("polling")).await.connected().await;
    assert_eq!(gate.log().wait_for(1, &["takes websockets again"]).await.len(), 1);
}
