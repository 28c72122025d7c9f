//! `graphql-ws` on a plain route, before a service made of `graphql-ws`: docs/recipes.md.

use crate::support::{
    Client, Gate, Service, Value,
    client::Driver,
    eventually, json, token,
    token::{signed, token_for},
};

const TICKS: &str = "subscription { ticks }";

/// The recipe, with a limit that a test reaches.
const RECIPE: &str = r#"
    auth.token_from = ["query:token"]
    auth.leeway = "0s"
    [[websocket]]
    path = "/graphql"
    event_field = "type"
    refusal = '{"id":${id},"type":"error","payload":[{"message":"Rate limit exceeded"}]}'
    expired_close = 4403
    limit_close = 4429
    [[rate_limit]]
    events = ["subscribe"]
    messages = 5
    per = "1h"
"#;

async fn client(driver: &std::sync::Arc<Driver>, url: &str, tokens: &[String]) -> Client {
    let url = format!("{}/graphql", url.replacen("http", "ws", 1));
    Client::by(driver.clone(), "graphql", json!({ "url": url, "tokens": tokens })).await
}

async fn hello(client: &Client, to: &str) -> Result<Value, String> {
    client.call("query", json!({ "query": format!("{{ hello(to: \"{to}\") }}") })).await
}

#[tokio::test]
async fn operations_pass_as_they_do_directly_and_one_over_the_limit_fails_alone() {
    let service = Service::of("graphql_service.mjs").await;
    let gate = Gate::before(&service).with(RECIPE).await;
    let driver = Driver::of("protocol_clients.mjs").await;

    for url in [service.url(), gate.url()] {
        let client = client(&driver, &url, &[token("ada")]).await;
        client.call("subscribe", json!({ "query": TICKS })).await.unwrap();
        assert_eq!(client.next("next").await, json!([{ "ticks": 1 }]), "{url}");
        for to in ["a", "b", "c", "d"] {
            assert_eq!(hello(&client, to).await, Ok(json!({ "hello": format!("hello {to}") })), "{url}");
        }
        if url == gate.url() {
            for to in ["e", "f"] {
                assert_eq!(hello(&client, to).await, Err("Rate limit exceeded".to_owned()), "each has its own answer");
            }
            // The subscription goes on over the same connection.
            let seen = client.untaken("next");
            eventually("more ticks come", async || (client.untaken("next") > seen).then_some(())).await;
            assert_eq!(client.untaken("closed"), 0);
        }
    }
    assert_eq!(service.received("subscribe").await, 10, "five directly, five through the gate");
}

#[tokio::test]
async fn a_token_that_expires_is_renewed_without_the_application() {
    let service = Service::of("graphql_service.mjs").await;
    let gate = Gate::before(&service).with(RECIPE).await;
    let driver = Driver::of("protocol_clients.mjs").await;

    let client = client(&driver, &gate.url(), &[token_for("ada", 10), token("ada")]).await;
    client.call("subscribe", json!({ "query": TICKS })).await.unwrap();
    client.next("connected").await;
    client.next("next").await;

    assert_eq!(client.next("closed").await, json!([4403, "token expired"]));
    client.next("connected").await;
    eventually("the subscription begins anew", async || (service.received("subscribe").await == 2).then_some(())).await;
    assert_eq!(client.untaken("failed"), 0);
}

#[tokio::test]
async fn a_token_that_is_refused_is_a_failed_handshake_and_the_next_one_counts() {
    let service = Service::of("graphql_service.mjs").await;
    let gate = Gate::before(&service).with(RECIPE).await;
    let driver = Driver::of("protocol_clients.mjs").await;

    let wrong = signed(&json!({ "sub": "ada", "exp": 4_000_000_000_u64 }), "another secret of thirty-two bytes");
    let client = client(&driver, &gate.url(), &[wrong, token("ada")]).await;

    // What a 401 is to every WebSocket client, and the package tries again.
    assert_eq!(hello(&client, "ada").await, Ok(json!({ "hello": "hello ada" })));
    gate.counts(1.0, "tidegate_refused_total", &[("reason", "auth.invalid")]).await;
    assert_eq!(service.transports().await, 1);
}

#[tokio::test]
async fn a_service_that_restarts_is_found_again() {
    let mut service = Service::of("graphql_service.mjs").await;
    let gate = Gate::before(&service).with(RECIPE).await;
    let driver = Driver::of("protocol_clients.mjs").await;
    let client = client(&driver, &gate.url(), &[token("ada")]).await;
    client.call("subscribe", json!({ "query": TICKS })).await.unwrap();
    client.next("connected").await;
    client.next("next").await;

    service.restart().await;

    assert_eq!(client.next("closed").await, json!([1012, "service unavailable"]));
    client.next("connected").await;
    eventually("the subscription begins anew", async || (service.received("subscribe").await == 1).then_some(())).await;
    assert_eq!(client.untaken("failed"), 0);
}

#[tokio::test]
async fn without_a_setting_no_close_code_and_no_text_of_the_gate_is_fatal() {
    let service = Service::of("graphql_service.mjs").await;
    let plain = "auth.token_from = [\"query:token\"]\nauth.leeway = \"0s\"\n[[websocket]]\npath = \"/graphql\"\n\
                 [[rate_limit]]\nmessages = 3\nper = \"1h\"";
    let gate = Gate::before(&service).with(plain).await;
    let driver = Driver::of("protocol_clients.mjs").await;

    let expires = client(&driver, &gate.url(), &[token_for("ada", 10), token("ada")]).await;
    expires.call("subscribe", json!({ "query": TICKS })).await.unwrap();
    assert_eq!(expires.next("closed").await, json!([1012, "token expired"]));
    expires.next("connected").await;

    // The first message is connection_init. Each connection has an allowance of its own.
    let exceeds = client(&driver, &gate.url(), &[token("ada")]).await;
    exceeds.call("subscribe", json!({ "query": TICKS })).await.unwrap();
    exceeds.next("next").await;
    assert!(hello(&exceeds, "one").await.is_ok());
    assert!(hello(&exceeds, "two").await.is_ok(), "its connection is closed, and the next one has room");
    assert_eq!(exceeds.next("closed").await, json!([1013, "rate_limit"]));
    assert_eq!((expires.untaken("failed"), exceeds.untaken("failed")), (0, 0));
}
