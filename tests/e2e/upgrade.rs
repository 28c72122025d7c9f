//! From polling to a websocket, by hand: `2probe`, `3probe`, `5`, and everything that may come between.

use crate::support::{
    Gate, Poller, Raw, Service, Value, eventually,
    frame::{BINARY, TEXT, fragment, masked},
    http, json,
    poller::{BAD_REQUEST, SEPARATOR, UNKNOWN_SID},
    token,
};

/// The one session of a gate, as its operator sees it.
async fn session(gate: &Gate) -> Value {
    let listing = http::get(&gate.admin_url("/sessions")).await.json();
    assert_eq!(listing["sessions"].as_array().unwrap().len(), 1, "{listing}");
    listing["sessions"][0].clone()
}

async fn upgrades(gate: &Gate, result: &str) -> f64 {
    gate.metrics().await.sum("tidegate_upgrades_total", &[("result", result)])
}

/// Its packets travel by this websocket, both ways.
async fn assert_carries(socket: &mut Raw, what: &str) {
    socket.say("42[\"echo\",\"by websocket\"]").await;
    assert_eq!(socket.frame().await.text(), "42[\"echo\",\"by websocket\"]", "{what}");
}

#[tokio::test]
async fn a_session_goes_over_to_a_websocket() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;
    let before = session(&gate).await;
    assert_eq!((&before["transport"], &before["upgraded"]), (&json!("polling"), &json!(false)));

    let waiting = poller.polling();
    let mut socket = poller.websocket().await;
    // However slowly it comes.
    for byte in masked(TEXT, b"2probe") {
        socket.send(&[byte]).await;
    }
    assert_eq!(socket.frame().await.text(), "3probe");
    assert_eq!(waiting.await.unwrap().text(), "6", "the poll is released");
    for byte in masked(TEXT, b"5") {
        socket.send(&[byte]).await;
    }
    assert_carries(&mut socket, "after the upgrade").await;

    for refused in [poller.get().await, poller.post("42[\"silence\"]").await] {
        assert_eq!((refused.status, refused.text()), (400, BAD_REQUEST), "there are no polls any more");
    }
    assert_carries(&mut socket, "after a poll too many").await;
    let after = session(&gate).await;
    assert_eq!((&after["transport"], &after["upgraded"]), (&json!("websocket"), &json!(true)));
    assert_eq!((&after["sid_hash"], &after["id"]), (&before["sid_hash"], &before["id"]), "it is the same session");
    gate.counts(1.0, "tidegate_sessions", &[("transport", "websocket")]).await;
    gate.counts(0.0, "tidegate_sessions", &[("transport", "polling")]).await;
    gate.counts(1.0, "websocket_connections_count", &[]).await;
    assert_eq!((upgrades(&gate, "ok").await, upgrades(&gate, "failed").await), (1.0, 0.0));
    let seen = service.seen().await;
    assert_eq!((&seen["transports"], &seen["received"]), (&json!(1), &json!({ "echo": 2 })));
}

#[tokio::test]
async fn a_client_that_waits_for_nothing_is_understood() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;

    let mut socket = Raw::connect(gate.address).await;
    let request = format!("GET {} HTTP/1.1\r\n{}\r\n", poller.target("websocket"), crate::support::raw::UPGRADE);
    let frames = [masked(TEXT, b"2probe"), masked(TEXT, b"5"), masked(TEXT, b"421[\"echo\",1]")].concat();
    socket.send(&[request.into_bytes(), frames].concat()).await;

    assert_eq!(socket.status().await, 101);
    assert_eq!(socket.frame().await.text(), "3probe");
    assert_eq!(socket.frame().await.text(), "431[1]");
    gate.counts(1.0, "tidegate_upgrades_total", &[("result", "ok")]).await;
}

