//! Ping, pong and close on both kinds of WebSocket endpoint: RFC 6455 §5.5 and §7.

use std::time::{Duration, Instant};

use crate::support::{
    Gate, Raw, Service, Value, eventually,
    frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, fragment, masked, unmasked},
    http, json,
    raw::UPGRADE,
    scripted::Scripted,
    token,
};

/// A gate before a service, and how a client begins there.
struct Endpoint {
    name: &'static str,
    service: Service,
    gate: Gate,
}

impl Endpoint {
    /// Both kinds: what is shown of control frames holds on each.
    async fn all() -> [Self; 2] {
        let (socketio, plain) = (Service::start().await, Service::plain().await);
        let gates = [Gate::before(&socketio).await, Gate::before(&plain).with(ROUTE).await];
        let [before_socketio, before_plain] = gates;
        [
            Self { name: "Socket.IO", service: socketio, gate: before_socketio },
            Self { name: "plain", service: plain, gate: before_plain },
        ]
    }

    async fn connected(&self) -> Raw {
        match self.name {
            "plain" => Raw::upgraded(self.gate.address, &target(), "").await,
            _ => Raw::socketio(self.gate.address).await,
        }
    }

    /// Sends `bytes`; the frames that come before the end.
    async fn answer(&self, bytes: &[u8]) -> Vec<Frame> {
        let mut raw = self.connected().await;
        // The gate may close while the rest of the bytes is still on its way.
        let _ = raw.try_send(bytes).await;
        raw.until_end().await
    }

    /// What the service thought wrong.
    async fn faults(&self) -> Value {
        self.service.seen().await["faults"].clone()
    }

    async fn sessions(&self) -> usize {
        let list = http::get(&self.gate.admin_url("/sessions")).await.json();
        list["sessions"].as_array().unwrap().len()
    }
}

const ROUTE: &str = "auth.token_from = [\"query:token\"]\n[[websocket]]\npath = \"/ws\"";

fn target() -> String {
    format!("/ws?token={}", token("ada"))
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    masked(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

#[tokio::test]
async fn a_close_is_answered_with_its_code_and_a_wrong_one_with_the_code_for_that() {
    let good = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    let reserved = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535];
    let mut table: Vec<(String, Vec<u8>, u16)> = vec![
        ("no body, §7.1.5".to_owned(), masked(CLOSE, b""), 1005),
        ("a reason of 123 bytes".to_owned(), close(1000, &[b'x'; 123]), 1000),
        ("a reason of 124 bytes, §5.5".to_owned(), close(1000, &[b'x'; 124]), 1002),
        ("a reason in UTF-8".to_owned(), close(1000, "κόσμε".as_bytes()), 1000),
        ("a reason that is not UTF-8, §5.5.1".to_owned(), close(1000, b"\xCE\xBA\xED\xA0\x80"), 1007),
        ("a reason that ends within a character".to_owned(), close(1000, b"\xCE"), 1007),
        ("a body of one byte, §5.5.1".to_owned(), masked(CLOSE, b"\x03"), 1002),
        ("a fragmented close, §5.5".to_owned(), fragment(CLOSE, &1000_u16.to_be_bytes()), 1002),
        ("a close in a fragmented message, §5.5".to_owned(), [fragment(TEXT, b"42["), close(1000, b"")].concat(), 1000),
    ];
    table.extend(good.map(|code| (format!("code {code}, §7.4"), close(code, b"why"), code)));
    table.extend(reserved.map(|code| (format!("code {code}, §7.4"), close(code, b""), 1002)));

    for endpoint in Endpoint::all().await {
        for (what, bytes, code) in &table {
            let frames = endpoint.answer(bytes).await;
            let codes: Vec<_> = frames.iter().map(Frame::close_code).collect();
            assert_eq!(codes, [*code], "{}: {what}", endpoint.name);
        }
        assert_eq!(endpoint.faults().await, json!([]), "{}", endpoint.name);
    }
}

#[tokio::test]
async fn what_precedes_a_close_counts_and_what_follows_does_not() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let mut raw = Raw::upgraded(gate.address, &target(), "").await;

    let before = [masked(TEXT, b"before"), masked(PING, b"still there?")].concat();
    let behind = [masked(TEXT, b"behind"), masked(PING, b"and now?"), close(1001, b"")].concat();
    raw.send(&[before, close(3001, b"over"), behind].concat()).await;

    let frames = raw.until_end().await;
    let expected = [(PONG, b"still there?".to_vec()), (CLOSE, b"\x0B\xB9over".to_vec())];
    assert_eq!(frames.into_iter().map(|frame| (frame.opcode, frame.payload)).collect::<Vec<_>>(), expected);
    assert_eq!(service.disconnection().await, json!({ "code": 3001, "reason": "over" }));
    assert_eq!(service.seen().await["events"][0]["args"], json!(["before"]));
    assert_eq!(service.seen().await["received"], json!({ "text": 1 }));
}

#[tokio::test]
async fn where_both_close_at_once_each_hears_one_close() {
    let service = Scripted::upgraded(&unmasked(CLOSE, &4001_u16.to_be_bytes())).await;
    let gate = Gate::before_url(&service.url()).with(ROUTE).await;
    let mut raw = Raw::connect(gate.address).await;

    let request = format!("GET {} HTTP/1.1\r\n{UPGRADE}\r\n", target());
    raw.send(&[request.as_bytes(), &close(4002, b"")].concat()).await;

    assert_eq!(raw.status().await, 101);
    let client: Vec<_> = raw.until_end().await.iter().map(Frame::close_code).collect();
    let service: Vec<_> = service.heard().await.iter().map(Frame::close_code).collect();
    assert!(matches!(client[..], [4001 | 4002]), "the client hears {client:?}");
    assert_eq!(service, client, "both sides get the same code, whichever closed first");
}

