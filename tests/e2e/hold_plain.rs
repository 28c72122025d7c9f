//! Plain WebSocket routes whose service goes down: closed with 1012 or, where the route says so, held.

use tokio_tungstenite::tungstenite::Message;

use crate::support::{Gate, Plain, Service, Value, eventually, json, token};

/// `/ws`, whose clients stay.
const HOLD: &str = r#"
    auth.token_from = ["query:token"]
    rate_limit = []
    [[websocket]]
    path = "/ws"
    event_field = "type"
    on_upstream_loss = "hold"
"#;

async fn connected(gate: &Gate) -> Plain {
    gate.websocket(&format!("/ws?token={}", token("ada")), &[]).await.unwrap()
}

async fn held(gate: &Gate, sessions: u32) {
    gate.counts(f64::from(sessions), "tidegate_held_sessions", &[]).await;
}

/// The texts that the service has got, in order.
async fn texts(service: &Service) -> Vec<String> {
    let events = service.seen().await["events"].clone();
    events.as_array().unwrap().iter().filter_map(|event| Some(event["args"][0].as_str()?.to_owned())).collect()
}

async fn texts_once_there_are(service: &Service, count: usize) -> Vec<String> {
    eventually("the texts arrive", async || Some(texts(service).await).filter(|texts| texts.len() >= count)).await
}

#[tokio::test]
async fn without_hold_a_client_hears_what_the_service_sent_and_then_1012() {
    let mut service = Service::plain().await;
    let gate = Gate::before(&service).with(HOLD).with("[[websocket]]\npath = \"/ws\"").await;
    let mut client = connected(&gate).await;

    let answers: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for answer in &answers {
        client.send(answer.as_str()).await;
    }
    texts_once_there_are(&service, answers.len()).await;
    service.kill().await;

    for answer in &answers {
        assert_eq!(client.next().await, Message::text(answer));
    }
    assert_eq!(client.closed().await, (1012, "service unavailable".to_owned()));
}

#[tokio::test]
async fn twenty_clients_outlive_a_killed_service_and_lose_double_and_reorder_nothing() {
    let mut service = Service::plain().await;
    let gate = Gate::before(&service).with(HOLD).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(connected(&gate).await);
    }
    for client in &mut clients {
        client.echo("before").await;
    }

    for round in 0..2 {
        service.kill().await;
        held(&gate, 20).await;
        for number in 0..30 {
            for (who, client) in clients.iter_mut().enumerate() {
                client.send(json!({ "who": who, "number": number, "round": round }).to_string()).await;
            }
        }
        gate.counts(600.0, "tidegate_queue_packets", &[]).await;
        service.restart().await;

        for (who, client) in clients.iter_mut().enumerate() {
            for number in 0..30 {
                let expected = json!({ "who": who, "number": number, "round": round });
                assert_eq!(client.next().await, Message::text(expected.to_string()));
            }
        }
        assert_eq!(texts(&service).await.len(), 600, "nothing twice");
        held(&gate, 0).await;
    }
    for client in &mut clients {
        assert_eq!(client.echo("after").await, Message::text("after"));
    }
    assert_eq!(service.transports().await, 20);
    gate.counts(0.0, "tidegate_queue_packets", &[]).await;
    gate.counts(0.0, "tidegate_queue_dropped_total", &[]).await;
}

#[tokio::test]
async fn under_load_a_kill_loses_at_most_what_was_on_its_way() {
    let mut service = Service::plain().await;
    let gate = Gate::before(&service).with("session.queue_packets = 10000").with(HOLD).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(connected(&gate).await);
    }

    let mut number = 0;
    for _ in 0..3 {
        for _ in 0..40 {
            for client in &mut clients {
                client.send(format!("{number:06}{}", "x".repeat(number % 3 * 700))).await;
            }
            number += 1;
        }
        service.kill().await;
        for _ in 0..40 {
            for client in &mut clients {
                client.send(format!("{number:06}{}", "x".repeat(number % 3 * 700))).await;
            }
            number += 1;
        }
        service.restart().await;
    }
    for client in &mut clients {
        client.send("999999").await;
        let mut last = None;
        while last != Some(999_999) {
            let echoed = client.next().await.into_text().unwrap();
            let next: u32 = echoed[..6].parse().unwrap();
            assert!(last.is_none_or(|last| last < next), "{next} after {last:?}");
            last = Some(next);
        }
    }
}

