//! The status page and what it is made of: the status and its stream, the list of sessions, an operator who closes one.

use std::{fs, path::Path, time::Duration};

use http_body_util::BodyExt as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::{
    Gate, Service, Value, Way, eventually, http, json, node, soon,
    tidegate::Setup,
    token::{SECRET, token},
};

const OPERATOR: &str = "operators-token-of-some-length-1234";

/// The start of Chromium, and all that the operator does there.
const PATIENCE: Duration = Duration::from_secs(100);

/// Gates whose operator has a token, before one is started.
fn setup(service: &Service) -> Setup {
    Gate::before(service)
        .with("auth.revoke = true\nadmin.token = { env = \"TIDEGATE_ADMIN_TOKEN\" }")
        .variable("TIDEGATE_ADMIN_TOKEN", OPERATOR)
}

async fn ask(gate: &Gate, method: &str, path: &str, token: &str, body: &Value) -> http::Reply {
    let bearer = format!("Bearer {token}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    http::request(method, &gate.admin_url(path), &[("authorization", &bearer)], body).await
}

async fn listed(gate: &Gate, query: &str) -> (Vec<String>, u64) {
    let listing = http::get(&gate.admin_url(&format!("/sessions?{query}"))).await.json();
    let users =
        listing["sessions"].as_array().unwrap().iter().map(|session| session["user"].as_str().unwrap().to_owned());
    (users.collect(), listing["total"].as_u64().unwrap())
}

#[tokio::test]
async fn the_status_is_told_once_a_second_until_the_node_stops() {
    let service = Service::start().await;
    let mut gate = Gate::before(&service).await;
    let client = gate.client(token("ada")).await;
    client.ask("echo", json!([1])).await;

    let status = http::get(&gate.admin_url("/status")).await.json();
    assert_eq!(status["sessions"]["by_transport"], json!({ "websocket": 1, "polling": 0, "absent": 0 }), "{status:#}");
    assert_eq!((&status["sessions"]["open"], &status["sessions"]["active"]), (&json!(1), &json!(1)), "{status:#}");
    assert_eq!((&status["upstream"]["up"], &status["redis"]), (&json!(true), &Value::Null), "{status:#}");
    assert_eq!(status["upstream"]["url"], service.url());
    assert!(status["latency_ms"]["p95"].as_f64().unwrap() > 0.0, "{status:#}");
    assert!(status["memory"]["used"].as_u64().unwrap() > 1_000_000, "{status:#}");
    for key in ["node", "version", "at", "started_at", "uptime_seconds", "totals", "certificates", "reload"] {
        assert!(!status[key].is_null(), "{key}: {status:#}");
    }

    let mut stream = http::begin("GET", &gate.admin_url("/events"), &[], "").await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let mut tells = async |open: u32| {
        while !text.contains(&format!("\"sessions\":{{\"open\":{open},")) {
            let part = stream.frame().await.expect("it goes on").unwrap().into_data().unwrap();
            text.push_str(std::str::from_utf8(&part).unwrap());
        }
    };
    soon("the session is told", tells(1)).await;
    client.disconnect().await;
    soon("the end of the session is told", tells(0)).await;
    assert!(text.split("\n\n").all(|event| event.is_empty() || event.starts_with("event: status\ndata: {")), "{text}");

    gate.signal("TERM");
    assert_eq!(gate.exit().await, Some(0), "a stream keeps no node from stopping");
    soon("the stream ends", async { while let Some(Ok(_)) = stream.frame().await {} }).await;
}

#[tokio::test]
async fn sessions_are_searched_ordered_and_paged() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("listen.workers = 3").await;
    let mut clients = Vec::new();
    for user in ["eve", "ada", "dan", "bob", "cat"] {
        clients.push(gate.client(token(user)).await);
    }
    clients[1].namespace("/chat", json!({ "token": token("ada") })).await.connected().await;
    for _ in 0..5 {
        clients[3].ask("echo", json!([1])).await;
    }
    let names = |names: &str| names.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    for (query, users, total) in [
        ("", "eve ada dan bob cat", 5),
        ("sort=user", "ada bob cat dan eve", 5),
        ("sort=user&order=desc&limit=2", "eve dan", 5),
        ("sort=user&limit=2&page=2", "cat dan", 5),
        ("sort=user&limit=2&page=3", "eve", 5),
        ("sort=user&limit=2&page=4", "", 5),
        ("sort=age", "cat bob dan ada eve", 5),
        ("sort=received&order=desc&limit=1", "bob", 5),
        ("order=desc&limit=2", "cat bob", 5),
        ("search=A&sort=user", "ada cat dan", 3),
        ("search=%2Fchat", "ada", 1),
        ("search=127.0.0.1&limit=1", "eve", 5),
        ("search=nobody", "", 0),
    ] {
        assert_eq!(listed(&gate, query).await, (names(users), total), "{query}");
    }
    let second = http::get(&gate.admin_url("/sessions?limit=2&search=a")).await.json();
    let next = format!("limit=2&search=a&after={}", second["next"]);
    assert_eq!(listed(&gate, &next).await, (names("cat"), 3), "pages by id go on behind the last one");
    for query in ["sort=name", "page=0", "after=3&sort=user"] {
        assert_eq!(http::get(&gate.admin_url(&format!("/sessions?{query}"))).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_session_ends_when_its_operator_closes_it_and_no_other_does() {
    let service = Service::start().await;
    let gate = setup(&service).await;
    let (ada, bob) = (gate.client(token("ada")).await, gate.client(token("bob")).await);
    let eve = gate.client_by(Way::Polling, token("eve")).await;
    let all = ask(&gate, "GET", "/sessions", OPERATOR, &Value::Null).await.json();
    let id = |user: &str| {
        let sessions = all["sessions"].as_array().unwrap();
        sessions.iter().find(|session| session["user"] == user).unwrap_or_else(|| panic!("{user}: {all:#}"))["id"]
            .clone()
    };

    let denied = ask(&gate, "POST", "/close", "another", &json!({ "session": id("ada") })).await;
    assert_eq!(denied.status, 401);
    gate.log().wait(&["asked /close without the token of admin.token: nothing was closed", "WARN"]).await;
    let close = async |user: &str| ask(&gate, "POST", "/close", OPERATOR, &json!({ "session": id(user) })).await;
    for user in ["ada", "eve"] {
        let closed = close(user).await;
        assert_eq!((closed.status, closed.json()), (200, json!({ "closed": id(user), "user": user })), "{user}");
    }
    ada.disconnected().await;
    ada.connected_after_errors().await;
    eve.disconnected().await;
    gate.counts(2.0, "websocket_disconnections_total", &[("reason", "operator")]).await;
    assert_eq!(gate.metrics().await.sum("websocket_errors_total", &[("type", "operator")]), 0.0);
    let said = format!("\"id\":{}", id("ada"));
    let line = gate.log().wait(&["the operator closed a session", &said]).await;
    assert!(line.contains("\"peer\":\"127.0.0.1\"") && line.contains("\"sid_hash\":\""), "{line}");
    gate.log().wait(&["session ended", &said, "\"cause\":\"operator\"", "\"user\":\"ada\""]).await;

    assert_eq!(close("ada").await.status, 404, "it has ended");
    bob.ask("echo", json!([1])).await;
}

#[tokio::test]
async fn a_client_of_a_plain_route_hears_that_its_operator_has_closed_it() {
    let service = Service::plain().await;
    let gate = setup(&service).with("[[websocket]]\npath = \"/ws\"").await;
    let pat = format!("Bearer {}", token("pat"));
    let mut client = gate.websocket("/ws", &[("authorization", &pat)]).await.unwrap();
    let listing = ask(&gate, "GET", "/sessions?search=pat", OPERATOR, &Value::Null).await.json();
    let id = listing["sessions"][0]["id"].clone();
    assert_eq!(ask(&gate, "POST", "/close", OPERATOR, &json!({ "session": id })).await.status, 200);
    assert_eq!(client.closed().await, (1008, "closed by the operator".to_owned()));
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "operator")]).await;
}

