//! The figures are what happened, under the names that dashboards ask for.

use std::process::Stdio;

use tokio::{io::AsyncWriteExt, process::Command};

use crate::support::{Gate, Service, Value, http, json, token};

/// The names that dashboards of Socket.IO services know, with their types.
const PROMISED: [(&str, &str); 8] = [
    ("websocket_connections_total", "gauge"),
    ("websocket_connections_count", "counter"),
    ("websocket_disconnections_total", "counter"),
    ("websocket_messages_sent_total", "counter"),
    ("websocket_messages_received_total", "counter"),
    ("websocket_message_latency_ms", "histogram"),
    ("websocket_errors_total", "counter"),
    ("websocket_active_sessions", "gauge"),
];

/// A little of everything: two sessions, one of which leaves, events both ways, a refusal.
async fn use_it(gate: &Gate, service: &Service) {
    let ada = gate.client(token("ada")).await;
    let bob = gate.client(token("bob")).await;
    for seq in 0..7 {
        ada.ask("agent:learning", json!([{ "action": "process_answer", "answer": "tired", "seq": seq }])).await;
    }
    ada.ask("agent:tutor", json!([{ "input": "hi" }])).await;
    ada.ask("agent:speech", json!([{ "audioBuffer": { "$binary": "AAEC" } }])).await;
    bob.send("silence", json!([])).await;
    bob.ask("echo", json!([1])).await;
    service.emit("ada", "tutor:message", json!(["from the service"])).await;
    ada.next("tutor:message").await;
    ada.next("tutor:message").await;
    bob.disconnect().await;
    service.disconnection().await;
}

#[tokio::test]
async fn what_is_counted_is_what_happened() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    use_it(&gate, &service).await;

    gate.counts(1.0, "websocket_connections_total", &[]).await;
    gate.counts(1.0, "websocket_active_sessions", &[]).await;
    gate.counts(2.0, "websocket_connections_count", &[]).await;
    gate.counts(1.0, "websocket_disconnections_total", &[]).await;
    let seen = service.seen().await;
    let metrics = gate.metrics().await;
    let per_event = |name: &str, seen: &Value| {
        for (event, times) in seen.as_object().unwrap() {
            assert_eq!(metrics.sum(name, &[("event", event)]), times.as_f64().unwrap(), "{name} of {event}");
        }
    };
    per_event("websocket_messages_received_total", &seen["received"]);
    per_event("websocket_messages_sent_total", &seen["emitted"]);
    assert_eq!(seen["emitted"]["tutor:message"], 2);

    let latency =
        |part: &str, event: &str| metrics.sum(&format!("websocket_message_latency_ms_{part}"), &[("event", event)]);
    assert_eq!(latency("count", "agent:learning"), 7.0);
    assert_eq!(latency("count", "echo"), 1.0);
    assert_eq!(latency("count", "silence"), 0.0, "nobody asked for its ack");
    assert!(latency("sum", "agent:learning") > 0.0);
}

#[tokio::test]
async fn the_promised_metrics_have_their_names_and_types() {
    let service = Service::start().await;
    let gate = Gate::before(&service)
        .with(
            r#"metrics.latency_buckets_ms = [1, 5, 10]
               [[rate_limit]]
               events = ["agent:learning"]
               messages = 1
               per = "1h""#,
        )
        .await;

    use_it(&gate, &service).await;

    let metrics = gate.metrics().await;
    for (name, kind) in PROMISED {
        assert!(metrics.text.contains(&format!("# TYPE {name} {kind}\n")), "{name} is a {kind}:\n{}", metrics.text);
    }
    let of_echo = |(labels, _): &(&str, f64)| labels.contains("event=\"echo\"");
    let buckets: Vec<_> = metrics.samples("websocket_message_latency_ms_bucket").filter(of_echo).collect();
    let le = |bound: &str| buckets.iter().any(|(labels, _)| labels.contains(&format!("le=\"{bound}\"")));
    assert!(le("1") && le("5") && le("10") && le("+Inf") && buckets.len() == 4, "{buckets:?}");
}

#[tokio::test]
async fn promtool_objects_to_the_fixed_names_only() {
    let service = Service::start().await;
    let gate =
        Gate::before(&service).with("[[rate_limit]]\nevents = [\"agent:tutor\"]\nmessages = 1\nper = \"1h\"").await;
    use_it(&gate, &service).await;
    let hostile = gate.client(token("eve")).await;
    for name in ["a\"b\\c\nd", "{x=\"y\"} 1", "é∴🌊", "", " "] {
        hostile.send(name, json!([])).await;
    }
    hostile.ask("echo", json!([1])).await;

    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is in Debian's package `prometheus`");
    let page = gate.metrics().await.text;
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).await.unwrap();
    let output = promtool.wait_with_output().await.unwrap();

    let remarks = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let unexpected: Vec<_> = remarks.lines().filter(|line| !line.starts_with("websocket_")).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    assert!(matches!(output.status.code(), Some(0 | 3)), "{remarks}");
}

#[tokio::test]
async fn names_that_clients_make_up_do_not_fill_the_memory() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("rate_limit = []\nmetrics.event_names = 5").await;
    let client = gate.client(token("ada")).await;

    for n in 0..40 {
        client.send(&format!("made-up-{n}"), json!([])).await;
    }
    client.ask("echo", json!([1])).await;

    let metrics = gate.metrics().await;
    let received = metrics.samples("websocket_messages_received_total").count();
    assert!(received <= 6, "{received} names");
    assert!(metrics.sum("websocket_messages_received_total", &[("event", "other")]) >= 30.0);
    assert_eq!(metrics.sum("websocket_messages_received_total", &[]), 41.0, "none is lost");
}

#[tokio::test]
async fn the_page_is_at_both_paths_and_not_on_the_clients_side() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    let short = http::get(&gate.admin_url("/metrics")).await;
    let long = http::get(&gate.admin_url("/metrics/prometheus")).await;
    let outside = http::get(&format!("{}/metrics/prometheus", gate.url())).await;

    for page in [&short, &long] {
        assert_eq!(page.status, 200);
        assert!(page.header("content-type").unwrap().starts_with("text/plain"), "{page:?}");
        assert!(page.text().contains("websocket_connections_total"));
    }
    assert_eq!(outside.status, 404, "the service's answer: it has no such page");
}
