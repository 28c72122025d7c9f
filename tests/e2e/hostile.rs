//! Frames and packets that no client of good faith sends: the session ends, and the service has seen nothing.

use std::{io::Write as _, time::Duration};

use crate::support::{
    Gate, Raw, Service, eventually,
    frame::{self, BINARY, CLOSE, CONTINUATION, Frame, PING, TEXT, claiming, fragment, masked, unmasked},
    json, token, waits_during,
};

const EVENT: &[u8] = b"42[\"echo\",1]";

/// Sends `bytes` in a joined session; the code of the close frame with which it ends.
async fn ending(gate: &Gate, bytes: &[u8]) -> Option<u16> {
    let mut raw = Raw::socketio(gate.address).await;
    // The gate may close while the rest of the bytes is still on its way.
    let _ = raw.try_send(bytes).await;
    raw.close_code().await
}

#[tokio::test]
async fn frames_against_rfc_6455_end_the_session_with_its_code() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let many_fragments = {
        let mut bytes = fragment(TEXT, b"42[\"echo\"");
        (0..70).for_each(|_| bytes.extend(fragment(CONTINUATION, b" ")));
        bytes.extend(masked(CONTINUATION, b"]"));
        bytes
    };

    // What is sent, and RFC 6455's code; the sections are its own.
    let table: &[(&str, Vec<u8>, u16)] = &[
        ("unmasked, §5.1", unmasked(TEXT, EVENT), 1002),
        ("RSV1 without an extension, §5.2", frame::frame(0xC1, EVENT), 1002),
        ("RSV3, §5.2", frame::frame(0x91, EVENT), 1002),
        ("reserved opcode 3, §5.2", frame::frame(0x83, EVENT), 1002),
        ("reserved control opcode B, §5.2", frame::frame(0x8B, b""), 1002),
        ("2 GB announced", claiming(&[127, 0, 0, 0, 0, 0x80, 0, 0, 0], EVENT), 1009),
        ("length with its top bit set, §5.2", claiming(&[127, 0x80, 0, 0, 0, 0, 0, 0, 5], b"42[]"), 1002),
        ("5 bytes announced in 16 bits, §5.2", claiming(&[126, 0, 12], EVENT), 1002),
        ("5 bytes announced in 64 bits, §5.2", claiming(&[127, 0, 0, 0, 0, 0, 0, 0, 12], EVENT), 1002),
        ("fragmented ping, §5.5", fragment(PING, b"x"), 1002),
        ("long ping, §5.5", masked(PING, &[b'x'; 126]), 1002),
        ("continuation of nothing, §5.4", masked(CONTINUATION, EVENT), 1002),
        ("text inside a message, §5.4", [fragment(TEXT, b"42["), masked(TEXT, EVENT)].concat(), 1002),
        ("not UTF-8, §8.1", masked(TEXT, b"42[\"echo\",\"\xFF\"]"), 1007),
        ("a surrogate, §8.1", masked(TEXT, b"42[\"echo\",\"\xED\xA0\x80\"]"), 1007),
        (
            "half a character, §8.1",
            [fragment(TEXT, b"42[\"echo\",\"\xC3"), masked(CONTINUATION, b"\"]")].concat(),
            1007,
        ),
        ("close code 1005, §7.4.1", masked(CLOSE, &1005_u16.to_be_bytes()), 1002),
        ("close code 999, §7.4.2", masked(CLOSE, &999_u16.to_be_bytes()), 1002),
        ("close body of one byte, §5.5.1", masked(CLOSE, b"x"), 1002),
        ("close reason not UTF-8, §5.5.1", masked(CLOSE, b"\x03\xE8\xFF"), 1007),
        ("more than 64 fragments", many_fragments, 1008),
    ];
    for (what, bytes, code) in table {
        assert_eq!(ending(&gate, bytes).await, Some(*code), "{what}");
    }

    let seen = service.seen().await;
    assert_eq!((&seen["received"], &seen["faults"]), (&json!({}), &json!([])));
    // The same event, as it should be.
    let mut raw = Raw::socketio(gate.address).await;
    raw.send(&masked(TEXT, EVENT)).await;
    assert_eq!(raw.frame().await.text(), "42[\"echo\",1]");
}

