//! A service that answers wrongly: the client gets a clear end and none of what was wrong.

use crate::support::{
    Gate, Raw, eventually,
    frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, masked, unmasked},
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

/// With a gate that has more time as the control: it dials first, and still waits when the other one has given up.
#[tokio::test]
async fn an_answer_that_does_not_end_is_waited_for_as_long_as_is_set() {
    const GIVEN_UP: &[(&str, &str)] = &[("result", "failed")];
    let failed = async |gate: &Gate| gate.metrics().await.sum("tidegate_upstream_dials_total", GIVEN_UP);
    for (what, answer) in [("no answer", ""), ("half a head", "HTTP/1.1 101 Switching")] {
        let service = Scripted::start(answer).await;
        let within =
            |time: &str| Gate::before_url(&service.url()).with(&format!("upstream.connect_timeout = \"{time}\""));
        let (gate, patient) = (within("500ms").await, within("10m").await);
        let mut clients = Vec::new();
        for gate in [&patient, &gate] {
            let before = service.connections();
            let mut client = Raw::engineio(gate.address).await;
            client.say(&format!("40{{\"token\":\"{}\"}}", token("ada"))).await;
            clients.push(client);
            eventually("the service is dialled", async || (service.connections() > before).then_some(())).await;
        }
        eventually(&format!("{what}: it is given up"), async || (failed(&gate).await >= 1.0).then_some(())).await;
        assert_eq!(failed(&patient).await, 0.0, "{what}");
    }
}

#[tokio::test]
async fn frames_that_no_server_may_send_do_not_reach_the_client() {
    let good = unmasked(TEXT, b"good");
    let close = |code: u16| unmasked(CLOSE, &code.to_be_bytes());
    // What the service sends, and what it hears: RFC 6455's code. The client hears 1014: it is not at fault.
    let table: &[(&str, Vec<u8>, u16)] = &[
        ("masked, §5.1", masked(TEXT, b"bad"), 1002),
        ("reserved bits, §5.2", [&[0xC1, 3][..], b"bad"].concat(), 1002),
        ("a reserved opcode, §5.2", [&[0x83, 3][..], b"bad"].concat(), 1002),
        ("a length that is not minimal, §5.2", [&[0x81, 126, 0, 3][..], b"bad"].concat(), 1002),
        ("a length with its top bit set, §5.2", vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 1, 0], 1002),
        ("a continuation of nothing, §5.4", unmasked(CONTINUATION, b"bad"), 1002),
        ("a message in a message, §5.4", [&[0x01, 3][..], b"bad", &good].concat(), 1002),
        ("a fragmented ping, §5.5", vec![0x09, 0], 1002),
        ("a long ping, §5.5", [&[0x89, 126, 0, 126][..], &[0; 126]].concat(), 1002),
        ("close code 999, §7.4.2", close(999), 1002),
        ("close code 1005, §7.4.1", close(1005), 1002),
        ("close code 1006, §7.4.1", close(1006), 1002),
        ("close code 1015, §7.4.1", close(1015), 1002),
        ("close code 2999, §7.4.2", close(2999), 1002),
        ("a close body of one byte, §5.5.1", unmasked(CLOSE, b"x"), 1002),
        ("a close reason that is not UTF-8, §5.5.1", unmasked(CLOSE, b"\x03\xE8\xFF"), 1007),
        ("text that is not UTF-8, §8.1", unmasked(TEXT, b"\xED\xA0\x80"), 1007),
        ("half a character, §8.1", [&[0x01, 1, 0xC3][..], &unmasked(CONTINUATION, b"")].concat(), 1007),
        ("101 once more", UPGRADED.as_bytes().to_vec(), 1002),
        ("101 MiB announced", vec![0x82, 127, 0, 0, 0, 0, 0x06, 0x50, 0, 0], 1009),
        ("65 fragments", [&[0x01, 0][..], &[0x00, 0].repeat(64)].concat(), 1008),
        ("100 pings at once", unmasked(PING, b"x").repeat(100), 1008),
    ];
    for (what, bad, code) in table {
        let service = Scripted::upgraded(&[&good[..], bad, &good].concat()).await;
        let gate = plain(&service).await;
        let mut raw = Raw::upgraded(gate.address, &target(), "").await;

        let frames = raw.until_end().await;

        let texts: Vec<_> = frames.iter().filter(|frame| frame.opcode == TEXT).map(Frame::text).collect();
        assert_eq!(texts, ["good"], "{what}");
        assert_eq!(frames.last().map(Frame::close_code), Some(1014), "{what}");
        assert_eq!(service.close_code().await, Some(*code), "{what}");
    }
}

#[tokio::test]
async fn what_a_server_may_send_arrives_and_its_pings_are_answered() {
    let fragments =
        [&[0x01, 2, b'a', 0xC3][..], &unmasked(PING, b"in between"), &[0x00, 0, 0x80, 2, 0xA9, b'b']].concat();
    let frames = [
        &unmasked(PING, b"")[..],
        &unmasked(PING, &[0xFF; 125]),
        &unmasked(PONG, b"nobody asked"),
        &fragments,
        &unmasked(BINARY, b"\xFF\xFE"),
        &unmasked(CLOSE, b"\x0F\xA1over"),
    ]
    .concat();
    let service = Scripted::upgraded(&frames).await;
    let gate = plain(&service).await;
    let mut raw = Raw::upgraded(gate.address, &target(), "").await;

    let frames = raw.until_end().await;

    let opcodes: Vec<_> = frames.iter().map(|frame| frame.opcode).collect();
    assert_eq!(opcodes, [TEXT, BINARY, CLOSE], "{frames:?}");
    assert_eq!((frames[0].text(), &frames[1].payload[..]), ("a\u{e9}b", &b"\xFF\xFE"[..]));
    assert_eq!(frames[2].payload, b"\x0F\xA1over");
    let heard: Vec<_> = service.heard().await.into_iter().map(|frame| (frame.opcode, frame.payload)).collect();
    let pong = |payload: &[u8]| (PONG, payload.to_vec());
    assert_eq!(
        heard,
        [pong(b""), pong(&[0xFF; 125]), pong(b"in between"), (CLOSE, b"\x0F\xA1over".to_vec())],
        "each ping is answered, and the close with its own code"
    );
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

        let mut raw = Raw::engineio(gate.address).await;
        raw.say(&format!("40{{\"token\":\"{}\"}}", token("ada"))).await;
        let frames = raw.until_end().await;

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
