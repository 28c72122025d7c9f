//! HTTP/2: the same requests, the same rules.

use crate::support::{
    Gate, Pki, Service, eventually, json,
    pki::SecretFolder,
    tls::{Http2, TlsClient},
    token,
};

struct World {
    service: Service,
    gate: Gate,
    http2: Http2,
}

async fn world(settings: &str) -> World {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).with(settings).await;
    let http2 = TlsClient::new(&pki).http2(gate.address).await;
    World { service, gate, http2 }
}

#[tokio::test]
async fn a_request_reaches_the_service_as_over_http_1() {
    let mut world = world("").await;
    let headers = [("cookie", "a=1"), ("cookie", "b=2"), ("x-forwarded-for", "192.0.2.1"), ("te", "trailers")];
    let reply = world.http2.request("GET", "/headers?x=%20y", &headers, "").await.unwrap();

    assert_eq!(reply.status, 200);
    assert_eq!(world.service.seen().await["http"][0]["url"], "/headers?x=%20y");
    let seen = reply.json();
    assert_eq!(seen["headers"]["cookie"], "a=1; b=2");
    assert_eq!(seen["headers"]["host"], format!("localhost:{}", world.gate.address.port()));
    assert_eq!(seen["headers"]["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["headers"]["x-forwarded-proto"], "https");
    assert_eq!(seen["headers"]["te"], json!(null));

    let reply = world.http2.request("POST", "/echo", &[("content-type", "text/plain")], "a body").await.unwrap();
    assert!(reply.text().contains("a body"), "{}", reply.text());
}

#[tokio::test]
async fn what_is_refused_over_http_1_is_refused() {
    let mut world = world("limits.header_bytes = \"4KB\"").await;
    let long = "x".repeat(9000);
    for (method, target, headers, status) in [
        ("GET", "/a/../socket.io/", vec![], 400),
        ("GET", "/socket.io%2f%2e%2e", vec![], 400),
        ("GET", "//socket.io/", vec![], 400),
        ("TIDEGATE-REFUSED", "/", vec![], 400),
        ("GET", "/", vec![("host", "other.test")], 400),
        ("GET", "/", vec![("authorization", "a"), ("authorization", "b")], 400),
        ("GET", "/", vec![("x-long", long.as_str())], 431),
        ("GET", "/socket.io/?EIO=4&transport=websocket", vec![], 400),
    ] {
        let reply = world.http2.request(method, target, &headers, "").await.unwrap();
        assert_eq!(reply.status, status, "{method} {target}: {}", String::from_utf8_lossy(&reply.body));
    }
    assert_eq!(world.http2.request("GET", "/headers", &[], "").await.unwrap().status, 200, "the connection goes on");
    assert_eq!(world.service.seen().await["http"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_by_polling_has_its_requests_on_one_connection() {
    let world = world("").await;
    let mut http2 = world.http2.clone();
    let base = "/socket.io/?EIO=4&transport=polling";
    let open = http2.request("GET", base, &[], "").await.unwrap();
    let sid = serde_json::from_slice::<serde_json::Value>(&open.body[1..]).unwrap()["sid"].as_str().unwrap().to_owned();
    let target = format!("{base}&sid={sid}");

    let connect = format!("40{{\"token\":\"{}\"}}", token("ada"));
    assert_eq!(http2.request("POST", &target, &[], &connect).await.unwrap().text(), "ok");
    assert!(http2.request("GET", &target, &[], "").await.unwrap().text().starts_with("40{\"sid\""));
    let mut poll = world.http2.clone();
    let (polled, posted) =
        tokio::join!(poll.request("GET", &target, &[], ""), http2.request("POST", &target, &[], "421[\"echo\",1]"));
    assert_eq!((polled.unwrap().text(), posted.unwrap().text()), ("431[1]", "ok"));
    world.gate.counts(1.0, "tidegate_sessions", &[("transport", "polling")]).await;
    world.gate.counts(1.0, "tidegate_tls_handshakes_total", &[("result", "full")]).await;
}

#[tokio::test]
async fn sessions_of_one_connection_count_one_by_one() {
    let mut world = world("limits.connections_per_ip = 5").await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let open = world.http2.request("GET", "/socket.io/?EIO=4&transport=polling", &[], "").await.unwrap();
        statuses.push(open.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 429, 429], "the connection itself is the fifth");
    world.gate.counts(4.0, "tidegate_sessions", &[("transport", "polling")]).await;
}

#[tokio::test]
async fn a_connection_over_the_limit_hears_so_and_is_closed() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).with("limits.connections_per_ip = 1").await;
    let (_first, mut second) =
        (TlsClient::new(&pki).http2(gate.address).await, TlsClient::new(&pki).http2(gate.address).await);
    let refused = second.request("GET", "/headers", &[], "").await.unwrap();
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("limit.connections_per_ip")));
    eventually("it is closed", async || second.clone().request("GET", "/", &[], "").await.is_err().then_some(())).await;
}

#[tokio::test]
async fn a_drain_ends_a_connection_that_is_idle() {
    let mut world = world("").await;
    assert_eq!(world.http2.request("GET", "/headers", &[], "").await.unwrap().status, 200);
    world.gate.signal("TERM");
    assert_eq!(world.gate.exit().await, Some(0));
    assert!(world.http2.request("GET", "/headers", &[], "").await.is_err());
}

#[tokio::test]
async fn a_payload_that_does_not_come_is_not_waited_for() {
    let world = world("").await;
    let mut http2 = world.http2.clone();
    let base = "/socket.io/?EIO=4&transport=polling";
    let open = http2.request("GET", base, &[], "").await.unwrap();
    let sid = serde_json::from_slice::<serde_json::Value>(&open.body[1..]).unwrap()["sid"].as_str().unwrap().to_owned();

    let late = http2.post_nothing(&format!("{base}&sid={sid}")).await;
    assert_eq!(late.status, 408, "{}", late.text());
}
