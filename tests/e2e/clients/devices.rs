//! Clients of small devices: spellings of packets that Node reads with one meaning, over every way a packet can take.

use std::net::SocketAddr;

use crate::support::{
    Client, Gate, Poller, Raw, Service, Value,
    client::Driver,
    eventually,
    frame::{CONTINUATION, TEXT, fragment, masked},
    json,
    poller::SEPARATOR,
    token,
};

/// What a device says once it has joined `/`, and what comes back of it.
const SAYS: [(&str, &str); 9] = [
    // As the client for Arduino and ESP writes every packet.
    (r#"42/,1["echo","a"]"#, r#"431["a"]"#),
    (r#"42/,["echo","b"]"#, r#"42["echo","b"]"#),
    (r#"42/,002["echo","c"]"#, r#"432["c"]"#),
    (r#"423 ["echo","d"]"#, r#"433["d"]"#),
    ("42 4\n[ \"echo\" , \"e\" ] ", r#"434["e"]"#),
    (r#"425[7,"f"]"#, r#"435["f"]"#),
    (r#"42/,06[ 7 , "g"]"#, r#"436["g"]"#),
    (r#"427["7","h"]"#, r#"437["h"]"#),
    (r#"428["echo","as it is"]"#, r#"438["as it is"]"#),
];

/// A session of a device: the websocket at once, an upgrade that nobody waits for, `40/,` with a token in it.
async fn device(address: SocketAddr) -> Raw {
    let mut raw = Raw::engineio(address).await;
    raw.say("5").await;
    raw.say(&format!("40/,{}", json!({ "token": token("device") }))).await;
    let connected = raw.frame().await;
    assert!(connected.text().starts_with("40{\"sid\":"), "{connected:?}");
    raw
}

/// What the service has got of these conversations, by event.
async fn received(service: &Service) -> Value {
    let seen = service.seen().await;
    assert_eq!(seen["faults"], json!([]));
    let received = seen["received"].clone();
    service.forget().await;
    received
}

#[tokio::test]
async fn a_device_that_writes_the_namespace_out_is_answered_as_by_the_service() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for (way, address) in [("directly", service.address()), ("through the gate", gate.address)] {
        let mut raw = device(address).await;
        for (said, answer) in SAYS {
            raw.say(said).await;
            assert_eq!(raw.frame().await.text(), answer, "{way}: {said}");
        }
        // All of them in one segment, and each packet in fragments.
        let frames: Vec<u8> = SAYS.iter().flat_map(|(said, _)| masked(TEXT, said.as_bytes())).collect();
        raw.send(&frames).await;
        for (said, answer) in SAYS {
            assert_eq!(raw.frame().await.text(), answer, "{way}: {said} in one segment");
        }
        for (said, answer) in SAYS {
            let (begin, end) = said.as_bytes().split_at(4);
            raw.send(&[fragment(TEXT, begin), masked(CONTINUATION, end)].concat()).await;
            assert_eq!(raw.frame().await.text(), answer, "{way}: {said} in fragments");
        }
        // A message that is longer than what is looked at of it.
        let pad = "é".repeat(20_000);
        raw.say(&format!(r#"42/,0009["echo","{pad}"]"#)).await;
        assert_eq!(raw.frame().await.text(), format!(r#"439["{pad}"]"#), "{way}");
        raw.say("41/,").await;
        eventually("it has left", async || {
            let left = service.seen().await["disconnects"][0]["reason"].clone();
            (left == "client namespace disconnect").then_some(())
        })
        .await;
        assert_eq!(received(&service).await, json!({ "7": 9, "echo": 19 }), "{way}");
    }
}

#[tokio::test]
async fn a_device_that_polls_and_goes_over_is_answered_as_by_the_service() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for (way, address) in [("directly", service.address()), ("through the gate", gate.address)] {
        let poller = Poller::engineio(address).await;
        poller.send(&format!("40/,{}", json!({ "token": token("device") }))).await;
        assert!(poller.poll().await.starts_with("40{\"sid\":"), "{way}");
        poller.send(&SAYS.map(|(said, _)| said).join(&SEPARATOR.to_string())).await;
        assert_eq!(poller.packets(SAYS.len()).await, SAYS.map(|(_, answer)| answer), "{way}");
        // Over to the websocket without a probe.
        let mut socket = poller.websocket().await;
        socket.say("5").await;
        for (said, answer) in SAYS {
            socket.say(said).await;
            assert_eq!(socket.frame().await.text(), answer, "{way}: {said}");
        }
        assert_eq!(received(&service).await, json!({ "7": 6, "echo": 12 }), "{way}");
    }
}

#[tokio::test]
async fn what_a_device_says_while_the_service_is_down_arrives_in_one_spelling() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).await;
    let mut raw = device(gate.address).await;
    service.kill().await;
    gate.counts(1.0, "tidegate_held_sessions", &[]).await;
    for (said, _) in SAYS {
        raw.say(said).await;
    }
    service.restart().await;
    let mut answers = Vec::new();
    while answers.len() < SAYS.len() {
        let frame = raw.frame().await;
        if frame.text().starts_with("42[") || frame.text().starts_with("43") {
            answers.push(frame.text().to_owned());
        }
    }
    assert_eq!(answers, SAYS.map(|(_, answer)| answer));
    assert_eq!(received(&service).await, json!({ "7": 3, "echo": 6 }));
}

/// What a client hears of a packet over the limit.
fn refusal() -> Value {
    json!({ "error": "Rate limit exceeded. Please slow down.", "rateLimited": true })
}

/// How `count` asks for the ack `id` of the event are written, ...
type Spelling = fn(usize) -> String;

/// ... each in its own way.
const SPELLINGS: [(&str, Spelling); 6] = [
    ("the namespace written out", |id| format!(r#"42/,{id}["echo",{id}]"#)),
    ("zeros", |id| format!(r#"42000{id}["echo",{id}]"#)),
    ("blanks", |id| format!("42{id} [ \"echo\" , {id} ] ")),
    ("a number", |id| format!("42{id}[7,{id}]")),
    ("a number with the namespace", |id| format!("42/,{id}[7,{id}]")),
    ("a number as text, the namespace and zeros", |id| format!(r#"42/,00{id}["7",{id}]"#)),
];

const A_HUNDRED: &str = "[[rate_limit]]\nevents = [\"echo\", \"7\"]\nmessages = 100\nper = \"1h\"";

async fn texts(raw: &mut Raw, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(raw.frame().await.text().to_owned());
    }
    texts
}

#[tokio::test]
async fn a_burst_is_cut_after_a_hundred_packets_in_each_spelling_and_over_each_way() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(A_HUNDRED).await;
    for (what, spelling) in SPELLINGS {
        let packets: Vec<_> = (0..150).map(spelling).collect();
        let mut raw = device(gate.address).await;
        raw.send(&packets.iter().flat_map(|packet| masked(TEXT, packet.as_bytes())).collect::<Vec<_>>()).await;
        let by_websocket = texts(&mut raw, 150).await;
        let fragments = |packet: &String| {
            let (begin, end) = packet.as_bytes().split_at(3);
            [fragment(TEXT, begin), masked(CONTINUATION, end)].concat()
        };
        let mut raw = device(gate.address).await;
        raw.send(&packets.iter().flat_map(fragments).collect::<Vec<_>>()).await;
        let by_fragments = texts(&mut raw, 150).await;
        let poller = Poller::socketio(gate.address).await;
        poller.send(&packets.join(&SEPARATOR.to_string())).await;
        let by_polling = poller.packets(150).await;
        for (way, mut answers) in [("websocket", by_websocket), ("fragments", by_fragments), ("polling", by_polling)] {
            answers.sort_by_key(|answer| answer[2..answer.find('[').unwrap()].parse::<usize>().unwrap());
            for (id, answer) in answers.iter().enumerate() {
                let expected = if id < 100 { format!("43{id}[{id}]") } else { format!("43{id}[{}]", refusal()) };
                assert_eq!(*answer, expected, "{what} over {way}");
            }
        }
        let got = received(&service).await;
        assert_eq!(got.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>(), 300, "{what}");
    }
    for event in ["7", "echo"] {
        gate.counts(1350.0, "websocket_messages_received_total", &[("event", event)]).await;
    }
}

#[tokio::test]
async fn the_official_client_names_events_by_numbers() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(A_HUNDRED).await;
    let direct = Client::begin(Driver::start(), &service.url(), json!({ "token": token("ada") }), json!({})).await;
    for (way, client) in [("directly", &direct), ("through the gate", &gate.client(token("ada")).await)] {
        assert_eq!(client.ask_number(7, json!(["x"])).await, "x", "{way}");
        assert_eq!(client.ask("7", json!(["x"])).await, "x", "{way}");
        assert_eq!(received(&service).await, json!({ "7": 2 }), "{way}");
    }
    let answers = gate.client(token("bob")).await.ask_number_at_once(150, 7, json!([{}])).await;
    let refused = answers.iter().filter(|answer| **answer == refusal()).count();
    assert_eq!((answers.len(), refused), (150, 50));
    assert_eq!(received(&service).await, json!({ "7": 100 }), "Node's own count");
}
