//! y-websocket on a plain route, before the server of y-websocket 2: docs/recipes.md.

use std::sync::Arc;

use crate::support::{Client, Gate, Service, Value, client::Driver, eventually, json, token, token::token_for};

/// The recipe.
const RECIPE: &str = r#"
    auth.token_from = ["query:token"]
    auth.leeway = "0s"
    [[websocket]]
    path = "/doc/*"
    exceeded = "delay"
    [[rate_limit]]
    messages = 200
    per = "1s"
"#;

async fn client(driver: &Arc<Driver>, url: &str, tokens: &[String]) -> Client {
    let url = format!("{}/doc", url.replacen("http", "ws", 1));
    Client::by(driver.clone(), "document", json!({ "url": url, "room": "fractions", "tokens": tokens })).await
}

async fn write(client: &Client, key: &str, value: Value) {
    client.call("write", json!({ "key": key, "value": value })).await.unwrap();
}

async fn until_it_reads(client: &Client, words: Value) {
    eventually(&format!("the document is {words}"), async || {
        (client.call("words", json!({})).await.unwrap() == words).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_clients_share_a_document_as_they_do_directly() {
    let service = Service::of("yjs_service.mjs").await;
    let gate = Gate::before(&service).with(RECIPE).await;
    let driver = Driver::of("protocol_clients.mjs").await;

    let ada = client(&driver, &gate.url(), &[token("ada")]).await;
    let bob = client(&driver, &gate.url(), &[token("bob")]).await;
    let directly = client(&driver, &service.url(), &["none".to_owned()]).await;
    write(&ada, "half", json!("1/2")).await;
    write(&bob, "third", json!("1/3")).await;

    for one in [&ada, &bob, &directly] {
        until_it_reads(one, json!({ "half": "1/2", "third": "1/3" })).await;
    }
    let seen = service.seen().await["upgrades"].clone();
    let urls: Vec<_> = seen.as_array().unwrap().iter().map(|upgrade| upgrade["url"].as_str().unwrap()).collect();
    assert_eq!(urls.iter().filter(|url| **url == "/doc/fractions").count(), 2, "without the token: {urls:?}");
}

#[tokio::test]
async fn a_burst_over_the_limit_arrives_whole() {
    let service = Service::of("yjs_service.mjs").await;
    let gate = Gate::before(&service).with(RECIPE).await;
    let driver = Driver::of("protocol_clients.mjs").await;
    let (ada, bob) =
        (client(&driver, &gate.url(), &[token("ada")]).await, client(&driver, &gate.url(), &[token("bob")]).await);
    ada.next("connected").await;

    for number in 0..400 {
        write(&ada, "count", json!(number)).await;
    }

    until_it_reads(&bob, json!({ "count": 399 })).await;
    assert_eq!((ada.untaken("closed"), bob.untaken("closed")), (0, 0));
}

#[tokio::test]
async fn what_was_written_meanwhile_arrives_when_a_token_has_expired_or_the_service_was_restarted() {
    let mut service = Service::of("yjs_service.mjs").await;
    let gate = Gate::before(&service).with(RECIPE).await;
    let driver = Driver::of("protocol_clients.mjs").await;
    let ada = client(&driver, &gate.url(), &[token_for("ada", 10), token("ada")]).await;
    let bob = client(&driver, &gate.url(), &[token("bob")]).await;
    ada.next("connected").await;

    assert_eq!(ada.next("closed").await, json!([1012]), "of 4400 to 4499 it would not come back");
    write(&ada, "half", json!("1/2")).await;
    until_it_reads(&bob, json!({ "half": "1/2" })).await;

    service.restart().await;
    write(&ada, "third", json!("1/3")).await;
    // The documents of the server were in its memory: the clients bring theirs back.
    until_it_reads(&bob, json!({ "half": "1/2", "third": "1/3" })).await;
}
