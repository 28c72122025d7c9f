//! The JavaScript client of SignalR on a plain route, before a hub that is written by hand: docs/recipes.md.

use std::sync::Arc;

use crate::support::{Client, Gate, Service, client::Driver, json, token, token::token_for};

/// The recipe.
const RECIPE: &str = r#"
    auth.token_from = ["query:access_token", "header"]
    auth.leeway = "0s"
    auth.forward_claims = { x-user = "sub" }
    [[websocket]]
    path = "/hub"
    exceeded = "delay"
"#;

async fn client(driver: &Arc<Driver>, url: &str, tokens: &[String], skip: bool) -> Client {
    let with = json!({ "url": format!("{url}/hub"), "tokens": tokens, "skipNegotiation": skip });
    Client::by(driver.clone(), "signalr", with).await
}

#[tokio::test]
async fn calls_pass_with_and_without_negotiation_as_they_do_directly() {
    let service = Service::of("signalr_service.mjs").await;
    let gate = Gate::before(&service).with(RECIPE).await;
    let driver = Driver::of("protocol_clients.mjs").await;

    for skip in [true, false] {
        for url in [service.url(), gate.url()] {
            let client = client(&driver, &url, &[token("ada")], skip).await;
            client.call("begin", json!({})).await.unwrap();
            let echoed = client.call("invoke", json!({ "method": "echo", "argument": "fractions" })).await;
            assert_eq!(echoed, Ok(json!("fractions")), "{url}");
            let user = client.call("invoke", json!({ "method": "user", "argument": null })).await;
            assert_eq!(user.unwrap_or_default(), if url == gate.url() { json!("ada") } else { json!(null) });
        }
    }
}

#[tokio::test]
async fn a_refused_token_fails_and_an_expired_one_is_renewed() {
    let mut service = Service::of("signalr_service.mjs").await;
    let gate = Gate::before(&service).with(RECIPE).await;
    let driver = Driver::of("protocol_clients.mjs").await;

    let stranger = client(&driver, &gate.url(), &["nonsense".to_owned()], true).await;
    assert!(stranger.call("begin", json!({})).await.is_err());
    assert_eq!(service.transports().await, 0);

    let ada = client(&driver, &gate.url(), &[token_for("ada", 10), token("ada")], true).await;
    ada.call("begin", json!({})).await.unwrap();
    ada.next("closed").await;
    ada.next("connected").await;
    assert_eq!(ada.call("invoke", json!({ "method": "echo", "argument": 1 })).await, Ok(json!(1)));

    service.restart().await;
    ada.next("closed").await;
    ada.next("connected").await;
    assert_eq!(ada.call("invoke", json!({ "method": "echo", "argument": 2 })).await, Ok(json!(2)));
    assert_eq!(ada.untaken("gone"), 0);
}