#[tokio::test]
async fn what_the_service_says_meanwhile_is_neither_lost_nor_doubled() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;
    let said = async |n: u32, args: Value| {
        service.emit("raw", "content:adapted", args).await;
        gate.counts(f64::from(n), "websocket_messages_sent_total", &[("event", "content:adapted")]).await;
    };

    let mut socket = poller.websocket().await;
    said(1, json!([1])).await;
    assert_eq!(poller.poll().await, "42[\"content:adapted\",1]", "nothing but the probe is said there");
    socket.say("2probe").await;
    assert_eq!(socket.frame().await.text(), "3probe");
    assert_eq!(poller.poll().await, "6", "a poll that comes now is released at once");
    said(2, json!([2])).await;
    assert_eq!(poller.poll().await, "42[\"content:adapted\",2]", "but not with empty hands");
    said(3, json!([3, { "$binary": "AQIDBA==" }])).await;
    said(4, json!(["4 ∴ 🌊"])).await;
    socket.say("5").await;

    let event = "451-[\"content:adapted\",3,{\"_placeholder\":true,\"num\":0}]";
    assert_eq!(socket.frame().await.text(), event, "what nobody has fetched comes first");
    let attachment = socket.frame().await;
    assert_eq!((attachment.opcode, &attachment.payload[..]), (BINARY, &[1, 2, 3, 4][..]));
    assert_eq!(socket.frame().await.text(), "42[\"content:adapted\",\"4 ∴ 🌊\"]");
    said(5, json!([5])).await;
    assert_eq!(socket.frame().await.text(), "42[\"content:adapted\",5]");
}

#[tokio::test]
async fn a_payload_on_its_way_comes_before_what_is_behind_the_upgrade() {
    let service = Service::start().await;
    // What waits for its turn keeps its payload waiting.
    let gate = Gate::before(&service)
        .with("[[rate_limit]]\nmessages = 3\nper = \"1s\"\nexceeded = \"delay\"\nevents = [\"echo\"]")
        .await;
    let poller = Poller::socketio(gate.address).await;
    let numbered = |n: u32| format!("42{n}[\"echo\",{{\"seq\":{n}}}]");

    let payload = (0..5).map(numbered).collect::<Vec<_>>().join(&SEPARATOR.to_string());
    let posting = poller.posting(&payload);
    eventually("the payload is being judged", async || (service.received("echo").await >= 3).then_some(())).await;
    let mut socket = poller.websocket().await;
    socket.go_over().await;
    for n in 5..7 {
        socket.say(&numbered(n)).await;
    }

    assert_eq!(posting.await.unwrap().text(), "ok");
    for n in 0..7 {
        assert_eq!(socket.frame().await.text(), format!("43{n}[{{\"seq\":{n}}}]"));
    }
    let seen = service.seen().await;
    assert_eq!((&seen["received"]["echo"], &seen["disordered"]), (&json!(7), &json!(0)));
}

#[tokio::test]
async fn an_attachment_may_come_behind_the_upgrade_of_its_packet() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;

    poller.send("451-1[\"agent:speech\",{\"audioBuffer\":{\"_placeholder\":true,\"num\":0}}]").await;
    let mut socket = poller.websocket().await;
    socket.go_over().await;
    socket.send(&masked(BINARY, &[1, 2, 3])).await;

    assert_eq!(socket.frame().await.text(), "42[\"connection:quality\",{\"heard\":3}]");
    assert_eq!(socket.frame().await.text(), "431[{\"success\":true,\"bytes\":3}]");
}

#[tokio::test]
async fn what_is_no_probe_ends_the_websocket_and_not_the_session() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;
    let probe = masked(TEXT, b"2probe");
    let table = [
        ("an event", masked(TEXT, b"42[\"silence\"]")),
        ("CONNECT", masked(TEXT, b"40")),
        ("a ping without its word", masked(TEXT, b"2")),
        ("a longer word", masked(TEXT, b"2probes")),
        ("bytes", masked(BINARY, b"2probe")),
        ("fragments", [fragment(TEXT, b"2pro"), masked(0, b"be")].concat()),
        ("a bare frame", b"\x81\x062probe".to_vec()),
        ("an event before the end of the probe", [probe, masked(TEXT, b"42[\"silence\"]")].concat()),
    ];
    let count = table.len();
    for (what, bytes) in table {
        let mut socket = poller.websocket().await;
        let _ = socket.try_send(&bytes).await;
        let heard = socket.until_end().await;
        assert!(heard.iter().all(|frame| frame.payload == b"3probe"), "{what}: {heard:?}");
        poller.echoes().await;
    }
    gate.counts(count as f64, "tidegate_upgrades_total", &[("result", "failed")]).await;
    assert!(service.seen().await["received"]["silence"].is_null());

    let mut socket = poller.websocket().await;
    socket.go_over().await;
    assert_carries(&mut socket, "it may still go over").await;
}

