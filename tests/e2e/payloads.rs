//! What a POST may carry, and what becomes of one that is wrong: not a packet of it reaches the service by mistake.

use crate::support::{
    Gate, Poller, Raw, Service, eventually, http, json,
    poller::{BAD_REQUEST, SEPARATOR},
};

/// A POST by hand, without its body; `headers` are whole lines.
fn post(poller: &Poller, headers: &str) -> String {
    format!("POST {} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n", poller.target("polling"))
}

/// So many packets as one payload.
fn payload(packets: impl IntoIterator<Item = String>) -> String {
    packets.into_iter().collect::<Vec<_>>().join(&SEPARATOR.to_string())
}

#[tokio::test]
async fn a_payload_over_the_limit_is_refused_and_the_session_goes_on() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(r#"socketio.max_payload = "100KB""#).await;
    let poller = Poller::socketio(gate.address).await;
    let largest = format!("42[\"silence\",\"{}\"]", "x".repeat(100_000 - 16));
    let too_large = largest.replace(']', " ]");

    let refused = poller.post(too_large.clone()).await;
    // Of this one nobody says beforehand how large it is.
    let mut chunked = Raw::connect(gate.address).await;
    chunked.send(post(&poller, "Transfer-Encoding: chunked\r\n").as_bytes()).await;
    let chunk = format!("{:x}\r\n{too_large}\r\n0\r\n\r\n", too_large.len());
    // The gate may close while the rest of it is still on its way.
    let _ = chunked.try_send(chunk.as_bytes()).await;

    let message = "The payload is larger than maxPayload, 100000 bytes";
    assert_eq!((refused.status, refused.json()), (413, json!({ "code": "payload_too_big", "message": message })));
    assert_eq!(chunked.status().await, 413);
    assert_eq!(service.received("silence").await, 0);
    poller.send(&largest).await;
    poller.echoes().await;
    assert_eq!(service.received("silence").await, 1);
}

#[tokio::test]
async fn a_payload_of_too_many_packets_is_refused_as_a_whole_and_the_session_goes_on() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("rate_limit = []\nsocketio.payload_packets = 40").await;
    let poller = Poller::socketio(gate.address).await;
    let events = |count| payload((0..count).map(|_| "42[\"silence\"]".to_owned()));

    let refused = poller.post(events(41)).await;
    let empty = poller.post(SEPARATOR.to_string().repeat(500)).await;

    let message = "The payload has more than 40 packets";
    assert_eq!((refused.status, refused.json()), (413, json!({ "code": "payload_packets", "message": message })));
    assert_eq!(empty.status, 413);
    gate.counts(2.0, "tidegate_refused_total", &[("stage", "session"), ("reason", "payload_packets")]).await;
    poller.echoes().await;
    assert_eq!(service.received("silence").await, 0);
    poller.send(&events(40)).await;
    poller.echoes().await;
    assert_eq!(service.received("silence").await, 40);

    // As delivered a thousand are taken, and no more.
    let gate = Gate::before(&service).with("rate_limit = []").await;
    let poller = Poller::socketio(gate.address).await;
    assert_eq!(poller.post(events(1001)).await.status, 413);
    poller.send(&events(1000)).await;
    poller.echoes().await;
    assert_eq!(service.received("silence").await, 1040);
}

#[tokio::test]
async fn a_client_hears_that_its_payload_is_far_too_large() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;

    for _ in 0..5 {
        let refused = poller.post("x".repeat(5_000_000)).await;
        assert_eq!(refused.status, 413, "{refused:?}");
    }

    poller.echoes().await;
}

