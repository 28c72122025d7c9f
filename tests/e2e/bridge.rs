//! Bridged routes: clients that speak JSON over a plain WebSocket reach an untouched Socket.IO service, under the same policy.

use std::sync::Arc;

use crate::support::{
    Client, Emitter, Gate, Redis, Service, Value, client::Driver, eventually, http, json, token, token::token_for,
};

/// `/ws` leads to the namespace `/`.
const ROUTE: &str = r#"
    auth.token_from = ["connect:token", "query:token"]
    auth.leeway = "0s"
    [[websocket]]
    path = "/ws"
    bridge = "/"
"#;

async fn driver() -> Arc<Driver> {
    Driver::of("bridge_clients.mjs").await
}

fn url(gate: &Gate, query: &str) -> String {
    format!("{}/ws?{query}", gate.url().replacen("http", "ws", 1))
}

/// A client that says these messages as soon as its connection is open.
async fn saying(driver: &Arc<Driver>, gate: &Gate, query: &str, messages: Value) -> Client {
    let url = url(gate, query);
    Client::by(Arc::clone(driver), "connect", json!({ "url": url, "messages": messages })).await
}

/// A client that has joined.
async fn joined(driver: &Arc<Driver>, gate: &Gate) -> Client {
    let client = saying(driver, gate, &format!("token={}", token("ada")), json!([])).await;
    client.next("connected").await;
    client
}

async fn say(client: &Client, message: Value) {
    client.call("say", json!({ "messages": [message] })).await.unwrap();
}

#[tokio::test]
async fn a_page_without_socket_io_gets_its_answers_from_the_service() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let driver = driver().await;
    let token = token("ada");

    // As the page of the service's team does it: the token in the URL, and a message as soon as the connection is open.
    let start = json!({ "type": "agent:learning", "ackId": 1, "action": "start_session", "seq": 0 });
    let client = saying(&driver, &gate, &format!("token={token}&lesson=7&é=%26"), json!([start])).await;
    let sid = client.next("connected").await[0]["sid"].clone();
    assert_eq!(client.next("content:adapted").await, json!([{ "level": 1 }]));
    let answer = json!({ "success": true, "sessionId": format!("session-{}", sid.as_str().unwrap()), "seq": 0 });
    assert_eq!(client.next("ack").await, json!([{ "ackId": 1, "args": [answer] }]));
    // Without an ack.
    say(&client, json!({ "type": "agent:tutor", "input": "why?" })).await;
    assert_eq!(client.next("tutor:message").await, json!([{ "text": "You said: why?" }]));

    let seen = service.seen().await;
    let connection = &seen["connections"][0];
    assert_eq!(connection["auth"], json!({ "lesson": "7", "é": "&", "token": token }), "{seen}");
    assert_eq!((&connection["sid"], &connection["namespace"]), (&sid, &json!("/")));
    let asked = seen["upgrades"][0]["url"].as_str().unwrap();
    assert_eq!(asked, "/socket.io/?EIO=4&transport=websocket&lesson=7&%C3%A9=%26", "no token in a URL that is logged");
    gate.counts(1.0, "websocket_messages_received_total", &[("event", "agent:learning")]).await;
    gate.counts(1.0, "websocket_messages_sent_total", &[("event", "tutor:message")]).await;
    gate.counts(1.0, "websocket_message_latency_ms_count", &[("event", "agent:learning")]).await;
    let listing = http::get(&gate.admin_url("/sessions")).await.json();
    let session = &listing["sessions"][0];
    assert_eq!((&session["user"], &session["namespaces"]), (&json!("ada"), &json!(["/"])), "{listing}");

    let refused = saying(&driver, &gate, "token=nonsense", json!([])).await;
    assert_eq!(refused.next("refused").await, json!([401]));
    let without = saying(&driver, &gate, "lesson=7", json!([])).await;
    assert_eq!(without.next("refused").await, json!([401]));
    let twice = saying(&driver, &gate, &format!("token={token}&a=1&a=2"), json!([])).await;
    assert_eq!(twice.next("refused").await, json!([400]));
    assert_eq!(service.transports().await, 1);
}

