//! Credentials that differ within one session: a header that a browser cannot send with a WebSocket, a token that is renewed.

use std::net::Ipv4Addr;

use crate::support::{
    Client, Gate, Poller, Raw, Service, Value, eventually,
    issuer::Issuer,
    json,
    token::{now, token, token_for},
};

fn bearer(token: &str) -> Value {
    json!({ "authorization": format!("Bearer {token}") })
}

/// Options of a client whose polls alone have a header, as in every browser.
fn header_on_polls(token: &str) -> Value {
    json!({ "transports": ["polling", "websocket"], "transportOptions": { "polling": { "extraHeaders": bearer(token) } } })
}

/// So slow that nothing is given back while a test runs.
const LIMIT: &str = "[[rate_limit]]\nmessages = 100\nper = \"1h\"";

#[tokio::test]
async fn a_client_whose_polls_alone_have_a_header_upgrades() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(LIMIT).await;

    for url in [service.url(), gate.url()] {
        let client = Client::begin(gate.driver().await, &url, json!({}), header_on_polls(&token("ada"))).await;
        client.connected().await;
        client.travels_by("websocket").await;
        assert_eq!(client.ask("echo", json!([1])).await, 1, "{url}");
        client.disconnect().await;
    }

    service.forget().await;
    let client = gate.connect_with(json!({}), header_on_polls(&token("bea"))).await;
    client.connected().await;
    client.travels_by("websocket").await;
    client.ask_at_once(150, "echo", json!([{}])).await;
    assert_eq!(service.received("echo").await, 100);
    gate.counts(0.0, "tidegate_refused_total", &[("stage", "session")]).await;
}

#[tokio::test]
async fn an_upgrade_without_a_token_comes_from_the_same_origin_and_address() {
    let service = Service::without_auth().await;
    let gate =
        Gate::before(&service).with(r#"origins.allow = ["https://school.example", "https://other.example"]"#).await;
    let authorization = format!("Bearer {}", token("ada"));
    let school = ("origin", "https://school.example");
    let owner = Poller::shaking_hands(gate.address, "", &[("authorization", &authorization), school]).await;
    owner.join("").await;

    let elsewhere = owner.with_headers(&[("origin", "https://other.example")]);
    assert_eq!(elsewhere.websocket_refused().await.0, 400);
    let mut other_address = Raw::connect_from(Ipv4Addr::new(127, 0, 0, 2), gate.address).await;
    other_address.ask_upgrade(&owner.target("websocket"), "origin: https://school.example\r\n").await;
    assert_eq!(other_address.status().await, 400);
    // What is no upgrade shows the token.
    assert_eq!(owner.with_headers(&[school]).post("42[\"echo\",1]").await.status, 400);
    gate.counts(3.0, "tidegate_refused_total", &[("stage", "session"), ("reason", "sid_mismatch")]).await;

    let mut websocket = owner.with_headers(&[school]).websocket().await;
    websocket.go_over().await;
    websocket.say("42[\"echo\",\"over\"]").await;
    loop {
        if websocket.frame().await.text() == "42[\"echo\",\"over\"]" {
            break;
        }
    }
}

#[tokio::test]
async fn where_an_upgrade_needs_the_token_none_is_offered_that_could_not_show_it() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service)
        .with("socketio.upgrade_without_token = false\nauth.token_from = [\"header\", \"cookie:session\"]")
        .await;

    let client = gate.connect_with(json!({}), header_on_polls(&token("ada"))).await;
    client.connected().await;
    assert_eq!(client.ask("echo", json!([1])).await, 1);
    assert_eq!((client.transport().await, client.untaken("upgrade")), ("polling".to_owned(), 0));
    assert_eq!(gate.log().wait_for(1, &["socketio.upgrade_without_token"]).await.len(), 1, "the log says why");

    let cookie = json!({ "cookie": format!("session={}", token("ada")) });
    let options = json!({ "transports": ["polling", "websocket"], "extraHeaders": cookie });
    let client = gate.connect_with(json!({}), options).await;
    client.connected().await;
    client.travels_by("websocket").await;
}

