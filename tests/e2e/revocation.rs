//! Tokens that are revoked before they expire, on one node and on three that share a Redis.

use std::time::Instant;

use crate::support::{
    Client, Gate, Redis, Service, Value, Way, eventually, http, json,
    tidegate::Setup,
    token::{SECRET, now, signed, token},
};

pub(crate) const OPERATOR: &str = "operators-token-of-some-length-1234";

/// A token that can be revoked by its name.
pub(crate) fn named(user: &str, jti: &str) -> String {
    signed(&json!({ "sub": user, "jti": jti, "iat": now(), "exp": now() + 3600 }), SECRET)
}

/// Gates that revoke, before any of them is started.
fn setup(service: &Service) -> Setup {
    Gate::before(service)
        .with("auth.revoke = true\nadmin.token = { env = \"TIDEGATE_ADMIN_TOKEN\" }")
        .variable("TIDEGATE_ADMIN_TOKEN", OPERATOR)
}

fn sharing(service: &Service, redis: &Redis) -> Setup {
    setup(service).with(&format!("redis.url = \"redis://127.0.0.1:{}\"\ncluster.name = \"tutor\"", redis.port()))
}

async fn three(services: &[Service; 3], redis: &Redis) -> [Gate; 3] {
    let [one, two, three] = services;
    let gates = tokio::join!(sharing(one, redis), sharing(two, redis), sharing(three, redis));
    gates.into()
}

async fn services() -> [Service; 3] {
    tokio::join!(Service::start(), Service::start(), Service::start()).into()
}

pub(crate) async fn revoke(gate: &Gate, body: &Value) -> http::Reply {
    let bearer = format!("Bearer {OPERATOR}");
    http::request("POST", &gate.admin_url("/revoke"), &[("authorization", &bearer)], body.to_string()).await
}

/// The client loses its connection, comes back with the same token, and is told that it need not try again.
pub(crate) async fn is_out(client: &Client) {
    client.disconnected().await;
    let refusal = client.refused().await;
    assert_eq!(refusal["data"]["code"], "auth.revoked", "{refusal}");
    assert!(!client.is_active().await, "it goes on trying");
}

pub(crate) async fn refuses(gate: &Gate, token: &str) {
    let client = gate.connect(json!({ "token": token })).await;
    assert_eq!(client.refused().await["data"]["code"], "auth.revoked");
    assert!(!client.is_active().await);
}

