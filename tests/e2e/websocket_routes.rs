//! Plain WebSocket routes: the same policy without Engine.IO.

use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    Gate, Plain, Service, Value, frame, json,
    raw::{self, Raw},
    token,
    token::token_for,
};

/// `/ws`, for tokens in the header and the query.
const ROUTE: &str = r#"
    auth.token_from = ["header", "query:token", "subprotocol"]
    [[websocket]]
    path = "/ws"
    event_field = "type"
"#;

async fn connected(gate: &Gate) -> Plain {
    gate.websocket(&format!("/ws?token={}", token("ada")), &[]).await.unwrap()
}

/// The text, read as JSON.
fn parsed(message: &Message) -> Value {
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

#[tokio::test]
async fn the_token_is_checked_at_the_handshake() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let expired = format!("/ws?token={}", token_for("ada", -600));

    assert_eq!(gate.websocket("/ws", &[]).await.unwrap_err(), 401);
    assert_eq!(gate.websocket("/ws?token=nonsense", &[]).await.unwrap_err(), 401);
    assert_eq!(gate.websocket(&expired, &[]).await.unwrap_err(), 401);
    assert_eq!(service.transports().await, 0);
    let (status, body) = raw::upgrade_refusal(gate.address, "/ws").await;
    assert_eq!(status, 401);
    assert_eq!(body, json!({ "code": "auth.missing", "message": "Authentication token required" }));

    connected(&gate).await;
    gate.websocket("/ws", &[("authorization", &format!("Bearer {}", token("ada")))]).await.unwrap();
    assert_eq!(service.transports().await, 2);
}

#[tokio::test]
async fn messages_pass_unchanged_both_ways() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let mut client = connected(&gate).await;

    for text in ["", "{\"type\":\"hello\"}", "not JSON at all, é∴🌊", &"x".repeat(70_000)] {
        assert_eq!(client.echo(text).await, Message::text(text));
    }
    for bytes in [vec![], vec![0xFF, 0x00, 0x80], vec![7; 200_000]] {
        assert_eq!(client.echo(bytes.clone()).await, Message::binary(bytes));
    }
    // A ping is answered by the gate itself.
    assert!(
        matches!(client.echo(Message::Ping("are you there".into())).await, Message::Pong(echoed) if echoed == "are you there")
    );
}

#[tokio::test]
async fn query_and_subprotocol_reach_the_service_without_the_token() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(ROUTE).await;

    let by_query = format!("/ws?lesson=7&token={}&x=%20", token("ada"));
    let plain = gate.websocket(&by_query, &[("sec-websocket-protocol", "chat, echo.v1")]).await.unwrap();
    let offer = format!("bearer, {}, echo.v1", token("ada"));
    let by_subprotocol = gate.websocket("/ws", &[("sec-websocket-protocol", &offer)]).await.unwrap();

    assert_eq!(plain.protocol.as_deref(), Some("echo.v1"), "the service has chosen");
    assert_eq!(by_subprotocol.protocol.as_deref(), Some("echo.v1"));
    let upgrades = service.seen().await["upgrades"].clone();
    assert_eq!(upgrades[0]["url"], "/ws?lesson=7&x=%20");
    assert_eq!(upgrades[0]["headers"]["sec-websocket-protocol"], "chat, echo.v1");
    assert_eq!(upgrades[1]["headers"]["sec-websocket-protocol"], "echo.v1");
}

