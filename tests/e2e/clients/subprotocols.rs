//! Clients that offer subprotocols: `protocols` of socket.io-client, and tokens among them.

use crate::support::{Client, Gate, Service, Value, json, token};

/// The subprotocol selected, as the client has it, and the list that the service saw.
async fn connected(client: &Client, service: &Service) -> (Value, Value) {
    client.connected().await;
    assert_eq!(client.ask("echo", json!(["hello"])).await, json!("hello"));
    let upgrades = service.seen().await["upgrades"].clone();
    let offered = upgrades.as_array().unwrap().last().unwrap()["headers"]["sec-websocket-protocol"].clone();
    (client.subprotocol().await, offered)
}

#[tokio::test]
async fn a_socketio_client_that_offers_subprotocols_connects_as_it_does_directly() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let driver = gate.driver().await;

    for transports in [json!(["websocket"]), json!(["polling", "websocket"])] {
        let options = json!({ "transports": transports, "protocols": ["chat.v2", "chat.v1"] });
        for url in [service.url(), gate.url()] {
            let auth = json!({ "token": token("ada") });
            let client = Client::begin(driver.clone(), &url, auth, options.clone()).await;
            client.connected().await;
            if transports[0] == "polling" {
                client.next("upgrade").await;
            }
            assert_eq!(client.transport().await, "websocket", "{url}");
            assert_eq!(client.subprotocol().await, "chat.v2", "{transports} {url}");
        }
    }
    let seen = service.seen().await["upgrades"].clone();
    assert_eq!(seen[0]["headers"]["sec-websocket-protocol"], "chat.v2,chat.v1", "directly");
    assert_eq!(seen[1]["headers"]["sec-websocket-protocol"], "chat.v2, chat.v1", "through the gate");
}

#[tokio::test]
async fn a_token_among_the_subprotocols_counts_and_is_kept_from_the_service() {
    // The service has a check of its own, and knows no such place.
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with("auth.token_from = [\"subprotocol\"]").await;
    let good = token("ada");
    let joined = format!("tidegate.bearer.{good}");

    for (protocols, selected, seen) in [
        (vec!["bearer", &good], json!("bearer"), Value::Null),
        (vec!["bearer", &good, "chat.v2", "chat.v1"], json!("chat.v2"), json!("chat.v2, chat.v1")),
        (vec!["chat.v2", "bearer", &good, "chat.v1"], json!("chat.v2"), json!("chat.v2, chat.v1")),
        (vec!["chat.v2", &joined], json!("chat.v2"), json!("chat.v2")),
        (vec![&joined, "chat.v2", "chat.v1"], json!("chat.v2"), json!("chat.v2, chat.v1")),
    ] {
        let client = gate.connect_with(json!({}), json!({ "protocols": protocols })).await;
        assert_eq!(connected(&client, &service).await, (selected, seen), "{protocols:?}");
    }
    let before = service.transports().await;
    let nobody = gate.connect_with(json!({}), json!({ "protocols": ["chat.v2"] })).await;
    assert_eq!(nobody.refused().await["data"]["code"], "auth.missing");
    let stranger = gate.connect_with(json!({}), json!({ "protocols": ["bearer", "nonsense", "chat.v2"] })).await;
    assert_eq!(stranger.refused().await["data"]["code"], "auth.invalid");
    assert_eq!(service.transports().await, before);
}

#[tokio::test]
async fn a_plain_route_takes_a_token_in_both_forms_beside_what_the_service_speaks() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with("auth.token_from = [\"subprotocol\"]\n[[websocket]]\npath = \"/ws\"").await;
    let good = token("ada");

    for (offered, selected, seen) in [
        (format!("bearer, {good}, other, echo.v1"), Some("echo.v1"), json!("other, echo.v1")),
        (format!("echo.v1, bearer, {good}"), Some("echo.v1"), json!("echo.v1")),
        (format!("tidegate.bearer.{good}, echo.v1"), Some("echo.v1"), json!("echo.v1")),
        (format!("other, bearer, {good}"), Some("bearer"), json!("other")),
    ] {
        let client = gate.websocket("/ws", &[("sec-websocket-protocol", &offered)]).await.unwrap();
        assert_eq!(client.protocol.as_deref(), selected, "{offered}");
        let upgrades = service.seen().await["upgrades"].clone();
        let last = upgrades.as_array().unwrap().last().unwrap();
        assert_eq!(last["headers"]["sec-websocket-protocol"], seen, "{offered}");
    }
    let refused = gate.websocket("/ws", &[("sec-websocket-protocol", "bearer, nonsense, echo.v1")]).await;
    assert_eq!(refused.unwrap_err(), 401);
}
