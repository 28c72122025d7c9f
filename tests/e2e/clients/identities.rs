//! One connection, several identities: a guest who logs in, two users, a token for each namespace, a namespace with a login of
//! its own.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::support::{
    Client, Gate, Service, Value, eventually, http, json,
    token::{now, token, token_for},
};

const MANY: &str = "auth.users_per_connection = \"many\"";

fn by_user() -> &'static str {
    "[[rate_limit]]\nscope = \"user\"\nevents = [\"*\"]\nmessages = 100\nper = \"1h\"\nexceeded = \"reply\""
}

fn with(user: &str) -> Value {
    json!({ "token": token(user) })
}

/// The only session, as the operator sees it.
async fn session(gate: &Gate) -> Value {
    let sessions = http::get(&gate.admin_url("/sessions")).await.json();
    sessions["sessions"][0].clone()
}

/// Whom the service has let in: each namespace, and the user of the token in its CONNECT, sorted.
async fn joined(service: &Service) -> Vec<(String, String)> {
    let seen = service.seen().await;
    let user = |auth: &Value| {
        let claims = auth["token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        claims["sub"].as_str().unwrap().to_owned()
    };
    let connections = seen["connections"].as_array().unwrap().iter();
    let mut joined: Vec<_> =
        connections.map(|one| (one["namespace"].as_str().unwrap().to_owned(), user(&one["auth"]))).collect();
    joined.sort();
    joined
}

/// A user in a namespace.
fn is_in(namespace: &str, user: &str) -> (String, String) {
    (namespace.to_owned(), user.to_owned())
}

/// The service has heard so many DISCONNECTs. It closes a connection, also without the gate, that brings a DISCONNECT and the
/// CONNECT behind it at once.
async fn leaves(service: &Service, count: usize) {
    eventually("the service hears that the client leaves", async || {
        (service.seen().await["disconnects"].as_array()?.len() == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_guest_becomes_a_user_in_another_namespace_or_by_connecting_again() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with("auth.required = false").await;
    let guest = gate.connect(json!({})).await;
    guest.connected().await;
    assert_eq!(session(&gate).await["user"], Value::Null);

    let chat = guest.namespace("/chat", with("ada")).await;
    chat.connected().await;
    assert_eq!(session(&gate).await["users"], json!(["ada"]));

    guest.disconnect().await;
    leaves(&service, 1).await;
    guest.set_auth(with("ada")).await;
    guest.connect_again().await;
    guest.connected().await;
    assert_eq!(guest.ask("echo", json!([1])).await, 1);
    assert_eq!(session(&gate).await["user"], "ada");

    chat.disconnect().await;
    leaves(&service, 2).await;
    chat.set_auth(with("bob")).await;
    chat.connect_again().await;
    assert_eq!(chat.refused().await["data"]["code"], "auth.other_user");
    assert_eq!(service.transports().await, 1, "all of it over one connection");
    gate.counts(1.0, "tidegate_refused_total", &[("stage", "connect"), ("reason", "auth.other_user")]).await;
}

#[tokio::test]
async fn what_a_guest_has_used_the_user_has_used() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(&format!("auth.required = false\n{}", by_user())).await;
    let guest = gate.connect(json!({})).await;
    guest.connected().await;
    // It keeps the connection open.
    let chat = guest.namespace("/chat", json!({})).await;
    chat.connected().await;
    guest.ask_at_once(75, "echo", json!([{}])).await;
    chat.disconnect().await;
    leaves(&service, 1).await;
    chat.set_auth(with("ada")).await;
    chat.connect_again().await;
    chat.connected().await;
    guest.disconnect().await;
    leaves(&service, 2).await;
    guest.set_auth(with("ada")).await;
    guest.connect_again().await;
    guest.connected().await;
    guest.ask_at_once(75, "echo", json!([{}])).await;
    assert_eq!(service.received("echo").await, 100);
}

#[tokio::test]
async fn two_users_have_a_namespace_each_and_an_allowance_each() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(&format!("{MANY}\n{}", by_user())).await;
    let ada = gate.connect(with("ada")).await;
    ada.connected().await;
    let bob = ada.namespace("/chat", with("bob")).await;
    bob.connected().await;
    assert_eq!(joined(&service).await, [is_in("/", "ada"), is_in("/chat", "bob")]);
    let shown = session(&gate).await;
    assert_eq!((&shown["user"], &shown["users"]), (&json!("ada"), &json!(["ada", "bob"])));

    ada.ask_at_once(150, "echo", json!([{}])).await;
    assert_eq!(service.received("echo").await, 100);
    bob.ask_at_once(150, "say", json!([{}])).await;
    assert_eq!(service.received("say").await, 100);

    // One user has one allowance, in whatever session and namespace.
    let again = gate.connect(with("ada")).await;
    again.connected().await;
    assert_eq!(again.ask("echo", json!([{}])).await["rateLimited"], true);
}

#[tokio::test]
async fn one_user_of_two_namespaces_has_one_allowance() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(by_user()).await;
    let ada = gate.connect(with("ada")).await;
    ada.connected().await;
    let chat = ada.namespace("/chat", json!({ "token": token_for("ada", 60) })).await;
    chat.connected().await;
    ada.ask_at_once(75, "echo", json!([{}])).await;
    chat.ask_at_once(75, "say", json!([{}])).await;
    assert_eq!(service.received("echo").await + service.received("say").await, 100);
}

#[tokio::test]
async fn a_limit_per_connection_counts_all_of_its_users_together() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(&format!("{MANY}\n[[rate_limit]]\nper = \"1h\"")).await;
    let ada = gate.connect(with("ada")).await;
    ada.connected().await;
    ada.ask_at_once(60, "echo", json!([{}])).await;
    let bob = ada.namespace("/chat", with("bob")).await;
    bob.connected().await;
    bob.ask_at_once(150, "say", json!([{}])).await;
    ada.ask_at_once(150, "echo", json!([{}])).await;
    assert_eq!((service.received("echo").await, service.received("say").await), (60, 40));
}

