//! Request heads that two readers read in two ways: refused before either acts on them.

use crate::support::{Gate, Raw, Service, json, raw::UPGRADE, token};

/// Sends one head; its status, or 0 if the connection just ends.
async fn status(gate: &Gate, head: &str) -> u16 {
    let mut raw = Raw::connect(gate.address).await;
    raw.send(head.as_bytes()).await;
    raw.status().await
}

#[tokio::test]
async fn ambiguous_heads_are_refused() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    // {} stands for the line of a good request.
    let table = [
        (
            "length and chunks",
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("two lengths", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody"),
        ("a list of lengths", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 4\r\n\r\nbody"),
        ("a length with a sign", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nbody"),
        ("chunked twice", "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        ("another coding", "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("chunks in HTTP/1.0", "POST /echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("bare LF", "GET /headers HTTP/1.1\nHost: x\n\n"),
        ("one bare LF", "GET /headers HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n"),
        ("a bare CR", "GET /headers HTTP/1.1\r\nHost: x\r\nX-A: b\rc\r\n\r\n"),
        ("NUL", "GET /headers HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n"),
        ("a folded header", "GET /headers HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n"),
        ("a space before the colon", "GET /headers HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n\r\nbody"),
        ("a header without a name", "GET /headers HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n"),
        ("no host", "GET /headers HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET /headers HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
        ("a whole URL", "GET http://x/headers HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a fragment", "GET /headers#x HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a dot segment", "GET /x/../socket.io/x HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("an encoded slash", "GET /socket.io%2f..%2fheaders HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a backslash", "GET /\\socket.io HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("two spaces", "GET  /headers HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("two authorizations", "GET /headers HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n"),
        ("a trusted header as hop by hop", "GET /headers HTTP/1.1\r\nHost: x\r\nConnection: x-forwarded-for\r\n\r\n"),
        ("another version", "GET /headers HTTP/1.2\r\nHost: x\r\n\r\n"),
    ];
    for (what, head) in table {
        assert_eq!(status(&gate, head).await, 400, "{what}");
    }
    assert_eq!(status(&gate, "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n").await, 405);
    assert_eq!(service.seen().await["http"], json!([]));

    assert_eq!(status(&gate, "GET /headers HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\r\n").await, 200);
    let chunked = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    assert_eq!(status(&gate, chunked).await, 200);
}

#[tokio::test]
async fn a_second_request_in_a_body_stays_a_body() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let hidden = "GET /private HTTP/1.1\r\nHost: x\r\n\r\n";

    let mut raw = Raw::connect(gate.address).await;
    let head = format!("POST /lessons/generate HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", hidden.len());
    raw.send(format!("{head}{hidden}GET /sessions/plan HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .await;

    assert_eq!(raw.status().await, 201);
    assert!(raw.rest().await.contains("HTTP/1.1 200"), "the request behind it is served");
    let urls: Vec<_> =
        service.seen().await["http"].as_array().unwrap().iter().map(|seen| seen["url"].clone()).collect();
    assert_eq!(urls, ["/lessons/generate", "/sessions/plan"]);
}

#[tokio::test]
async fn nothing_behind_a_refused_upgrade_is_served() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("[[websocket]]\npath = \"/ws\"").await;

    for target in ["/ws", "/nowhere", "/socket.io/?EIO=3&transport=websocket"] {
        let mut raw = Raw::connect(gate.address).await;
        let upgrade = format!("GET {target} HTTP/1.1\r\n{UPGRADE}\r\n");
        raw.send(format!("{upgrade}GET /private HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        assert!((400..500).contains(&raw.status().await), "{target}");
        assert!(!raw.rest().await.contains("HTTP/1.1"), "{target}: one answer, and the end");
    }
    let seen = service.seen().await;
    assert_eq!((&seen["http"], &seen["upgrades"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn an_upgrade_is_exact_or_refused() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let target = format!("/socket.io/?EIO=4&transport=websocket&token={}", token("ada"));
    let but = |from: &str, to: &str| format!("GET {target} HTTP/1.1\r\n{}\r\n", UPGRADE.replace(from, to));

    for (what, head) in [
        ("another protocol", but("Upgrade: websocket", "Upgrade: h2c")),
        ("version 12", but("Version: 13", "Version: 12")),
        ("no key", but("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")),
        ("a short key", but("dGhlIHNhbXBsZSBub25jZQ==", "dGhl")),
        ("no Connection: upgrade", but("Connection: Upgrade", "Connection: keep-alive")),
        ("a body", but("Host: localhost", "Host: localhost\r\nContent-Length: 4")),
        ("POST", but("Host: localhost", "Host: localhost").replacen("GET", "POST", 1)),
        ("HTTP/1.0", but("Host: localhost", "Host: localhost").replacen("HTTP/1.1", "HTTP/1.0", 1)),
        ("two keys", but("Host: localhost", "Host: localhost\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")),
    ] {
        let status = status(&gate, &head).await;
        assert!((400..500).contains(&status), "{what}: {status}");
    }
    assert_eq!(status(&gate, &but("Version: 13", "Version: 8")).await, 426);
    assert_eq!(status(&gate, &but("websocket", "WebSocket")).await, 101);
    assert_eq!(service.seen().await["upgrades"], json!([]));
}

#[tokio::test]
async fn a_query_key_that_counts_may_not_be_repeated() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("auth.token_from = [\"query:token\"]").await;
    let good = token("ada");

    for query in [
        "EIO=4&EIO=3&transport=websocket",
        "EIO=4&transport=polling&transport=websocket",
        "EIO=4&transport=websocket&%45IO=3",
        &format!("EIO=4&transport=websocket&token={good}&token=nonsense"),
        &format!("EIO=4&transport=websocket&token={good}&t%6Fken=nonsense"),
    ] {
        assert_eq!(status(&gate, &format!("GET /socket.io/?{query} HTTP/1.1\r\n{UPGRADE}\r\n")).await, 400, "{query}");
    }
    let once = format!("EIO=4&transport=websocket&token={good}");
    assert_eq!(status(&gate, &format!("GET /socket.io/?{once} HTTP/1.1\r\n{UPGRADE}\r\n")).await, 101);
}

#[tokio::test]
async fn a_head_has_a_size() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let with = |headers: &str| format!("GET /headers HTTP/1.1\r\nHost: x\r\n{headers}\r\n");

    let long_value = with(&format!("X-A: {}\r\n", "a".repeat(20_000)));
    let many_headers = with(&(0..200).map(|n| format!("X-{n}: a\r\n")).collect::<String>());
    let long_target = format!("GET /headers?{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(16_000));

    assert_eq!(status(&gate, &long_value).await, 431);
    assert_eq!(status(&gate, &many_headers).await, 431);
    assert_eq!(status(&gate, &long_target).await, 414);
    assert_eq!(service.seen().await["http"], json!([]));
    assert_eq!(status(&gate, &with(&format!("X-A: {}\r\n", "a".repeat(15_000)))).await, 200);
}
