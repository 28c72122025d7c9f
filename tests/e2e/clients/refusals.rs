//! Every refusal is findable: one line with the peer, the rule, what was seen and the setting, and nothing secret.

use std::collections::BTreeSet;

use crate::support::{
    Gate, Poller, Raw, Service, Value, eventually,
    frame::{BINARY, masked},
    http, json,
    raw::UPGRADE,
    token::{token, token_for},
};

/// Stands where secrets stand: no line may have it.
const SECRET: &str = "canary-5f2b9c1e7a";

const REFUSED: &str = "tidegate_refused_total";

const SETTINGS: &str = r#"
    auth.token_from = ["connect:token", "header", "query:token"]
    limits.handshake_timeout = "5s"
    socketio.connect_timeout = "5s"
    socketio.max_payload = "10KB"
    socketio.payload_packets = 10
    socketio.namespaces = ["/"]
    socketio.transports = ["websocket", "polling"]
    [[websocket]]
    path = "/ws"
"#;

/// What is refused of a request: where, by which rule, what the line shows, and the setting in it.
struct Case {
    head: String,
    stage: &'static str,
    reason: &'static str,
    shows: &'static str,
    setting: Option<&'static str>,
}

fn case(
    head: impl Into<String>,
    stage: &'static str,
    reason: &'static str,
    shows: &'static str,
    setting: impl Into<Option<&'static str>>,
) -> Case {
    Case { head: head.into(), stage, reason, shows, setting: setting.into() }
}

/// A request with a cookie, which is a secret.
fn get(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nCookie: session={SECRET}\r\n{lines}\r\n")
}

fn upgrade(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{UPGRADE}Cookie: session={SECRET}\r\n{lines}\r\n")
}

