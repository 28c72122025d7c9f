//! Messages of a plain route that hide the event which they name, so that its limit would not count them.

use std::net::SocketAddr;

use crate::support::{
    Cable, Gate, Raw, Service,
    frame::{BINARY, CONTINUATION, TEXT, fragment, masked},
    token,
};

/// How often each message is sent.
const TIMES: usize = 50;

/// How many of them the limit of `chat` lets pass.
const LIMIT: usize = 2;

/// What is sent last, and sent back.
const LAST: &str = r#"{"type":"last"}"#;

/// How many of `TIMES` messages come back, each sent as these bytes, and how the connection ended if it did.
async fn come_back(address: SocketAddr, target: &str, bytes: &[u8]) -> (usize, Option<String>) {
    let mut raw = Raw::upgraded(address, target, "").await;
    // The gate may close while the rest of the bytes is still on its way.
    let _ = raw.try_send(&[bytes.repeat(TIMES), masked(TEXT, LAST.as_bytes())].concat()).await;
    let mut count = 0;
    while let Some(frame) = raw.try_frame().await {
        match frame.opcode {
            TEXT if frame.payload == LAST.as_bytes() => return (count, None),
            TEXT | BINARY => count += 1,
            _ => return (count, Some(String::from_utf8_lossy(&frame.payload[2..]).into_owned())),
        }
    }
    panic!("neither the last message nor a Close");
}

/// The same event in many disguises.
fn disguises() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let chat = r#"{"type":"chat"}"#;
    let nested = |levels: usize| format!(r#"{{"a":{}{},"type":"chat"}}"#, "[".repeat(levels), "]".repeat(levels));
    let utf16: Vec<u8> = chat.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let text = |text: &str| masked(TEXT, text.as_bytes());
    let binary = |text: &str| masked(BINARY, text.as_bytes());
    vec![
        ("as it is", text(chat), None),
        ("in binary", binary(chat), None),
        ("nested", text(&nested(65)), Some("event_depth")),
        ("nested in binary", binary(&nested(65)), Some("event_depth")),
        ("nested 8,000 levels deep", text(&nested(8_000)), Some("event_depth")),
        ("twice", text(r#"{"type":"ping","type":"chat"}"#), Some("event_field_repeated")),
        ("twice, in binary", binary(r#"{"type":"ping","ty\u0070e":"chat"}"#), Some("event_field_repeated")),
        ("with an escaped name", text(r#"{"ty\u0070e":"chat"}"#), None),
        ("with an escaped value", binary(r#"{"type":"ch\u0061t"}"#), None),
        ("behind blanks", text("\r\n\t {\"type\":\"chat\"}"), None),
        ("behind a byte order mark", text("\u{feff}{\"type\":\"chat\"}"), None),
        ("behind a byte order mark, in binary", binary("\u{feff}{\"type\":\"chat\"}"), None),
        ("not quite JSON", text(r#"{"type":"chat",}"#), Some("event_unreadable")),
        ("not quite JSON, in binary", binary(r#"{"type":"chat",}"#), None),
        ("in capitals", text(r#"{"TYPE":"chat"}"#), None),
        ("in a prototype", text(r#"{"__proto__":{"type":"chat"}}"#), None),
        ("in an array", text(r#"{"type":["chat"]}"#), None),
        ("in UTF-16", masked(BINARY, &utf16), None),
        ("beside bytes that are no text", masked(BINARY, b"{\"a\":\"\xff\",\"type\":\"chat\"}"), None),
        ("in fragments", [fragment(TEXT, br#"{"ty"#), masked(CONTINUATION, br#"pe":"chat"}"#)].concat(), None),
        ("in binary fragments", [fragment(BINARY, br#"{"ty"#), masked(CONTINUATION, br#"pe":"chat"}"#)].concat(), None),
    ]
}

#[tokio::test]
async fn no_disguise_leads_past_the_limit_of_an_event() {
    let service = Service::plain().await;
    let cable = Cable::to(&service).await;
    let relay = cable.url().strip_prefix("http://").unwrap().parse().unwrap();
    let gate = Gate::before(&service)
        .with(&format!(
            "auth.token_from = [\"query:token\"]\n\
             [[websocket]]\npath = \"/ws\"\nevent_field = \"type\"\n\
             [[rate_limit]]\nevents = [\"chat\"]\nmessages = {LIMIT}\nper = \"1h\"\nexceeded = \"drop\"",
        ))
        .await;
    let target = format!("/ws?token={}", token("ada"));

    for (what, bytes, refused) in disguises() {
        assert_eq!(come_back(relay, "/ws", &bytes).await, (TIMES, None), "{what}, through a relay that reads nothing");
        service.forget().await;
        let expected = refused.map_or((LIMIT, None), |rule| (0, Some(rule.to_owned())));
        assert_eq!(come_back(gate.address, &target, &bytes).await, expected, "{what}");
        let seen = service.seen().await;
        let reached = ["text", "binary"].map(|kind| seen["received"][kind].as_u64().unwrap_or(0));
        let last = u64::from(refused.is_none());
        assert_eq!(reached.iter().sum::<u64>(), expected.0 as u64 + last, "{what}, at the service");
    }

    let line = gate.log().wait(&["event_depth"]).await;
    assert!(line.contains("websocket.event_field"), "{line}");
}

#[tokio::test]
async fn what_names_no_event_is_not_counted_as_one() {
    let service = Service::plain().await;
    let gate = Gate::before(&service)
        .with(&format!(
            "auth.token_from = [\"query:token\"]\n\
             [[websocket]]\npath = \"/ws\"\nevent_field = \"type\"\n\
             [[rate_limit]]\nevents = [\"chat\"]\nmessages = {LIMIT}\nper = \"1h\"\nexceeded = \"drop\"",
        ))
        .await;
    let target = format!("/ws?token={}", token("ada"));
    for text in [r#"{"type":"ping"}"#, r#"{"types":"chat","a":{"type":"chat"}}"#, "ping", "[\"chat\"]", "7", "", "é∴🌊"]
    {
        let bytes = masked(TEXT, text.as_bytes());
        assert_eq!(come_back(gate.address, &target, &bytes).await, (TIMES, None), "{text:?}");
    }
    // A route without such a field does not look.
    let gate = Gate::before(&service)
        .with("auth.token_from = [\"query:token\"]\nrate_limit = []\n[[websocket]]\npath = \"/ws\"")
        .await;
    for (what, bytes, _) in disguises() {
        assert_eq!(come_back(gate.address, &target, &bytes).await, (TIMES, None), "{what}");
    }
}
