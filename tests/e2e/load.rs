//! Many stock clients at once: nothing lost, nothing twice, nothing out of order, and the figures agree.

use crate::support::{Gate, Service, Value, json, token};

/// A gate whose dials are not given up and made again where a service on a busy machine answers late.
async fn gate(service: &Service, settings: &str) -> Gate {
    Gate::before(service).with("upstream.connect_timeout = \"1m\"").with(settings).await
}

/// What `tests/upstream/flood.mjs` tells of so many clients, over what the scenario says.
async fn flood(gate: &Gate, clients: u32, events: u32, with: Value) -> Value {
    let mut flood = json!({
        "url": gate.url(),
        "tokens": [token("ada"), token("bob"), token("eve")],
        "clients": clients,
        "events": events,
        "event": "agent:learning",
        "data": { "action": "process_answer", "answer": "42" },
    });
    flood.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    let total = gate.driver().await.call("flood", flood).await.unwrap();
    assert_eq!(total["acked"], json!(clients * events), "{total}");
    for fault in ["lost", "doubled", "disordered", "disconnected"] {
        assert_eq!(total[fault], 0, "{fault}: {total}");
    }
    total
}

/// Gate and service agree with the clients, who have left.
async fn assert_figures(gate: &Gate, service: &Service, clients: u32, events: u32) {
    let seen = service.seen().await;
    assert_eq!(seen["received"]["agent:learning"], json!(clients * events));
    assert_eq!((&seen["disordered"], &seen["faults"]), (&json!(0), &json!([])));
    assert_eq!(seen["upgrades"].as_array().unwrap().len(), clients as usize);
    assert_eq!((&seen["polls"], &seen["http"]), (&json!([]), &json!([])), "it saw websockets alone");

    let (all, clients) = (f64::from(clients * events), f64::from(clients));
    gate.counts(0.0, "websocket_connections_total", &[]).await;
    gate.counts(0.0, "tidegate_sessions", &[]).await;
    gate.counts(clients, "websocket_connections_count", &[]).await;
    gate.counts(clients, "websocket_disconnections_total", &[]).await;
    gate.counts(all, "websocket_messages_received_total", &[("event", "agent:learning")]).await;
    gate.counts(all, "websocket_message_latency_ms_count", &[("event", "agent:learning")]).await;
    gate.counts(0.0, "websocket_errors_total", &[]).await;
}

#[tokio::test]
async fn a_thousand_clients_get_every_answer_once_and_in_order() {
    let service = Service::start().await;
    let gate = gate(&service, "limits.connections_per_ip = 2000").await;

    flood(&gate, 1000, 20, json!({ "options": { "transports": ["websocket"] } })).await;

    assert_figures(&gate, &service, 1000, 20).await;
}

#[tokio::test]
async fn five_hundred_clients_that_only_poll_get_and_send_everything_once_and_in_order() {
    let service = Service::start().await;
    // Each has a session, a GET and a POST.
    let gate = gate(&service, "limits.connections_per_ip = 2000").await;

    let total =
        flood(&gate, 500, 20, json!({ "options": { "transports": ["polling"] }, "counted": 20, "everyMs": 5 })).await;

    assert_eq!((&total["counted"], &total["upgraded"]), (&json!(500 * 20), &json!(0)), "{total}");
    assert_figures(&gate, &service, 500, 20).await;
    gate.counts(500.0 * 20.0, "websocket_messages_sent_total", &[("event", "counted")]).await;
    gate.counts(0.0, "tidegate_upgrades_total", &[]).await;
}

#[tokio::test]
async fn fifty_clients_that_upgrade_amid_a_stream_of_events_lose_none() {
    let service = Service::start().await;
    let gate = gate(&service, "rate_limit = []").await;

    let options = json!({ "transports": ["polling", "websocket"] });
    let total = flood(&gate, 50, 200, json!({ "options": options, "counted": 200, "everyMs": 1 })).await;

    assert_eq!((&total["counted"], &total["upgraded"]), (&json!(50 * 200), &json!(50)), "{total}");
    assert_figures(&gate, &service, 50, 200).await;
    gate.counts(50.0 * 200.0, "websocket_messages_sent_total", &[("event", "counted")]).await;
    gate.counts(50.0, "tidegate_upgrades_total", &[("result", "ok")]).await;
    gate.counts(50.0, "tidegate_upgrades_total", &[]).await;
}