#[tokio::test]
async fn large_and_binary_messages_wait_whole() {
    let mut service = Service::plain().await;
    let gate = Gate::before(&service).with(HOLD).await;
    let mut client = connected(&gate).await;
    service.kill().await;
    held(&gate, 1).await;

    let messages = [
        Message::text("x".repeat(200_000)),
        Message::binary(vec![7; 200_000]),
        Message::binary(Vec::new()),
        Message::text("é∴🌊"),
    ];
    for message in &messages {
        client.send(message.clone()).await;
    }
    assert!(
        matches!(client.echo(Message::Ping("still?".into())).await, Message::Pong(_)),
        "pings are answered meanwhile"
    );
    service.restart().await;

    for message in messages {
        assert_eq!(client.next().await, message);
    }
}

#[tokio::test]
async fn half_a_message_of_the_old_service_reaches_no_client() {
    let service = Service::plain().await;
    for field in ["event_field = \"type\"", ""] {
        let hold = HOLD.replace("event_field = \"type\"", field);
        let gate = Gate::before(&service).with(&hold).await;
        let mut client = connected(&gate).await;

        assert_eq!(client.echo("whole").await, Message::text("whole"));
        client.send("half").await;
        eventually("it is dialled again", async || (service.transports().await == 2).then_some(())).await;

        assert_eq!(client.echo("after").await, Message::text("after"));
        service.forget().await;
    }
}

#[tokio::test]
async fn a_service_that_is_done_with_a_client_closes_it() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with(HOLD).await;
    for (code, reason) in [(1000, "done"), (1008, "no"), (4001, "lesson over")] {
        let mut client = connected(&gate).await;
        client.send(format!("close {code} {reason}")).await;
        assert_eq!(client.closed().await, (code, reason.to_owned()));
    }
    let mut client = connected(&gate).await;
    client.send("close 1012 restart").await;
    eventually("it is dialled again", async || (service.transports().await == 5).then_some(())).await;
    assert_eq!(client.echo("after").await, Message::text("after"));
}

#[tokio::test]
async fn what_a_client_said_first_and_subscribed_to_is_said_again() {
    let mut service = Service::plain().await;
    let route = format!("{HOLD}\nreplay_first = 1\nreplay_events = [\"sub*\"]");
    let gate = Gate::before(&service).with(&route).await;
    let mut client = connected(&gate).await;
    let hello = "hello, I am ada";
    let subscribe = |room: &str| json!({ "type": "subscribe", "room": room }).to_string();
    for text in [hello, &subscribe("a"), "chat", &subscribe("b"), &subscribe("a")] {
        client.echo(text).await;
    }
    let in_binary = Message::binary(subscribe("c").into_bytes());
    client.echo(in_binary.clone()).await;
    client.echo(Message::binary(vec![0xff, 0])).await;

    for said in ["one", "two"] {
        service.kill().await;
        held(&gate, 1).await;
        client.send(said).await;
        service.restart().await;

        let again = [hello, &subscribe("b"), &subscribe("a")].map(Message::text);
        for message in [&again[..], &[in_binary.clone(), Message::text(said)]].concat() {
            assert_eq!(client.next().await, message, "answers to what is said again reach the client");
        }
        assert_eq!(texts(&service).await, [hello, &subscribe("b"), &subscribe("a"), said]);
        // Else the next outage is taken for this one, and what is said before it is noticed goes down with the service.
        held(&gate, 0).await;
    }
}

