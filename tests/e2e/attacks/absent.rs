//! Clients that are absent take no places away from themselves, nor any number of sessions from the node.

use crate::support::{Client, Gate, Raw, Service, Value, json, token};

const RESUME: &str = "rate_limit = []\nsession.resume = \"1m\"\nlimits.connections_per_ip = 2";

/// A client that comes back when it is told to.
async fn client(gate: &Gate, user: &str) -> Client {
    let client = gate.connect_with(json!({ "token": token(user) }), json!({ "reconnection": false })).await;
    client.connected().await;
    client
}

async fn absent(gate: &Gate, sessions: u32) {
    gate.counts(f64::from(sessions), "tidegate_absent_sessions", &[]).await;
}

#[tokio::test]
async fn who_comes_back_is_not_refused_for_its_own_absence() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(RESUME).await;
    let clients = [client(&gate, "ada").await, client(&gate, "bob").await];
    // The control: as long as they are there, the address has no place left.
    let third = gate.connect_with(json!({ "token": token("eve") }), json!({ "reconnection": false })).await;
    third.refused().await;
    gate.counts(1.0, "tidegate_refused_total", &[("reason", "limit.connections_per_ip")]).await;

    for client in &clients {
        client.cut().await;
    }
    absent(&gate, 2).await;
    // Their places are free meanwhile.
    let third = gate.client(token("eve")).await;
    third.disconnect().await;
    gate.counts(0.0, "websocket_connections_total", &[]).await;
    for client in &clients {
        client.comes_back().await;
        assert!(client.recovered().await);
    }
    gate.counts(1.0, "tidegate_refused_total", &[("reason", "limit.connections_per_ip")]).await;
    gate.counts(2.0, "tidegate_resumes_total", &[("result", "ok")]).await;
}

#[tokio::test]
async fn no_more_sessions_wait_for_absent_clients_than_are_allowed() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(RESUME).with("limits.absent_per_ip = 1").await;
    let (kept, not_kept) = (client(&gate, "ada").await, client(&gate, "bob").await);
    kept.cut().await;
    absent(&gate, 1).await;
    not_kept.cut().await;

    gate.counts(1.0, "tidegate_refused_total", &[("stage", "resume"), ("reason", "limit.absent_per_ip")]).await;
    service.disconnection().await;
    for (client, recovers) in [(&kept, true), (&not_kept, false)] {
        client.comes_back().await;
        assert_eq!(client.recovered().await, recovers);
    }
    let line = gate.log().wait(&["limit.absent_per_ip"]).await;
    assert!(line.contains("127.0.0.1") && line.contains("limits.absent_per_ip"), "{line}");
}

#[tokio::test]
async fn who_is_back_before_its_loss_was_noticed_was_never_absent() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("session.resume = \"1m\"\nlimits.absent_per_ip = 0").await;
    let mut earlier = Raw::engineio(gate.address).await;
    earlier.say(&format!(r#"40{{"token":"{}"}}"#, token("ada"))).await;
    let connected: Value = serde_json::from_str(&earlier.frame().await.text()[2..]).unwrap();

    let mut later = Raw::engineio(gate.address).await;
    later.say(&format!(r#"40{{"token":"{}","pid":{}}}"#, token("ada"), connected["pid"])).await;
    let again: Value = serde_json::from_str(&later.frame().await.text()[2..]).unwrap();
    assert_eq!(again["sid"], connected["sid"], "it has the session that it had");
    gate.counts(0.0, "tidegate_refused_total", &[("stage", "resume")]).await;
    assert_eq!(service.transports().await, 1);
}
