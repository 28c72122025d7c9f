//! A node that is asked to go sends its clients elsewhere first.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::support::{Gate, Service, Way, eventually, http, json, token};

#[tokio::test]
async fn sigterm_sends_clients_away_and_ends_with_success() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(r#"limits.shutdown_grace = "3s""#).await;
    let mut clients = Vec::new();
    for way in Way::ALL.into_iter().cycle().take(12) {
        let mut options = way.options();
        options["reconnection"] = json!(false);
        let client = gate.connect_with(json!({ "token": token("ada") }), options).await;
        client.connected().await;
        clients.push(client);
    }

    let began = Instant::now();
    gate.signal("TERM");
    eventually("the node is not ready", async || {
        (http::get(&gate.admin_url("/readyz")).await.status == 503).then_some(())
    })
    .await;
    assert_eq!(http::get(&gate.admin_url("/livez")).await.status, 200, "going is not being ill");

    for client in &clients {
        // A reason after which a stock client connects again, where there is a node that takes it.
        assert_eq!(client.disconnected().await, "transport close");
    }
    assert_eq!(gate.exit().await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(service.seen().await["disconnects"].as_array().unwrap().len(), 12);
}

#[tokio::test]
async fn no_new_client_is_accepted_while_it_drains() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(r#"limits.shutdown_grace = "3s""#).await;
    let _stays = gate.client(token("ada")).await;
    TcpStream::connect(gate.address).await.expect("it listens");

    gate.signal("TERM");

    eventually("the port is closed", async || TcpStream::connect(gate.address).await.err()).await;
    assert_eq!(gate.exit().await, Some(0));
}

/// With the grace alone it would end after ten minutes.
#[tokio::test]
async fn a_second_signal_leaves_no_time() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(r#"limits.shutdown_grace = "10m""#).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let client = gate.connect_with(json!({ "token": token("ada") }), json!({ "reconnection": false })).await;
        client.connected().await;
        clients.push(client);
    }
    gate.signal("TERM");
    gate.log().wait(&["clients are disconnected within 600s"]).await;

    gate.signal("TERM");

    for client in &clients {
        assert_eq!(client.disconnected().await, "transport close");
    }
    assert_eq!(gate.exit().await, Some(0));
}

#[tokio::test]
async fn an_empty_node_ends_at_once() {
    let service = Service::start().await;
    for signal in ["TERM", "INT"] {
        let mut gate = Gate::before(&service).with(r#"limits.shutdown_grace = "30s""#).await;

        let began = Instant::now();
        gate.signal(signal);

        assert_eq!(gate.exit().await, Some(0), "SIG{signal}");
        assert!(began.elapsed() < Duration::from_secs(10), "SIG{signal}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn plain_clients_are_told_to_come_again() {
    let service = Service::plain().await;
    let mut gate =
        Gate::before(&service).with("auth.token_from = [\"query:token\"]\n[[websocket]]\npath = \"/ws\"").await;
    let mut client = gate.websocket(&format!("/ws?token={}", token("ada")), &[]).await.unwrap();

    gate.signal("TERM");

    let (code, _) = client.closed().await;
    assert!(matches!(code, 1001 | 1012), "{code}");
    assert_eq!(gate.exit().await, Some(0));
}

#[tokio::test]
async fn during_an_outage_it_says_what_never_reached_the_service() {
    let mut service = Service::start().await;
    let mut gate = Gate::before(&service).await;
    let client = gate.connect_with(json!({ "token": token("ada") }), json!({ "reconnection": false })).await;
    client.connected().await;
    service.kill().await;
    gate.counts(1.0, "tidegate_held_sessions", &[]).await;
    for n in 0..3 {
        client.send("silence", json!([n])).await;
    }
    gate.counts(3.0, "tidegate_queue_packets", &[]).await;

    gate.signal("TERM");

    assert_eq!(client.disconnected().await, "transport close");
    assert_eq!(gate.exit().await, Some(0));
    assert_eq!(gate.log().containing("\"packets_unsent\":3").len(), 1);
    assert_eq!(gate.log().containing("3 packets of clients never reached the service").len(), 1);
}