#[tokio::test]
async fn the_service_hears_the_same_handshake_again() {
    let mut service = Service::plain().await;
    let gate = Gate::before(&service).with(HOLD).await;
    let target = format!("/ws?lesson=7&token={}", token("ada"));
    let headers = [("sec-websocket-protocol", "echo.v1, other"), ("cookie", "a=b"), ("x-forwarded-for", "203.0.113.9")];
    let mut client = gate.websocket(&target, &headers).await.unwrap();
    client.echo("before").await;
    let without_key = |upgrade: &Value| {
        let mut headers = upgrade["headers"].clone();
        headers.as_object_mut().unwrap().remove("sec-websocket-key");
        (upgrade["url"].clone(), headers)
    };
    let before = without_key(&service.seen().await["upgrades"][0]);

    service.restart().await;

    assert_eq!(client.echo("after").await, Message::text("after"));
    assert_eq!(without_key(&service.seen().await["upgrades"][0]), before);
}

#[tokio::test]
async fn a_service_that_speaks_another_subprotocol_is_not_the_same() {
    let mut service = Service::plain().await;
    let gate = Gate::before(&service).with(HOLD).await;
    let target = format!("/ws?token={}", token("ada"));
    let mut client = gate.websocket(&target, &[("sec-websocket-protocol", "echo.v1, other")]).await.unwrap();
    assert_eq!(client.protocol.as_deref(), Some("echo.v1"));

    service.restart_with(&[("PROTOCOL", "other")]).await;

    assert_eq!(client.closed().await.0, 1012);
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "service_changed")]).await;
}

#[tokio::test]
async fn no_client_is_held_for_longer_than_the_file_says() {
    let mut service = Service::plain().await;
    let mut gate = Gate::before(&service).with("session.hold = \"5m\"").with(HOLD).await;
    let mut client = connected(&gate).await;
    client.echo("before").await;
    service.kill().await;
    held(&gate, 1).await;
    client.send("in vain").await;
    gate.counts(1.0, "tidegate_queue_packets", &[]).await;

    gate.change("session.hold = \"1s\"");

    assert_eq!(client.closed().await, (1012, "service unavailable".to_owned()));
    gate.counts(1.0, "tidegate_queue_dropped_total", &[]).await;
    gate.counts(0.0, "tidegate_queue_bytes", &[]).await;
}

#[tokio::test]
async fn a_full_queue_closes_the_client_or_loses_the_oldest() {
    let mut service = Service::plain().await;
    let closes = Gate::before(&service).with("session.queue_packets = 3").with(HOLD).await;
    let drops =
        Gate::before(&service).with("session.queue_packets = 3\nsession.overflow = \"drop_oldest\"").with(HOLD).await;
    let (mut closed, mut stays) = (connected(&closes).await, connected(&drops).await);
    service.kill().await;
    held(&closes, 1).await;
    held(&drops, 1).await;

    for text in ["1", "2", "3", "4", "5"] {
        stays.send(text).await;
    }
    for text in ["1", "2", "3", "4"] {
        closed.send(text).await;
    }
    assert_eq!(closed.closed().await, (1013, "queue_full".to_owned()));
    closes.counts(4.0, "tidegate_queue_dropped_total", &[]).await;
    drops.counts(3.0, "tidegate_queue_packets", &[]).await;
    service.restart().await;

    for text in ["3", "4", "5"] {
        assert_eq!(stays.next().await, Message::text(text));
    }
    stays.close(1000, "").await;
    drops.counts(2.0, "tidegate_queue_dropped_total", &[]).await;
}

#[tokio::test]
async fn a_drain_during_an_outage_says_what_never_arrived() {
    let mut service = Service::plain().await;
    let mut gate = Gate::before(&service).with(HOLD).await;
    let mut clients = [connected(&gate).await, connected(&gate).await];
    service.kill().await;
    held(&gate, 2).await;
    for client in &mut clients {
        client.send("one").await;
        client.send("two").await;
    }
    gate.counts(4.0, "tidegate_queue_packets", &[]).await;

    gate.signal("TERM");

    for client in &mut clients {
        assert_eq!(client.closed().await, (1001, "draining".to_owned()));
    }
    assert_eq!(gate.exit().await, Some(0));
    gate.log().wait_for(2, &["session ended", "\"packets_unsent\":2"]).await;
    let sum = gate.log().wait_for(1, &["4 packets of clients never reached the service"]).await;
    assert_eq!(sum.len(), 1, "{sum:?}");
}
