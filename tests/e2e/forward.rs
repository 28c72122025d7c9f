//! Everything that is neither Socket.IO nor a WebSocket route reaches the service as ordinary HTTP, and its answer the
//! client.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;

use crate::support::{Gate, Raw, Service, http, json, soon, token};

#[tokio::test]
async fn requests_and_answers_pass_as_they_are() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    let plan = http::get(&format!("{}/sessions/plan?learner=ada&x=%2Fa%20b", gate.url())).await;
    let lesson = http::post(&format!("{}/lessons/generate", gate.url()), &json!({ "topic": "é" })).await;
    let nothing = http::get(&format!("{}/nowhere", gate.url())).await;
    let teapot = http::get(&format!("{}/teapot", gate.url())).await;
    let metrics = http::get(&format!("{}/metrics", gate.url())).await;

    assert_eq!(plan.status, 200);
    assert_eq!(plan.json()["url"], "/sessions/plan?learner=ada&x=%2Fa%20b", "byte for byte");
    assert_eq!((lesson.status, lesson.header("x-lesson")), (201, Some("fractions")));
    assert_eq!(lesson.json()["bytes"], 14);
    assert_eq!((nothing.status, nothing.json()["error"].as_str()), (404, Some("nothing at /nowhere")));
    assert_eq!(teapot.status, 418);
    assert!(metrics.json()["uptime"].is_number(), "the service's own metrics, not the gate's");
}

#[tokio::test]
async fn a_head_request_has_a_length_and_no_body() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    let head = http::request("HEAD", &format!("{}/sessions/plan", gate.url()), &[], "").await;

    assert_eq!((head.status, head.header("content-length")), (200, Some("64")));
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let body: Vec<u8> = (0..20_000_000_u32).map(|at| (at % 251) as u8).collect();

    let echoed = http::request("POST", &format!("{}/echo", gate.url()), &[], body.clone()).await;

    assert_eq!(echoed.status, 200);
    assert!(echoed.body == body, "{} bytes came back", echoed.body.len());
}

#[tokio::test]
async fn a_stream_is_not_held_back() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let stream = http::begin("GET", &format!("{}/stream", gate.url()), &[], "").await.unwrap();
    let mut body = stream.into_body();

    // Each part is sent only after the one before it was read.
    for part in ["one\n", "two\n", "three\n"] {
        let frame = soon("a part of the stream", body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), part);
        http::post(&format!("{}/stream/next", service.url()), &json!({})).await;
    }
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn hop_by_hop_headers_end_here_and_others_pass() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(r#"auth.forward_claims = { "x-user-id" = "sub" }"#).await;
    let sent = [
        ("accept-language", "de, en;q=0.5"),
        ("authorization", "Bearer of the service's own"),
        ("cookie", "a=b; c=d"),
        ("connection", "close, x-hop"),
        ("x-hop", "ends here"),
        ("te", "trailers"),
        ("x-user-id", "root"),
        ("x-forwarded-for", "203.0.113.7"),
    ];

    let reply = http::request("GET", &format!("{}/headers", gate.url()), &sent, "").await;

    let headers = reply.json()["headers"].clone();
    assert_eq!(headers["accept-language"], "de, en;q=0.5");
    assert_eq!(headers["authorization"], "Bearer of the service's own");
    assert_eq!(headers["cookie"], "a=b; c=d");
    assert_eq!(headers["host"], gate.address.to_string(), "the service sees the name the client asked for");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    for gone in ["x-hop", "x-user-id", "te"] {
        assert!(headers.get(gone).is_none(), "{gone}: {headers}");
    }
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

#[tokio::test]
async fn the_client_bundle_of_socketio_is_served() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    let bundle = http::get(&format!("{}/socket.io/socket.io.js", gate.url())).await;

    assert_eq!(bundle.status, 200);
    assert!(bundle.text().contains("Socket.IO v4"), "{}", &bundle.text()[..200]);
}

#[tokio::test]
async fn no_path_leads_round_the_gate_to_the_engine() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).await;

    for path in [
        "/socket.io/extra/",
        "//socket.io/",
        "/socket%2Eio/",
        "/%2573ocket.io",
        "/x%2fy/../socket.io/",
        "/\\socket.io/",
        "/socket.io/../x",
        "/x/../socket.io/",
        "/./socket.io/",
        "/socket.io%2f",
        "/socket.io/socket.io.js",
    ] {
        let polling = format!("{path}?EIO=4&transport=polling");
        let mut raw = Raw::connect(gate.address).await;
        raw.send(format!("GET {polling} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
        let status = raw.status().await;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    assert_eq!(service.transports().await, 0);
    gate.client(token("ada")).await;
    assert_eq!(service.transports().await, 1);
}

#[tokio::test]
async fn a_service_that_is_down_is_a_502() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).await;
    service.kill().await;

    let down = http::get(&format!("{}/sessions/plan", gate.url())).await;
    service.restart().await;
    let up = http::get(&format!("{}/sessions/plan", gate.url())).await;
    let broken = http::get(&format!("{}/broken", gate.url())).await;

    assert_eq!((down.status, &down.json()["code"]), (502, &json!("upstream.unreachable")));
    assert_eq!(up.status, 200);
    assert_eq!((broken.status, &broken.json()["code"]), (502, &json!("upstream.broken")));
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_a_504() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(r#"upstream.response_timeout = "500ms""#).await;

    let began = Instant::now();
    let never = http::get(&format!("{}/never", gate.url())).await;

    assert_eq!((never.status, &never.json()["code"]), (504, &json!("upstream.timeout")));
    assert!(began.elapsed() >= Duration::from_millis(500));
}