#[tokio::test]
async fn a_payload_that_breaks_off_is_none() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;
    let packets = "42[\"silence\",1]\x1e42[\"silence\",2]";

    for (headers, sent) in [
        ("Content-Length: 100\r\n", packets.to_owned()),
        ("Transfer-Encoding: chunked\r\n", format!("{:x}\r\n{packets}\r\n", packets.len())),
        ("Transfer-Encoding: chunked\r\n", format!("ff\r\n{packets}")),
    ] {
        let mut raw = Raw::connect(gate.address).await;
        raw.send((post(&poller, headers) + &sent).as_bytes()).await;
        raw.finish().await;
        // The gate has seen the end when it closes too.
        assert!(matches!(raw.status().await, 0 | 400), "{headers}");
    }

    poller.echoes().await;
    assert_eq!(service.received("silence").await, 0);
    poller.send(packets).await;
    eventually("the same packets arrive in a whole payload", async || {
        (service.received("silence").await == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_may_ask_before_it_sends() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;
    let event = "42[\"echo\",1]";

    let mut raw = Raw::connect(gate.address).await;
    let expects = format!("Expect: 100-continue\r\nContent-Length: {}\r\n", event.len());
    raw.send(post(&poller, &expects).as_bytes()).await;
    assert_eq!(raw.status().await, 100);
    raw.send(event.as_bytes()).await;

    assert!(raw.answer().await.ends_with("\r\n\r\nok"));
    assert_eq!(poller.poll().await, event);
}

#[tokio::test]
async fn a_payload_is_text_and_sent_as_it_is() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;
    let event = "42[\"silence\"]";

    let binary = poller.with_headers(&[("content-type", "application/octet-stream")]).post(event).await;
    assert_eq!((binary.status, binary.text()), (400, BAD_REQUEST), "the payloads of version 3");
    for encoding in ["gzip", "identity", "br"] {
        let refused = poller.with_headers(&[("content-encoding", encoding)]).post(event).await;
        assert_eq!((refused.status, &refused.json()["code"]), (415, &json!("content_encoding")), "{encoding}");
    }
    poller.echoes().await;
    assert_eq!(service.received("silence").await, 0);

    for kind in ["text/plain;charset=UTF-8", "text/plain", "application/json"] {
        poller.with_headers(&[("content-type", kind)]).send(event).await;
    }
    poller.send(event).await;
    poller.echoes().await;
    assert_eq!(service.received("silence").await, 4);
}

#[tokio::test]
async fn a_payload_that_no_official_client_sends_ends_the_session() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let attachment = |base64: &str| format!("451-[\"silence\",{{\"_placeholder\":true,\"num\":0}}]\x1eb{base64}");
    let table: [(&str, Vec<u8>); 19] = [
        ("nothing", b"".to_vec()),
        ("an empty packet", b"42[\"echo\"]\x1e".to_vec()),
        ("separators", b"\x1e\x1e\x1e".to_vec()),
        ("not UTF-8", b"42[\"silence\",\"\xff\"]".to_vec()),
        ("half a character", b"42[\"silence\",\"\xc3\"]".to_vec()),
        ("a character torn by a separator", b"42[\"silence\",\"\xc3\x1e\xa9\"]".to_vec()),
        ("an unknown type", b"7".to_vec()),
        ("a ping", b"2".to_vec()),
        ("a probe", b"2probe".to_vec()),
        ("an attachment of nothing", b"bAQID".to_vec()),
        ("an event in place of an attachment", [attachment("AQID"), attachment("")].concat().into_bytes()),
        ("bits left over", attachment("AB==").into_bytes()),
        ("no padding", attachment("AQ").into_bytes()),
        ("too much padding", attachment("AQ===").into_bytes()),
        ("padding inside", attachment("AQ==AQ==").into_bytes()),
        ("the alphabet of URLs", attachment("_-_-").into_bytes()),
        ("a blank in base64", attachment("AQ ID").into_bytes()),
        ("Engine.IO 3's framing", b"13:42[\"silence\"]".to_vec()),
        ("an event in a namespace not joined", b"42/chat,[\"silence\"]".to_vec()),
    ];
    for (what, body) in table {
        let poller = Poller::socketio(gate.address).await;
        let refused = poller.post(body).await;
        assert_eq!((refused.status, refused.text()), (400, BAD_REQUEST), "{what}");
        poller.assert_ended(what).await;
    }
    let seen = service.seen().await;
    assert_eq!(seen["faults"], json!([]), "the service never had to find the fault itself");
    assert!(seen["received"]["silence"].is_null(), "{seen}");

    let poller = Poller::socketio(gate.address).await;
    for good in ["AQID", "AQ==", "AQI=", ""] {
        poller.send(&attachment(good)).await;
    }
    // What Node passes over.
    for nothing in ["5", "0{}", "6", "3"] {
        poller.send(nothing).await;
    }
    poller.echoes().await;
    assert_eq!(service.received("silence").await, 4);
}

