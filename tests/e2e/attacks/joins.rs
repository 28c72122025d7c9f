//! Joins without end: to the service each one is a new connection, and no limit on events counts it.

use std::net::SocketAddr;

use crate::support::{
    Cable, Gate, Poller, Raw, Service,
    frame::{CLOSE, PONG, TEXT, masked},
    json,
    poller::SEPARATOR,
    token, waits_during,
};

/// How often an attacker leaves its namespace and joins it again, if it may.
const TIMES: usize = 200;

/// The joins of a session that are made at once.
const AT_ONCE: u64 = 20;

/// One more comes back in an hour.
const LIMIT: &str = "socketio.joins = 20\nsocketio.joins_per = \"20h\"";

/// The service closes a session that says CONNECT in the same moment as DISCONNECT, so it is asked something in between.
fn packets() -> [String; 3] {
    let connect = format!("40/chat,{}", json!({ "token": token("raw") }));
    [connect, "41/chat,".to_owned(), "420[\"echo\"]".to_owned()]
}

/// Joins and leaves, again and again; the reason of the Close that ends it.
async fn joins_by_websocket(address: SocketAddr) -> Option<String> {
    let mut raw = Raw::socketio(address).await;
    let [connect, disconnect, echo] = packets();
    for _ in 0..TIMES {
        raw.say(&connect).await;
        let frame = raw.frame().await;
        if frame.opcode == CLOSE {
            return Some(String::from_utf8_lossy(&frame.payload[2..]).into_owned());
        }
        assert!(frame.text().starts_with("40/chat,{"), "{frame:?}");
        raw.say(&disconnect).await;
        raw.say(&echo).await;
        assert!(raw.frame().await.text().starts_with("430["));
    }
    None
}

/// The same over polling; whether it is ended.
async fn joins_by_polling(address: SocketAddr) -> bool {
    let poller = Poller::socketio(address).await;
    let [connect, disconnect, echo] = packets();
    for _ in 0..TIMES {
        if poller.post(connect.clone()).await.status != 200 {
            return true;
        }
        assert!(poller.poll().await.starts_with("40/chat,{"));
        poller.send(&format!("{disconnect}{SEPARATOR}{echo}")).await;
        assert!(poller.poll().await.starts_with("430["));
    }
    false
}

/// How many connections in a namespace the service has had.
async fn handled(service: &Service) -> u64 {
    service.seen().await["connections"].as_array().unwrap().len() as u64
}

#[tokio::test]
async fn a_client_cannot_have_the_service_handle_connections_without_end() {
    let service = Service::without_auth().await;
    let cable = Cable::to(&service).await;
    let relay = cable.url().strip_prefix("http://").unwrap().parse().unwrap();
    assert_eq!(joins_by_websocket(relay).await, None);
    assert!(!joins_by_polling(relay).await);
    assert_eq!(handled(&service).await, 2 * (1 + TIMES as u64), "through a relay that reads nothing");
    service.forget().await;

    let gate = Gate::before(&service).with(LIMIT).await;
    let good = gate.client(token("good")).await;
    let (waits, ()) = waits_during(&good, async {
        assert_eq!(joins_by_websocket(gate.address).await.as_deref(), Some("join_rate"));
        assert!(joins_by_polling(gate.address).await);
    })
    .await;

    assert!(waits.len() > 0);
    assert_eq!(handled(&service).await, 1 + 2 * (1 + AT_ONCE), "the first join of each is not counted");
    gate.counts(2.0, "websocket_disconnections_total", &[("reason", "join_rate")]).await;
    let line = gate.log().wait(&["\"cause\":\"join_rate\""]).await;
    assert!(line.contains("socketio.joins"), "{line}");
}

#[tokio::test]
async fn a_good_client_joins_all_its_namespaces_and_comes_back_as_often_as_it_must() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).await;
    for _ in 0..40 {
        let mut raw = Raw::socketio(gate.address).await;
        for namespace in 1..16 {
            raw.say(&format!("40/{namespace},")).await;
        }
        // The service has none of these.
        for _ in 1..16 {
            assert!(raw.frame().await.text().starts_with("44/"));
        }
        raw.say("42[\"echo\",1]").await;
        assert_eq!(raw.frame().await.text(), "42[\"echo\",1]");
    }
}

#[tokio::test]
async fn pongs_on_a_websocket_that_is_being_probed_are_limited_too() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;
    for (pongs, is_answered) in [(10, true), (1000, false)] {
        let mut probe = poller.websocket().await;
        let _ = probe.try_send(&[masked(PONG, b"").repeat(pongs), masked(TEXT, b"2probe")].concat()).await;
        let answer = probe.try_frame().await.filter(|frame| frame.opcode == TEXT);
        assert_eq!(answer.is_some_and(|frame| frame.text() == "3probe"), is_answered, "{pongs} pongs");
        drop(probe);
        poller.echoes().await;
    }
}
