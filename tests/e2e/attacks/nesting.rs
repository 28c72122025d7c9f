//! Packets whose head is good and whose JSON is not: nested so deeply that reading it ends the service, or broken, so that
//! the service hangs up.

use std::net::SocketAddr;

use crate::support::{
    Cable, Gate, Poller, Raw, Service, eventually,
    frame::{BINARY, CLOSE, CONTINUATION, TEXT, fragment, masked},
    token, waits_during,
};

/// An event with arrays nested in each other.
fn nested(head: &str, levels: usize) -> String {
    format!("{head}[\"say\",{}{}]", "[".repeat(levels), "]".repeat(levels))
}

/// Where a cable begins.
fn address(cable: &Cable) -> SocketAddr {
    cable.url().strip_prefix("http://").unwrap().parse().unwrap()
}

/// The code and the reason with which a session ends in which these bytes are sent.
async fn ending(gate: &Gate, bytes: &[u8]) -> (u16, String) {
    let mut raw = Raw::socketio(gate.address).await;
    // The gate may close while the rest of the bytes is still on its way.
    let _ = raw.try_send(bytes).await;
    let frames = raw.until_end().await;
    let close = frames.iter().find(|frame| frame.opcode == CLOSE).expect("a Close");
    (close.close_code(), String::from_utf8_lossy(&close.payload[2..]).into_owned())
}

/// How often the service has closed a session because of what its client had sent.
async fn hang_ups(service: &Service) -> usize {
    let disconnects = service.seen().await["disconnects"].clone();
    disconnects.as_array().unwrap().iter().filter(|end| end["reason"] == "forced close").count()
}

#[tokio::test]
async fn without_the_gate_one_packet_ends_the_simplest_service() {
    for levels in [8_000, 100_000] {
        let mut service = Service::simple().await;
        let cable = Cable::to(&service).await;
        Raw::socketio(address(&cable)).await.say(&nested("42", levels)).await;
        service.dies().await;
    }
    let mut service = Service::simple().await;
    let cable = Cable::to(&service).await;
    let poller = Poller::socketio(address(&cable)).await;
    poller.send(&nested("42", 8_000)).await;
    service.dies().await;
}

#[tokio::test]
async fn nested_packets_end_their_session_and_others_are_answered_meanwhile() {
    let mut service = Service::simple().await;
    let gate = Gate::before(&service).with("rate_limit = []").await;
    let good = gate.client(token("good")).await;
    let deep = |levels| nested("42", levels).into_bytes();
    let pieces = [&deep(8_000)[..4_000], &deep(8_000)[4_000..]].map(<[u8]>::to_vec);
    let table = [
        ("one level too many", masked(TEXT, &deep(64))),
        ("longer than what is read at first", masked(TEXT, &deep(8_000))),
        ("far longer", masked(TEXT, &deep(100_000))),
        ("in two fragments", [fragment(TEXT, &pieces[0]), masked(CONTINUATION, &pieces[1])].concat()),
        ("with an ack id", masked(TEXT, nested("427", 8_000).as_bytes())),
        ("an ack that nobody asked for", masked(TEXT, nested("437", 70).as_bytes())),
        ("with an attachment", masked(TEXT, nested("451-", 8_000).as_bytes())),
        ("objects", masked(TEXT, format!("42[\"say\",{}1{}]", "{\"a\":".repeat(64), "}".repeat(64)).as_bytes())),
        ("a CONNECT", masked(TEXT, format!("40/b,{{\"a\":{}{}}}", "[".repeat(70), "]".repeat(70)).as_bytes())),
        (
            "behind a long string",
            masked(TEXT, format!("42[\"say\",\"{}\",{}", "x".repeat(2_000), "[".repeat(64)).as_bytes()),
        ),
    ];

    let (waits, ()) = waits_during(&good, async {
        for (what, bytes) in &table {
            assert_eq!(ending(&gate, bytes).await, (1008, "json_depth".to_owned()), "{what}");
        }
        for levels in [64, 8_000, 100_000] {
            let poller = Poller::socketio(gate.address).await;
            let reply = poller.post(format!("42[\"say\"]\u{1e}{}", nested("42", levels))).await;
            assert_eq!(reply.status, 400, "{levels} levels over polling");
            poller.assert_ended("polling").await;
        }
    })
    .await;

    assert!(waits.len() > 0);
    assert!(service.is_running());
    let mut raw = Raw::engineio(gate.address).await;
    raw.say(&format!("40{{\"token\":{}{}}}", "[".repeat(64), "]".repeat(64))).await;
    assert_eq!(raw.close_code().await, Some(1008), "a client that is not known yet");
    // Sixty-three arrays in that of the event are sixty-four.
    let mut raw = Raw::socketio(gate.address).await;
    raw.say(&nested("42", 63)).await;
    assert_eq!(raw.frame().await.text(), nested("42", 63));
    gate.counts(14.0, "websocket_disconnections_total", &[("reason", "json_depth")]).await;
    let lines = gate.log().wait_for(14, &[":\"json_depth\""]).await;
    assert_eq!(lines.len(), 14);
    assert!(lines.iter().all(|line| line.contains("socketio.json_depth")), "{lines:#?}");
}