fn post(target: &str, lines: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nCookie: session={SECRET}\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Requests that need no session.
fn requests() -> Vec<Case> {
    [heads(), routed(), at_endpoints()].into_iter().flatten().collect()
}

/// A URL of Engine.IO, with a token in it.
fn engine(query: &str) -> String {
    format!("/socket.io/?{query}&token={SECRET}")
}

/// Heads that the guard refuses.
fn heads() -> Vec<Case> {
    let fields = |count: usize| (0..count).map(|n| format!("X-{n}: {SECRET}\r\n")).collect::<String>();
    vec![
        case("\x16\x03\x01\x02\0\x01\r\n\r\n", "head", "http_syntax", "\\\\x16\\\\x03", None),
        case(format!("GET /a#{SECRET} HTTP/1.1\r\nHost: x\r\n\r\n"), "head", "http_syntax", "GET /a HTTP/1.1", None),
        case(format!("GET http://u:{SECRET}@x/ HTTP/1.1\r\nHost: x\r\n\r\n"), "head", "http_syntax", "GET <", None),
        case(get("/", &format!("X-Key : {SECRET}\r\n")), "head", "http_syntax", "GET / HTTP/1.1, X-Key", None),
        case(get("/", &format!("X-Key: a\r\n {SECRET}\r\n")), "head", "http_syntax", "begins with a blank", None),
        case("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", "head", "http_method", "CONNECT", None),
        case("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "head", "http_host", "Host: a b", None),
        case(
            get("/", &format!("Authorization: {SECRET}\r\nauthorization: {SECRET}\r\n")),
            "head",
            "http_duplicate",
            ", authorization",
            None,
        ),
        case(
            get("/", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
            "head",
            "http_framing",
            "GET / HTTP/1.1",
            None,
        ),
        case(get("/", &fields(150)), "head", "http_too_large", "GET /", "limits.header_bytes, limits.header_fields"),
        case(
            get(&format!("/?{}", SECRET.repeat(2_000)), ""),
            "head",
            "http_too_large",
            "bytes so far",
            "limits.header_bytes, limits.header_fields",
        ),
        case("GET /slow HTTP/1.1\r\n", "head", "handshake_timeout", "GET /slow", "limits.handshake_timeout"),
    ]
}

/// Requests that the routes refuse.
fn routed() -> Vec<Case> {
    let sid = "AAAAAAAAAAECAwQFBgcICQoLDA0O";
    vec![
        case(
            get(&format!("//socket.io/?token={SECRET}"), ""),
            "handshake",
            "path_ambiguous",
            "GET //socket.io/",
            "socketio.path, websocket.path",
        ),
        case(upgrade("/nowhere", ""), "handshake", "no_websocket_route", "GET /nowhere", "websocket.path"),
        case(
            get(&engine("EIO=4&transport=pigeon"), ""),
            "handshake",
            "transport_unknown",
            "transport=pigeon",
            "socketio.transports",
        ),
        case(
            post(&engine("EIO=4&transport=polling"), "", ""),
            "handshake",
            "handshake_method",
            "POST /socket.io/",
            None,
        ),
        case(get(&engine("EIO=4&transport=websocket"), ""), "handshake", "bad_request", "transport=websocket", None),
        case(get(&engine("EIO=3&transport=polling"), ""), "handshake", "protocol_version", "EIO=3", None),
        case(
            get(&engine(&format!("EIO=4&transport=polling&sid={sid}")), ""),
            "session",
            "session_unknown",
            "GET",
            None,
        ),
    ]
}

/// Requests that an endpoint refuses.
fn at_endpoints() -> Vec<Case> {
    vec![
        case(
            upgrade(&engine("EIO=4&transport=websocket"), "").replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"),
            "handshake",
            "bad_handshake",
            "asks for an upgrade",
            None,
        ),
        case(
            upgrade("/ws", "").replace("Version: 13", "Version: 8"),
            "handshake",
            "bad_handshake",
            "asks for an upgrade",
            None,
        ),
        case(
            get("/headers", "Connection: x-forwarded-for\r\n"),
            "request",
            "http_connection",
            "GET /headers",
            "listen.trust_headers",
        ),
        case(
            get(&engine("EIO=4&transport=polling"), "Origin: https://evil.test\r\n"),
            "handshake",
            "forbidden",
            "/socket.io/",
            "origins.allow",
        ),
        case(upgrade("/ws", ""), "handshake", "auth.missing", "GET /ws", "auth.required, auth.token_from"),
        case(upgrade(&format!("/ws?token={SECRET}"), ""), "handshake", "auth.invalid", "GET /ws", "auth"),
        case(
            upgrade(&format!("/ws?token={}", token_for("ada", -600)), ""),
            "handshake",
            "auth.expired",
            "GET /ws",
            "auth.leeway",
        ),
        case(
            format!("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{SECRET}"),
            "request",
            "http_framing",
            "POST /echo",
            None,
        ),
    ]
}

/// The lines of refusals so far, with a field `seen`.
fn lines(gate: &Gate) -> Vec<Value> {
    let lines = gate.log().containing("\"stage\":");
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for a line with these fields that is none of the first `after`.
async fn line(gate: &Gate, after: usize, stage: &str, reason: &str) -> Value {
    eventually(&format!("a line of {stage} and {reason}"), async || {
        let fits = |line: &Value| line["stage"] == stage && line["reason"] == reason;
        lines(gate).into_iter().skip(after).find(fits)
    })
    .await
}

fn assert_complete(line: &Value, shows: &str, setting: Option<&str>) {
    assert_eq!(line["level"], "INFO", "{line}");
    assert_eq!(line["peer"], "127.0.0.1", "{line}");
    assert!(
        line["seen"].as_str().is_some_and(|seen| seen.contains(&shows.replace("\\\\", "\\")) && seen.len() <= 256),
        "{shows}: {line}"
    );
    assert_eq!(line["setting"].as_str(), setting, "{line}");
}

#[tokio::test]
async fn a_line_says_more_than_the_client_is_told_where_that_helps() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(SETTINGS).await;
    let unknown = engine("EIO=4&transport=polling&sid=AAAAAAAAAAECAwQFBgcICQoLDA0O");
    for (head, reason, why) in [
        (
            get(&unknown, ""),
            "session_unknown",
            "the node has started anew since, or a balancer sends one client to several nodes",
        ),
        (upgrade("/nowhere", ""), "no_websocket_route", "no [[websocket]] has this path; there are /"),
    ] {
        let mut raw = Raw::connect(gate.address).await;
        let _ = raw.try_send(head.as_bytes()).await;
        raw.status().await;
        gate.log().wait(&[reason, why]).await;
    }
}

#[tokio::test]
async fn each_refused_request_has_a_line() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(SETTINGS).await;
    for Case { head, stage, reason, shows, setting } in requests() {
        let (before, counted) = (lines(&gate).len(), gate.metrics().await.sum(REFUSED, &[]));
        let mut raw = Raw::connect(gate.address).await;
        let _ = raw.try_send(head.as_bytes()).await;
        let status = raw.status().await;
        assert!((400..500).contains(&status), "{}: {status}", head.escape_debug());
        assert_complete(&line(&gate, before, stage, reason).await, shows, setting);
        assert_eq!(lines(&gate).len(), before + 1, "one line for {stage} {reason}");
        assert_eq!(gate.metrics().await.sum(REFUSED, &[]), counted + 1.0, "{stage} {reason} counts once");
    }
    let all = gate.logged().await.all().join("\n");
    assert!(!all.contains(SECRET) && !all.contains("AAAAAAAAAAECAwQFBgcICQoLDA0O"), "{all}");
}

#[tokio::test]
async fn each_refused_request_of_a_session_has_a_line() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(SETTINGS).with("socketio.connect_timeout = \"45s\"").await;
    let poller = Poller::engineio(gate.address).await;
    let base = format!("/socket.io/?EIO=4&transport=polling&sid={}", poller.sid);
    for (head, reason, setting) in [
        (
            get(&base, &format!("Authorization: Bearer {SECRET}\r\n")),
            "sid_mismatch",
            Some("auth.token_from, socketio.same_address"),
        ),
        (post(&base, "Content-Type: application/octet-stream\r\n", "40"), "bad_request", None),
        (post(&base, "Content-Encoding: gzip\r\n", "40"), "content_encoding", None),
        (post(&base, "", &"4".repeat(20_000)), "payload_too_big", Some("socketio.max_payload")),
        (post(&base, "", &"2\x1e".repeat(50)), "payload_packets", Some("socketio.payload_packets")),
    ] {
        let before = lines(&gate).len();
        let mut raw = Raw::connect(gate.address).await;
        raw.send(head.as_bytes()).await;
        assert!((400..500).contains(&raw.status().await), "{reason}");
        let line = line(&gate, before, "session", reason).await;
        assert_eq!((line["peer"].as_str(), line["setting"].as_str()), (Some("127.0.0.1"), setting), "{line}");
    }
    let before = lines(&gate).len();
    assert_eq!((before, gate.metrics().await.sum(REFUSED, &[])), (5, 5.0), "each is told and counted once");
    let _polls = [poller.polling(), poller.polling(), poller.polling()];
    assert_complete(&line(&gate, before, "session", "poll_overlap").await, "messages before it", None);
    let all = gate.logged().await.all().join("\n");
    assert!(!all.contains(SECRET) && !all.contains(&poller.sid), "{all}");
}

#[tokio::test]
async fn a_session_that_breaks_a_rule_before_it_joins_has_a_line() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(SETTINGS).await;
    let secret_event = format!("42[\"{SECRET}\"]");
    let connect = |namespace: &str, token: &str| format!("40{namespace}{{\"token\":\"{token}\"}}");
    for (frame, stage, shows, setting) in [
        (masked(1, secret_event.as_bytes()), "session", "text, that begins with \"42[\\\"\"", None),
        (masked(1, format!("{SECRET}{SECRET}").as_bytes()), "session", "begins with \"cana\"", None),
        (masked(BINARY, SECRET.as_bytes()), "session", "binary", None),
        (vec![0x81, 2, b'4', b'0'], "session", "0 messages before it", None),
        (masked(1, &[b'4'; 20_000]), "session", "0 messages before it", Some("socketio.max_payload")),
        (masked(1, connect("", SECRET).as_bytes()), "connect", "begins with \"40{\\\"\"", Some("auth")),
        (masked(1, b"40"), "connect", "a message of 2 bytes", Some("auth.required, auth.token_from")),
        (
            masked(1, connect("/admin,", &token("ada")).as_bytes()),
            "connect",
            "begins with \"40/a\"",
            Some("socketio.namespaces"),
        ),
        (Vec::new(), "session", "0 messages before it", Some("socketio.connect_timeout")),
    ] {
        let before = lines(&gate).len();
        let mut raw = Raw::engineio(gate.address).await;
        raw.send(&frame).await;
        let line = eventually(&format!("a line that shows {shows}"), async || {
            lines(&gate).into_iter().skip(before).find(|line| line["stage"] == stage)
        })
        .await;
        assert_complete(&line, shows, setting);
    }
    let all = gate.logged().await.all().join("\n");
    assert!(!all.contains(SECRET), "{all}");
}