#[tokio::test]
async fn the_url_that_the_service_sees_has_nothing_that_passes_for_a_verified_token_or_an_earlier_session() {
    let service = Service::start().await;
    let driver = driver().await;
    let token = token("ada");
    let asked = "/socket.io/?EIO=4&transport=websocket&a=1&to%6Ben2=x";
    let (given, with_token) = (format!("token={token}"), format!("{asked}&token={token}"));
    for (sources, given, expected) in [
        ("auth.token_from = [\"connect:token\", \"header\"]", "to%6Ben=forged", asked),
        ("auth.token_from = [\"connect:token\", \"query:token\"]", &*given, asked),
        ("auth.token_from = [\"connect:token\", \"query:token\"]\nauth.keep_query_token = true", &given, &with_token),
    ] {
        let gate = Gate::before(&service).with(ROUTE).with(sources).await;
        let query = format!("a=1&pid=p&%6Fffset=o&sid=s&EIO=3&to%6Ben2=x&{given}");
        let headers = json!({ "authorization": format!("Bearer {token}") });
        let with = json!({ "url": url(&gate, &query), "headers": headers });
        let client = Client::by(Arc::clone(&driver), "connect", with).await;
        client.next("connected").await;
        let seen = service.seen().await;
        let last = |what: &str| seen[what].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last("upgrades")["url"], expected, "{sources}");
        assert_eq!(last("connections")["auth"], json!({ "a": "1", "token2": "x", "token": token }), "{sources}");
    }
}

#[tokio::test]
async fn a_page_in_chromium_gets_its_answer_too() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let message = json!({ "type": "agent:learning", "ackId": 3, "action": "get_recommendation" });
    let with = json!({ "page": format!("{}/health", gate.url()), "url": url(&gate, &format!("token={}", token("ada"))), "message": message });
    let got = driver().await.call("page", with).await.unwrap();
    assert_eq!((got[0]["type"].as_str(), got[0]["sid"].is_string()), (Some("connected"), true), "{got}");
    let answer = json!({ "success": true, "recommendation": "fractions" });
    assert_eq!(got[1], json!({ "type": "ack", "ackId": 3, "args": [answer] }));
}

#[tokio::test]
async fn acks_arguments_and_bytes_pass_both_ways() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let client = joined(&driver().await, &gate).await;

    for (id, args) in [json!([]), json!([1, [null], "é∴🌊"]), json!([{ "type": "x", "ackId": 1 }])].iter().enumerate()
    {
        say(&client, json!({ "type": "echo", "ackId": id, "args": args })).await;
        assert_eq!(client.next("ack").await, json!([{ "ackId": id, "args": args }]));
    }
    say(&client, json!({ "type": "ask", "ackId": 9, "text": "well?" })).await;
    let question = client.next("question").await;
    assert_eq!(question[0]["text"], "well?");
    say(&client, json!({ "type": "ack", "ackId": question[0]["ackId"], "args": ["quite"] })).await;
    assert_eq!(client.next("ack").await, json!([{ "ackId": 9, "args": [{ "answer": "quite" }] }]));

    say(&client, json!({ "type": "enlarge", "ackId": 10, "bytes": 4, "binary": true })).await;
    assert_eq!(client.next("ack").await, json!([{ "ackId": 10, "args": ["eHh4eA=="] }]));
    service.emit("ada", "bytes", json!([{ "$binary": "AQID" }, { "deep": [{ "$binary": "" }] }])).await;
    assert_eq!(client.next("bytes").await, json!([{ "args": ["AQID", { "deep": [""] }] }]));
}

#[tokio::test]
async fn events_of_a_service_with_connection_state_recovery_come_without_their_offsets() {
    let service = Service::with(&[("RECOVERY", "on")]).await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let client = joined(&driver().await, &gate).await;
    say(&client, json!({ "type": "agent:learning", "ackId": 1, "action": "start_session" })).await;
    assert_eq!(client.next("content:adapted").await, json!([{ "level": 1 }]));
    for args in [json!([{ "text": "hi" }]), json!([{ "bytes": { "$binary": "AQID" } }])] {
        service.emit("ada", "said", args).await;
    }
    assert_eq!(client.next("said").await, json!([{ "text": "hi" }]));
    assert_eq!(client.next("said").await, json!([{ "bytes": "AQID" }]));
    service.emit("ada", "said", json!(["hi"])).await;
    assert_eq!(client.next("said").await, json!([{ "args": ["hi"] }]));
}

