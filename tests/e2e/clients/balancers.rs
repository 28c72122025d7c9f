//! Health checks: HAProxy's own, and those of others byte for byte.

use crate::support::{
    Gate, Raw, Service,
    haproxy::{Backend, Haproxy},
    json, token,
};

/// The check that HAProxy does where nothing else is said: `OPTIONS / HTTP/1.0`, without a Host.
const DEFAULT: &str = "option httpchk";
/// A question to the server as a whole, as HAProxy's manual shows it.
const SERVER: &str = "option httpchk OPTIONS * HTTP/1.1\n http-check send hdr Host gate.example";
const READY: &str = "option httpchk OPTIONS /readyz";
/// HTTP/1.1, and still without a Host.
const READY_BY_GET: &str = "option httpchk\n http-check send meth GET uri /readyz ver HTTP/1.1";
const ALIVE_WITH_A_NAME: &str =
    "option httpchk\n http-check send meth HEAD uri /livez ver HTTP/1.1 hdr Host gate.example";

#[tokio::test]
async fn haproxy_finds_the_gate_up_as_it_finds_the_service() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("listen.trusted_proxies = [\"127.0.0.0/8\"]").await;
    let backend = |name, address, check| Backend { name, address, check };
    let backends = [
        backend("gate", gate.address, DEFAULT),
        backend("directly", service.address(), DEFAULT),
        backend("server", gate.address, SERVER),
        backend("server-directly", service.address(), SERVER),
        backend("ready", gate.admin_address(), READY),
        backend("ready-by-get", gate.admin_address(), READY_BY_GET),
        backend("alive", gate.admin_address(), ALIVE_WITH_A_NAME),
        backend("metrics", gate.admin_address(), "option httpchk OPTIONS /metrics"),
    ];

    let haproxy = Haproxy::start(&backends, None, "").await;

    for Backend { name, .. } in &backends[..7] {
        haproxy.log.wait(&[&format!("Health check for server {name}/one succeeded"), "Layer7 check passed"]).await;
    }
    haproxy.log.wait(&["Health check for server metrics/one failed", "code: 405"]).await;
    assert_eq!(haproxy.log.containing("gate/one failed"), [""; 0]);
    // And clients come through it.
    let client = gate.connect_at(&format!("http://{}", haproxy.address), json!({ "token": token("ada") })).await;
    client.connected().await;
    assert_eq!(client.ask("echo", json!(["through"])).await, "through");
}

#[tokio::test]
async fn a_request_of_http_1_0_needs_no_host_and_is_passed_on_with_the_services() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let answer = async |request: &str| {
        let mut raw = Raw::connect(gate.address).await;
        raw.send(request.as_bytes()).await;
        (raw.head().await, raw.rest().await)
    };

    let (head, body) = answer("GET /headers HTTP/1.0\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    let seen: crate::support::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(seen["headers"]["host"], service.address().to_string());
    assert!(seen["headers"]["x-forwarded-host"].is_null(), "nobody has named one: {seen}");
    let (head, body) = answer("POST /lessons/generate HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}").await;
    assert!(head.starts_with("HTTP/1.0 201 ") && body.contains("fractions"), "{head}{body}");
    // Engine.IO too, until its WebSocket, which HTTP/1.0 does not have.
    let (head, body) = answer("GET /socket.io/?EIO=4&transport=polling HTTP/1.0\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.0 200 ") && body.starts_with("0{\"sid\":"), "{head}{body}");
    // A page has an address, so it is not one of this request.
    let (head, _) =
        answer("GET /socket.io/?EIO=4&transport=polling HTTP/1.0\r\nOrigin: http://app.example\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.0 403 "), "{head}");
    // HTTP/1.1 names it, or Node refuses the request as well.
    for address in [gate.address, service.address()] {
        let mut raw = Raw::connect(address).await;
        raw.send(b"GET /headers HTTP/1.1\r\n\r\n").await;
        assert_eq!(raw.status().await, 400, "{address}");
    }
}

#[tokio::test]
async fn clients_of_a_proxy_are_told_apart_on_a_socket_of_ipv6_too() {
    let service = Service::start().await;
    let setup =
        Gate::before(&service).with("listen.trusted_proxies = [\"127.0.0.1/32\"]\nlimits.connections_per_ip = 2");
    let listens = format!("listen.address = \"[::ffff:127.0.0.1]:{}\"", setup.address().port());
    let gate = setup.with(&listens).await;
    let mut open = Vec::new();
    for (client, expected) in [(1, 101), (2, 101), (3, 101), (4, 101), (4, 101), (4, 429)] {
        let mut raw = Raw::connect(gate.address).await;
        let forwarded = format!("X-Forwarded-For: 192.0.2.{client}\r\n");
        raw.ask_upgrade("/socket.io/?EIO=4&transport=websocket", &forwarded).await;
        assert_eq!(raw.status().await, expected, "client {client}");
        open.push(raw);
    }
    // Nor does one who is no proxy become another.
    let mut raw = Raw::connect_from([127, 0, 0, 9].into(), gate.address).await;
    raw.ask_upgrade("/socket.io/?EIO=3&transport=websocket", "X-Forwarded-For: 192.0.2.9\r\n").await;
    assert_eq!(raw.status().await, 400);
    gate.log().wait(&["protocol_version", "\"peer\":\"127.0.0.9\""]).await;
}
