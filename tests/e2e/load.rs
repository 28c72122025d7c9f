//! A thousand stock clients at once: nothing lost, nothing twice, nothing out of order, and the figures agree.

use crate::support::{Gate, Service, json, token};

const CLIENTS: u32 = 1000;
const EVENTS: u32 = 20;

#[tokio::test]
async fn a_thousand_clients_get_every_answer_once_and_in_order() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("limits.connections_per_ip = 2000").await;
    let driver = gate.driver().await;

    let total = driver
        .call(
            "flood",
            json!({
                "url": gate.url(),
                "options": { "transports": ["websocket"] },
                "tokens": [token("ada"), token("bob"), token("eve")],
                "clients": CLIENTS,
                "events": EVENTS,
                "event": "agent:learning",
                "data": { "action": "process_answer", "answer": "42" },
            }),
        )
        .await
        .unwrap();

    let all = f64::from(CLIENTS * EVENTS);
    assert_eq!(total["acked"], json!(CLIENTS * EVENTS), "{total}");
    for fault in ["lost", "doubled", "disordered", "disconnected"] {
        assert_eq!(total[fault], 0, "{total}");
    }
    let seen = service.seen().await;
    assert_eq!(seen["received"]["agent:learning"], json!(CLIENTS * EVENTS));
    assert_eq!((&seen["disordered"], &seen["faults"]), (&json!(0), &json!([])));

    let clients = f64::from(CLIENTS);
    gate.counts(0.0, "websocket_connections_total", &[]).await;
    gate.counts(clients, "websocket_connections_count", &[]).await;
    gate.counts(clients, "websocket_disconnections_total", &[]).await;
    gate.counts(all, "websocket_messages_received_total", &[("event", "agent:learning")]).await;
    gate.counts(all, "websocket_message_latency_ms_count", &[("event", "agent:learning")]).await;
    gate.counts(0.0, "websocket_errors_total", &[]).await;
}
