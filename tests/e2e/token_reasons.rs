//! A token that is refused: the log says what is wrong with it, the client hears one sentence.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use crate::support::{
    Gate, Poller, Service, Value, http, json,
    token::{SECRET, assembled, now, signed},
};

/// What is wrong, such a token, and what the log says.
fn bad_tokens() -> [(&'static str, String, &'static str); 8] {
    let good = json!({ "sub": "ada", "exp": now() + 600 });
    let but = |claim: &str, value: Value| {
        let mut claims = good.clone();
        claims[claim] = value;
        signed(&claims, SECRET)
    };
    let hs512 = encode(&Header::new(Algorithm::HS512), &good, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    [
        ("auth.invalid", signed(&good, "another secret of thirty-two bytes!"), "another secret has signed it"),
        ("auth.invalid", signed(&json!({ "sub": "ada" }), SECRET), "it has no exp"),
        ("auth.invalid", hs512, "its alg is HS512, which auth.algorithms does not list"),
        (
            "auth.invalid",
            assembled(&json!({ "alg": "dir" }), &good, "iv.text.tag"),
            "it has five parts: it is encrypted",
        ),
        ("auth.invalid", signed(&json!({ "exp": now() + 600 }), SECRET), "it names no user"),
        ("auth.invalid", but("nbf", json!(now() + 3 * 3600)), "ahead of the clock of this machine"),
        ("auth.expired", but("exp", json!(now() - 3 * 3600)), "it expired 2 hours ago"),
        ("auth.invalid", "nonsense".to_owned(), "it is no JWT"),
    ]
}

/// The line of a refusal with this in its `why`, without what differs by time.
async fn line(gate: &Gate, stage: &str, why: &str) {
    let message = if stage == "connect" { "namespace refused" } else { "handshake refused" };
    gate.log().wait(&[message, &format!("\"stage\":\"{stage}\""), why]).await;
}

/// No line of the log has a part of one of these tokens.
fn assert_untold(gate: &Gate) {
    let all = gate.log().all().join("\n");
    for (_, token, why) in bad_tokens() {
        let last = token.rsplit('.').next().unwrap();
        assert!(last.len() < 10 || !all.contains(last), "{why}");
    }
}

// A gate for each way: of one peer and reason ten lines a second are written.

#[tokio::test]
async fn each_kind_of_bad_token_has_its_reason_in_the_log_and_the_client_hears_one() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).await;
    for (code, token, why) in &bad_tokens() {
        let client = gate.connect(json!({ "token": token })).await;
        let refusal = json!({ "message": "Invalid authentication token", "data": { "code": code } });
        assert_eq!(client.refused().await, refusal, "{why}");
        line(&gate, "connect", why).await;
    }
    assert_untold(&gate);
}

#[tokio::test]
async fn over_polling_too() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).await;
    for (code, token, why) in &bad_tokens() {
        let poller = Poller::engineio(gate.address).await;
        poller.send(&format!("40{}", json!({ "token": token }))).await;
        let answer = poller.poll().await;
        assert!(answer.contains(code) && answer.contains("Invalid authentication token"), "{why}: {answer}");
        line(&gate, "connect", why).await;
    }
    assert_untold(&gate);
}

#[tokio::test]
async fn on_a_plain_route_too() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with("[[websocket]]\npath = \"/ws\"").await;
    for (_, token, why) in &bad_tokens() {
        let bearer = format!("Bearer {token}");
        assert_eq!(gate.websocket("/ws", &[("authorization", &bearer)]).await.err(), Some(401), "{why}");
        line(&gate, "handshake", why).await;
    }
    assert_untold(&gate);
}

#[tokio::test]
async fn where_a_token_was_looked_for_is_told_where_none_was_found() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    gate.connect(json!({ "jwt": "elsewhere" })).await.refused().await;
    gate.log().wait(&["auth.missing", "no token is in any of the places of auth.token_from"]).await;
    let reply = http::request("GET", &format!("{}/", gate.url()), &[], "").await;
    assert_ne!(reply.status, 401, "an ordinary request needs none");
}
