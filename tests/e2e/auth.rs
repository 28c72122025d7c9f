//! No unauthenticated byte reaches the service, and whose token it was is told to the service by the gate alone.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::support::{
    Gate, Raw, Service, Value, Way, json,
    raw::UPGRADE,
    token::{SECRET, assembled, now, signed, token, token_for},
};

/// What a client hears without a token.
fn missing() -> Value {
    json!({ "message": "Authentication token required", "data": { "code": "auth.missing" } })
}

/// What it hears with one that does not hold; `code` is `auth.invalid` or `auth.expired`.
fn bad(code: &str) -> Value {
    json!({ "message": "Invalid authentication token", "data": { "code": code } })
}

/// Connects with `auth`, and is refused for good before the service has heard of it.
async fn assert_refused(gate: &Gate, service: &Service, what: &str, auth: Value, refusal: Value) {
    let client = gate.connect(auth).await;
    assert_eq!(client.refused().await, refusal, "{what}");
    assert!(!client.is_active().await, "{what}: the client goes on trying");
    assert_eq!(service.transports().await, 0, "{what}: the service saw a connection");
}

#[tokio::test]
async fn without_a_token_nothing_reaches_the_service() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).await;

    for auth in [json!({}), json!({ "learnerId": "ada" }), json!({ "token": "" }), json!({ "token": null })] {
        assert_refused(&gate, &service, &auth.to_string(), auth.clone(), missing()).await;
    }
    assert_eq!(service.seen().await["upgrades"], json!([]));

    gate.client(token("ada")).await;
    assert_eq!(service.transports().await, 1);
}

#[tokio::test]
async fn bad_tokens_are_refused_before_the_service_hears_of_them() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service)
        .with("auth.issuer = \"https://front.example\"\nauth.audience = \"orchestrator\"\nauth.leeway = \"0s\"")
        .await;
    let good = json!({ "sub": "ada", "exp": now() + 60, "iss": "https://front.example", "aud": "orchestrator" });
    let but = |claim: &str, value: Value| {
        let mut claims = good.clone();
        claims[claim] = value;
        signed(&claims, SECRET)
    };
    let signature = signed(&good, SECRET).rsplit('.').next().unwrap().to_owned();
    let hs256 = json!({ "alg": "HS256", "typ": "JWT" });

    let table = [
        ("no token at all", "nonsense".to_owned(), "auth.invalid"),
        ("another secret", signed(&good, "another secret of thirty-two bytes!"), "auth.invalid"),
        ("expired", but("exp", json!(now() - 60)), "auth.expired"),
        ("never expires", but("exp", Value::Null), "auth.invalid"),
        ("expiry as text", but("exp", json!("2099")), "auth.invalid"),
        ("not yet valid", but("nbf", json!(now() + 3600)), "auth.invalid"),
        ("another issuer", but("iss", json!("https://other.example")), "auth.invalid"),
        ("no issuer", but("iss", Value::Null), "auth.invalid"),
        ("another audience", but("aud", json!("billing")), "auth.invalid"),
        ("nobody", but("sub", Value::Null), "auth.invalid"),
        ("alg none", assembled(&json!({ "alg": "none" }), &good, ""), "auth.invalid"),
        ("alg nOnE, old signature", assembled(&json!({ "alg": "nOnE" }), &good, &signature), "auth.invalid"),
        ("other claims, old signature", assembled(&hs256, &json!({ "sub": "root" }), &signature), "auth.invalid"),
        ("a blank behind it", format!("{} ", signed(&good, SECRET)), "auth.invalid"),
    ];
    for (what, token, code) in table {
        assert_refused(&gate, &service, what, json!({ "token": token }), bad(code)).await;
    }

    gate.client(signed(&good, SECRET)).await;
    gate.client(but("aud", json!(["billing", "orchestrator"]))).await;
}

#[tokio::test]
async fn a_token_that_is_no_text_or_stands_twice_is_refused() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).await;
    let good = token("ada");

    for connect in [
        "40{\"token\":{}}".to_owned(),
        format!("40{{\"token\":[\"{good}\"]}}"),
        format!("40{{\"token\":\"nonsense\",\"token\":\"{good}\"}}"),
        format!("40{{\"token\":\"{good}\",\"to\\u006ben\":\"nonsense\"}}"),
    ] {
        let mut raw = Raw::engineio(gate.address).await;
        raw.say(&connect).await;
        let answer = raw.frame().await;
        let error: Value = serde_json::from_str(answer.text().strip_prefix("44").unwrap()).unwrap();
        assert_eq!(error, bad("auth.invalid"), "{connect}");
    }
    assert_eq!(service.transports().await, 0);

    let mut raw = Raw::engineio(gate.address).await;
    raw.say(&format!("40{{\"token\":\"{good}\"}}")).await;
    assert!(raw.frame().await.text().starts_with("40{"));
}

