//! Tokens as applications place them: with a scheme before them, in the query, or where nobody verifies them.

use crate::support::{Client, Gate, Service, Value, json, token};

/// What the service gets of a client with this `auth` and these options.
async fn heard(gate: &Gate, service: &Service, auth: Value, options: Value) -> Value {
    service.forget().await;
    let client = gate.connect_with(auth, options).await;
    client.connected().await;
    assert_eq!(client.ask("echo", json!([1])).await, 1);
    service.seen().await
}

#[tokio::test]
async fn without_a_key_the_service_judges_alone() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service)
        .with("auth.required = false\nauth.token_from = [\"connect:token\", \"header\", \"query:token\"]")
        .without("auth.secret")
        .await;
    let header = json!({ "extraHeaders": { "authorization": "Bearer b" } });
    let query = json!({ "query": { "token": "c" }, "extraHeaders": { "authorization": "Bearer b" } });

    for (auth, options) in [
        (json!({ "token": 12345 }), json!({})),
        (json!({ "token": ["a"] }), json!({})),
        (json!({ "token": "a" }), header),
        (json!({ "token": 1 }), query),
    ] {
        // What the service hears without the gate is what it hears with it.
        service.forget().await;
        let alone = Client::begin(gate.driver().await, &service.url(), auth.clone(), options.clone()).await;
        alone.connected().await;
        let control = service.seen().await["connections"][0]["auth"].clone();

        let seen = heard(&gate, &service, auth.clone(), options.clone()).await;
        assert_eq!(seen["connections"][0]["auth"], control);
        assert_eq!(seen["connections"][0]["auth"]["token"], auth["token"]);
        let upgrade = &seen["upgrades"][0];
        assert_eq!(upgrade["url"].as_str().unwrap().contains("token=c"), options["query"]["token"] == "c", "{upgrade}");
        assert_eq!(upgrade["headers"]["authorization"], options["extraHeaders"]["authorization"], "{upgrade}");
    }
}

#[tokio::test]
async fn a_scheme_may_stand_before_a_token() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service)
        .with(
            "auth.token_from = [\"connect:token\", \"header\", \"query:token\"]\n\
             auth.forward_claims = { \"x-user-id\" = \"sub\" }",
        )
        .await;
    let ada = token("ada");

    for scheme in ["Bearer", "bearer", "BEARER"] {
        let said = format!("{scheme} {ada}");
        let header = json!({ "extraHeaders": { "authorization": said } });
        let query = json!({ "query": { "token": said } });
        for (auth, options) in
            [(json!({ "token": said }), json!({})), (json!({}), query), (json!({ "token": ada }), header)]
        {
            let seen = heard(&gate, &service, auth.clone(), options).await;
            assert_eq!(seen["upgrades"][0]["headers"]["x-user-id"], "ada");
            assert_eq!(
                seen["connections"][0]["auth"]["token"], auth["token"],
                "the service reads what the client said"
            );
        }
    }
    let refused = gate.connect(json!({ "token": "Bearer nonsense" })).await;
    assert_eq!(refused.refused().await["data"]["code"], "auth.invalid");
}

#[tokio::test]
async fn a_service_that_reads_the_token_in_the_query_gets_it() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with("auth.token_from = [\"query:token\"]\nauth.keep_query_token = true").await;
    let options = json!({ "query": { "token": token("ada"), "room": "7" } });
    let kept = format!("token={}", token("ada"));

    let alone = Client::begin(gate.driver().await, &service.url(), json!({}), options.clone()).await;
    alone.connected().await;
    assert!(service.seen().await["upgrades"][0]["url"].as_str().unwrap().contains("token="));

    let seen = heard(&gate, &service, json!({}), options).await;
    let url = seen["upgrades"][0]["url"].as_str().unwrap();
    assert!(url.contains("room=7") && url.contains(kept.split('.').next().unwrap()), "{url}");

    let refused = gate.connect_with(json!({}), json!({ "query": { "token": "nonsense" } })).await;
    assert_eq!(refused.refused().await["data"]["code"], "auth.invalid", "it is verified all the same");
}