#[tokio::test]
async fn the_configuration_in_force_is_shown_without_secrets() {
    let service = Service::start().await;
    let mut gate = setup(&service).await;
    let config = async |gate: &Gate| ask(gate, "GET", "/config", OPERATOR, &Value::Null).await.text().to_owned();
    let before = config(&gate).await;
    assert!(before.contains("token = { env = \"TIDEGATE_ADMIN_TOKEN\" }") && before.contains("[auth]"), "{before}");
    assert!(!before.contains(OPERATOR) && !before.contains(SECRET), "{before}");
    assert!(!before.contains("max_payload = \"123KB\""), "{before}");
    gate.change("socketio.max_payload = \"123KB\"");
    eventually("the reload is shown", async || config(&gate).await.contains("max_payload = \"123KB\"").then_some(()))
        .await;
    assert_eq!(http::get(&gate.admin_url("/config")).await.status, 401);
}

#[tokio::test]
async fn an_operator_sees_sessions_come_finds_one_and_closes_it() {
    let service = Service::start().await;
    let mut gate = setup(&service).await;
    let args = ["play".to_owned(), gate.admin_url("/"), OPERATOR.to_owned(), gate.url(), token("ada"), token("bob")];
    let mut browser = node::start("status_page.mjs", &args, &[]);
    let mut lines = BufReader::new(browser.stdout.take().expect("it is piped")).lines();
    let mut next = async || {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("the page was played").unwrap();
        serde_json::from_str::<Value>(&line.expect("its errors are above")).unwrap()
    };
    let seen = next().await;

    assert_eq!((&seen["lockedFigures"], &seen["wrong"]), (&json!(true), &json!("This is not the token.")), "{seen:#}");
    assert!(seen["empty"].as_str().unwrap().starts_with("Nobody is connected."), "{seen:#}");
    assert_eq!((&seen["matches"], &seen["charts"]), (&json!("1 match"), &json!(4)), "{seen:#}");
    assert_eq!(seen["question"], "Close the session of ada?");
    assert_eq!(seen["closed"], "The session of ada is closed.");
    assert_eq!(
        (&seen["adaEnded"], &seen["bobEnded"]),
        (&json!("transport close"), &json!("transport close")),
        "{seen:#}"
    );
    let config = seen["config"].as_str().unwrap();
    assert!(config.contains("[upstream]") && !config.contains(OPERATOR) && !config.contains(SECRET), "{config}");
    for (shown, found) in seen["violations"].as_object().unwrap() {
        assert_eq!(found, &json!([]), "{shown}");
    }
    assert_eq!(seen["tooWide"], 0, "it fits a phone");
    // The browser itself notes each answer 401.
    let complaints = seen["complaints"].as_array().unwrap().iter().filter_map(Value::as_str);
    assert_eq!(complaints.filter(|one| !one.contains("401 (Unauthorized)")).collect::<Vec<_>>(), [""; 0]);

    gate.signal("TERM");
    assert_eq!(gate.exit().await, Some(0));
    assert_eq!(next().await["lost"], "disconnected, retrying");
    let ended = soon("the end of the browser", browser.wait()).await.unwrap();
    assert!(ended.success());
}

#[test]
fn the_chart_library_is_the_published_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (ours, theirs) in [("uplot.js", "uPlot.iife.min.js"), ("uplot.css", "uPlot.min.css")] {
        let ours = fs::read(root.join("src/admin/page").join(ours)).unwrap();
        let theirs = fs::read(root.join("tests/upstream/node_modules/uplot/dist").join(theirs)).unwrap();
        assert!(ours == theirs, "copy the file of the package again");
    }
    let notice = fs::read_to_string(root.join("src/admin/page/uplot.txt")).unwrap();
    let licence = fs::read_to_string(root.join("tests/upstream/node_modules/uplot/LICENSE")).unwrap();
    let package = fs::read_to_string(root.join("tests/upstream/node_modules/uplot/package.json")).unwrap();
    let version = serde_json::from_str::<Value>(&package).unwrap()["version"].as_str().unwrap().to_owned();
    assert!(notice.ends_with(&licence) && notice.contains(&format!("uplot {version}")), "{version}");
}