#[tokio::test]
async fn a_client_may_go_over_without_a_probe_or_probe_twice_as_with_engine_io() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    let poller = Poller::socketio(gate.address).await;
    let waiting = poller.polling();
    let mut socket = poller.websocket().await;
    // As clients of small devices do.
    socket.say("5").await;
    assert_carries(&mut socket, "without a probe").await;
    // The poll is released, unless it came too late.
    assert!(["6", BAD_REQUEST].contains(&waiting.await.unwrap().text()));

    let poller = Poller::socketio(gate.address).await;
    let mut socket = poller.websocket().await;
    socket.say("2probe").await;
    assert_eq!(socket.frame().await.text(), "3probe");
    socket.go_over().await;
    assert_carries(&mut socket, "after two probes").await;
    // A second word means nothing.
    socket.say("5").await;
    assert_carries(&mut socket, "after a second 5").await;
    assert_eq!((upgrades(&gate, "ok").await, upgrades(&gate, "failed").await), (2.0, 0.0));
    assert_eq!(service.seen().await["faults"], json!([]));
}

#[tokio::test]
async fn a_second_websocket_is_opened_and_closed() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;
    let mut first = poller.websocket().await;

    let while_it_is_probed = poller.websocket().await.close_code().await;
    first.go_over().await;
    assert_carries(&mut first, "the first").await;
    let mut eager = poller.websocket().await;
    let _ =
        eager.try_send(&[masked(TEXT, b"2probe"), masked(TEXT, b"5"), masked(TEXT, b"42[\"silence\"]")].concat()).await;
    let after_the_upgrade = eager.until_end().await;

    assert_eq!(while_it_is_probed, Some(1005));
    assert!(after_the_upgrade.len() == 1 && after_the_upgrade[0].close_code() == 1005, "{after_the_upgrade:?}");
    assert_carries(&mut first, "the first, still").await;
    assert!(service.seen().await["received"]["silence"].is_null());
    assert_eq!((upgrades(&gate, "ok").await, upgrades(&gate, "failed").await), (1.0, 0.0));
}

#[tokio::test]
async fn a_session_that_began_with_a_websocket_takes_no_other() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let mut first = Raw::upgraded(gate.address, "/socket.io/?EIO=4&transport=websocket", "").await;
    let open: Value = serde_json::from_str(&first.frame().await.text()[1..]).unwrap();
    first.say(&format!("40{{\"token\":\"{}\"}}", token("raw"))).await;
    assert!(first.frame().await.text().starts_with("40{\"sid\":"));
    let poller = Poller::engineio(gate.address).await.with_sid(open["sid"].as_str().unwrap().to_owned());

    assert_eq!(poller.websocket().await.close_code().await, Some(1005));
    for refused in [poller.get().await, poller.post("42[\"silence\"]").await] {
        assert_eq!((refused.status, refused.text()), (400, BAD_REQUEST));
    }
    assert_carries(&mut first, "the first").await;
}

#[tokio::test]
async fn there_is_nothing_to_go_over_to_where_websockets_are_off() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(r#"socketio.transports = ["polling"]"#).await;
    let poller = Poller::socketio(gate.address).await;

    let (status, body) = poller.websocket_refused().await;

    assert_eq!((status, &*body), (400, r#"{"code":0,"message":"Transport unknown"}"#));
    poller.echoes().await;
    let unknown = poller.with_sid("AAAAAAAAAAAAAAAAAAAA".to_owned());
    let gate = Gate::before(&service).await;
    let elsewhere = unknown.at(gate.address);
    assert_eq!(elsewhere.websocket_refused().await, (400, UNKNOWN_SID.to_owned()));
}
