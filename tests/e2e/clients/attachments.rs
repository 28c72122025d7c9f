//! Attachments in base64: `forceBase64` of official clients, as React Native uses it, on WebSockets too.

use std::net::SocketAddr;

use crate::support::{
    Client, Gate, Poller, Raw, Service, Value,
    client::Driver,
    frame::{BINARY, CONTINUATION, TEXT, fragment, masked},
    json, token,
};

const ASKS: &str = r#"451-7["echo",{"_placeholder":true,"num":0}]"#;
const ANSWERS: &str = r#"461-7[{"_placeholder":true,"num":0}]"#;

/// The options of the official client for each way that it can take.
fn ways() -> [(&'static str, Value); 3] {
    [
        ("websocket", json!({ "forceBase64": true, "transports": ["websocket"] })),
        ("polling", json!({ "forceBase64": true, "transports": ["polling"] })),
        ("upgrade", json!({ "forceBase64": true, "transports": ["polling", "websocket"] })),
    ]
}

#[tokio::test]
async fn the_official_client_with_force_base64_is_served_as_by_the_service() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for (way, options) in ways() {
        let auth = json!({ "token": token("ada") });
        let direct = Client::begin(Driver::start(), &service.url(), auth.clone(), options.clone()).await;
        for (target, client) in [("directly", direct), ("through the gate", gate.connect_with(auth, options).await)] {
            client.connected().await;
            if way == "upgrade" {
                client.upgraded().await;
            }
            let speech = json!([{ "audioBuffer": { "$binary": "AAECAwQ=" }, "more": [{ "$binary": "/w==" }] }]);
            let answer = client.ask("agent:speech", speech).await;
            assert_eq!(answer, json!({ "success": true, "bytes": 5 }), "{way} {target}");
            for bytes in ["", "AQ==", "+/8=", "AAECAwQFBgcICQ=="] {
                let said = json!({ "$binary": bytes });
                assert_eq!(client.ask("echo", json!([said])).await, said, "{way} {target}");
            }
            let large = json!({ "$binary": "QUJD".repeat(50_000) });
            assert_eq!(client.ask("echo", json!([large])).await, large, "{way} {target}");
            client.disconnect().await;
        }
    }
    assert_eq!(service.seen().await["faults"], json!([]));
}

/// A session that has joined `/`, with this in the query of its WebSocket.
async fn joined(address: SocketAddr, query: &str) -> Raw {
    let mut raw = Raw::upgraded(address, &format!("/socket.io/?EIO=4&transport=websocket{query}"), "").await;
    raw.frame().await;
    raw.say(&format!("40{}", json!({ "token": token("raw") }))).await;
    assert!(raw.frame().await.text().starts_with("40{\"sid\":"));
    raw
}

#[tokio::test]
async fn a_client_gets_attachments_in_the_form_that_its_query_asks_for() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for (target, address) in [("directly", service.address()), ("through the gate", gate.address)] {
        for (query, in_base64) in
            [("", false), ("&b64=1", true), ("&b64=true", true), ("&b64=0", true), ("&b64=", false)]
        {
            let mut raw = joined(address, query).await;
            // Whatever it gets, it may send either.
            let text = masked(TEXT, b"bAQIDBA==");
            let fragments = [fragment(TEXT, b"bAQ"), masked(CONTINUATION, b"IDBA==")].concat();
            for attachment in [masked(BINARY, &[1, 2, 3, 4]), text, fragments] {
                raw.say(ASKS).await;
                raw.send(&attachment).await;
                assert_eq!(raw.frame().await.text(), ANSWERS, "{target} {query}");
                let got = raw.frame().await;
                let expected = if in_base64 { (TEXT, &b"bAQIDBA=="[..]) } else { (BINARY, &[1, 2, 3, 4][..]) };
                assert_eq!((got.opcode, &got.payload[..]), expected, "{target} {query}");
            }
        }
        // What was said before the upgrade and not fetched comes on the websocket, in its form.
        let poller = Poller::socketio(address).await;
        let mut socket = poller.with_query("&b64=1").websocket().await;
        socket.go_over().await;
        socket.say(ASKS).await;
        socket.say("bAQ==").await;
        assert_eq!((socket.frame().await.text(), socket.frame().await.text()), (ANSWERS, "bAQ=="), "{target}");
    }
    assert_eq!(service.seen().await["faults"], json!([]));
}

#[tokio::test]
async fn a_burst_with_attachments_in_base64_is_cut_after_a_hundred_packets() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("[[rate_limit]]\nmessages = 100\nper = \"1h\"").await;
    let mut raw = joined(gate.address, "&b64=1").await;
    let packets = (0..150).flat_map(|id| {
        let packet = format!(r#"451-{id}["agent:speech",{{"audioBuffer":{{"_placeholder":true,"num":0}}}}]"#);
        [masked(TEXT, packet.as_bytes()), masked(TEXT, b"bAQID")].concat()
    });
    raw.send(&packets.collect::<Vec<_>>()).await;
    let (mut taken, mut refused) = (0, 0);
    while taken + refused < 150 {
        let frame = raw.frame().await;
        taken += usize::from(frame.text().ends_with(r#"[{"success":true,"bytes":3}]"#));
        refused += usize::from(frame.text().contains("rateLimited"));
    }
    assert_eq!((taken, refused), (100, 50));

    let options = json!({ "forceBase64": true });
    let client = gate.connect_with(json!({ "token": token("ada") }), options).await;
    client.connected().await;
    let speech = json!([{ "audioBuffer": { "$binary": "AQID" } }]);
    let answers = client.ask_at_once(150, "agent:speech", speech).await;
    assert_eq!(answers.iter().filter(|answer| answer["success"] == true).count(), 100);
    assert_eq!(service.received("agent:speech").await, 200, "Node's own count");
    assert_eq!(service.seen().await["faults"], json!([]));
}

#[tokio::test]
async fn base64_that_is_none_ends_the_session_and_reaches_no_service() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for attachment in ["bAQ", "bAB==", "b_-_-", "bAQ==AQ=="] {
        let mut raw = joined(gate.address, "").await;
        raw.say(ASKS).await;
        raw.say(attachment).await;
        assert_eq!(raw.close_code().await, Some(1008), "{attachment}");
    }
    gate.counts(4.0, "websocket_disconnections_total", &[("reason", "engineio_base64")]).await;
    let seen = service.seen().await;
    assert_eq!((&seen["received"], &seen["faults"]), (&json!({}), &json!([])));
}