#[tokio::test]
async fn a_token_may_stand_in_five_places() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service)
        .with(
            r#"auth.token_from = ["connect:jwt", "header", "query:token", "cookie:session", "subprotocol"]
               auth.forward_claims = { "x-user-id" = "sub" }"#,
        )
        .await;
    let places = [
        ("connect", json!({ "jwt": token("connect") }), json!({})),
        ("header", json!({}), json!({ "extraHeaders": { "authorization": format!("Bearer {}", token("header")) } })),
        ("query", json!({}), json!({ "query": { "token": token("query") } })),
        ("cookie", json!({}), json!({ "extraHeaders": { "cookie": format!("a=b; session={}", token("cookie")) } })),
        ("subprotocol", json!({}), json!({ "protocols": ["bearer", token("subprotocol")] })),
    ];

    for (at, (place, auth, options)) in places.into_iter().enumerate() {
        gate.connect_with(auth, options).await.connected().await;
        let upgrade = service.seen().await["upgrades"][at].clone();
        assert_eq!(upgrade["headers"]["x-user-id"], place);
        // A token in a URL ends up in logs; the service is told who it is without it.
        assert!(!upgrade["url"].as_str().unwrap().contains("token="), "{upgrade}");
    }

    // Not where it was not looked for.
    let refused = gate.connect(json!({ "token": token("ada") })).await;
    assert_eq!(refused.refused().await, missing());
}

#[tokio::test]
async fn two_different_tokens_are_refused() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).await;
    let header = |user: &str| json!({ "extraHeaders": { "authorization": format!("Bearer {}", token(user)) } });

    let torn = gate.connect_with(json!({ "token": token("ada") }), header("bob")).await;
    assert_eq!(torn.refused().await, bad("auth.invalid"));
    assert_eq!(service.transports().await, 0);

    let same = gate.connect_with(json!({ "token": token("ada") }), header("ada")).await;
    same.connected().await;
}

#[tokio::test]
async fn only_the_gate_says_who_a_user_is() {
    let service = Service::without_auth().await;
    let gate =
        Gate::before(&service).with(r#"auth.forward_claims = { "x-user-id" = "sub", "x-tenant" = "tenant" }"#).await;
    let claims = json!({ "sub": "ada", "tenant": "north", "exp": now() + 60 });
    let spoofed = json!({ "extraHeaders": {
        "x-user-id": "root", "X_User_Id": "root", "x-tenant": "south",
        "x-forwarded-for": "203.0.113.7", "x-real-ip": "203.0.113.7", "forwarded": "for=203.0.113.7",
        "x-lesson": "fractions",
    }});

    let client = gate.connect_with(json!({ "token": signed(&claims, SECRET) }), spoofed).await;
    client.connected().await;

    let headers = service.seen().await["upgrades"][0]["headers"].clone();
    assert_eq!(headers["x-user-id"], "ada");
    assert_eq!(headers["x-tenant"], "north");
    assert_eq!(headers["x-lesson"], "fractions", "other headers pass");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1", "the address is the one the gate sees");
    assert!(headers.get("x_user_id").is_none(), "{headers}");
    assert!(!headers.to_string().contains("203.0.113.7"), "{headers}");
}

#[tokio::test]
async fn a_token_that_expires_ends_its_session_on_time_and_a_fresh_one_opens_the_next() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(r#"auth.leeway = "0s""#).await;
    gate.driver().await;
    let exp = now() + 12;
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(exp);
    // The control: one that is good for ten seconds more.
    let later = signed(&json!({ "sub": "bob", "exp": exp + 10 }), SECRET);
    let later = gate.connect_with(json!({ "token": later }), json!({ "reconnection": false })).await;
    later.connected().await;
    let expiring = signed(&json!({ "sub": "ada", "exp": exp }), SECRET);
    let mut clients = Vec::new();
    for way in Way::ALL {
        let client = gate.client_by(way, expiring.clone()).await;
        client.set_auth(json!({ "token": token_for("ada", 60) })).await;
        clients.push((way, client));
    }

    for (way, client) in &clients {
        assert_eq!(client.disconnected().await, "transport close", "{way:?}");
        assert!(SystemTime::now() >= expires, "{way:?}: it was not closed before its time");
    }
    assert_eq!(later.untaken("disconnect"), 0, "they were closed on time");
    for (way, client) in &clients {
        client.connected().await;
        assert_eq!(client.ask("echo", json!([1])).await, 1, "{way:?}");
    }
    later.disconnected().await;
    gate.counts(4.0, "websocket_disconnections_total", &[("reason", "auth.expired")]).await;
}

#[tokio::test]
async fn a_client_that_comes_back_with_its_expired_token_is_stopped() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(r#"auth.leeway = "0s""#).await;
    gate.driver().await;
    let client = gate.client(token_for("ada", 10)).await;

    client.disconnected().await;

    assert_eq!(client.refused().await, bad("auth.expired"));
    assert!(!client.is_active().await);
    assert_eq!(service.transports().await, 1);
}

#[tokio::test]
async fn leeway_is_granted_at_the_handshake() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(r#"auth.leeway = "60s""#).await;

    gate.client(token_for("ada", -10)).await;

    let refused = gate.connect(json!({ "token": token_for("ada", -70) })).await;
    assert_eq!(refused.refused().await, bad("auth.expired"));
}

#[tokio::test]
async fn a_session_cannot_become_another_user() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).await;
    let ada = gate.client(token("ada")).await;

    let chat = ada.namespace("/chat", json!({ "token": token("bob") })).await;
    let other = json!({ "message": "This connection belongs to another user", "data": { "code": "auth.other_user" } });
    assert_eq!(chat.refused().await, other);
    chat.set_auth(json!({ "token": "nonsense" })).await;
    chat.connect_again().await;
    assert_eq!(chat.refused().await, bad("auth.invalid"));
    assert_eq!(service.seen().await["connections"].as_array().unwrap().len(), 1);

    chat.set_auth(json!({ "token": token_for("ada", 60) })).await;
    chat.connect_again().await;
    chat.connected().await;
    // The session is known already: a further namespace needs no token.
    gate.client(token("ada")).await.namespace("/chat", json!({})).await.connected().await;
}

