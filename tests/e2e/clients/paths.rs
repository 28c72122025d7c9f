//! Paths that clients and services use: spellings of REST paths, the endpoint without a slash, a room in the path.

use std::collections::BTreeMap;

use tokio::io::AsyncReadExt as _;

use crate::support::{
    Gate, Raw, Service, Way, json, node,
    raw::{self, UPGRADE},
    soon, token,
};

/// Spellings that mean one thing to Node, whatever they mean to others.
const REST_PATHS: [&str; 18] = [
    "/files/a%2Fb",
    "/files/a%2fb%5Cc",
    "/projects/group%2Fname/tree/feature%2Fx",
    "//double//slashes/",
    "/a//b?x=%2F//..",
    "/%2e%2E/.%2e/x",
    "/a/../b/./c",
    "/dir/..",
    "/back\\slash\\..\\x",
    "/{id}/{\"a\":[1]}",
    "/\"quoted\"|pipe^",
    "/100%/done%zz",
    "/nul%00/cr%0d/lf%0A",
    "/m;v=1/n;a=%2F",
    "/%E4/caf%C3%A9",
    "/api/socket.io-docs/../x",
    "/?q={a}|b^`\\",
    "/%252e%252e%252f",
];

async fn ask(address: std::net::SocketAddr, target: &str) -> (u16, String) {
    let mut raw = Raw::connect(address).await;
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()).await;
    let status = raw.status().await;
    let body = raw.rest().await;
    (status, body[body.find('{').unwrap_or(0)..].to_owned())
}

#[tokio::test]
async fn a_path_reaches_the_service_byte_for_byte() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("[[websocket]]\npath = \"/ws\"").await;
    let paths: Vec<_> = REST_PATHS.into_iter().filter(|path| !path.contains("socket.io")).collect();
    for path in &paths {
        let directly = ask(service.address(), path).await;
        assert_eq!(ask(gate.address, path).await.0, directly.0, "{path}");
    }
    let seen = service.seen().await;
    let urls: Vec<_> = seen["http"].as_array().unwrap().iter().map(|seen| seen["url"].as_str().unwrap()).collect();
    for (pair, path) in urls.chunks(2).zip(&paths) {
        assert_eq!(pair[0], pair[1], "{path}: directly, and through the gate");
    }
    assert_eq!(urls.len(), 2 * paths.len());
}

#[tokio::test]
async fn what_no_url_may_have_reaches_the_service_encoded() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    ask(gate.address, "/é<b>`?c=\"d\"<e>").await;
    let mut raw = Raw::connect(gate.address).await;
    raw.send(b"GET /caf\xe9 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    let answers = raw.rest().await;
    assert_eq!(answers.matches("HTTP/1.1 404").count(), 2, "the request behind it is another one: {answers}");
    let urls: Vec<_> =
        service.seen().await["http"].as_array().unwrap().iter().map(|seen| seen["url"].clone()).collect();
    assert_eq!(urls, ["/%C3%A9%3Cb%3E%60?c=%22d%22%3Ce%3E", "/caf%E9", "/next"]);
}

#[tokio::test]
async fn a_client_without_a_slash_at_the_end_reaches_a_service_without_one() {
    let service = Service::with(&[("SLASH", "off")]).await;
    let gate = Gate::before(&service).await;
    for way in [Way::Websocket, Way::Polling, Way::Upgrade] {
        let mut options = way.options();
        options["addTrailingSlash"] = false.into();
        let client = gate.connect_with(json!({ "token": token("ada") }), options).await;
        client.connected().await;
        assert_eq!(client.ask("echo", json!([1])).await, json!(1), "{way:?}");
    }
    gate.client(token("ada")).await;
    let seen = service.seen().await;
    let upgrades: Vec<_> =
        seen["upgrades"].as_array().unwrap().iter().map(|seen| seen["url"].as_str().unwrap()).collect();
    assert_eq!(upgrades.len(), 4);
    assert!(upgrades[..3].iter().all(|url| url.starts_with("/socket.io?")), "as the client writes it: {upgrades:?}");
    assert!(upgrades[3].starts_with("/socket.io/?"), "{upgrades:?}");
    // What is fetched there opens no session, and is the service's.
    let fetched = ask(gate.address, "/socket.io/socket.io.js").await;
    assert_eq!(fetched.0, ask(service.address(), "/socket.io/socket.io.js").await.0);
}

