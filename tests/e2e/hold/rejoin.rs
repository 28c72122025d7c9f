//! The way back in: namespaces, refusals, a service that falters.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{asks, connected, held};
use crate::support::{Gate, Service, json, token};

#[tokio::test]
async fn a_namespace_that_refuses_on_return_throws_out_and_the_others_stay() {
    let (mut service, gate, client) = connected("").await;
    let chat = client.namespace("/chat", json!({ "token": token("ada") })).await;
    chat.connected().await;
    service.kill().await;
    held(&gate, 1).await;
    chat.send("say", json!(["for nobody"])).await;
    service.restart_with(&[("AUTH", "off"), ("REFUSES", "/chat")]).await;

    assert_eq!(chat.disconnected().await, "io server disconnect");
    assert_eq!(client.ask("echo", json!([1])).await, 1);
    assert_eq!((client.untaken("disconnect"), chat.untaken("connect_error")), (0, 0));
    assert_eq!(service.seen().await["faults"], json!([]));
    gate.counts(1.0, "tidegate_queue_dropped_total", &[]).await;
}

#[tokio::test]
async fn a_client_that_is_refused_everywhere_on_return_connects_anew_and_hears_why() {
    let (mut service, _gate, client) = connected("").await;
    service.restart_with(&[("AUTH", "off"), ("REFUSES", "/")]).await;

    assert_eq!(client.disconnected().await, "transport close");
    assert_eq!(client.refused().await["message"], "Not any more");
}

#[tokio::test]
async fn namespaces_that_are_left_or_asked_for_meanwhile_are_what_the_service_hears_of() {
    let (mut service, gate, client) = connected("").await;
    let chat = client.namespace("/chat", json!({ "token": token("ada") })).await;
    chat.connected().await;
    service.kill().await;
    held(&gate, 1).await;
    chat.disconnect().await;
    service.restart().await;
    assert_eq!(client.ask("echo", json!([1])).await, 1);
    let namespaces = |seen: serde_json::Value| -> Vec<String> {
        let connections = seen["connections"].as_array().unwrap().iter();
        connections.map(|connection| connection["namespace"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(namespaces(service.seen().await), ["/"]);
    held(&gate, 0).await;

    service.kill().await;
    held(&gate, 1).await;
    chat.connect_again().await;
    let said = asks(&chat, "say", json!(["hello"]));
    service.restart().await;
    assert_eq!(said.await.unwrap(), Ok(json!({ "success": true })));
    assert_eq!(namespaces(service.seen().await).len(), 2);
    assert_eq!(client.untaken("disconnect"), 0);
}

#[tokio::test]
async fn a_second_restart_before_everything_is_said_again_is_one_long_absence() {
    let (mut service, gate, client) = connected("").await;
    service.kill().await;
    held(&gate, 1).await;
    let asked = asks(&client, "echo", json!(["once"]));
    for _ in 0..2 {
        service.restart_with(&[("AUTH", "off"), ("SLOW_MS", "60000")]).await;
        crate::support::eventually("the client is asked about again", async || {
            (service.transports().await == 1).then_some(())
        })
        .await;
        service.kill().await;
    }
    service.restart_with(&[("AUTH", "off")]).await;

    assert_eq!(asked.await.unwrap(), Ok(json!("once")));
    client.next("connect").await;
    assert_eq!((client.untaken("connect"), client.untaken("disconnect")), (0, 0), "it hears of it once");
    assert_eq!(service.received("echo").await, 1);
}

#[tokio::test]
async fn a_service_that_does_not_want_the_client_back_ends_the_session() {
    let (mut service, gate, client) = connected("").await;
    service.restart_with(&[("HANDSHAKE", "refuse")]).await;

    assert_eq!(client.disconnected().await, "transport close");
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "service_refused")]).await;
}

#[tokio::test]
async fn a_service_that_answers_503_is_still_down() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).await;
    let client = gate.client(token("ada")).await;
    service.kill().await;
    let starting = TcpListener::bind(service.address()).await.unwrap();
    for _ in 0..3 {
        let (mut stream, _) = starting.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    }
    drop(starting);
    held(&gate, 1).await;
    service.restart().await;

    assert_eq!(client.ask("echo", json!([1])).await, 1);
    assert_eq!(client.untaken("disconnect"), 0);
}
