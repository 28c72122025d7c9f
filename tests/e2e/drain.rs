//! A node that is asked to go sends its clients elsewhere first.

use tokio::net::TcpStream;

use crate::support::{
    Gate, Raw, Service, Way,
    departure::{are_sent_away, clients, why_not_ready},
    eventually, http, json, token,
};

#[tokio::test]
async fn sigterm_sends_clients_away_and_ends_with_success() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(r#"limits.shutdown_grace = "3s""#).await;
    let clients = clients(&gate, 12).await;

    gate.signal("TERM");

    are_sent_away(&clients).await;
    assert_eq!(gate.exit().await, Some(0));
    gate.log().wait(&["clients are disconnected within 3s"]).await;
    eventually("the service has seen them off", async || {
        (service.seen().await["disconnects"].as_array().unwrap().len() == 12).then_some(())
    })
    .await;
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
    // A poll that waits for its answer keeps an HTTP connection busy.
    let clients = clients(&gate, 5).await;
    gate.signal("TERM");
    gate.log().wait(&["clients are disconnected within 600s"]).await;
    eventually("the node is not ready", async || {
        (http::get(&gate.admin_url("/readyz")).await.status == 503).then_some(())
    })
    .await;
    assert_eq!(http::get(&gate.admin_url("/livez")).await.status, 200, "going is not being ill");

    gate.signal("TERM");

    are_sent_away(&clients).await;
    assert_eq!(gate.exit().await, Some(0));
}

#[tokio::test]
async fn an_empty_node_ends_at_once() {
    let service = Service::start().await;
    for signal in ["TERM", "INT"] {
        let mut gate = Gate::before(&service).with(r#"limits.shutdown_grace = "10m""#).await;

        gate.signal(signal);

        assert_eq!(gate.exit().await, Some(0), "SIG{signal}");
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
    for line in ["\"packets_unsent\":3", "3 packets of clients never reached the service"] {
        assert_eq!(gate.log().wait_for(1, &[line]).await.len(), 1, "{line}");
    }
}

/// The five minutes end by the second signal.
#[tokio::test]
async fn for_the_lame_duck_new_clients_are_served_by_a_node_that_is_not_ready() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(r#"limits.lame_duck = "5m""#).await;
    let old = gate.connect_with(json!({ "token": token("ada") }), json!({ "reconnection": false })).await;
    old.connected().await;
    let mut kept_alive = Raw::connect(gate.address).await;
    let answer = asks(&mut kept_alive).await;
    assert!(answer.contains("200 OK") && !answer.contains("connection: close"), "{answer}");

    gate.signal("TERM");

    assert_eq!(why_not_ready(&gate).await, "SIGTERM has come; new clients are served for 300s, then none");
    let mut clients = clients(&gate, Way::ALL.len()).await;
    clients.push(old);
    for client in &clients {
        assert_eq!(client.ask("echo", json!([1])).await, 1);
    }
    let answer = asks(&mut kept_alive).await;
    assert!(answer.contains("200 OK") && answer.contains("connection: close"), "{answer}");
    assert_eq!(kept_alive.rest().await, "", "the next request goes to another node");

    gate.signal("TERM");

    gate.log().wait(&["4 open sessions, clients are disconnected within 2s"]).await;
    are_sent_away(&clients).await;
    assert_eq!(gate.exit().await, Some(0));
    gate.log().wait(&["drained in", "0 sessions were cut off"]).await;
}

/// The answer to a request on a connection that may be kept. It has no body.
async fn asks(connection: &mut Raw) -> String {
    connection.send(b"HEAD /sessions/plan HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    connection.head().await
}

#[tokio::test]
async fn after_the_lame_duck_the_node_drains_by_itself() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(r#"limits.lame_duck = "300ms""#).await;
    let client = gate.connect_with(json!({ "token": token("ada") }), json!({ "reconnection": false })).await;
    client.connected().await;

    gate.signal("TERM");

    gate.log().wait(&["new clients are still served for 300ms, then all are disconnected within 2s"]).await;
    gate.log().wait(&["draining: no new clients; 1 open sessions, clients are disconnected within 2s"]).await;
    assert_eq!(client.disconnected().await, "transport close");
    assert_eq!(gate.exit().await, Some(0));
}

#[tokio::test]
async fn ctrl_c_does_not_wait_for_balancers() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).with(r#"limits.lame_duck = "5m""#).await;
    let client = gate.connect_with(json!({ "token": token("ada") }), json!({ "reconnection": false })).await;
    client.connected().await;

    gate.signal("INT");

    assert_eq!(client.disconnected().await, "transport close");
    assert_eq!(gate.exit().await, Some(0));
    assert!(gate.log().containing("still served").is_empty());
}

#[tokio::test]
async fn the_times_of_the_rules_in_force_count() {
    let service = Service::start().await;
    let times = "limits.lame_duck = \"5m\"\nlimits.shutdown_grace = \"10m\"";
    let mut gate = Gate::before(&service).with(times).await;
    let client = gate.connect_with(json!({ "token": token("ada") }), json!({ "reconnection": false })).await;
    client.connected().await;

    gate.change("limits.lame_duck = \"100ms\"\nlimits.shutdown_grace = \"1s\"");
    gate.log().wait(&["configuration reloaded"]).await;
    gate.signal("TERM");

    gate.log().wait(&["new clients are still served for 100ms, then all are disconnected within 1s"]).await;
    assert_eq!(client.disconnected().await, "transport close");
    assert_eq!(gate.exit().await, Some(0));
    assert!(gate.log().containing("takes effect at the next start").is_empty());
}