#[tokio::test]
async fn broken_json_ends_its_session_before_the_service_hears_of_it() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let long = "x".repeat(20_000);
    let table = [
        (r#"42["silence"]]"#.to_owned(), "json_structure"),
        (r#"42["silence",{"a":1]"#.to_owned(), "json_structure"),
        (r#"42["silence","a]"#.to_owned(), "json_structure"),
        // Of these the end is not there when their beginning is on its way.
        (format!(r#"42["silence","{long}"]]"#), "json_structure"),
        (format!(r#"42["silence","{long}"}}"#), "json_structure"),
        (format!(r#"42["silence","{long}"] ,"#), "json_structure"),
        (format!(r#"42["silence","{long}]"#), "json_structure"),
        (format!(r#"427["silence",["{long}","é"]"#), "json_structure"),
        (r#"451-["silence",{"_placeholder":true,"num":1}]"#.to_owned(), "json_placeholder"),
        (r#"451-["silence",{"_placeholder":true,"num":0},]"#.to_owned(), "json_grammar"),
    ];
    for (text, rule) in &table {
        let what = &text[..text.len().min(60)];
        assert_eq!(ending(&gate, &masked(TEXT, text.as_bytes())).await, (1008, (*rule).to_owned()), "{what}");
        let poller = Poller::socketio(gate.address).await;
        assert_eq!(poller.post(text.clone()).await.status, 400, "{what} over polling");
        poller.assert_ended(what).await;
    }
    Poller::socketio(gate.address).await.echoes().await;
    assert_eq!((hang_ups(&service).await, service.received("silence").await), (0, 0));

    // The same packets, sent to the service itself, are for it to find out about.
    let mut open = Vec::new();
    for (text, _) in &table {
        let mut raw = Raw::socketio(service.address()).await;
        let attachment = if text.starts_with("45") { masked(BINARY, b"x") } else { Vec::new() };
        let _ = raw.try_send(&[masked(TEXT, text.as_bytes()), attachment].concat()).await;
        open.push(raw);
    }
    eventually("the service finds each fault", async || (hang_ups(&service).await == table.len()).then_some(())).await;
}

#[tokio::test]
async fn a_broken_end_that_comes_late_takes_its_beginning_back() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for (end, code) in [(&b"\"]]"[..], 1008), (b"\"", 1008), (b"\"]\xC3", 1007)] {
        let mut raw = Raw::socketio(gate.address).await;
        let text = [br#"42["silence",""#, &[b'x'; 60_000][..], end].concat();
        let bytes = masked(TEXT, &text);
        let (beginning, last) = bytes.split_at(bytes.len() - 1);

        raw.send(beginning).await;
        // So that the last byte is read by itself.
        Poller::socketio(gate.address).await.echoes().await;
        let _ = raw.try_send(last).await;

        assert_eq!(raw.close_code().await, Some(code));
        eventually("the service has lost the client", async || {
            (service.seen().await["disconnects"].as_array().unwrap().len() == 1).then_some(())
        })
        .await;
        assert_eq!(service.received("silence").await, 0);
        service.forget().await;
    }
}

#[tokio::test]
async fn in_full_every_character_is_read() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("socketio.json = \"full\"\nsocketio.json_depth = 3").await;
    let long = "x".repeat(20_000);
    let mut raw = Raw::socketio(gate.address).await;
    for good in [r#"42["echo",[{"a":-0.5e+3,"b":"\u00e9\n"},true,null]]"#.to_owned(), format!(r#"42["echo","{long}"]"#)]
    {
        raw.say(&good).await;
        assert_eq!(raw.frame().await.text().len(), good.replace(r#"-0.5e+3"#, "-500").replace(r"\u00e9", "é").len());
    }
    for (text, rule) in [
        (r#"42["silence",01]"#.to_owned(), "json_grammar"),
        (format!(r#"42["silence","{long}",tru]"#), "json_grammar"),
        (r#"42["silence",[[[]]]]"#.to_owned(), "json_depth"),
    ] {
        assert_eq!(ending(&gate, &masked(TEXT, text.as_bytes())).await, (1008, rule.to_owned()));
    }
    assert_eq!(service.received("silence").await, 0);
}
