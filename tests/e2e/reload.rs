//! A changed file is taken up while everybody stays connected; a bad one changes nothing.

use std::fs;

use tempfile::TempDir;

use crate::support::{
    Client, Gate, Pki, Service, Way, eventually, json,
    pki::SecretFolder,
    token::{SECRET, now, signed, token},
};

const WIDE: &str = "[[rate_limit]]\nmessages = 1000\nper = \"1h\"";
const NARROW: &str = "[[rate_limit]]\nmessages = 3\nper = \"1h\"";

/// Asks until the gate refuses; so many were answered by the service.
async fn answered(client: &Client) -> usize {
    for asked in 0..900 {
        if client.ask("echo", json!([{}])).await["rateLimited"] == true {
            return asked;
        }
    }
    panic!("there is no limit");
}

/// Waits until the limit of three holds for a session that was opened under the wide one.
async fn narrowed(gate: &Gate, client: &Client) {
    eventually("the file is read", async || gate.log().containing("configuration reloaded").first().cloned()).await;
    // A packet or two may pass before every thread has heard of it.
    let passed = answered(client).await;
    assert!((3..50).contains(&passed), "{passed} passed");
    assert_eq!(client.untaken("disconnect"), 0);
    gate.counts(1.0, "tidegate_config_reload_success", &[]).await;
}

#[tokio::test]
async fn sighup_brings_new_limits_to_open_sessions() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(WIDE).await;
    let mut clients = Vec::new();
    for way in Way::ALL {
        let client = gate.client_by(way, token("ada")).await;
        client.ask("echo", json!([{}])).await;
        clients.push(client);
    }

    gate.change(NARROW);
    gate.signal("HUP");

    for client in &clients {
        narrowed(&gate, client).await;
    }
}

#[tokio::test]
async fn a_changed_file_is_noticed() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(WIDE).await;
    let client = gate.client(token("ada")).await;

    gate.change(NARROW);

    narrowed(&gate, &client).await;
}

#[tokio::test]
async fn a_config_map_that_kubernetes_swaps_is_noticed() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(WIDE).in_config_map().await;
    let client = gate.client(token("ada")).await;

    gate.change(NARROW);

    narrowed(&gate, &client).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_reported() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(WIDE).await;
    let client = gate.client(token("ada")).await;
    gate.counts(1.0, "tidegate_config_reload_success", &[]).await;

    gate.change("[[rate_limit]]\nmessages = 3\nper = \"60\"");

    gate.counts(0.0, "tidegate_config_reload_success", &[]).await;
    eventually("the fault is logged", async || gate.log().containing("rate_limit[0].per").first().cloned()).await;
    for _ in 0..10 {
        assert_eq!(client.ask("echo", json!([7])).await, 7);
    }
    // And it is left behind with the next good one.
    gate.change(NARROW);
    narrowed(&gate, &client).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_changed_file_is_logged_with_its_line() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let mut gate = Gate::before(&service).over_tls(&pki, &folder).await;
    for (change, key, told) in [
        (
            "session.retry_events = [\"save\", \"\"]",
            "session.retry_events",
            "session.retry_events[1] is empty; write a name",
        ),
        (
            "session.retry_events = []\nauth.forward_claims = { X-User = \"sub\", x-user = \"sub\" }",
            "auth.forward_claims",
            "auth.forward_claims.x-user is repeated",
        ),
        (
            "auth.forward_claims = {}\ntls.client_ca = \"/nowhere/ca.crt\"",
            "tls.client_ca",
            "tls.client_ca: /nowhere/ca.crt cannot be read",
        ),
    ] {
        gate.change(change);
        let told = format!("tidegate.toml:{}: {told}", gate.line_of(key));
        gate.log().wait(&["the configuration was not reloaded, the old one stays in force", &told]).await;
    }
    gate.counts(0.0, "tidegate_config_reload_success", &[]).await;
}

#[tokio::test]
async fn a_new_secret_holds_for_new_sessions() {
    let service = Service::without_auth().await;
    let secrets = TempDir::new().unwrap();
    let file = secrets.path().join("secret");
    fs::write(&file, SECRET).unwrap();
    let gate = Gate::before(&service).with(&format!("auth.secret = {{ file = {file:?} }}")).await;
    let stays = gate.client(token("ada")).await;

    fs::write(&file, "another secret of thirty-two bytes!\n").unwrap();
    gate.signal("HUP");

    eventually("the old secret is refused", async || {
        gate.connect(json!({ "token": token("ada") })).await.settled().await.err()
    })
    .await;
    let claims = json!({ "sub": "ada", "exp": now() + 60 });
    gate.client(signed(&claims, "another secret of thirty-two bytes!")).await;
    assert_eq!(stays.ask("echo", json!([1])).await, 1);
}
