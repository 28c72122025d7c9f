//! The stock client and the service without a gate: what the other scenarios take for granted.

use crate::support::{Client, Service, client::Driver, json, token};

/// A client of the service itself, with these transports.
async fn direct(service: &Service, transports: &[&str]) -> Client {
    let options = json!({ "transports": transports, "reconnection": false });
    let client = Client::begin(Driver::start(), &service.url(), json!({ "token": token("ada") }), options).await;
    client.connected().await;
    client
}

#[tokio::test]
async fn a_client_begins_with_polling_and_upgrades() {
    let service = Service::start().await;

    let client = direct(&service, &["polling", "websocket"]).await;
    client.upgraded().await;

    assert_eq!(client.transport().await, "websocket");
    assert_eq!(client.ask("echo", json!([1])).await, 1);
    let seen = service.seen().await;
    assert_ne!(seen["polls"], json!([]), "the service notes who polls");
}

#[tokio::test]
async fn a_client_stays_with_the_only_transport_it_may_use() {
    let service = Service::start().await;

    let polling = direct(&service, &["polling"]).await;
    let websocket = direct(&service, &["websocket"]).await;

    assert_eq!(polling.ask("echo", json!([1])).await, 1);
    assert_eq!(polling.transport().await, "polling");
    assert_eq!(websocket.transport().await, "websocket");
    assert_eq!(polling.untaken("upgrade") + websocket.untaken("upgrade"), 0);
}

#[tokio::test]
async fn a_client_that_is_cut_says_nothing_whatever_its_transport() {
    for (transport, reason) in [("polling", "transport error"), ("websocket", "transport close")] {
        let service = Service::start().await;
        let client = direct(&service, &[transport]).await;
        client.ask("echo", json!([1])).await;

        client.cut().await;

        // `transport close` over polling would mean that a packet said so.
        assert_eq!(service.disconnection().await["reason"], reason, "{transport}");
        assert_eq!(client.disconnected().await, reason, "{transport}");
    }
}