#[tokio::test]
async fn a_namespace_is_left_with_its_token_and_the_others_go_on() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with("auth.leeway = \"0s\"").await;
    let root = gate.connect(with("ada")).await;
    root.connected().await;
    let chat = root.namespace("/chat", json!({ "token": token_for("ada", 10) })).await;
    chat.connected().await;

    assert_eq!(chat.disconnected().await, "io server disconnect");
    let left = service.disconnection().await;
    assert_eq!((&left["namespace"], &left["reason"]), (&json!("/chat"), &json!("client namespace disconnect")));
    assert_eq!(root.ask("echo", json!([1])).await, 1);
    gate.counts(1.0, "tidegate_refused_total", &[("stage", "namespace"), ("reason", "auth.expired")]).await;

    // It is renewed for the namespace alone.
    chat.set_auth(json!({ "token": token_for("ada", 10) })).await;
    chat.connect_again().await;
    chat.connected().await;
    assert_eq!(chat.ask("say", json!([1])).await["success"], true);
    assert_eq!(chat.disconnected().await, "io server disconnect");
    assert_eq!((root.untaken("disconnect"), service.transports().await), (0, 1));
}

#[tokio::test]
async fn a_session_ends_with_the_last_of_its_tokens() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(&format!("auth.leeway = \"0s\"\n{MANY}")).await;
    gate.driver().await;
    let until = now() + 20;
    let root = gate.connect(json!({ "token": token_for("ada", 10) })).await;
    root.connected().await;
    let chat = root.namespace("/chat", json!({ "token": token_for("bob", 20) })).await;
    chat.connected().await;

    assert_eq!(root.disconnected().await, "io server disconnect");
    assert_eq!(session(&gate).await["user"], "bob", "who is there still");
    assert_eq!(chat.ask("say", json!([1])).await["success"], true);
    assert_eq!(chat.disconnected().await, "transport close");
    assert!(now() >= until);
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "auth.expired")]).await;
}

#[tokio::test]
async fn events_that_were_sent_before_the_client_knows_cost_nobody_the_connection() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with("auth.leeway = \"0s\"\nrate_limit = []").await;
    let root = gate.connect(with("ada")).await;
    root.connected().await;
    let chat = root.namespace("/chat", json!({ "token": token_for("ada", 6) })).await;
    chat.connected().await;
    // As fast as it can, across the moment.
    while chat.untaken("disconnect") == 0 {
        for _ in 0..20 {
            chat.send("say", json!([{ "$binary": "AAAA" }])).await;
        }
    }
    assert_eq!(root.ask("echo", json!([1])).await, 1);
    assert_eq!(root.untaken("disconnect"), 0);
}