#[tokio::test]
async fn a_huge_length_costs_no_memory() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("limits.connections_per_ip = 1000").await;
    let before = gate.process_status("VmRSS");

    let mut liars = Vec::new();
    for _ in 0..300 {
        let mut raw = Raw::engineio(gate.address).await;
        // Just allowed, and never sent.
        raw.send(&claiming(&[127, 0, 0, 0, 0, 0, 0x0F, 0x42, 0x3F], b"40")).await;
        liars.push(raw);
    }
    gate.client(token("ada")).await.ask("echo", json!([1])).await;

    let grown = gate.process_status("VmRSS").saturating_sub(before);
    assert!(grown < 15_000, "{grown} kB for 300 announcements of 1 MB");
}

#[tokio::test]
async fn a_fragmented_message_arrives_whole() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let mut raw = Raw::socketio(gate.address).await;

    raw.send(&fragment(TEXT, b"421[\"echo\",\"\xC3")).await;
    raw.send(&masked(PING, b"still there?")).await;
    raw.send(&fragment(CONTINUATION, b"\xA9")).await;
    raw.send(&masked(CONTINUATION, b"\"]")).await;

    assert_eq!(raw.frame().await.payload, b"still there?", "the answer to a ping does not wait");
    assert_eq!(raw.frame().await.text(), "431[\"\u{e9}\"]");
    assert_eq!(service.received("echo").await, 1);
}

#[tokio::test]
async fn bytes_may_come_one_by_one() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let mut raw = Raw::socketio(gate.address).await;

    let long = format!("427[\"echo\",\"{}\"]", "\u{e9}".repeat(150));
    for byte in masked(TEXT, long.as_bytes()) {
        raw.send(&[byte]).await;
    }

    assert_eq!(raw.frame().await.text(), format!("437[\"{}\"]", "\u{e9}".repeat(150)));
}

#[tokio::test]
async fn a_close_frame_is_answered_and_what_follows_ignored() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let mut raw = Raw::socketio(gate.address).await;

    raw.send(&[masked(CLOSE, &1000_u16.to_be_bytes()), masked(TEXT, EVENT)].concat()).await;

    assert_eq!(raw.close_code().await, Some(1000));
    assert_eq!(service.disconnection().await["reason"], "transport close");
    assert_eq!(service.received("echo").await, 0);
}

#[tokio::test]
async fn packets_that_node_reads_another_way_end_the_session() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    // Node's reading of each is in tests/differential; none is what an official client writes.
    let table = [
        "42 [\"echo\"]",
        "42\t[\"echo\"]",
        "42\u{feff}[\"echo\"]",
        "421 2[\"echo\"]",
        "4299999999999999999[\"echo\"]",
        "429007199254740993[\"echo\"]",
        "42+7[\"echo\"]",
        "451e0-[\"echo\",{\"_placeholder\":true,\"num\":0}]",
        "450x1-[\"echo\",{\"_placeholder\":true,\"num\":0}]",
        "45 1-[\"echo\",{\"_placeholder\":true,\"num\":0}]",
        "450-[\"echo\"]",
        "4511-[\"echo\"]",
        "42/",
        "42",
        "42[1.0,\"x\"]",
        "42[1e3,\"x\"]",
        "42[-0,\"x\"]",
        "42[9007199254740993,\"x\"]",
        "42[]",
        "42{}",
        "42[\"echo\"]x",
        "42[\"connect\"]",
        "42[\"disconnect\"]",
        "42/nowhere,[\"echo\"]",
        "44{\"message\":\"I am the server\"}",
        "49[\"echo\"]",
        "2",
        "2probe",
        "9",
        "",
        "\u{feff}42[\"echo\"]",
        "bAAAA",
        "40",
        "40/chat,{\"token\":\"nonsense\"",
        "42[\"echo\",\"\\ud800\"",
    ];
    for text in table {
        let mut raw = Raw::socketio(gate.address).await;
        raw.say(text).await;
        raw.until_end().await;
    }

    let seen = service.seen().await;
    assert_eq!((&seen["received"], &seen["faults"]), (&json!({}), &json!([])));
    assert!(gate.metrics().await.sum("websocket_errors_total", &[]) >= 30.0, "each is counted");
    // As official clients write them.
    let mut raw = Raw::socketio(gate.address).await;
    raw.say("427[\"echo\",1]").await;
    assert_eq!(raw.frame().await.text(), "437[1]");
}