#[tokio::test]
async fn the_field_that_names_the_event_is_what_limits_and_metrics_go_by() {
    let service = Service::plain().await;
    let gate = Gate::before(&service)
        .with(&format!("{ROUTE}\n[[rate_limit]]\nevents = [\"answer\"]\nmessages = 2\nper = \"1h\""))
        .await;
    let mut client = connected(&gate).await;
    let answer = |n: u32| json!({ "n": n, "type": "answer" }).to_string();

    client.echo(answer(1)).await;
    client.echo(answer(2)).await;
    let refused = client.echo(answer(3)).await;
    client.send(answer(4)).await;
    let other = client.echo(r#"{"type":"question"}"#).await;

    let expected = json!({ "type": "error", "error": "Rate limit exceeded. Please slow down.", "rateLimited": true });
    assert_eq!(parsed(&refused), expected);
    assert_eq!(other, Message::text(r#"{"type":"question"}"#), "told once, and other events go on");
    let seen: Vec<Value> = service.seen().await["events"].as_array().unwrap().clone();
    assert_eq!(seen.len(), 3, "{seen:?}");
    gate.counts(4.0, "websocket_messages_received_total", &[("event", "answer")]).await;
    gate.counts(1.0, "websocket_messages_received_total", &[("event", "question")]).await;
}

#[tokio::test]
async fn a_reload_says_for_open_connections_too_what_happens_over_a_limit() {
    let limited = |exceeded: &str| {
        let limit = "[[rate_limit]]\nmessages = 2\nper = \"1h\"";
        format!("{ROUTE}\nexceeded = \"{exceeded}\"\nlimit_close = 4429\n{limit}")
    };
    let service = Service::plain().await;
    let mut gate = Gate::before(&service).with(&limited("drop")).await;
    let mut client = connected(&gate).await;
    for _ in 0..3 {
        client.send(r#"{"type":"answer"}"#).await;
    }
    gate.counts(3.0, "websocket_messages_received_total", &[("event", "answer")]).await;

    gate.change(&limited("close"));
    gate.log().wait(&["configuration reloaded: websocket[0].exceeded changed\""]).await;
    // A message or two may come before every thread has heard of it.
    let mut sent = 3.0;
    while gate.metrics().await.sum("websocket_disconnections_total", &[]) == 0.0 {
        assert!(sent < 50.0, "the connection stays");
        client.send(r#"{"type":"answer"}"#).await;
        sent += 1.0;
        gate.counts(sent, "websocket_messages_received_total", &[("event", "answer")]).await;
    }
    assert_eq!(client.closed().await, (4429, "rate_limit".to_owned()));

    gate.change(&limited("close").replace("= \"type\"", "= \"kind\""));
    let told = "websocket[0].event_field changed; for new sessions only: websocket[0].event_field\"";
    gate.log().wait(&["configuration reloaded: ", told]).await;
}

#[tokio::test]
async fn close_codes_and_reasons_pass_both_ways() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(ROUTE).await;

    for (code, reason) in [(1000, "done"), (1001, ""), (3001, "lesson over"), (4999, "é")] {
        let mut client = connected(&gate).await;
        client.close(code, reason).await;
        assert_eq!(service.disconnection().await, json!({ "code": code, "reason": reason }));
        service.forget().await;

        let mut client = connected(&gate).await;
        client.send(format!("close {code} {reason}")).await;
        assert_eq!(client.closed().await, (code, reason.to_owned()));
        service.disconnection().await;
        service.forget().await;
    }
}

#[tokio::test]
async fn a_service_that_vanishes_is_a_restart_to_the_client() {
    let mut service = Service::plain().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let (mut dropped, mut killed) = (connected(&gate).await, connected(&gate).await);

    dropped.send("hang up").await;
    assert_eq!(dropped.closed().await.0, 1012);
    service.kill().await;
    assert_eq!(killed.closed().await.0, 1012);

    service.restart().await;
    assert_eq!(connected(&gate).await.echo("back").await, Message::text("back"));
}

#[tokio::test]
async fn a_token_that_expires_ends_the_connection() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(&format!("auth.leeway = \"0s\"\n{ROUTE}")).await;

    let mut client = gate.websocket(&format!("/ws?token={}", token_for("ada", 10)), &[]).await.unwrap();

    assert_eq!(client.closed().await, (1012, "token expired".to_owned()));
    service.disconnection().await;
}

#[tokio::test]
async fn a_fragmented_message_arrives_whole() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let mut raw = Raw::upgraded(gate.address, &format!("/ws?token={}", token("ada")), "").await;

    raw.send(&frame::fragment(frame::TEXT, "{\"type\":\"h".as_bytes())).await;
    // Control frames may stand in between.
    raw.send(&frame::masked(frame::PING, b"still there?")).await;
    raw.send(&frame::fragment(frame::CONTINUATION, b"")).await;
    raw.send(&frame::masked(frame::CONTINUATION, "i\u{e9}\"}".as_bytes())).await;

    let pong = raw.frame().await;
    assert_eq!((pong.opcode, &pong.payload[..]), (frame::PONG, &b"still there?"[..]));
    assert_eq!(raw.frame().await.text(), "{\"type\":\"hi\u{e9}\"}");
    assert_eq!(service.seen().await["received"], json!({ "text": 1 }));
}

#[tokio::test]
async fn only_the_routes_of_the_file_can_be_upgraded() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(ROUTE).await;

    for path in ["/", "/ws/", "/WS", "/ws2", "/socket.io"] {
        let target = format!("{path}?token={}", token("ada"));
        let status = gate.websocket(&target, &[]).await.unwrap_err();
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    assert_eq!(service.seen().await["upgrades"], json!([]));
    connected(&gate).await;
}
