//! A client that exceeds a bound loses the packet, not its session; and the official client does not come back for it again and
//! again.

use crate::support::{Client, Gate, Raw, Service, Value, client::Driver, http, json, token};

/// How many namespaces there are beside `/`, more than a session may have.
const ROOMS: usize = 70;

/// Of those, so many fit beside `/` as delivered.
const FIT: usize = 63;

/// The code of a CONNECT_ERROR that a client of the gate got.
fn code(refusal: &Value) -> &str {
    refusal["data"]["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn the_official_client_with_too_many_namespaces_keeps_those_that_fit() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).await;
    let auth = json!({ "token": token("ada") });
    let direct = Client::begin(Driver::start(), &service.url(), auth.clone(), json!({})).await;
    direct.connected().await;
    for number in 0..ROOMS {
        let room = direct.namespace(&format!("/room-{number}"), auth.clone()).await;
        room.connected().await;
    }

    let client = gate.connect(auth.clone()).await;
    client.connected().await;
    let mut rooms = Vec::new();
    // All of them at once.
    for number in 0..ROOMS {
        rooms.push(client.namespace(&format!("/room-{number}"), auth.clone()).await);
    }
    for (number, room) in rooms.iter().enumerate() {
        match room.settled().await {
            Ok(_) => assert!(number < FIT, "/room-{number}"),
            Err(refusal) => {
                assert_eq!((number >= FIT, code(&refusal)), (true, "too_many_namespaces"), "/room-{number}")
            }
        }
        assert_eq!(room.is_active().await, number < FIT, "/room-{number}: whether the client tries again");
    }
    for room in rooms.iter().take(FIT) {
        assert_eq!(room.ask("echo", json!([1])).await, 1);
    }
    // A place that is free is taken, and nothing was lost meanwhile.
    rooms[0].disconnect().await;
    rooms[FIT].connect_again().await;
    rooms[FIT].connected().await;
    assert_eq!((client.untaken("disconnect"), client.untaken("reconnect_attempt")), (0, 0));
    assert_eq!(client.ask("echo", json!([2])).await, 2);
    gate.counts(
        (ROOMS - FIT) as f64,
        "tidegate_refused_total",
        &[("stage", "connect"), ("reason", "too_many_namespaces")],
    )
    .await;
    gate.log().wait(&["socketio.max_namespaces"]).await;
}

#[tokio::test]
async fn how_many_namespaces_a_session_has_is_a_setting() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with("socketio.max_namespaces = 2").await;
    let auth = json!({ "token": token("ada") });
    let client = gate.connect(auth.clone()).await;
    client.connected().await;
    client.namespace("/room-1", auth.clone()).await.connected().await;
    let refusal = client.namespace("/room-2", auth.clone()).await.refused().await;
    assert_eq!(code(&refusal), "too_many_namespaces");
    assert_eq!(client.ask("echo", json!([1])).await, 1);
}

#[tokio::test]
async fn a_namespace_that_the_gate_cannot_name_is_refused_as_the_service_refuses_one_it_does_not_have() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).await;
    let auth = json!({ "token": token("ada") });
    let direct = Client::begin(Driver::start(), &service.url(), auth.clone(), json!({})).await;
    let through = gate.connect(auth.clone()).await;
    for (way, client) in [("directly", &direct), ("through the gate", &through)] {
        client.connected().await;
        for length in [300, 3000] {
            let room = client.namespace(&format!("/{}", "n".repeat(length)), auth.clone()).await;
            let refusal = room.refused().await;
            if way == "directly" {
                assert_eq!(refusal["message"], "Invalid namespace");
            } else {
                assert_eq!(code(&refusal), "namespace_too_long");
            }
            assert!(!room.is_active().await, "{way}: it does not try again");
        }
        assert_eq!(client.ask("echo", json!([1])).await, 1, "{way}: the other namespace does not notice");
        assert_eq!((client.untaken("disconnect"), client.untaken("reconnect_attempt")), (0, 0), "{way}");
    }
    // Clients for Socket.IO 2 write their query behind the namespace.
    for address in [service.address(), gate.address] {
        let mut raw = Raw::socketio(address).await;
        raw.say("40/chat?token=1,").await;
        let refusal = raw.frame().await;
        assert!(refusal.text().starts_with("44/chat?token=1,{\"message\":\"Invalid namespace\""), "{refusal:?}");
        raw.say("421[\"echo\",1]").await;
        assert_eq!(raw.frame().await.text(), "431[1]");
    }
}

#[tokio::test]
async fn a_long_event_name_passes_and_is_counted_as_other() {
    let service = Service::without_auth().await;
    let rule = "[[rate_limit]]\nevents = [\"long:*\"]\nmessages = 3\nper = \"1h\"";
    let gate = Gate::before(&service).with(rule).await;
    let client = gate.client(token("ada")).await;
    for length in [250, 300, 5000] {
        service.forget().await;
        let name = format!("quiet:{}", "n".repeat(length - 6));
        client.send(&name, json!([1])).await;
        client.ask("echo", json!([1])).await;
        assert_eq!(service.received(&name).await, 1, "{length}");
    }
    let metrics = gate.metrics().await;
    let counted = |event: &str| metrics.sum("websocket_messages_received_total", &[("event", event)]);
    assert_eq!((counted("other"), counted(&format!("quiet:{}", "n".repeat(244)))), (2.0, 1.0));
    // By its whole name.
    let name = format!("long:{}", "n".repeat(5000));
    for _ in 0..5 {
        client.send(&name, json!([1])).await;
    }
    client.ask("echo", json!([1])).await;
    assert_eq!(service.received(&name).await, 3);
    assert_eq!((client.untaken("disconnect"), client.untaken("rate_limited")), (0, 1));
    let listing = http::get(&gate.admin_url("/sessions")).await.json();
    assert_eq!(listing["sessions"].as_array().unwrap().len(), 1);
}
