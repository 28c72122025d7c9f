//! Messages in many fragments, as clients of .NET and Unity (1 KiB, 8 KiB) and Chromium (128 KiB) send them.

use crate::support::{Gate, Plain, Raw, Service, Value, frame, json, node, scripted::Scripted, soon, token};
use tokio_tungstenite::tungstenite::Message;

const ROUTE: &str = "auth.token_from = [\"query:token\"]\nrate_limit = []\n[[websocket]]\npath = \"/ws\"";

/// What a client saw that emitted packets of `message` bytes in fragments of `fragment` bytes, so many times.
async fn emitted(url: &str, fragment: usize, message: usize, times: usize) -> Value {
    let args = [url.to_owned(), token("ada"), fragment.to_string(), message.to_string(), times.to_string()];
    let child = node::start("fragments.mjs", &args, &[]);
    let output = soon("the client ends", child.wait_with_output()).await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn connected(gate: &Gate) -> Plain {
    gate.websocket(&format!("/ws?token={}", token("ada")), &[]).await.unwrap()
}

#[tokio::test]
async fn a_client_that_sends_fragments_is_served_as_it_is_directly() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    for (fragment, message) in [(1 << 10, 900_000), (8 << 10, 900_000), (128 << 10, 900_000), (64, 100_000)] {
        for url in [service.url(), gate.url()] {
            let saw = emitted(&url, fragment, message, 3).await;
            let expected = json!({ "same": 3, "refused": 0, "wrong": 0, "closed": null });
            assert_eq!(saw, expected, "{message} bytes in fragments of {fragment}, {url}");
        }
    }
    assert_eq!(service.seen().await["faults"], json!([]));
}

#[tokio::test]
async fn of_150_packets_in_fragments_exactly_100_reach_the_service() {
    let service = Service::start().await;
    // None comes free while they are sent.
    let gate = Gate::before(&service).with("[[rate_limit]]\nper = \"1h\"").await;

    let saw = emitted(&gate.url(), 100, 10_000, 150).await;

    assert_eq!(saw, json!({ "same": 100, "refused": 50, "wrong": 0, "closed": null }));
    assert_eq!(service.received("echo").await, 100);
}

#[tokio::test]
async fn a_service_may_send_fragments_as_well() {
    let content = "x".repeat(200_000);
    let pieces: Vec<_> = content.as_bytes().chunks(1000).collect();
    let mut frames = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let opcode = if at == 0 { frame::TEXT } else { frame::CONTINUATION };
        let fin = if at + 1 == pieces.len() { 0x80 } else { 0 };
        frames.extend([fin | opcode, 126]);
        frames.extend(u16::try_from(piece.len()).unwrap().to_be_bytes());
        frames.extend_from_slice(piece);
    }
    let service = Scripted::upgraded(&frames).await;
    let gate = Gate::before_url(&service.url()).with(ROUTE).await;

    assert_eq!(connected(&gate).await.next().await, Message::text(content));
}

#[tokio::test]
async fn fragments_that_carry_nothing_are_refused() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let target = format!("/ws?token={}", token("ada"));
    let floods = [
        ("empty", vec![0; 65]),
        ("a byte each", vec![1; 66]),
        ("empty ones behind a long one", [vec![6_400], vec![0; 164]].concat()),
    ];
    for (what, lens) in floods {
        let mut raw = Raw::upgraded(gate.address, &target, "").await;
        let opcodes = [frame::TEXT].into_iter().chain(std::iter::repeat(frame::CONTINUATION));
        let frames = lens.iter().zip(opcodes).map(|(len, opcode)| frame::fragment(opcode, &vec![b'x'; *len]));
        // The gate may close while the rest is still on its way.
        let _ = raw.try_send(&frames.collect::<Vec<_>>().concat()).await;
        assert_eq!(raw.close_code().await, Some(1008), "{what}");
    }
    assert_eq!(service.seen().await["received"], json!({}));
    gate.counts(3.0, "websocket_disconnections_total", &[("reason", "frame_fragments")]).await;
}
