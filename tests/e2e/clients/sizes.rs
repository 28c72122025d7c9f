//! Large tokens and heads: what the settings allow.

use crate::support::{
    Gate, Pki, Raw, Service, http, json,
    pki::SecretFolder,
    raw::UPGRADE,
    tls::TlsClient,
    token::{SECRET, now, signed},
};

/// A token of 11 KB: one with many groups in it.
fn large_token(bytes: usize) -> String {
    signed(&json!({ "sub": "ada", "exp": now() + 3600, "groups": "g".repeat(bytes * 3 / 4) }), SECRET)
}

const PLACES: &str = "auth.token_from = [\"connect:token\", \"header\", \"query:token\", \"cookie:session\", \"subprotocol\"]\n\
    [[websocket]]\npath = \"/ws\"";

#[tokio::test]
async fn a_large_token_is_taken_wherever_it_stands() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(PLACES).await;
    let token = large_token(11_000);
    assert!(token.len() > 11_000 && token.len() < 11_500, "{}", token.len());
    for (target, headers) in [
        ("/ws".to_owned(), vec![("authorization", format!("Bearer {token}"))]),
        ("/ws".to_owned(), vec![("cookie", format!("a=b; session={token}"))]),
        ("/ws".to_owned(), vec![("sec-websocket-protocol", format!("echo.v1, bearer, {token}"))]),
        (format!("/ws?token={token}"), vec![]),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let shown: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        let client = gate.websocket(&target, &headers).await;
        assert!(client.is_ok(), "{shown:?}: {client:?}");
    }
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(PLACES).await;
    gate.client(token).await;
}

#[tokio::test]
async fn a_large_token_is_taken_as_far_as_the_settings_allow() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service)
        .with(&format!("limits.header_bytes = \"512KB\"\nsocketio.max_connect = \"256KiB\"\n{PLACES}"))
        .await;
    gate.client(large_token(200_000)).await;
    let refused = gate.connect(json!({ "token": large_token(280_000) })).await;
    let error = refused.next("connect_error").await;
    assert_eq!(error[1]["code"], "connect_too_big", "its own code: {error}");

    let target = "/socket.io/?EIO=4&transport=websocket";
    let with = |token: &str| format!("GET {target} HTTP/1.1\r\n{UPGRADE}Authorization: Bearer {token}\r\n\r\n");
    let mut raw = Raw::connect(gate.address).await;
    raw.send(with(&large_token(450_000)).as_bytes()).await;
    assert_eq!(raw.status().await, 101);
    let mut raw = Raw::connect(gate.address).await;
    let _ = raw.try_send(with(&large_token(600_000)).as_bytes()).await;
    let answer = raw.answer().await;
    assert!(answer.starts_with("HTTP/1.1 431") && answer.contains("http_too_large"), "its own code: {answer}");
}

#[tokio::test]
async fn a_head_is_as_large_as_the_settings_say() {
    let service = Service::start().await;
    for (settings, fields, bytes) in
        [("", 100, 15_000), ("limits.header_fields = 300\nlimits.header_bytes = \"15KB\"", 300, 14_000)]
    {
        let gate = Gate::before(&service).with(settings).await;
        let status = async |fields: usize, value: usize, target: usize| {
            let lines: String = (1..fields).map(|n| format!("X-{n}: a\r\n")).collect();
            let (value, target) = ("v".repeat(value), "t".repeat(target));
            let mut raw = Raw::connect(gate.address).await;
            let head = format!("GET /headers?{target} HTTP/1.1\r\nHost: x\r\n{lines}X-V: {value}\r\n\r\n");
            raw.send(head.as_bytes()).await;
            raw.status().await
        };
        assert_eq!(status(fields - 1, 0, 0).await, 200, "{fields} fields");
        assert_eq!(status(fields, 0, 0).await, 431, "{fields} fields and one more");
        assert_eq!(status(1, bytes - 100, 0).await, 200, "one value");
        assert_eq!(status(1, 0, bytes - 100).await, 200, "the target");
        assert_eq!(status(1, bytes + 1_000, 0).await, 431);
        assert_eq!(status(1, 0, bytes + 1_000).await, 414);
    }
}

#[tokio::test]
async fn the_same_sizes_hold_over_http_2() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).await;
    let mut client = TlsClient::new(&pki).http2(gate.address).await;
    let names: Vec<_> = (0..101).map(|n| format!("x-{n}")).collect();
    let fields = |count: usize| names[..count].iter().map(|name| (name.as_str(), "a")).collect::<Vec<_>>();
    let long = "v".repeat(14_500);
    let longer = "v".repeat(16_500);
    for (what, target, headers, status) in [
        ("a value", "/headers".to_owned(), vec![("x-long", long.as_str())], 200),
        ("the target", format!("/headers?{long}"), vec![], 200),
        ("fields", "/headers".to_owned(), fields(95), 200),
        ("a longer value", "/headers".to_owned(), vec![("x-long", longer.as_str())], 431),
        ("a longer target", format!("/headers?{longer}"), vec![], 431),
        ("more fields", "/headers".to_owned(), fields(101), 431),
    ] {
        let reply = client.request("GET", &target, &headers, "").await.unwrap();
        assert_eq!(reply.status, status, "{what}: {}", String::from_utf8_lossy(&reply.body));
    }
    let plain = http::get(&format!("{}/headers", service.url())).await;
    assert_eq!(plain.status, 200);
}