#[tokio::test]
async fn without_required_auth_the_service_decides() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("auth.required = false").without("auth.secret").await;

    let refused = gate.connect(json!({})).await;
    assert_eq!(refused.refused().await, json!({ "message": "Authentication token required", "data": null }));
    assert_eq!(service.transports().await, 1);

    gate.client(token("ada")).await;
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(r#"origins.allow = ["https://school.example"]"#).await;
    let upgrade = async |origin: &str| {
        let mut raw = Raw::connect(gate.address).await;
        let target = "/socket.io/?EIO=4&transport=websocket";
        let request = format!("GET {target} HTTP/1.1\r\n{}{origin}\r\n", UPGRADE);
        raw.send(request.as_bytes()).await;
        raw.status().await
    };

    for foreign in [
        "https://evil.example",
        "http://school.example",
        "https://school.example:8443",
        "https://school.example.evil.example",
        "null",
    ] {
        assert_eq!(upgrade(&format!("Origin: {foreign}\r\n")).await, 403, "{foreign}");
    }
    assert_eq!(upgrade("Origin: https://school.example\r\n").await, 101);
    assert_eq!(upgrade("").await, 101, "what is no browser sends no Origin");
    assert_eq!(service.transports().await, 0);
    let written = r#""reason":"forbidden","origin":"https://evil.example""#;
    assert_eq!(gate.log().wait_for(1, &[written]).await.len(), 1);
}

#[tokio::test]
async fn no_secret_and_no_token_is_ever_written_down() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service)
        .with("auth.token_from = [\"connect:token\", \"query:token\"]\nlog.level = \"trace\"")
        .await;
    let by_query = token("by-query");
    let expired = token_for("expired", -600);

    gate.client(token("by-connect")).await;
    gate.connect_with(json!({}), json!({ "query": { "token": by_query } })).await.connected().await;
    gate.connect_with(json!({}), json!({ "query": { "token": expired } })).await.refused().await;
    gate.connect_with(json!({ "token": token("two") }), json!({ "query": { "token": by_query } }))
        .await
        .refused()
        .await;

    gate.log().wait_for(2, &["session opened"]).await;
    let written = gate.logged().await.all().join("\n") + &gate.metrics().await.text;
    // Every token begins with its header: {"typ":"JWT","alg":"HS256"}.
    for canary in ["eyJ0eXAi", &*by_query, &*expired, SECRET, &STANDARD.encode(SECRET)] {
        assert!(!written.contains(canary), "{canary} was written down:\n{written}");
    }
}
