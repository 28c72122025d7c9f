//! A burst of 150 packets that changes its spelling, its transport, its namespace or its connection on the way, against a limit
//! of 100: exactly 100 reach the service.

use std::net::SocketAddr;

use crate::support::{
    Gate, Poller, Raw, Service, Value, eventually,
    frame::{BINARY, CONTINUATION, PING, TEXT, fragment, masked},
    json,
    poller::SEPARATOR,
    token,
};

const EVENTS: &str = "events = [\"echo\", \"7\"]\nmessages = 100\nper = \"1h\"";

/// A packet, and whether an attachment follows it.
type Spelling = fn(usize) -> (String, bool);

/// One event, or two that share a limit, as differently as Node reads them.
const SPELLINGS: [Spelling; 9] = [
    |id| (format!(r#"42{id}["echo",{id}]"#), false),
    |id| (format!(r#"42/,{id}["echo",{id}]"#), false),
    |id| (format!(r#"42{id}[7,{id}]"#), false),
    |id| (format!(r#"42/room-1,{id}["echo",{id}]"#), false),
    |id| (format!(r#"42/,00{id}[ "\u0065ch\u006f" , {id}]"#), false),
    |id| (format!(r#"451-{id}["echo",{{"_placeholder":true,"num":0}}]"#), true),
    |id| (format!(r#"42/room-2,0{id} ["7",{id}]"#), false),
    |id| (format!(r#"451-/room-1,{id}["echo",{{"_placeholder":true,"num":0}}]"#), true),
    |id| (format!(r#"42/,["e\u0063ho",{{"echo":{id}}}]"#), false),
];

fn packet(id: usize) -> (String, bool) {
    SPELLINGS[id % SPELLINGS.len()](id)
}

/// These packets as one payload of polling.
fn payload(ids: impl Iterator<Item = usize>) -> String {
    let packets = ids.map(packet).flat_map(|(text, attached)| {
        let attachment = attached.then(|| "bAQID".to_owned());
        [Some(text), attachment].into_iter().flatten()
    });
    packets.collect::<Vec<_>>().join(&SEPARATOR.to_string())
}

/// These packets as frames: in one or in fragments with a ping between them, attachments as binary, as base64, or as base64
/// in fragments.
fn frames(ids: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut frames = Vec::new();
    for id in ids {
        let (text, attached) = packet(id);
        if id % 2 == 0 {
            frames.extend(masked(TEXT, text.as_bytes()));
        } else {
            let (begin, end) = text.as_bytes().split_at(1 + id % 3);
            frames.extend(fragment(TEXT, begin));
            // Few, or they are a flood of their own.
            if id % 15 == 0 {
                frames.extend(masked(PING, b"?"));
            }
            frames.extend(masked(CONTINUATION, end));
        }
        if attached {
            frames.extend(match id % 3 {
                0 => masked(BINARY, &[1, 2, 3]),
                1 => masked(TEXT, b"bAQID"),
                _ => [fragment(TEXT, b"bA"), masked(CONTINUATION, b"QID")].concat(),
            });
        }
    }
    frames
}

/// The CONNECT of each namespace that the packets are for.
fn connects() -> [String; 3] {
    ["", "/room-1,", "/room-2,"].map(|namespace| format!("40{namespace}{}", json!({ "token": token("ada") })))
}

/// A websocket that has joined them all.
async fn joined(address: SocketAddr, query: &str) -> Raw {
    let mut raw = Raw::upgraded(address, &format!("/socket.io/?EIO=4&transport=websocket{query}"), "").await;
    raw.frame().await;
    for connect in connects() {
        raw.say(&connect).await;
        assert!(raw.frame().await.text().starts_with("40"));
    }
    raw
}

/// A polling client that has joined them all.
async fn polling(address: SocketAddr) -> Poller {
    let poller = Poller::engineio(address).await;
    poller.send(&connects().join(&SEPARATOR.to_string())).await;
    poller.packets(3).await;
    poller
}

/// Waits until the gate has judged them all, and the service has got what passed.
async fn exactly_a_hundred(gate: &Gate, service: &Service, what: &str) {
    eventually(&format!("{what}: the gate has judged 150"), async || {
        let metrics = gate.metrics().await;
        let judged: f64 = ["echo", "7"]
            .map(|event| metrics.sum("websocket_messages_received_total", &[("event", event)]))
            .iter()
            .sum();
        (judged >= 150.0).then_some(())
    })
    .await;
    let received = async || service.received("echo").await + service.received("7").await;
    eventually(&format!("{what}: the service has its packets"), async || (received().await >= 100).then_some(())).await;
    let seen = service.seen().await;
    assert_eq!((received().await, &seen["faults"]), (100, &json!([])), "{what}");
    let events = seen["events"].as_array().unwrap();
    let whole = |event: &&Value| event["args"][0].is_number() || event["args"][0] == json!({ "$binary": "AQID" });
    let objects = events.iter().filter(|event| event["args"][0]["echo"].is_number()).count();
    assert_eq!(events.iter().filter(whole).count() + objects, 100, "{what}: none is torn");
}

#[tokio::test]
async fn one_session_that_changes_spelling_and_namespace_with_each_packet_and_goes_over_in_between() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(&format!("[[rate_limit]]\n{EVENTS}")).await;
    let poller = polling(gate.address).await;
    poller.send(&payload(0..40)).await;
    let mut socket = poller.with_query("&b64=1").websocket().await;
    socket.say("2probe").await;
    assert_eq!(socket.frame().await.text(), "3probe");
    // Between the probe and the word that polling is over, both are there.
    poller.send(&payload(40..80)).await;
    socket.send(&[masked(TEXT, b"5"), frames(80..150)].concat()).await;
    exactly_a_hundred(&gate, &service, "one session").await;
}

#[tokio::test]
async fn one_user_over_every_way_at_once() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(&format!("[[rate_limit]]\nscope = \"user\"\n{EVENTS}")).await;
    let poller = polling(gate.address).await;
    let (mut plain, mut base64) = (joined(gate.address, "").await, joined(gate.address, "&b64=1").await);
    let (polled, first, second) = (payload(0..50), frames(50..100), frames(100..150));
    tokio::join!(poller.send(&polled), plain.send(&first), base64.send(&second));
    exactly_a_hundred(&gate, &service, "three sessions").await;
}
