//! One client and one absence: what it notices, what the operator sees.

use std::time::Instant;

use super::{asks, connected, held, restarted};
use crate::support::{Gate, Raw, Service, Value, eventually, frame, http, json, token};

#[tokio::test]
async fn what_is_sent_while_the_service_is_down_arrives_when_it_is_back() {
    let (mut service, gate, client) = connected("").await;
    service.kill().await;
    held(&gate, 1).await;

    let asked = asks(&client, "echo", json!(["meanwhile"]));
    for seq in 0..20 {
        client.send("silence", json!([{ "seq": seq }])).await;
    }
    service.restart().await;

    assert_eq!(asked.await.unwrap(), Ok(json!("meanwhile")));
    client.next("connect").await;
    assert_eq!(client.untaken("disconnect"), 0);
    assert_eq!(client.ask("echo", json!([1])).await, 1);
    let seen = service.seen().await;
    assert_eq!((&seen["received"]["silence"], &seen["disordered"]), (&json!(20), &json!(0)));
    assert_eq!(seen["faults"], json!([]));
}

#[tokio::test]
async fn what_was_on_its_way_fails_when_the_service_is_back_and_what_may_be_is_sent_again() {
    let (mut service, gate, client) = connected(r#"session.retry_events = ["echo"]"#).await;
    service.freeze();
    let lost = asks(&client, "agent:tutor", json!([{ "input": "hi" }]));
    let again = asks(&client, "echo", json!(["again"]));
    eventually("both are on their way", async || {
        let received = gate.metrics().await.sum("websocket_messages_received_total", &[]);
        (received == 2.0).then_some(())
    })
    .await;
    service.restart().await;

    assert_eq!(lost.await.unwrap(), Ok(restarted()));
    assert_eq!(again.await.unwrap(), Ok(json!("again")));
    assert_eq!(service.received("agent:tutor").await, 0);
}

#[tokio::test]
async fn the_operator_sees_who_waits_and_for_how_long() {
    let (mut service, gate, client) = connected("").await;
    let session = async || {
        let listed = http::get(&gate.admin_url("/sessions")).await.json();
        (listed["sessions"][0]["service"].clone(), listed["sessions"][0]["waiting_packets"].clone())
    };
    assert_eq!(session().await, (json!("open"), json!(0)));
    let began = Instant::now();
    service.kill().await;
    held(&gate, 1).await;
    client.send("silence", json!(["x".repeat(1000)])).await;
    client.send("silence", json!([])).await;

    gate.counts(2.0, "tidegate_queue_packets", &[]).await;
    assert_eq!(session().await, (json!("down"), json!(2)));
    let metrics = gate.metrics().await;
    assert!((1000.0..1700.0).contains(&metrics.sum("tidegate_queue_bytes", &[])), "{}", metrics.text);
    // The gate reads its clock ten times a second.
    let age = eventually("the oldest has an age", async || {
        Some(gate.metrics().await.sum("tidegate_held_oldest_seconds", &[])).filter(|age| *age > 0.0)
    })
    .await;
    assert!(age < began.elapsed().as_secs_f64() + 1.0, "{age}");

    service.restart().await;
    held(&gate, 0).await;
    gate.counts(0.0, "tidegate_queue_packets", &[]).await;
    gate.counts(0.0, "tidegate_queue_bytes", &[]).await;
    gate.counts(0.0, "tidegate_held_oldest_seconds", &[]).await;
    assert_eq!(session().await, (json!("open"), json!(0)));
    for line in ["the service is down", "the service is back", "cannot connect to the service"] {
        assert_eq!(
            gate.log().wait_for(1, &[line]).await.len(),
            1,
            "one line each, for all dials that failed too: {line}"
        );
    }
}

#[tokio::test]
async fn patience_ends_and_the_client_is_sent_to_connect_anew() {
    let (mut service, mut gate, client) = connected("").await;
    let polls = gate.connect_with(json!({ "token": token("bob") }), json!({ "transports": ["polling"] })).await;
    polls.connected().await;
    let mut raw = Raw::socketio(gate.address).await;
    raw.say(r#"42["silence"]"#).await;
    service.kill().await;
    held(&gate, 3).await;
    raw.say(r#"42["silence"]"#).await;
    gate.counts(1.0, "tidegate_queue_packets", &[]).await;

    gate.change("session.hold = \"1s\"");

    assert_eq!(raw.close_code().await, Some(1012));
    assert_eq!(client.disconnected().await, "transport close");
    assert_eq!(polls.disconnected().await, "transport close");
    let ended = gate.log().wait(&["session ended", r#""user":"raw""#]).await;
    let ended: Value = serde_json::from_str(&ended).unwrap();
    assert_eq!((&ended["cause"], &ended["packets_unsent"]), (&json!("service_lost"), &json!(1)));
    gate.counts(1.0, "tidegate_queue_dropped_total", &[]).await;
    service.restart().await;
    client.connected_after_errors().await;
    polls.connected_after_errors().await;
}

#[tokio::test]
async fn a_client_that_leaves_meanwhile_leaves_nothing_behind() {
    let (mut service, gate, client) = connected("").await;
    let cut = gate.client(token("bob")).await;
    service.kill().await;
    held(&gate, 2).await;
    client.send("silence", json!(["waits"])).await;
    cut.send("silence", json!(["waits"])).await;
    gate.counts(2.0, "tidegate_queue_packets", &[]).await;
    client.disconnect().await;
    cut.cut().await;
    gate.counts(2.0, "tidegate_queue_dropped_total", &[]).await;
    // It connects again, as a new client that waits like any other.
    cut.disconnect().await;

    held(&gate, 0).await;
    for gauge in ["tidegate_queue_packets", "tidegate_queue_bytes", "websocket_connections_total"] {
        gate.counts(0.0, gauge, &[]).await;
    }
    service.restart().await;
    let other = gate.client(token("eve")).await;
    assert_eq!(other.ask("echo", json!([1])).await, 1);
    assert_eq!(service.received("silence").await, 0);
}

#[tokio::test]
async fn a_client_whom_the_service_throws_out_is_not_held() {
    let (service, gate, client) = connected("").await;
    service.disconnect("ada", true).await;

    assert_eq!(client.disconnected().await, "io server disconnect");
    gate.counts(0.0, "websocket_connections_total", &[]).await;
    assert_eq!(service.transports().await, 1);
    assert_eq!(gate.logged().await.containing("the service is down"), [""; 0]);
}

#[tokio::test]
async fn clients_that_come_meanwhile_wait_and_are_served() {
    let (mut service, gate, _client) = connected("").await;
    service.kill().await;
    held(&gate, 1).await;

    let mut clients = Vec::new();
    for transports in [json!(["websocket"]), json!(["polling"]), json!(["polling", "websocket"])] {
        clients.push(gate.connect_with(json!({ "token": token("eve") }), json!({ "transports": transports })).await);
    }
    let asked: Vec<_> = clients.iter().map(|client| asks(client, "echo", json!([1]))).collect();
    service.restart().await;

    for asked in asked {
        assert_eq!(asked.await.unwrap(), Ok(json!(1)));
    }
    for client in clients {
        assert_eq!((client.untaken("connect_error"), client.untaken("disconnect")), (0, 0));
    }
}

#[tokio::test]
async fn a_token_that_runs_out_meanwhile_ends_the_session() {
    let (mut service, gate, _client) = connected("auth.leeway = \"0s\"").await;
    let mut raw = Raw::engineio(gate.address).await;
    raw.say(&format!("40{{\"token\":\"{}\"}}", crate::support::token::token_for("bob", 12))).await;
    raw.frame().await;
    service.kill().await;
    held(&gate, 2).await;
    raw.say(r#"42["silence"]"#).await;

    assert_eq!(raw.close_code().await, Some(1008));
    held(&gate, 1).await;
    gate.counts(0.0, "tidegate_queue_bytes", &[]).await;
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "auth.expired")]).await;
}

#[tokio::test]
async fn a_binary_packet_that_the_restart_cuts_in_two_arrives_whole_and_once() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).with("session.ack_grace = \"0s\"").await;
    let mut raw = Raw::socketio(gate.address).await;
    raw.say(r#"451-7["echo",{"_placeholder":true,"num":0}]"#).await;
    gate.counts(1.0, "websocket_messages_received_total", &[("event", "echo")]).await;
    service.kill().await;
    held(&gate, 1).await;
    raw.send(&frame::masked(frame::BINARY, b"bytes")).await;
    service.restart().await;

    assert!(raw.frame().await.text().starts_with("40{"));
    assert_eq!(raw.frame().await.text(), r#"461-7[{"_placeholder":true,"num":0}]"#);
    assert_eq!(raw.frame().await.payload, b"bytes");
    assert_eq!(service.seen().await["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_to_a_service_that_is_gone_does_not_reach_the_next() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).with("session.ack_grace = \"0s\"").await;
    let mut raw = Raw::socketio(gate.address).await;
    raw.say(r#"421["ask","first"]"#).await;
    assert_eq!(raw.frame().await.text(), r#"420["question","first"]"#);
    service.restart().await;
    assert!(raw.frame().await.text().starts_with("40{"));
    assert_eq!(raw.frame().await.text(), format!("431[{}]", restarted()));

    raw.say(r#"422["ask","second"]"#).await;
    assert_eq!(raw.frame().await.text(), r#"421["question","second"]"#, "its number is not used twice");
    raw.say(r#"430["late"]"#).await;
    raw.say(r#"431["in time"]"#).await;
    assert_eq!(raw.frame().await.text(), r#"432[{"answer":"in time"}]"#);
}
