//! What the log says of a session: opened, absent, back, ended, each once.

use crate::support::{Client, Gate, Service, Value, Way, json, token};

/// The lines of sessions of this user, in order: the message, and the fields.
fn lines(gate: &Gate, user: &str) -> Vec<(String, Value)> {
    let lines = gate.log().all();
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_session = |line: &Value| line["user"] == user && line["message"].as_str().unwrap().starts_with("session ");
    lines.filter(of_session).map(|line| (line["message"].as_str().unwrap().to_owned(), line)).collect()
}

async fn resuming(gate: &Gate, way: Way) -> Client {
    let client = gate.client_by(way, token("ada")).await;
    client.travels_by(way.transport()).await;
    client
}

#[tokio::test]
async fn a_session_whose_client_is_absent_and_back_has_one_line_for_each() {
    for way in Way::ALL {
        let service = Service::start().await;
        let gate = Gate::before(&service).with("session.resume = \"1m\"").await;
        let client = resuming(&gate, way).await;
        gate.log().wait(&["session opened"]).await;
        for _ in 0..2 {
            // In the middle of an upgrade there is no connection whose loss the client notices.
            client.travels_by(way.transport()).await;
            client.cut().await;
            client.disconnected().await;
            client.connected().await;
            assert!(client.recovered().await, "{way:?}");
        }
        gate.log().wait_for(2, &["session back"]).await;
        client.disconnect().await;
        gate.log().wait(&["session ended"]).await;

        let lines = lines(&gate, "ada");
        let messages: Vec<_> = lines.iter().map(|(message, _)| message.trim_start_matches("session ")).collect();
        assert_eq!(messages, ["opened", "absent", "back", "absent", "back", "ended"], "{way:?}");
        for (message, line) in &lines {
            assert_eq!(line["id"], lines[0].1["id"], "{way:?}: {message}");
            assert_eq!(line["peer"], "127.0.0.1", "{way:?}: {message}");
        }
        let (_, opened) = &lines[0];
        assert_eq!((&opened["namespaces"], &opened["route"]), (&json!("/"), &Value::Null), "{way:?}");
        let (_, absent) = &lines[1];
        assert_eq!((&absent["waits_seconds"], &absent["fault"]), (&json!(60.0), &json!("client")), "{way:?}: {absent}");
        assert!(lines[2].1["absent_seconds"].as_f64().unwrap() > 0.0, "{way:?}");
        assert_eq!(lines[5].1["namespaces"], "/", "{way:?}: it has left it before it ended");
    }
}

#[tokio::test]
async fn a_session_whose_client_does_not_come_back_ends_once() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("session.resume = \"1s\"").await;
    let client = gate.connect_with(json!({ "token": token("ada") }), json!({ "reconnection": false })).await;
    client.connected().await;
    gate.log().wait(&["session opened"]).await;
    client.cut().await;
    gate.log().wait(&["session ended"]).await;
    let lines = lines(&gate, "ada");
    let messages: Vec<_> = lines.iter().map(|(message, _)| &**message).collect();
    assert_eq!(messages, ["session opened", "session absent", "session ended"]);
    assert_eq!(lines[2].1["transport"], "none");
    assert!(lines[2].1["absent_seconds"].as_f64().unwrap() >= 1.0, "{}", lines[2].1);
}

#[tokio::test]
async fn a_session_that_never_joins_has_its_last_line_alone_and_one_of_several_namespaces_names_them() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).with("session.resume = \"1m\"").await;
    let client = gate.client(token("ada")).await;
    client.namespace("/chat", json!({ "token": token("ada") })).await.connected().await;
    gate.log().wait(&["session opened", "\"namespaces\":\"/\""]).await;
    service.kill().await;
    let waits = gate.connect(json!({ "token": token("bob") })).await;
    gate.counts(2.0, "websocket_active_sessions", &[]).await;
    client.cut().await;
    gate.log().wait(&["session absent", "\"namespaces\":\"/,/chat\""]).await;
    waits.disconnect().await;
    gate.log().wait(&["session ended"]).await;
    let of_bob: Vec<_> = lines(&gate, "bob").into_iter().map(|(message, _)| message).collect();
    assert_eq!(of_bob, ["session ended"]);
}

#[tokio::test]
async fn a_plain_session_says_its_route() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with("[[websocket]]\npath = \"/ws/*\"").await;
    let bearer = format!("Bearer {}", token("ada"));
    let client = gate.websocket("/ws/room?private=1", &[("authorization", &bearer)]).await.unwrap();
    gate.log().wait(&["session opened"]).await;
    drop(client);
    gate.log().wait(&["session ended"]).await;
    let lines = lines(&gate, "ada");
    assert_eq!(lines.len(), 2);
    for (message, line) in &lines {
        assert_eq!((&line["route"], &line["namespaces"]), (&json!("/ws/*"), &Value::Null), "{message}");
    }
}