#[tokio::test]
async fn a_thousand_packets_in_one_payload_are_a_thousand_packets() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("rate_limit = []").await;
    let poller = Poller::socketio(gate.address).await;

    poller.send(&payload((0..1000).map(|n| format!("42{n}[\"echo\",{{\"seq\":{n}}}]")))).await;

    let answers = poller.packets(1000).await;
    let expected: Vec<_> = (0..1000).map(|n| format!("43{n}[{{\"seq\":{n}}}]")).collect();
    assert_eq!(answers, expected);
    assert_eq!(service.seen().await["disordered"], 0);
    gate.counts(1000.0, "websocket_messages_received_total", &[("event", "echo")]).await;
    // And heartbeats that nobody asked for are nothing.
    poller.send(&payload((0..1000).map(|_| "3".to_owned()))).await;
    poller.echoes().await;
}

#[tokio::test]
async fn five_hundred_events_in_one_payload_cost_five_hundred_of_the_budget() {
    let service = Service::start().await;
    let gate = Gate::before(&service)
        .with("[[rate_limit]]\nevents = [\"silence\", \"echo\"]\nmessages = 600\nper = \"1h\"")
        .await;
    let poller = Poller::socketio(gate.address).await;

    poller.send(&payload((0..500).map(|_| "42[\"silence\"]".to_owned()))).await;
    poller.send(&payload((0..150).map(|n| format!("42{n}[\"echo\"]")))).await;

    let mut answers = poller.packets(150).await;
    // Refusals do not wait for the service.
    answers.sort_by_key(|answer| answer[2..answer.find('[').unwrap()].parse::<u32>().unwrap());
    let refusal = "[{\"error\":\"Rate limit exceeded. Please slow down.\",\"rateLimited\":true}]";
    for (n, answer) in answers.iter().enumerate() {
        let body = if n < 100 { "[]" } else { refusal };
        assert_eq!(answer, &format!("43{n}{body}"));
    }
    let seen = service.seen().await;
    assert_eq!(seen["received"], json!({ "silence": 500, "echo": 100 }));
}

#[tokio::test]
async fn attachments_are_refused_with_their_packet_in_the_same_payload() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("[[rate_limit]]\nevents = [\"agent:*\"]\nmessages = 1\nper = \"1h\"").await;
    let poller = Poller::socketio(gate.address).await;
    let speech = |id, base64| {
        format!("451-{id}[\"agent:speech\",{{\"audioBuffer\":{{\"_placeholder\":true,\"num\":0}}}}]\x1eb{base64}")
    };

    poller
        .send(&payload([
            speech(1, "AQID"),
            speech(2, "BAUG"),
            speech(3, "BwgJ"),
            "451-4[\"echo\",{\"_placeholder\":true,\"num\":0}]\x1ebCgsM".to_owned(),
            "425[\"echo\",5]".to_owned(),
        ]))
        .await;

    let mut answers = poller.packets(7).await;
    let refusal = "[{\"error\":\"Rate limit exceeded. Please slow down.\",\"rateLimited\":true}]";
    answers.sort();
    let mut expected = [
        "431[{\"success\":true,\"bytes\":3}]".to_owned(),
        format!("432{refusal}"),
        format!("433{refusal}"),
        "42[\"connection:quality\",{\"heard\":3}]".to_owned(),
        "461-4[{\"_placeholder\":true,\"num\":0}]".to_owned(),
        "bCgsM".to_owned(),
        "435[5]".to_owned(),
    ];
    expected.sort();
    assert_eq!(answers, expected);
    assert_eq!(service.seen().await["faults"], json!([]));
}

#[tokio::test]
async fn a_payload_with_a_wrong_packet_counts_up_to_it() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;

    let refused = poller.post("42[\"silence\",1]\x1e42[\"silence\",2]\x1e9\x1e42[\"silence\",3]").await;

    assert_eq!(refused.status, 400);
    eventually("what came before it arrives", async || (service.received("silence").await == 2).then_some(())).await;
    service.disconnection().await;
    assert_eq!(service.received("silence").await, 2);
    let page = http::get(&gate.admin_url("/sessions")).await.json();
    assert_eq!(page["sessions"], json!([]));
}
