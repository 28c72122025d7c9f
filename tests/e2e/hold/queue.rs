//! What waits is bounded, and what is let go of is told.

use super::{asks, connected, held, restarted};
use crate::support::{json, token};

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
    gate.log().wait(&[r#""cause":"queue_full""#, r#""packets_unsent":6"#]).await;
    service.restart().await;
    client.connected_after_errors().await;
    assert_eq!(client.ask("echo", json!([1])).await, 1);
}

#[tokio::test]
async fn the_oldest_is_let_go_of_where_that_is_wanted_and_its_ack_fails() {
    for bound in ["session.queue_packets = 3", "session.queue_bytes = \"1100B\""] {
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
async fn what_all_sessions_keep_is_bounded_and_the_one_that_keeps_most_ends() {
    let (mut service, gate, _client) = connected("limits.session_memory = \"120KB\"").await;
    let mut clients = Vec::new();
    for user in 0..10 {
        clients.push(gate.client(token(&format!("user-{user}"))).await);
    }
    service.kill().await;
    held(&gate, 11).await;
    for client in &clients {
        client.send("silence", json!(["x".repeat(8000)])).await;
    }
    gate.counts(10.0, "tidegate_queue_packets", &[]).await;
    for _ in 0..5 {
        clients[3].send("silence", json!(["x".repeat(8000)])).await;
    }

    assert_eq!(clients[3].disconnected().await, "transport close");
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "session_memory")]).await;
    gate.log().wait(&["session ended", "limits.session_memory"]).await;
    let metrics = gate.metrics().await;
    assert!(metrics.sum("tidegate_session_memory_bytes", &[]) <= 120_000.0, "{}", metrics.text);
    let away: usize = clients.iter().map(|client| client.untaken("disconnect")).sum();
    assert_eq!(away, 0, "nobody else");
}