#[tokio::test]
async fn an_upgrade_that_lacks_the_token_of_the_polls_has_a_line() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(SETTINGS).with("socketio.upgrade_without_token = false").await;
    let bearer = format!("Bearer {}", token("ada"));
    let poller = Poller::shaking_hands(gate.address, "", &[("authorization", &bearer)]).await;
    let before = lines(&gate).len();
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", poller.sid);
    let mut raw = Raw::connect(gate.address).await;
    raw.send(upgrade(&target, "").as_bytes()).await;
    assert_eq!(raw.status().await, 400);
    let line = line(&gate, before, "session", "upgrade_without_token").await;
    let shown = (line["peer"].as_str(), line["setting"].as_str());
    assert_eq!(shown, (Some("127.0.0.1"), Some("socketio.upgrade_without_token")), "{line}");
    assert_eq!(gate.logged().await.containing(&poller.sid), [""; 0]);
}

#[tokio::test]
async fn what_is_over_a_limit_or_finds_no_service_has_a_line() {
    let mut service = Service::plain().await;
    let gate = Gate::before(&service).with(SETTINGS).with("limits.connections_per_ip = 1").await;
    service.kill().await;
    let mut held = Raw::connect(gate.address).await;
    held.send(get("/headers", "").as_bytes()).await;
    assert_eq!(held.status().await, 502);
    assert_complete(&line(&gate, 0, "request", "upstream.unreachable").await, "GET /headers", Some("upstream.url"));
    let mut second = Raw::connect(gate.address).await;
    second.send(get(&format!("/headers?x={SECRET}"), "").as_bytes()).await;
    assert_eq!(second.status().await, 429);
    let line = line(&gate, 0, "connection", "limit.connections_per_ip").await;
    assert_complete(&line, "GET /headers", Some("limits.connections_per_ip"));
    drop((held, second));
    assert_eq!(gate.logged().await.containing(SECRET), [""; 0]);
}