#[tokio::test]
async fn a_namespace_with_a_login_of_its_own_needs_no_token() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with("auth.leeway = \"0s\"\nauth.optional_namespaces = [\"/admin\"]").await;
    let login = json!({ "username": "admin", "password": "changeit" });
    let admin = |auth: Value| async {
        let id = gate.connect(json!({ "learnerId": "nobody" })).await;
        assert_eq!(id.refused().await["data"]["code"], "auth.missing", "it is for `/` that a token is required");
        id.namespace("/admin", auth).await
    };

    let page = admin(login.clone()).await;
    page.connected().await;
    assert!(page.ask("stats", json!([])).await["clients"].as_u64().unwrap() >= 1);
    let wrong = admin(json!({ "username": "admin", "password": "guessed" })).await;
    assert_eq!(wrong.refused().await["message"], "invalid credentials", "the service says so");
    let forged = admin(json!({ "username": "admin", "password": "changeit", "token": "nonsense" })).await;
    assert_eq!(forged.refused().await["data"]["code"], "auth.invalid");

    // Beside a user whose token expires it stays.
    let ada = gate.client(token_for("ada", 10)).await;
    let beside = ada.namespace("/admin", login.clone()).await;
    beside.connected().await;
    assert_eq!(ada.disconnected().await, "io server disconnect");
    assert!(beside.ask("stats", json!([])).await["clients"].as_u64().unwrap() >= 1);
    ada.set_auth(json!({})).await;
    ada.connect_again().await;
    assert_eq!(ada.refused().await["data"]["code"], "auth.expired");

    let strict = Gate::before(&service).await;
    let refused = Client::begin(strict.driver().await, &format!("{}/admin", strict.url()), login, json!({})).await;
    assert_eq!(refused.refused().await["data"]["code"], "auth.missing");
}

#[tokio::test]
async fn after_an_outage_each_namespace_is_joined_as_its_user() {
    let mut service = Service::without_auth().await;
    let gate =
        Gate::before(&service).with(&format!("{MANY}\nauth.forward_claims = {{ \"x-user-id\" = \"sub\" }}")).await;
    let ada = gate.connect(with("ada")).await;
    ada.connected().await;
    let bob = ada.namespace("/chat", with("bob")).await;
    bob.connected().await;
    let both = [is_in("/", "ada"), is_in("/chat", "bob")];

    service.restart().await;
    eventually("both are joined again", async || (joined(&service).await.len() == 2).then_some(())).await;
    assert_eq!(joined(&service).await, both);
    assert_eq!(service.seen().await["upgrades"][0]["headers"]["x-user-id"], "ada");

    ada.disconnect().await;
    eventually("the service knows it", async || {
        (service.seen().await["disconnects"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    service.restart().await;
    eventually("bob is joined again", async || (joined(&service).await.len() == 1).then_some(())).await;
    assert_eq!(joined(&service).await, both[1..]);
    assert_eq!(service.seen().await["upgrades"][0]["headers"]["x-user-id"], "bob", "the first who is there");
    assert_eq!(bob.ask("say", json!([1])).await["success"], true);
}

#[tokio::test]
async fn each_user_comes_back_to_a_namespace_of_its_own() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(&format!("{MANY}\nsession.resume = \"1m\"")).await;
    let ada = gate.connect(with("ada")).await;
    ada.connected().await;
    let bob = ada.namespace("/chat", with("bob")).await;
    bob.connected().await;
    // A client that has got an event knows what to ask for.
    ada.send("count", json!([{ "to": 1, "everyMs": 0 }])).await;
    ada.next("counted").await;
    ada.cut().await;
    ada.disconnected().await;
    ada.connected().await;
    bob.connected().await;
    assert!(ada.recovered().await && bob.recovered().await);
    assert_eq!(service.transports().await, 1);

    // Whoever brings another token is another user, there as well, and gets a socket of its own.
    bob.set_auth(with("eve")).await;
    ada.cut().await;
    bob.connected().await;
    assert!(!bob.recovered().await);
    eventually("eve is in", async || joined(&service).await.contains(&is_in("/chat", "eve")).then_some(())).await;
}