#[tokio::test]
async fn limits_and_rules_hold_as_for_clients_of_socket_io() {
    let service = Service::start().await;
    let limit = "rate_limit = [{ events = [\"agent:tutor\"], messages = 1, per = \"1h\" }]";
    let gate = Gate::before(&service).with(&format!("{limit}\n{ROUTE}")).await;
    let driver = driver().await;
    let client = joined(&driver, &gate).await;

    let refused = json!({ "error": "Rate limit exceeded. Please slow down.", "rateLimited": true });
    say(&client, json!({ "type": "agent:tutor", "ackId": 1, "input": "a" })).await;
    assert_eq!(client.next("ack").await[0]["args"], json!([{ "success": true }]));
    say(&client, json!({ "type": "agent:tutor", "ackId": 2, "input": "b" })).await;
    assert_eq!(client.next("ack").await, json!([{ "ackId": 2, "args": [refused] }]));
    say(&client, json!({ "type": "agent:tutor", "input": "c" })).await;
    assert_eq!(client.next("error").await, json!([refused]));
    assert_eq!(service.received("agent:tutor").await, 1);
    gate.counts(3.0, "websocket_messages_received_total", &[("event", "agent:tutor")]).await;
    gate.counts(2.0, "websocket_errors_total", &[("type", "rate_limit")]).await;
    // It goes on.
    say(&client, json!({ "type": "echo", "ackId": 3 })).await;
    assert_eq!(client.next("ack").await[0]["ackId"], 3);

    say(&client, json!({ "type": "disconnect" })).await;
    assert_eq!(client.next("closed").await, json!([1008, "event_reserved"]));
    let client = joined(&driver, &gate).await;
    say(&client, json!(["not an object"])).await;
    assert_eq!(client.next("closed").await, json!([1008, "bridge_object"]));
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let client = saying(&driver().await, &gate, &format!("token={}", token_for("ada", 10)), json!([])).await;
    client.next("connected").await;
    assert_eq!(client.next("closed").await, json!([1012, "token expired"]));
    service.disconnection().await;
}

#[tokio::test]
async fn a_client_hears_why_the_service_refuses_it_and_when_it_is_put_out() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let driver = driver().await;

    let banned = saying(&driver, &gate, &format!("token={}&learnerId=banned", token("ada")), json!([])).await;
    let told = json!({ "message": "This learner is banned", "data": { "code": "banned", "until": "2027" } });
    assert_eq!(banned.next("connect_error").await, json!([told]));
    assert_eq!(banned.next("closed").await, json!([1008, "connect_refused"]));

    let client = joined(&driver, &gate).await;
    service.disconnect("ada", false).await;
    assert_eq!(client.next("closed").await, json!([1000, ""]));
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "connect_refused")]).await;
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "disconnected")]).await;
}

#[tokio::test]
async fn a_client_outlives_a_killed_service() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).with(ROUTE).await;
    let client = joined(&driver().await, &gate).await;
    say(&client, json!({ "type": "silence", "ackId": 1 })).await;
    eventually("it is on its way", async || (service.received("silence").await == 1).then_some(())).await;

    service.kill().await;
    gate.counts(1.0, "tidegate_held_sessions", &[]).await;
    say(&client, json!({ "type": "agent:tutor", "ackId": 2, "input": "still here?" })).await;
    service.restart().await;

    let sid = client.next("connected").await[0]["sid"].clone();
    let restarted = json!({ "error": "Service restarted", "retriable": true });
    let mut acks = [client.next("ack").await[0].clone(), client.next("ack").await[0].clone()];
    acks.sort_by_key(|ack| ack["ackId"].as_u64());
    assert_eq!(acks[0], json!({ "ackId": 1, "args": [restarted] }));
    assert_eq!(acks[1], json!({ "ackId": 2, "args": [{ "success": true }] }));
    assert_eq!(client.next("tutor:message").await, json!([{ "text": "You said: still here?" }]));
    let seen = service.seen().await;
    assert_eq!((&seen["connections"][0]["sid"], seen["received"]["agent:tutor"].as_u64()), (&sid, Some(1)));
    assert_eq!(client.untaken("closed"), 0);
}

#[tokio::test]
async fn events_of_other_programs_reach_the_client_through_redis() {
    let (redis, service) = (Redis::start().await, Service::start().await);
    let settings = format!("redis.url = {:?}\n{ROUTE}\n[[room]]\nname = \"user:{{claims.sub}}\"", redis.url());
    let gate = Gate::before(&service).with(&settings).await;
    let emitter = Emitter::start(&redis).await;
    let client = joined(&driver().await, &gate).await;
    eventually("the node delivers what is on Redis", async || {
        emitter.to("user:ada").emit("hello", json!([])).await;
        (client.untaken("hello") > 0).then_some(())
    })
    .await;

    emitter.to("user:ada").emit("news", json!([{ "n": 1 }])).await;
    emitter.to("user:bob").emit("news", json!([{ "n": 2 }])).await;
    emitter.all().emit("bytes", json!([{ "$binary": "AQID" }])).await;
    assert_eq!(client.next("news").await, json!([{ "n": 1 }]));
    assert_eq!(client.next("bytes").await, json!([{ "args": ["AQID"] }]));
    assert_eq!(client.untaken("news"), 0);

    emitter.to("user:ada").disconnect_sockets(false).await;
    assert_eq!(client.next("closed").await, json!([1000, ""]));
    service.disconnection().await;
}
