//! What the operator is told of a service that is down: once, whoever dialled it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::support::{Gate, Service, eventually, http, json, token};

/// The condition `upstream` of `/readyz`, which is 200 whatever the service does.
async fn upstream(gate: &Gate) -> serde_json::Value {
    let ready = http::get(&gate.admin_url("/readyz")).await;
    assert_eq!(ready.status, 200, "taking the node out would not help");
    let conditions = ready.json()["conditions"].clone();
    conditions.as_array().unwrap().iter().find(|condition| condition["name"] == "upstream").unwrap().clone()
}

/// How many lines there are of the beginning of an outage, and of its end.
fn lines(gate: &Gate) -> (usize, usize) {
    let count = |part| gate.log().containing(part).len();
    (count("the service is down;"), count("the service is back"))
}

#[tokio::test]
async fn a_service_that_is_asked_over_http_alone_is_seen_to_go_and_to_come_back() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).await;
    let plan = format!("{}/sessions/plan", gate.url());
    let untried = upstream(&gate).await;
    assert_eq!((&untried["ok"], &untried["why"]), (&json!(true), &json!("not tried yet")));
    assert_eq!(http::get(&plan).await.status, 200);
    gate.counts(1.0, "tidegate_upstream_up", &[]).await;
    gate.counts(1.0, "tidegate_upstream_dials_total", &[("result", "ok")]).await;

    service.kill().await;
    for _ in 0..5 {
        assert_eq!(http::get(&plan).await.status, 502);
    }

    eventually("the outage is told", async || (lines(&gate) == (1, 0)).then_some(())).await;
    gate.counts(0.0, "tidegate_upstream_up", &[]).await;
    assert!(gate.metrics().await.sum("tidegate_upstream_dials_total", &[("result", "failed")]) >= 4.0);
    let down = upstream(&gate).await;
    assert_eq!(down["ok"], false);
    assert!(down["why"].as_str().unwrap().contains("cannot connect to the service at 127.0.0.1:"), "{down}");
    assert!(down["since"].as_str().unwrap().ends_with(" GMT"), "{down}");

    service.restart().await;
    assert_eq!(http::get(&plan).await.status, 200);
    eventually("its end is told", async || (lines(&gate) == (1, 1)).then_some(())).await;
    gate.counts(1.0, "tidegate_upstream_up", &[]).await;
    assert_eq!(upstream(&gate).await["ok"], true);
}

#[tokio::test]
async fn a_plain_route_tells_of_the_service_too() {
    let mut service = Service::plain().await;
    let gate = Gate::before(&service).with("auth.token_from = [\"query:token\"]\n[[websocket]]\npath = \"/ws\"").await;
    let target = format!("/ws?token={}", token("ada"));
    service.kill().await;

    assert_eq!(gate.websocket(&target, &[]).await.unwrap_err(), 502);

    gate.log().wait(&["\"stage\":\"handshake\"", "\"reason\":\"upstream.unreachable\""]).await;
    eventually("the outage is told", async || (lines(&gate) == (1, 0)).then_some(())).await;
    assert_eq!(upstream(&gate).await["ok"], false);
    service.restart().await;
    let _client = gate.websocket(&target, &[]).await.unwrap();
    eventually("its end is told", async || (lines(&gate) == (1, 1)).then_some(())).await;
    assert_eq!(upstream(&gate).await["ok"], true);
}

/// Sessions that lose it, sessions that come meanwhile and forwarded requests all dial, on several workers.
#[tokio::test]
async fn an_outage_has_two_lines_however_many_dial() {
    let mut service = Service::start().await;
    // A dial that a service on a busy machine answers late is no outage.
    let times = "upstream.connect_timeout = \"30s\"\nsession.hold = \"5m\"";
    let gate = Gate::before(&service).with("listen.workers = 4").with(times).await;
    let mut clients = Vec::new();
    for _ in 0..25 {
        clients.push(gate.client(token("ada")).await);
    }
    let (ends, plan) = (Arc::new(AtomicBool::new(false)), format!("{}/sessions/plan", gate.url()));
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let (ends, plan) = (Arc::clone(&ends), plan.clone());
            tokio::spawn(async move {
                while !ends.load(Relaxed) {
                    let _ = http::try_request("GET", &plan, &[], "").await;
                }
            })
        })
        .collect();

    for outage in 1..=2 {
        service.kill().await;
        gate.counts(0.0, "tidegate_upstream_up", &[]).await;
        for _ in 0..25 / outage {
            clients.push(gate.connect(json!({ "token": token("bob") })).await);
        }
        service.restart().await;
        gate.counts(1.0, "tidegate_upstream_up", &[]).await;
        for client in &clients {
            assert_eq!(client.ask("echo", json!([1])).await, 1);
        }
        eventually("the outage is told", async || (lines(&gate) == (outage, outage)).then_some(())).await;
    }

    ends.store(true, Relaxed);
    for task in asking {
        task.await.unwrap();
    }
    assert_eq!(lines(&gate), (2, 2), "{:#?}", gate.log().containing("the service is"));
}