/// What the second client of each room reads, as `rooms_client.mjs` prints it.
async fn rooms(url: &str, names: &[&str]) -> BTreeMap<String, String> {
    let args: Vec<_> = [url].iter().chain(names).map(|&arg| arg.to_owned()).collect();
    let mut child = node::start("rooms_client.mjs", &args, &[("TOKEN", &token("ada"))]);
    let mut output = child.stdout.take().expect("it is piped");
    let mut text = String::new();
    soon("the rooms", output.read_to_string(&mut text)).await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[tokio::test]
async fn y_websocket_has_its_room_in_the_path() {
    const NAMES: [&str; 4] = ["plain", "folder/inner", "caf%C3%A9 7", "a%2Fb"];
    let service = Service::rooms().await;
    let gate = Gate::before(&service)
        .with("auth.token_from = [\"query:token\"]\n[[websocket]]\npath = \"/doc/*\"\n[[websocket]]\npath = \"/doc/own/x\"")
        .await;
    let expected: BTreeMap<_, _> = NAMES.map(|name| (name.to_owned(), name.to_owned())).into();

    assert_eq!(rooms(&format!("{}/doc", service.url().replace("http", "ws")), &NAMES).await, expected);
    let directly = paths_of(&service.seen().await);
    service.forget().await;
    assert_eq!(rooms(&format!("ws://{}/doc", gate.address), &NAMES).await, expected);
    assert_eq!(paths_of(&service.seen().await), directly, "the service is dialled with the client's path");
}

/// The paths of the upgrade requests, sorted.
fn paths_of(seen: &crate::support::Value) -> Vec<String> {
    let urls = seen["upgrades"].as_array().unwrap().iter().map(|seen| seen["url"].as_str().unwrap());
    let mut paths: Vec<_> = urls.map(|url| url.split('?').next().unwrap().to_owned()).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn a_path_that_may_mean_another_route_is_refused() {
    let service = Service::rooms().await;
    let gate = Gate::before(&service)
        .with(
            "auth.required = false\nauth.token_from = []\n[[websocket]]\npath = \"/doc/*\"\n[[websocket]]\n\
             path = \"/doc/own/*\"\n[[websocket]]\npath = \"/admin\"",
        )
        .without("auth.secret")
        .await;
    for path in [
        "/doc/../admin",
        "/doc/%2e%2e/admin",
        "/doc/%252e%252e%252fadmin",
        "/doc/..\\admin",
        "/doc/own%2Fx",
        "/doc//own/x",
        "/doc/o%77n/x",
        "/doc/../socket.io/",
        "//admin",
        "/%61dmin",
        "/admin;x",
        "/doc%2fx",
    ] {
        let (status, body) = raw::upgrade_refusal(gate.address, path).await;
        assert_eq!((status, &body["code"]), (400, &json!("path_ambiguous")), "{path}");
    }
    for path in ["/doc/", "/doc", "/doc//", "/admin/", "/adminx"] {
        assert_eq!(raw::upgrade_refusal(gate.address, path).await.0, 404, "{path}");
    }
    assert_eq!(service.seen().await["upgrades"], json!([]));
    for path in ["/doc/x", "/doc/x%2Fy/z%2F", "/doc/x;y", "/doc/own", "/doc/own/x", "/admin"] {
        let mut raw = Raw::connect(gate.address).await;
        raw.send(format!("GET {path} HTTP/1.1\r\n{UPGRADE}\r\n").as_bytes()).await;
        assert_eq!(raw.status().await, 101, "{path}");
    }
}