async fn all_reach(gates: &[Gate; 3]) {
    for gate in gates {
        eventually("the node has found Redis", async || {
            let done = revoke(gate, &json!({ "socket": "none", "for": "1s" })).await;
            (done.json()["reach"] == "nodes").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_at_one_node_is_good_at_none() {
    let (services, redis) = tokio::join!(services(), Redis::start());
    let gates = three(&services, &redis).await;
    all_reach(&gates).await;
    let (adas, bobs) = (named("ada", "one"), named("bob", "two"));
    let mut clients = Vec::new();
    for (gate, way) in gates.iter().zip([Way::Websocket, Way::Polling, Way::Upgrade]) {
        clients.push(gate.client_by(way, adas.clone()).await);
    }
    let bob = gates[1].client(bobs.clone()).await;

    let begun = Instant::now();
    let done = revoke(&gates[0], &json!({ "jti": "one" })).await;
    for client in &clients {
        client.disconnected().await;
    }
    println!("closed on three nodes within {:?}", begun.elapsed());

    let done = done.json();
    assert_eq!((&done["revoked"], &done["sessions"], &done["reach"]), (&json!("jti"), &json!(1), &json!("nodes")));
    for client in &clients {
        assert_eq!(client.refused().await["data"]["code"], "auth.revoked");
        assert!(!client.is_active().await, "it goes on trying");
    }
    for gate in &gates {
        refuses(gate, &adas).await;
        gate.client(named("ada", "three")).await;
    }
    bob.ask("echo", json!([1])).await;
    assert_eq!(bob.untaken("disconnect"), 0);
    gates[1].counts(1.0, "websocket_disconnections_total", &[("reason", "auth.revoked")]).await;
    gates[1].counts(1.0, "tidegate_revoked_sessions_total", &[]).await;
    let errors = gates[1].metrics().await.sum("websocket_errors_total", &[("type", "auth.revoked")]);
    assert!(errors >= 2.0, "{errors}");
    gates[1].log().wait(&["session ended", "\"cause\":\"auth.revoked\"", "\"fault\":\"operator\""]).await;
    let line = gates[0].log().wait(&["the operator revoked", "\"kind\":\"jti\"", "\"sessions\":1"]).await;
    assert!(line.contains("\"peer\":\"127.0.0.1\"") && !line.contains("\"one\""), "{line}");
}

#[tokio::test]
async fn what_is_revoked_stays_revoked_while_the_end_of_revocation_waits_for_a_start() {
    let service = Service::start().await;
    let mut gate = setup(&service).await;
    let adas = named("ada", "one");
    revoke(&gate, &json!({ "jti": "one" })).await;
    refuses(&gate, &adas).await;

    gate.change("auth.revoke = false\nsession.hold = \"31s\"");
    gate.log().wait(&["configuration reloaded: session.hold changed\""]).await;
    gate.log().wait(&["until the next start: auth.revoke\""]).await;
    refuses(&gate, &adas).await;
    gate.client(named("ada", "two")).await;
    assert_eq!(revoke(&gate, &json!({ "jti": "two" })).await.status, 200);
    refuses(&gate, &named("ada", "two")).await;

    // A node without a key cannot go on with what it has revoked.
    let mut settings = gate.settings();
    settings.change("auth.required = false");
    settings.remove("auth.secret");
    gate.write(&settings);
    gate.log().wait(&["the configuration was not reloaded", "auth.revoke has no effect", "restart the node"]).await;
    refuses(&gate, &adas).await;
}

#[tokio::test]
async fn of_a_user_every_earlier_token_is_revoked_and_a_socket_takes_its_token_along() {
    let (services, redis) = tokio::join!(services(), Redis::start());
    let gates = three(&services, &redis).await;
    all_reach(&gates).await;
    let without_iat = token("ada");
    let ada = gates[2].client(without_iat.clone()).await;
    let eves = named("eve", "eves");
    let (eve, other) = (gates[1].connect(json!({ "token": eves })).await, gates[2].client(eves.clone()).await);
    let socket = eve.connected().await;
    let bob = gates[2].client(token("bob")).await;

    assert_eq!(revoke(&gates[0], &json!({ "user": "ada" })).await.status, 200);
    is_out(&ada).await;
    let later = signed(&json!({ "sub": "ada", "iat": now() + 2, "exp": now() + 3600 }), SECRET);
    gates[2].client(later).await;

    assert_eq!(revoke(&gates[0], &json!({ "socket": socket })).await.status, 200);
    is_out(&eve).await;
    is_out(&other).await;
    bob.ask("echo", json!([1])).await;
}

/// The clock of the issuer is behind that of the gate, as far as `auth.leeway` lets it: what it issues next to a revocation looks
/// as if it had been there before. So it says itself which tokens are meant.
#[tokio::test]
async fn an_issuer_whose_clock_is_behind_names_the_moment_by_its_own_clock() {
    const BEHIND: u64 = 20;
    let service = Service::start().await;
    let gate = setup(&service).await;
    let issued = |user: &str, at: u64| signed(&json!({ "sub": user, "iat": at, "exp": at + 3600 }), SECRET);
    let clock = now() - BEHIND;
    let (adas, eves) = (issued("ada", clock), issued("eve", clock));
    let (ada, eve) = (gate.client(adas.clone()).await, gate.client(eves.clone()).await);

    assert_eq!(revoke(&gate, &json!({ "user": "ada" })).await.status, 200);
    assert_eq!(revoke(&gate, &json!({ "user": "eve", "at": clock })).await.status, 200);
    for (client, token) in [(&ada, &adas), (&eve, &eves)] {
        is_out(client).await;
        refuses(&gate, token).await;
    }
    // On the safe side: it may have been issued before.
    refuses(&gate, &issued("ada", clock + 1)).await;
    gate.client(issued("eve", clock + 1)).await;

    let refused = revoke(&gate, &json!({ "user": "eve", "at": now() * 1000 })).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("in seconds since 1970"));
}

#[tokio::test]
async fn what_is_revoked_while_redis_is_unreachable_is_shared_when_it_is_back() {
    let services = services().await;
    let redis = Redis::start().await;
    let gates = three(&services, &redis).await;
    all_reach(&gates).await;
    let tokens = named("ada", "one");
    let (here, there) = (gates[0].client(tokens.clone()).await, gates[1].client(tokens.clone()).await);

    redis.freeze();
    eventually("the node notices that Redis is unreachable", async || {
        (revoke(&gates[0], &json!({ "jti": "one" })).await.json()["reach"] == "later").then_some(())
    })
    .await;
    is_out(&here).await;
    there.ask("echo", json!([1])).await;

    redis.thaw();
    let begun = Instant::now();
    is_out(&there).await;
    println!("healed {:?} after Redis was back", begun.elapsed());
    refuses(&gates[2], &tokens).await;

    // A Redis that has lost everything learns it again from the nodes.
    assert_eq!(redis.cli(&["DEL", "tidegate:{tutor}:revoked"]).await, "1");
    eventually("the nodes write what Redis has lost", async || {
        let score = redis.cli(&["ZSCORE", "tidegate:{tutor}:revoked", "jti:one"]).await;
        (!score.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_program_that_writes_to_redis_can_revoke() {
    let (service, redis) = tokio::join!(Service::start(), Redis::start());
    let gate = sharing(&service, &redis).await;
    let (ada, bob) = (gate.client(named("ada", "one")).await, gate.client(token("bob")).await);
    let (key, until) = ("tidegate:{tutor}:revoked", (now() + 3600).to_string());
    for garbage in ["ada", "user:ada", "jti", "", "user:x:ada"] {
        redis.cli(&["ZADD", key, &until, garbage]).await;
    }
    redis.cli(&["ZADD", key, "+inf", "jti:\u{1f600}"]).await;

    redis.cli(&["ZADD", key, &until, &format!("user:{}:ada", now())]).await;

    is_out(&ada).await;
    bob.ask("echo", json!([1])).await;
    gate.log().wait(&["members of tidegate:{tutor}:revoked are ignored"]).await;
    gate.log().wait(&["revocations were read from Redis"]).await;
    gate.counts(2.0, "tidegate_revocations", &[]).await;
}

#[tokio::test]
async fn the_command_line_revokes_at_the_running_node() {
    let service = Service::start().await;
    let gate = setup(&service).await;
    let ada = gate.client(token("ada")).await;
    let like = || {
        Gate::before(&service)
            .with(&format!("auth.revoke = true\nadmin.address = \"{}\"", gate.admin_address()))
            .with("admin.token = { env = \"TIDEGATE_ADMIN_TOKEN\" }")
    };

    let wrong = like()
        .variable("TIDEGATE_ADMIN_TOKEN", "another-operators-token")
        .cli(&["revoke", "FILE", "--user", "ada"])
        .await;
    assert_eq!((wrong.code, &*wrong.stdout), (Some(1), ""), "{wrong:?}");
    assert!(wrong.stderr.contains("401") && wrong.stderr.contains("admin.token"), "{wrong:?}");
    gate.log().wait(&["127.0.0.1 asked /revoke without the token"]).await;
    ada.ask("echo", json!([1])).await;

    let right = like().variable("TIDEGATE_ADMIN_TOKEN", OPERATOR);
    let done = right.cli(&["revoke", "FILE", "--user", "ada", "--for", "90m"]).await;
    assert_eq!((done.code, &*done.stderr), (Some(0), ""), "{done:?}");
    assert!(done.stdout.starts_with("revoked user ada until "), "{done:?}");
    assert!(done.stdout.contains("it met 1 session at this node; there is no [redis]"), "{done:?}");
    is_out(&ada).await;

    for (args, code, told) in [
        (&["revoke", "FILE"][..], 2, "--jti"),
        (&["revoke", "FILE", "--user", "ada", "--jti", "a"], 2, "cannot be used with"),
        (&["revoke", "FILE", "--user", "ada", "--for", "60"], 2, "needs a unit"),
        (&["revoke", "FILE", "--user", "ada", "--for", "9999d"], 1, "for is 9999d"),
    ] {
        let refused = right.cli(args).await;
        assert_eq!((refused.code, &*refused.stdout), (Some(code), ""), "{args:?}: {refused:?}");
        assert!(refused.stderr.contains(told), "{args:?}: {refused:?}");
    }
    let args = ["revoke", "FILE", "--user", "ada"];
    for (setup, code, told) in [
        (like().with("auth.revoke = false"), 2, "auth.revoke is false"),
        (like().with("admin.address = \"127.0.0.1:1\""), 1, "no node can be reached at admin.address, 127.0.0.1:1"),
    ] {
        let refused = setup.variable("TIDEGATE_ADMIN_TOKEN", OPERATOR).cli(&args).await;
        assert_eq!(refused.code, Some(code), "{refused:?}");
        assert!(refused.stderr.contains(told), "{refused:?}");
    }
}

#[tokio::test]
async fn a_plain_route_closes_for_good_and_answers_401() {
    let service = Service::plain().await;
    let gate = setup(&service).with("[[websocket]]\npath = \"/plain\"").await;
    let bearer = format!("Bearer {}", named("ada", "one"));
    let mut plain = gate.websocket("/plain", &[("authorization", &bearer)]).await.unwrap();
    revoke(&gate, &json!({ "jti": "one" })).await;
    assert_eq!(plain.closed().await, (1008, "token revoked".to_owned()));
    assert_eq!(gate.websocket("/plain", &[("authorization", &bearer)]).await.map(drop), Err(401));
}