#[tokio::test]
async fn an_event_name_is_its_meaning_not_its_spelling() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("[[rate_limit]]\nevents = [\"echo\"]\nmessages = 1\nper = \"1h\"").await;
    let mut raw = Raw::socketio(gate.address).await;

    raw.say("421[\"echo\",1]").await;
    raw.say("422[\"\\u0065cho\",2]").await;

    // The gate's own answer may be there before the service's.
    let answers = [raw.frame().await, raw.frame().await];
    let answer = |id: &str| answers.iter().map(Frame::text).find(|text| text.starts_with(id)).unwrap();
    assert_eq!(answer("431"), "431[1]");
    assert!(answer("432").contains("rateLimited"), "{answers:?}");
    assert_eq!(service.received("echo").await, 1);
}

#[tokio::test]
async fn attachments_that_do_not_fit_their_packet_end_the_session() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let announced = masked(TEXT, b"452-[\"echo\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]");

    let without_packet = masked(BINARY, b"nobody's");
    let text_in_between = [announced.clone(), masked(BINARY, b"1"), masked(TEXT, EVENT)].concat();
    ending(&gate, &without_packet).await;
    ending(&gate, &text_in_between).await;

    assert_eq!(service.seen().await["received"], json!({}));
    assert_eq!(service.seen().await["faults"], json!([]));
    let mut raw = Raw::socketio(gate.address).await;
    raw.send(&[announced, masked(BINARY, b"1"), masked(BINARY, b"2")].concat()).await;
    assert!(raw.frame().await.text().starts_with("452-[\"echo\""));
}

#[tokio::test]
async fn nothing_is_accepted_before_connect_and_connect_only_once() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).await;

    let mut early = Raw::engineio(gate.address).await;
    early.say("42[\"echo\",1]").await;
    early.until_end().await;
    assert_eq!(service.transports().await, 0);

    let mut twice = Raw::socketio(gate.address).await;
    twice.say(&format!("40{{\"token\":\"{}\"}}", token("raw"))).await;
    twice.until_end().await;
    assert_eq!(service.transports().await, 1);
    assert_eq!(service.seen().await["faults"], json!([]));
}

#[tokio::test]
async fn what_follows_an_unanswered_connect_waits_for_it() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    let mut raw = Raw::engineio(gate.address).await;
    let connect = format!("40{{\"token\":\"{}\"}}", token("ada"));
    raw.send(&[masked(TEXT, connect.as_bytes()), masked(TEXT, EVENT)].concat()).await;

    // Node would end such a session; an official client sends nothing before it is connected. Either way nothing is
    // let through out of order.
    let frames = raw.try_frame().await;
    if let Some(first) = frames.filter(|frame| frame.opcode == TEXT) {
        assert!(first.text().starts_with("40{"), "{first:?}");
    }
    assert_eq!(service.seen().await["faults"], json!([]));
}

#[tokio::test]
async fn silence_ends_a_connection() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("limits.handshake_timeout = \"500ms\"").await;
    let times = "limits.handshake_timeout = \"10m\"\nsocketio.connect_timeout = \"500ms\"";
    let patient = Gate::before(&service).with(times).await;

    // The control: it came first, to a gate that gives it more time.
    let mut waits = Raw::connect(patient.address).await;
    let mut mute = Raw::connect(gate.address).await;
    assert_eq!(mute.status().await, 0, "not a word is answered with none");
    let mut slow = Raw::connect(gate.address).await;
    slow.send(b"GET /sessions/plan HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    assert_eq!(slow.status().await, 408);
    waits.send(b"GET /sessions/plan HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(waits.status().await, 200, "it was given up for the time that is set");
    let mut undecided = Raw::engineio(patient.address).await;
    undecided.until_end().await;

    assert_eq!(service.seen().await["transports"], 0);
    // A busy machine may need more than one attempt to join in time.
    let stays = patient.connect(json!({ "token": token("ada") })).await;
    stays.connected_after_errors().await;
    let disconnections = stays.untaken("disconnect");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stays.ask("echo", json!([1])).await, 1, "those who joined may be silent");
    assert_eq!(stays.untaken("disconnect"), disconnections);
}

