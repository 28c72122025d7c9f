//! A node that is short of memory: it refuses new sessions, then closes those that keep most, and recovers.

use crate::support::{
    Gate, Raw, Service, eventually,
    frame::{BINARY, TEXT, masked},
    raw::upgrade_refusal,
    token,
};

const TARGET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A gate with 64 MB, whose request heads may have 1 MiB and a minute.
async fn gate(service: &Service) -> Gate {
    let settings = "limits.memory = \"64MB\"\nlimits.header_bytes = \"1MiB\"\nlimits.handshake_timeout = \"60s\"";
    Gate::before(service).with(settings).await
}

/// Begins requests with large heads until the step is reached.
async fn fill(gate: &Gate, step: f64) -> Vec<Raw> {
    let head = [&b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: "[..], &vec![b'x'; 400_000]].concat();
    let mut heads = Vec::new();
    while gate.metrics().await.sum("tidegate_overload_step", &[]) < step {
        assert!(heads.len() < 250, "{}", gate.metrics().await.text);
        let mut raw = Raw::connect(gate.address).await;
        raw.send(&head).await;
        heads.push(raw);
    }
    heads
}

#[tokio::test]
async fn a_node_that_is_short_of_memory_refuses_new_sessions_until_it_has_some_again() {
    let service = Service::start().await;
    let gate = gate(&service).await;
    let good = gate.client(token("ada")).await;

    let heads = fill(&gate, 1.0).await;

    gate.log().wait(&["memory: ", "of limits.memory in use"]).await;
    let (status, body) = upgrade_refusal(gate.address, TARGET).await;
    assert_eq!((status, &body["code"]), (503, &"overloaded".into()));
    assert_eq!(good.ask("echo", vec![1].into()).await, 1);
    assert!(gate.metrics().await.sum("tidegate_refused_total", &[("reason", "overloaded")]) >= 1.0);
    drop(heads);
    gate.counts(0.0, "tidegate_overload_step", &[]).await;
    gate.log().wait(&["memory: ", "there is enough again"]).await;
    gate.client(token("bob")).await;
    assert_eq!(good.untaken("disconnect"), 0);
}

#[tokio::test]
async fn a_node_that_has_hardly_any_memory_closes_the_sessions_that_keep_most() {
    let service = Service::start().await;
    let gate = gate(&service).await;
    let good = gate.client(token("ada")).await;
    let unfinished = [
        masked(TEXT, b"452-[\"silence\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]"),
        masked(BINARY, &vec![7; 900_000]),
    ]
    .concat();
    let mut dear = Vec::new();
    for _ in 0..8 {
        let mut raw = Raw::socketio(gate.address).await;
        raw.send(&unfinished).await;
        dear.push(raw);
    }

    let heads = fill(&gate, 2.0).await;

    let closed = eventually("one that keeps much is closed", async || {
        let closed = gate.metrics().await.sum("websocket_disconnections_total", &[("reason", "overloaded")]);
        (closed > 0.0).then_some(closed)
    })
    .await;
    assert!(closed <= 8.0, "{closed}");
    gate.log().wait(&["memory: ", "the sessions that keep most are closed"]).await;
    assert_eq!(good.ask("echo", vec![1].into()).await, 1);
    assert_eq!(good.untaken("disconnect"), 0, "it keeps hardly anything");
    drop(heads);
    gate.counts(0.0, "tidegate_overload_step", &[]).await;
}