#[tokio::test]
async fn who_does_not_answer_a_close_is_dropped_after_two_seconds() {
    for endpoint in Endpoint::all().await {
        let mut raw = endpoint.connected().await;
        let began = Instant::now();
        // A frame that ends it; the client goes on as if it had heard nothing.
        raw.send(&unmasked(TEXT, b"x")).await;
        while raw.try_send(&masked(PING, b"")).await.is_ok() {
            assert!(began.elapsed() < Duration::from_secs(40), "{}: it is still there", endpoint.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(began.elapsed() > Duration::from_millis(1800), "{}: {:?}", endpoint.name, began.elapsed());
        eventually("it leaves nothing behind", async || (endpoint.sessions().await == 0).then_some(())).await;

        // Sooner than in two seconds; at least once, where the machine is slow.
        eventually("one that closes is not waited for", async || {
            let mut answering = endpoint.connected().await;
            let began = Instant::now();
            answering.send(&close(1000, b"")).await;
            answering.until_end().await;
            drop(answering);
            eventually("it is gone", async || (endpoint.sessions().await == 0).then_some(())).await;
            (began.elapsed() < Duration::from_millis(1800)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_a_close_keeps_nothing_open() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let endpoint = Endpoint { name: "plain", service, gate };
    let mut raw = endpoint.connected().await;
    endpoint.service.freeze();

    raw.send(&close(1000, b"")).await;

    assert_eq!(raw.close_code().await, Some(1000), "the client is answered by the gate");
    drop(raw);
    eventually("the session is gone", async || (endpoint.sessions().await == 0).then_some(())).await;
    endpoint.service.thaw();
}

#[tokio::test]
async fn every_ping_is_answered_in_order_and_a_pong_means_nothing() {
    for endpoint in Endpoint::all().await {
        let mut raw = endpoint.connected().await;
        let payloads: Vec<Vec<u8>> =
            [vec![], b"Hello".to_vec(), vec![0x00, 0xFF, 0xFE], vec![b'x'; 125]].into_iter().cycle().take(12).collect();

        raw.send(&masked(PONG, b"nobody asked")).await;
        raw.send(&payloads.iter().flat_map(|payload| masked(PING, payload)).collect::<Vec<_>>()).await;

        for payload in payloads {
            assert_eq!(raw.frame().await, Frame { opcode: PONG, payload }, "{}", endpoint.name);
        }
        // One by one, as slow as they come.
        for byte in masked(PING, b"slowly") {
            raw.send(&[byte]).await;
        }
        assert_eq!(raw.frame().await.payload, b"slowly", "{}", endpoint.name);
    }
}

#[tokio::test]
async fn a_flood_of_control_frames_ends_the_session() {
    for endpoint in Endpoint::all().await {
        for (what, frame) in [("pings", masked(PING, b"x")), ("pongs", masked(PONG, b""))] {
            let frames = endpoint.answer(&frame.repeat(200)).await;
            let pongs = frames.iter().filter(|frame| frame.opcode == PONG).count();
            assert!(pongs <= 25, "{}: {pongs} answers to {what}", endpoint.name);
            let last = frames.last().unwrap();
            assert_eq!((last.opcode, &last.payload[..]), (CLOSE, &b"\x03\xF0control_rate"[..]), "{}", endpoint.name);
        }
        endpoint.gate.counts(2.0, "websocket_disconnections_total", &[("reason", "control_rate")]).await;

        let mut raw = endpoint.connected().await;
        raw.send(&masked(PING, b"x").repeat(15)).await;
        for _ in 0..15 {
            assert_eq!(raw.frame().await.opcode, PONG, "{}", endpoint.name);
        }
    }
}

#[tokio::test]
async fn fragments_make_one_message_whatever_stands_between_them() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let mut raw = Raw::upgraded(gate.address, &target(), "").await;

    // RFC 6455 §5.4: as many as 64, some of them empty, a character broken in two, pings in between.
    let mut bytes = fragment(TEXT, b"\xC3");
    (0..31).for_each(|_| bytes.extend([fragment(CONTINUATION, b"\xA9\xC3"), fragment(CONTINUATION, b"")].concat()));
    bytes.extend([masked(PING, b"one"), masked(PONG, b""), masked(PING, b"two")].concat());
    bytes.extend(masked(CONTINUATION, b"\xA9"));
    bytes.extend([fragment(BINARY, b"\xFF"), masked(CONTINUATION, b"\xFE")].concat());
    raw.send(&bytes).await;

    assert_eq!((raw.frame().await.payload, raw.frame().await.payload), (b"one".to_vec(), b"two".to_vec()));
    assert_eq!(raw.frame().await.text(), "\u{e9}".repeat(32));
    assert_eq!(raw.frame().await, Frame { opcode: BINARY, payload: b"\xFF\xFE".to_vec() });
    assert_eq!(service.seen().await["received"], json!({ "text": 1, "binary": 1 }));

    // One more, and one that begins anew before the end.
    let too_many = [fragment(TEXT, b""), fragment(CONTINUATION, b"").repeat(63), masked(CONTINUATION, b"")].concat();
    for (bytes, code) in [(too_many, 1008), ([fragment(TEXT, b""), masked(BINARY, b"")].concat(), 1002)] {
        let mut raw = Raw::upgraded(gate.address, &target(), "").await;
        let _ = raw.try_send(&bytes).await;
        assert_eq!(raw.close_code().await, Some(code));
    }
    assert_eq!(service.seen().await["received"], json!({ "text": 1, "binary": 1 }));
}
