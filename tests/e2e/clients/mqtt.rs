//! mqtt.js on a plain route, before an `aedes` broker: docs/recipes.md.

use std::{collections::BTreeSet, sync::Arc};

use crate::support::{
    Client, Gate, Service,
    client::Driver,
    eventually, json, token,
    token::{signed, token_for},
};

/// The recipe, but for its limit.
const ROUTE: &str = r#"
    auth.token_from = ["query:token"]
    auth.leeway = "0s"
    [[websocket]]
    path = "/mqtt"
"#;

async fn client(driver: &Arc<Driver>, url: &str, tokens: &[String]) -> Client {
    let url = format!("{}/mqtt", url.replacen("http", "ws", 1));
    Client::by(driver.clone(), "mqtt", json!({ "url": url, "tokens": tokens, "options": {} })).await
}

async fn publish(client: &Client, payload: &str) {
    client.call("publish", json!({ "topic": "lesson", "payload": payload })).await.unwrap();
}

/// Publishes so many at once, and waits until the broker has taken each.
async fn publish_at_once(client: &Client, times: usize) {
    let all = (0..times).map(async |number| publish(client, &number.to_string()).await);
    futures_util::future::join_all(all).await;
}

/// What the broker got, each payload once.
async fn payloads(service: &Service) -> BTreeSet<String> {
    let events = service.seen().await["events"].clone();
    events.as_array().unwrap().iter().map(|event| event["args"][0].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn messages_pass_both_ways_as_they_do_directly() {
    let service = Service::of("mqtt_service.mjs").await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let driver = Driver::of("protocol_clients.mjs").await;

    for url in [service.url(), gate.url()] {
        let client = client(&driver, &url, &[token("ada")]).await;
        client.next("connected").await;
        client.call("listen", json!({ "topic": "lesson" })).await.unwrap();
        publish(&client, "fractions").await;
        assert_eq!(client.next("message").await, json!(["lesson", "fractions"]), "{url}");
    }
    assert_eq!(service.seen().await["upgrades"][1]["headers"]["sec-websocket-protocol"], "mqtt");
    assert_eq!(service.seen().await["faults"], json!([]));
}

#[tokio::test]
async fn a_token_that_is_refused_or_expires_makes_the_client_come_back_with_the_next() {
    let service = Service::of("mqtt_service.mjs").await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let driver = Driver::of("protocol_clients.mjs").await;
    let wrong = signed(&json!({ "sub": "ada", "exp": 4_000_000_000_u64 }), "another secret of thirty-two bytes");

    let client = client(&driver, &gate.url(), &[wrong, token_for("ada", 10), token("ada")]).await;
    client.next("closed").await;
    client.next("connected").await;
    client.call("listen", json!({ "topic": "lesson" })).await.unwrap();
    client.next("closed").await;
    client.next("connected").await;

    // It subscribes again by itself.
    publish(&client, "fractions").await;
    assert_eq!(client.next("message").await, json!(["lesson", "fractions"]));
    gate.counts(1.0, "tidegate_refused_total", &[("reason", "auth.invalid")]).await;
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "auth.expired")]).await;
}

#[tokio::test]
async fn over_the_limit_a_client_waits_and_loses_nothing() {
    let service = Service::of("mqtt_service.mjs").await;
    let limit = "exceeded = \"delay\"\n[[rate_limit]]\nmessages = 50\nper = \"1s\"";
    let gate = Gate::before(&service).with(&format!("{ROUTE}{limit}")).await;
    let driver = Driver::of("protocol_clients.mjs").await;
    let client = client(&driver, &gate.url(), &[token("ada")]).await;
    client.next("connected").await;

    publish_at_once(&client, 150).await;

    assert_eq!(service.received("lesson").await, 150);
    assert_eq!(payloads(&service).await.len(), 150);
    assert_eq!((client.untaken("closed"), client.untaken("error")), (0, 0));
    assert_eq!(service.transports().await, 1);
}

#[tokio::test]
async fn without_a_setting_the_limit_closes_and_says_nothing_that_is_no_mqtt() {
    let service = Service::of("mqtt_service.mjs").await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let driver = Driver::of("protocol_clients.mjs").await;
    let client = client(&driver, &gate.url(), &[token("ada")]).await;
    client.next("connected").await;

    // The client sends again, over the next connection, what the broker has not taken.
    publish_at_once(&client, 150).await;

    client.next("closed").await;
    assert_eq!(client.untaken("error"), 0, "a text of the gate would be a protocol error");
    assert_eq!(payloads(&service).await.len(), 150);
    let metrics = gate.metrics().await;
    assert!(metrics.sum("websocket_disconnections_total", &[("reason", "rate_limit")]) >= 1.0);
}

#[tokio::test]
async fn a_broker_that_restarts_is_found_again() {
    let mut service = Service::of("mqtt_service.mjs").await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let driver = Driver::of("protocol_clients.mjs").await;
    let client = client(&driver, &gate.url(), &[token("ada")]).await;
    client.next("connected").await;
    client.call("listen", json!({ "topic": "lesson" })).await.unwrap();

    service.restart().await;

    client.next("closed").await;
    client.next("connected").await;
    let back = eventually("the client has subscribed again", async || {
        publish(&client, "back").await;
        (client.untaken("message") > 0).then_some(())
    });
    back.await;
    assert_eq!(client.next("message").await, json!(["lesson", "back"]));
}
