//! What the service sets at its handshake reaches the client, and comes back to the service: one client is one session of
//! express-session, whether or not there is a gate.

use std::collections::BTreeMap;

use crate::support::{
    Gate, Raw, Service, Value, eventually, http, json, node, scripted::Scripted, soon, tidegate::Setup, token,
};

const WEBSOCKET: &str = r#"{"transports":["websocket"]}"#;
const POLLING: &str = r#"{"transports":["polling"]}"#;
const DEFAULT: &str = "{}";

fn open(service: &Service) -> Setup {
    Gate::before(service).with("auth.required = false").without("auth.secret")
}

/// What a stock client with a jar has got after so many connections: its cookies, and the headers that begin with `x-`.
async fn jar_of(url: &str, options: &str, times: u32) -> (BTreeMap<String, String>, Value) {
    let args = [url.to_owned(), options.to_owned(), times.to_string()];
    let client = node::start("jar_client.mjs", &args, &[]);
    let output = soon("the client is done", client.wait_with_output()).await.unwrap();
    let mut said: Value = serde_json::from_slice(&output.stdout).unwrap();
    (serde_json::from_value(said["jar"].take()).unwrap(), said["headers"].take())
}

/// The sessions that five connections of one client make in the store of the service.
async fn sessions_of_five(service: &Service, url: &str, options: &str) -> u64 {
    let sessions = async || service.seen().await["sessions"].as_u64().unwrap();
    let before = sessions().await;
    jar_of(url, options, 5).await;
    sessions().await - before
}

#[tokio::test]
async fn five_connections_of_one_client_are_one_session_of_the_service() {
    let service = Service::cookies(&[]).await;
    for options in [WEBSOCKET, POLLING, DEFAULT] {
        assert_eq!(sessions_of_five(&service, &service.url(), options).await, 1, "{options} without a gate");
    }
    let gate = open(&service).await;
    for options in [POLLING, DEFAULT] {
        assert_eq!(sessions_of_five(&service, &gate.url(), options).await, 1, "{options}");
    }
    // The 101 has gone out before the service is dialled.
    assert_eq!(sessions_of_five(&service, &gate.url(), WEBSOCKET).await, 5, "the limit that is documented");
    let gate = open(&service).with(r#"socketio.dial = "first""#).await;
    for options in [WEBSOCKET, POLLING, DEFAULT] {
        assert_eq!(sessions_of_five(&service, &gate.url(), options).await, 1, "{options}, dialled first");
    }
}

#[tokio::test]
async fn headers_of_the_service_come_beside_the_cookie_of_the_gate_and_never_in_its_place() {
    let service = Service::cookies(&[("COOKIE", "io")]).await;
    for (dial, options) in [("connect", POLLING), ("connect", DEFAULT), ("first", WEBSOCKET), ("first", POLLING)] {
        let gate = open(&service).with(&format!("socketio.cookie = \"io\"\nsocketio.dial = {dial:?}")).await;
        let (jar, headers) = jar_of(&gate.url(), options, 1).await;
        assert!(jar.contains_key("io") && jar["io"] != "service", "{dial} {options}: {jar:?}");
        assert_eq!(headers, json!([{ "x-served-by": "node-1" }]), "{dial} {options}: once");
    }
    let gate = open(&service).await;
    assert_eq!(jar_of(&gate.url(), POLLING, 1).await.0["io"], "service");
}

#[tokio::test]
async fn a_session_that_dials_again_is_the_same_to_the_service() {
    let service = Service::cookies(&[]).await;
    let gate = open(&service).await;
    let client = gate.connect_with(json!({}), json!({ "extraHeaders": { "cookie": "theme=dark" } })).await;
    client.connected().await;

    client.send("hang_up", json!([1500])).await;
    let seen = eventually("the gate dials again", async || {
        Some(service.seen().await).filter(|seen| seen["sockets"].as_array().unwrap().len() == 2)
    })
    .await;

    assert_eq!(seen["sockets"][0], seen["sockets"][1], "one session: {seen:#}");
    let cookies = seen["cookies"][1].as_str().unwrap();
    assert_eq!((seen["cookies"][0].as_str(), &cookies[..23]), (Some("theme=dark"), "theme=dark; connect.sid"));
    assert_eq!(client.untaken("disconnect"), 0);
}

#[tokio::test]
async fn a_plain_route_passes_what_the_service_sets() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade, X-Hop\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: {accept}\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nX-Served-By: node-1\r\nX-Hop: 1\r\n\
        Access-Control-Allow-Origin: *\r\nKeep-Alive: timeout=5\r\nDate: now\r\n\r\n";
    let service = Scripted::start(answer).await;
    let gate = Gate::before_url(&service.url())
        .with("auth.required = false\n[[websocket]]\npath = \"/ws\"")
        .without("auth.secret")
        .await;
    let mut raw = Raw::connect(gate.address).await;
    raw.ask_upgrade("/ws", "").await;
    let head = raw.head().await.to_lowercase();
    let lines: Vec<_> = head.lines().filter(|line| !line.starts_with("http/") && !line.is_empty()).collect();
    let expected = [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
        "set-cookie: a=1; path=/",
        "set-cookie: b=2",
        "x-served-by: node-1",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn only_a_client_that_is_known_has_the_service_dialled_first() {
    let service = Service::without_auth().await;
    let gate =
        Gate::before(&service).with("socketio.dial = \"first\"\nauth.forward_claims = { x-user-id = \"sub\" }").await;
    let target = "/socket.io/?EIO=4&transport=websocket";
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");

    let unknown = Raw::engineio(gate.address).await;
    let wrong = Raw::upgraded(gate.address, target, &bearer("no.token.atall")).await;
    assert_eq!(service.transports().await, 0, "nobody is known yet");
    let mut known = Raw::upgraded(gate.address, target, &bearer(&token("ada"))).await;
    assert_eq!(service.transports().await, 1, "with the handshake");
    assert!(known.frame().await.text().starts_with("0{"));
    known.say("40").await;
    assert!(known.frame().await.text().starts_with("40{\"sid\""));
    assert_eq!(service.seen().await["connections"][0]["headers"]["x-user-id"], "ada");
    drop((unknown, wrong));

    let client = gate.client(token("eve")).await;
    assert_eq!(client.ask("echo", json!([1])).await, 1, "a token in CONNECT is as good");
    assert_eq!(service.transports().await, 2);
}

#[tokio::test]
async fn while_the_service_is_down_a_client_waits_for_it_whenever_it_is_dialled() {
    let mut service = Service::cookies(&[]).await;
    let gate = open(&service).with(r#"socketio.dial = "first""#).await;
    service.kill().await;
    for transport in ["websocket", "polling"] {
        let client = gate.connect_with(json!({}), json!({ "transports": [transport] })).await;
        eventually("its session is there", async || {
            (http::get(&gate.admin_url("/metrics/prometheus")).await.text().contains("tidegate_upstream_up 0"))
                .then_some(())
        })
        .await;
        service.restart().await;
        client.connected().await;
        assert_eq!(client.untaken("connect_error"), 0, "{transport}");
        assert_eq!(client.ask("echo", json!([1])).await, 1);
        service.kill().await;
    }
}