#[tokio::test]
async fn a_token_that_is_renewed_between_two_polls_prolongs_the_session() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(&format!("auth.leeway = \"0s\"\n{LIMIT}")).await;
    gate.driver().await;
    let expires = now() + 12;
    let first = token_for("ada", 12);
    let options = json!({ "transports": ["polling"], "extraHeaders": bearer(&first) });
    let client = gate.connect_with(json!({}), options).await;
    client.connected().await;
    client.ask_at_once(75, "echo", json!([{}])).await;

    client.set_headers(bearer(&token_for("ada", 3600))).await;
    client.ask_at_once(75, "echo", json!([{}])).await;
    assert_eq!(service.received("echo").await, 100, "the user is the same, and so is the allowance");

    eventually("the first token has expired", async || (now() > expires + 1).then_some(())).await;
    assert_eq!(client.ask("echo", json!([{}])).await["rateLimited"], true, "the session goes on");
    assert_eq!((client.untaken("disconnect"), service.transports().await), (0, 1));

    client.set_headers(bearer(&token("eve"))).await;
    client.send("echo", json!([1])).await;
    assert_eq!(client.disconnected().await, "transport error", "another user's token is no renewal");
}

#[tokio::test]
async fn a_token_that_is_renewed_with_the_upgrade_is_the_same_users() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with("auth.leeway = \"0s\"").await;
    gate.driver().await;
    let expires = now() + 12;
    let by_transport = |polling: &str, websocket: &str| {
        let transports = json!({
            "polling": { "extraHeaders": bearer(polling) }, "websocket": { "extraHeaders": bearer(websocket) },
        });
        json!({ "transports": ["polling", "websocket"], "transportOptions": transports })
    };
    let client = gate.connect_with(json!({}), by_transport(&token_for("ada", 12), &token_for("ada", 3600))).await;
    client.connected().await;
    client.travels_by("websocket").await;
    eventually("the first token has expired", async || (now() > expires + 1).then_some(())).await;
    assert_eq!(client.ask("echo", json!([1])).await, 1);
    assert_eq!(client.untaken("disconnect"), 0);

    let other = gate.connect_with(json!({}), by_transport(&token("ada"), &token("eve"))).await;
    other.connected().await;
    eventually("the upgrade of another user is refused", async || {
        (gate.metrics().await.sum("tidegate_refused_total", &[("reason", "sid_mismatch")]) >= 1.0).then_some(())
    })
    .await;
    assert_eq!(other.ask("echo", json!([1])).await, 1);
    assert_eq!(other.transport().await, "polling");
}

#[tokio::test]
async fn a_renewed_token_whose_key_is_new_is_verified_once_the_key_is_there() {
    let service = Service::without_auth().await;
    let issuer = Issuer::start().await;
    issuer.add_key("ES256", "old").await;
    let url = issuer.jwks_url();
    let settings = format!("auth.jwks_url = \"{url}\"\nauth.algorithms = [\"ES256\"]");
    let gate = Gate::before(&service).without("auth.secret").with(&settings).await;
    let claims = json!({ "sub": "ada", "exp": now() + 600 });
    let header = |token: &str| format!("Bearer {token}");
    let old = header(&issuer.sign("old", &claims).await);
    let owner = Poller::shaking_hands(gate.address, "", &[("authorization", &old)]).await;
    owner.join("").await;

    issuer.add_key("ES256", "new").await;
    issuer.remove_key("old").await;
    let renewed = owner.with_headers(&[("authorization", &header(&issuer.sign("new", &claims).await))]);
    // The fetch may be held back for a while after another one, so the first request may come too early.
    eventually("a token of the new key is good", async || {
        (renewed.post("42[\"echo\",\"renewed\"]").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(renewed.poll().await, "42[\"echo\",\"renewed\"]");
}