#[tokio::test]
async fn an_idle_session_is_closed_where_that_is_wanted() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("limits.idle_timeout = \"8s\"\nsocketio.ping_interval = \"300ms\"").await;
    let busy = gate.client(token("busy")).await;
    let idle = gate.client(token("idle")).await;

    let mut beats = 0;
    while idle.untaken("disconnect") == 0 {
        busy.ask("echo", json!([beats])).await;
        beats += 1;
        assert!(beats < 200, "heartbeats are no use of a session");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    assert_eq!(busy.untaken("disconnect"), 0);
    assert_eq!(idle.disconnected().await, "transport close");
}

#[tokio::test]
async fn a_flood_of_pings_does_not_fill_the_memory() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let mut raw = Raw::socketio(gate.address).await;
    let before = gate.process_status("VmRSS");

    let pings = masked(PING, &[b'x'; 125]).repeat(500);
    for _ in 0..200 {
        // Nobody reads the answers; the gate may stop reading, or end it.
        let sent = tokio::time::timeout(Duration::from_millis(500), raw.try_send(&pings)).await;
        if !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }

    gate.client(token("ada")).await.ask("echo", json!([1])).await;
    let grown = gate.process_status("VmRSS").saturating_sub(before);
    assert!(grown < 15_000, "{grown} kB");
}

#[tokio::test]
async fn a_flood_of_refused_messages_is_slowed_down_and_ended_and_others_are_answered_meanwhile() {
    let service = Service::start().await;
    let rule = r#"rate_limit = [{ scope = "connection", events = ["x"], messages = 100, per = "60s" }]"#;
    let gate = Gate::before(&service).with("listen.workers = 1").with(rule).await;
    let client = gate.client(token("ada")).await;
    // The control: so many answers come in a second on this machine. The flood takes five.
    let (alone, ()) = waits_during(&client, tokio::time::sleep(Duration::from_secs(1))).await;
    let Ok(mut raw) = Raw::socketio(gate.address).await.into_stream().into_std() else { panic!("no socket") };
    raw.set_nonblocking(false).unwrap();

    let flood = tokio::task::spawn_blocking(move || {
        let many = masked(TEXT, b"42[\"x\"]").repeat(8000);
        while raw.write_all(&many).is_ok() {}
    });
    let (waits, _) = waits_during(&client, flood).await;

    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "rate")]).await;
    let refused = gate.metrics().await.sum("websocket_messages_received_total", &[("event", "x")]);
    assert!(refused < 10_000.0, "{refused} were looked at");
    let (had, before) = (waits.len(), alone.len());
    assert!(had >= before / 2, "others have had {had} answers only, p99 {:?}, after {before}", waits.p99());
}

#[tokio::test]
async fn a_client_that_is_gone_mid_message_leaves_nothing_behind() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let whole = masked(TEXT, b"42[\"echo\",\"to be cut at every byte\"]");

    for len in 0..whole.len() {
        let mut raw = Raw::socketio(gate.address).await;
        raw.send(&whole[..len]).await;
        if len % 2 == 0 {
            raw.finish().await;
        }
    }

    eventually("all are gone", async || {
        (service.seen().await["disconnects"].as_array().unwrap().len() == whole.len()).then_some(())
    })
    .await;
    assert_eq!(service.seen().await["received"], json!({}));
    assert_eq!(service.seen().await["faults"], json!([]));
    gate.counts(0.0, "websocket_connections_total", &[]).await;
}
