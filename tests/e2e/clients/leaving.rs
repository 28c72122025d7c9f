//! Namespaces that are left: the others of the same connection stay, as the service would have it.

use std::net::SocketAddr;

use crate::support::{
    Gate, Raw, Service, eventually,
    frame::{TEXT, masked},
    json, token,
};

fn connect(namespace: &str) -> String {
    format!("40{namespace}{}", json!({ "token": token("ada") }))
}

async fn in_two(address: SocketAddr) -> Raw {
    let mut raw = Raw::engineio(address).await;
    for namespace in ["", "/chat,"] {
        raw.say(&connect(namespace)).await;
        let answer = raw.frame().await;
        assert!(answer.text().starts_with(&format!("40{namespace}{{")), "{answer:?}");
    }
    raw
}

/// socket.io leaves a namespace a tick after it has read that, and closes the connection if it is asked for it before.
#[tokio::test]
async fn a_namespace_that_is_left_and_joined_in_one_breath_costs_no_other() {
    let service = Service::start().await;
    let again = [masked(TEXT, b"41/chat,"), masked(TEXT, connect("/chat,").as_bytes())].concat();
    let mut directly = in_two(service.address()).await;
    directly.send(&again).await;
    let answer = directly.frame().await;
    assert!(!answer.payload.starts_with(b"40/chat,"), "it is closed: {answer:?}");

    let gate = Gate::before(&service).await;
    let mut raw = in_two(gate.address).await;
    for _ in 0..5 {
        // The service reads all of it at once.
        service.freeze();
        raw.send(&again).await;
        service.thaw();
        let answer = raw.frame().await;
        assert!(answer.text().starts_with("40/chat,{"), "{answer:?}");
    }
    raw.say(r#"427["echo","still there"]"#).await;
    assert_eq!(raw.frame().await.text(), r#"437["still there"]"#);
    assert_eq!(service.transports().await, 2, "one directly, and one through the gate");
}

/// socket.io closes a connection on which a namespace is left whose CONNECT it has not answered.
#[tokio::test]
async fn a_client_that_is_lost_while_it_asks_for_a_namespace_keeps_the_others() {
    let service = Service::with(&[("SLOW_MS", "500")]).await;
    let gate = Gate::before(&service).with("session.resume = \"1m\"").await;
    let mut raw = Raw::engineio(gate.address).await;
    raw.say(&connect("/chat,")).await;
    assert!(raw.frame().await.text().starts_with("40/chat,{"));
    raw.say(&connect("")).await;
    raw.say(r#"42/chat,1["say","x"]"#).await;
    eventually("the service has heard both", async || (service.received("say").await == 1).then_some(())).await;
    drop(raw);
    let disconnects = eventually("the service has let it in, and heard that it has left", async || {
        let disconnects = service.seen().await["disconnects"].clone();
        disconnects.as_array().is_some_and(|all| !all.is_empty()).then_some(disconnects)
    })
    .await;
    assert_eq!(disconnects.as_array().map(Vec::len), Some(1), "{disconnects}");
    assert_eq!(disconnects[0]["reason"], "client namespace disconnect");
    assert_eq!(service.transports().await, 1);
}