#[tokio::test]
async fn many_refusals_of_one_peer_do_not_hide_those_of_another() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(SETTINGS).await;
    for _ in 0..40 {
        assert_eq!(http::request("POST", &format!("{}/socket.io/", gate.url()), &[], "").await.status, 400);
    }
    let mut other = Raw::connect_from([127, 0, 0, 9].into(), gate.address).await;
    other.send(post("/socket.io/", "", "").as_bytes()).await;
    assert_eq!(other.status().await, 400);
    eventually("the other peer has its line", async || {
        lines(&gate).iter().any(|line| line["peer"] == "127.0.0.9").then_some(())
    })
    .await;
    eventually("a later line says how many were left out", async || {
        http::request("POST", &format!("{}/socket.io/", gate.url()), &[], "").await;
        lines(&gate).iter().any(|line| line["suppressed"].as_u64().is_some()).then_some(())
    })
    .await;
    assert!(lines(&gate).len() < 41 + 40, "{}", lines(&gate).len());
}

/// Reasons of the table in docs/security.md that no request of this file brings about, each with the test that does.
const ELSEWHERE: &[&str] = &[
    // Each of these goes through the answer of a refusal as the others do, or through the end of its session.
    "post_overlap",
    "body_timeout",
    "mailbox_full",
    "overloaded",
    "limit.connections",
    "limit.descriptors",
    "limit.requests",
    "limit.requests_per_ip",
    "auth.keys_unavailable",
    "auth.revoked",
    "upstream.refused",
    "upstream.broken",
    "service_refused",
    "service_busy",
    "query_repeated",
    "connect_too_big",
];

#[test]
fn the_list_of_refusals_is_complete() {
    let text = include_str!("../../../docs/security.md");
    let table = text.split("| situation | HTTP |").nth(1).expect("the table is there");
    let mut tested: BTreeSet<String> = requests().iter().map(|case| case.reason.to_owned()).collect();
    tested.extend(
        ["content_encoding", "payload_too_big", "payload_packets", "sid_mismatch", "poll_overlap"].map(str::to_owned),
    );
    tested.insert("upgrade_without_token".to_owned());
    tested.extend(["limit.connections_per_ip", "upstream.unreachable", "upstream.timeout"].map(str::to_owned));
    tested.extend(ELSEWHERE.iter().map(|&reason| reason.to_owned()));
    let is_status = |cell: &str| {
        cell.contains("40") || cell.contains("41") || cell.contains("42") || cell.contains("43") || cell.contains("50")
    };
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        // What is said inside a session has a line of its session.
        if !is_status(cells[1]) || cells[1].starts_with("POST") || !cells[2].is_empty() && !cells[1].contains(':') {
            continue;
        }
        for reason in cells.last().unwrap().split('`').skip(1).step_by(2) {
            assert!(tested.contains(reason), "no test asks for the line of {reason}: {}", json!(row));
        }
    }
}
