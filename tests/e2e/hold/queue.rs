//! What waits is bounded, and what is let go of is told.

use super::{asks, connected, held, restarted};
use crate::support::{eventually, json, token};

#[tokio::test]
async fn a_queue_that_is_full_closes_the_session_and_the_client_comes_back() {
    let (mut service, gate, client) = connected("session.queue_packets = 5").await;
    service.kill().await;
    held(&gate, 1).await;
    for _ in 0..6 {
        client.send("silence", json!([])).await;
    }

    assert_eq!(client.disconnected().await, "transport close");
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "queue_full")]).await;
    gate.counts(6.0, "tidegate_queue_dropped_total", &[]).await;
    let ended = gate.log().containing("queue_full");
    assert!(ended[0].contains(r#""packets_unsent":6"#), "{ended:?}");
    service.restart().await;
    client.connected_after_errors().await;
    assert_eq!(client.ask("echo", json!([1])).await, 1);
}

#[tokio::test]
async fn the_oldest_is_let_go_of_where_that_is_wanted_and_its_ack_fails() {
    for bound in ["session.queue_packets = 3", "session.queue_bytes = \"360B\""] {
        let settings = format!("{bound}\nsession.overflow = \"drop_oldest\"");
        let (mut service, gate, client) = connected(&settings).await;
        service.kill().await;
        held(&gate, 1).await;
        let mut asked = Vec::new();
        for n in 0..5 {
            asked.push(asks(&client, "echo", json!([n, "x".repeat(100)])));
            let packets = f64::from(n + 1).min(3.0);
            gate.counts(packets, "tidegate_queue_packets", &[]).await;
            let received = f64::from(n + 1);
            gate.counts(received, "websocket_messages_received_total", &[("event", "echo")]).await;
        }
        gate.counts(2.0, "tidegate_queue_dropped_total", &[]).await;
        service.restart().await;

        for (n, asked) in asked.into_iter().enumerate() {
            let answer = asked.await.unwrap().unwrap();
            assert_eq!(answer, if n < 2 { restarted() } else { json!(n) }, "{bound}");
        }
        assert_eq!(client.untaken("disconnect"), 0);
        gate.counts(2.0, "tidegate_queue_dropped_total", &[]).await;
    }
}

#[tokio::test]
async fn all_queues_together_are_bounded_and_no_more_sessions_end_than_it_takes() {
    let (mut service, gate, _client) = connected("session.queue_total = \"10KB\"").await;
    let mut clients = Vec::new();
    for user in 0..10 {
        clients.push(gate.client(token(&format!("user-{user}"))).await);
    }
    service.kill().await;
    held(&gate, 11).await;
    for client in &clients {
        client.send("silence", json!(["x".repeat(950)])).await;
    }
    gate.counts(10.0, "tidegate_queue_packets", &[]).await;
    clients[0].send("silence", json!(["x".repeat(950)])).await;

    eventually("somebody is sent away", async || {
        clients.iter().any(|client| client.untaken("disconnect") > 0).then_some(())
    })
    .await;
    let metrics = gate.metrics().await;
    assert!(metrics.sum("tidegate_queue_bytes", &[]) <= 10_000.0, "{}", metrics.text);
    let away: usize = clients.iter().map(|client| client.untaken("disconnect")).sum();
    assert_eq!(away, 1);
}
