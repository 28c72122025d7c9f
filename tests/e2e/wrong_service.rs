//! A service that answers wrongly: the client gets a clear end and none of what was wrong.

use std::time::{Duration, Instant};

use crate::support::{
    Gate, Raw,
    frame::{CLOSE, Frame, TEXT, masked, unmasked},
    http, json,
    raw::UPGRADE,
    scripted::{Scripted, UPGRADED},
    tidegate::Setup,
    token,
};

/// A gate whose client speaks first on `/ws`.
fn plain(service: &Scripted) -> Setup {
    Gate::before_url(&service.url()).with("auth.token_from = [\"query:token\"]\n[[websocket]]\npath = \"/ws\"")
}

fn target() -> String {
    format!("/ws?token={}", token("ada"))
}

#[tokio::test]
async fn what_is_no_upgrade_does_not_become_a_tunnel() {
    let right = UPGRADED;
    let table = [
        ("200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()),
        ("200 with Upgrade", right.replace("101 Switching Protocols", "200 OK")),
        ("401", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("500", "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a redirect", "HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\n\r\n".to_owned()),
        ("the accept of another key", right.replace("{accept}", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
        ("no accept", right.replace("Sec-WebSocket-Accept: {accept}\r\n", "")),
        ("another protocol", right.replace("Upgrade: websocket", "Upgrade: h2c")),
        ("no Connection: upgrade", right.replace("Connection: Upgrade\r\n", "")),
        ("a subprotocol that nobody offered", right.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: evil\r\n\r\n")),
        ("an extension", right.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")),
        ("not HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned()),
        ("half an answer", "HTTP/1.1 101 Switching".to_owned()),
    ];
    for (what, answer) in table {
        let service = Scripted::start(answer).await;
        let gate = plain(&service).with(r#"upstream.connect_timeout = "500ms""#).await;

        let mut raw = Raw::connect(gate.address).await;
        // A request behind the upgrade is for nobody.
        let hidden = "GET /private HTTP/1.1\r\nHost: x\r\n\r\n";
        raw.send(format!("GET {} HTTP/1.1\r\n{UPGRADE}\r\n{hidden}", target()).as_bytes()).await;
        let status = raw.status().await;
        assert!(matches!(status, 401 | 502 | 504), "{what}: {status}");
        assert!(!raw.rest().await.contains("HTTP/1.1"), "{what}: one answer, and the end");
        assert_eq!(service.connections(), 1, "{what}");
    }

    let service = Scripted::upgraded(&unmasked(TEXT, b"welcome")).await;
    let gate = plain(&service).await;
    let mut raw = Raw::upgraded(gate.address, &target(), "").await;
    assert_eq!(raw.frame().await.text(), "welcome", "what comes with the upgrade is not lost");
}

#[tokio::test]
async fn frames_that_no_server_may_send_do_not_reach_the_client() {
    let good = unmasked(TEXT, b"good");
    let table = [
        ("masked", masked(TEXT, b"bad")),
        ("reserved bits", [&[0xC1, 3][..], b"bad"].concat()),
        ("a reserved opcode", [&[0x83, 3][..], b"bad"].concat()),
        ("a continuation of nothing", unmasked(0, b"bad")),
        ("a length that is not minimal", [&[0x81, 126, 0, 3][..], b"bad"].concat()),
        ("close code 1006", unmasked(CLOSE, &1006_u16.to_be_bytes())),
        ("text that is not UTF-8", unmasked(TEXT, b"\xed\xa0\x80")),
        ("half a character", [&[0x01, 1][..], b"\xc3", &unmasked(0, b"")].concat()),
    ];
    for (what, bad) in table {
        let service = Scripted::upgraded(&[good.clone(), bad, good.clone()].concat()).await;
        let gate = plain(&service).await;
        let mut raw = Raw::upgraded(gate.address, &target(), "").await;

        let frames = raw.until_end().await;

        let texts: Vec<_> = frames.iter().filter(|frame| frame.opcode == TEXT).map(Frame::text).collect();
        assert_eq!(texts, ["good"], "{what}");
        let code = frames.last().filter(|frame| frame.opcode == CLOSE).map(Frame::close_code);
        assert!(matches!(code, Some(1002 | 1011 | 1014)), "{what}: {code:?}");
    }
}

#[tokio::test]
async fn a_service_that_speaks_no_engineio_is_no_service() {
    let open = br#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    let table: &[(&str, Vec<u8>)] = &[
        ("says nothing", vec![]),
        ("an open packet that is none", unmasked(TEXT, b"0{\"sid\":")),
        ("a message first", unmasked(TEXT, b"42[\"hello\"]")),
        ("no answer to CONNECT", unmasked(TEXT, open)),
        ("hangs up", unmasked(CLOSE, b"")),
    ];
    for (what, frames) in table {
        let service = Scripted::upgraded(frames).await;
        let gate = Gate::before_url(&service.url())
            .with("upstream.connect_timeout = \"500ms\"\nsocketio.connect_timeout = \"1s\"")
            .await;

        let began = Instant::now();
        let mut raw = Raw::engineio(gate.address).await;
        raw.say(&format!("40{{\"token\":\"{}\"}}", token("ada"))).await;
        let frames = raw.until_end().await;

        assert!(began.elapsed() < Duration::from_secs(8), "{what}: {:?}", began.elapsed());
        // Neither of the packets after which a stock client would stop trying.
        let is_final = |frame: &&Frame| frame.payload.starts_with(b"44") || frame.payload.starts_with(b"41");
        assert_eq!(frames.iter().find(is_final), None, "{what}");
        assert_eq!(http::get(&gate.admin_url("/livez")).await.status, 200);
    }
}

#[tokio::test]
async fn an_attachment_that_is_missing_ends_the_session_and_not_the_gate() {
    let open = br#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    let frames = [
        unmasked(TEXT, open),
        unmasked(TEXT, b"40{\"sid\":\"b\"}"),
        unmasked(TEXT, b"451-[\"picture\",{\"_placeholder\":true,\"num\":0}]"),
        unmasked(TEXT, b"42[\"text instead\"]"),
    ]
    .concat();
    let service = Scripted::upgraded(&frames).await;
    let gate = Gate::before_url(&service.url()).await;

    let client = gate.connect_with(json!({ "token": token("ada") }), json!({ "reconnection": false })).await;

    client.connected().await;
    client.disconnected().await;
    assert_eq!(client.untaken("text instead"), 0);
    assert_eq!(client.untaken("picture"), 0);
}
