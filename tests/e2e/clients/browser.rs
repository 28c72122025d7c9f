//! Chromium: which pages connect, what they are told, and which cookies they bring.

use crate::support::{
    Browser, Gate, Page, Pki, Service, Value,
    haproxy::{Backend, Haproxy},
    json,
    pki::SecretFolder,
    token,
};

/// What a page tells that is let in, which came over HTTP/1.1.
fn connected(name: &str, transport: &str) -> Value {
    json!({ "connected": transport, "answer": name, "http": "http/1.1" })
}

/// What a page tells that polls and can read why it is refused: a foreign one at its first GET, and the own one at its first
/// POST, because browsers send no origin with a GET to the site of the page.
fn refused(request: &str) -> Value {
    let body = r#"{"code":"forbidden","message":"Origin not allowed"}"#;
    json!({ "refused": format!("xhr {request} error"), "status": 403, "body": body })
}

#[tokio::test]
async fn a_page_of_the_service_itself_connects_and_a_foreign_one_can_read_why_not() {
    let (service, foreign) = (Service::without_auth().await, Service::without_auth().await);
    let gate = Gate::before(&service).with("socketio.cookie = \"io\"").await;
    let for_files = Gate::before(&service).with("origins.allow = [\"null\"]").await;
    let bound = Gate::before(&service).with("origins.hosts = [\"app.example\"]").await;
    let named = |name: &str, gate: &Gate| format!("http://{name}.example:{}", gate.address.port());
    let token = token("ada");
    let page = |name, url: &str, transports| Page::new(name, url, transports, &foreign).with_token(&token);
    let pages = [
        page("direct", &service.url(), "polling,websocket"),
        page("polling", &gate.url(), "polling"),
        page("websocket", &gate.url(), "websocket"),
        page("upgrade", &gate.url(), "polling,websocket").twice(),
        page("foreign-polling", &foreign.url(), "polling").connecting_to(&gate.url()),
        page("foreign-websocket", &foreign.url(), "websocket").connecting_to(&gate.url()),
        page("sandboxed", &gate.url(), "polling").connecting_to(&gate.url()).sandboxed(),
        page("null-polling", &foreign.url(), "polling").connecting_to(&for_files.url()).sandboxed(),
        page("null-websocket", &foreign.url(), "websocket").connecting_to(&for_files.url()).sandboxed(),
        page("own-name", &named("app", &bound), "polling,websocket"),
        page("rebound", &named("rebound", &bound), "polling"),
        // Wherever the page of the foreign name comes from, it has no token.
        Page::new("rebound-without-a-token", &named("rebound", &gate), "polling,websocket", &foreign),
    ];

    let told = Browser::shows(&foreign.url(), &pages, &foreign).await;

    // At the service itself as well.
    assert_eq!(told["direct"], connected("direct", "websocket"));
    assert_eq!(told["polling"], connected("polling", "polling"));
    assert_eq!(told["websocket"], connected("websocket", "websocket"));
    assert_eq!(told["upgrade"], connected("upgrade", "websocket"));
    assert_eq!(told["foreign-polling"], refused("poll"));
    // No browser tells a page why a WebSocket is refused.
    assert_eq!(told["foreign-websocket"], json!({ "refused": "websocket error" }));
    assert_eq!(told["sandboxed"], refused("poll"), "it has no origin, wherever it comes from");
    assert_eq!(told["null-polling"], connected("null-polling", "polling"));
    assert_eq!(told["null-websocket"], connected("null-websocket", "websocket"));
    assert_eq!(told["own-name"], connected("own-name", "websocket"));
    assert_eq!(told["rebound"], refused("post"), "the name that it came by is not one of origins.hosts");
    assert_eq!(told["rebound-without-a-token"], json!({ "refused": "Authentication token required" }));
    // The browser has kept the cookie and brings it to the service.
    let seen = service.seen().await;
    let cookies = seen["connections"].as_array().unwrap().iter().map(|one| one["headers"]["cookie"].as_str());
    assert!(cookies.flatten().any(|cookie| cookie.starts_with("io=")), "{seen}");
    // The line says what to compare, and where.
    let (origin, asked) = (format!("\"origin\":\"{}\"", foreign.url()), format!("\"asked\":\"{}\"", gate.url()));
    gate.log().wait(&["handshake refused", &origin, &asked, "\"setting\":\"origins.allow\""]).await;
}

#[tokio::test]
async fn a_page_connects_over_tls_to_the_gate_itself_and_polls_over_http_2() {
    let (pki, service) = (Pki::new(), Service::without_auth().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).with("socketio.cookie = \"io\"").await;
    let token = token("ada");
    let page = |name, transports| Page::new(name, &gate.url(), transports, &service).with_token(&token);
    let pages = [page("polling", "polling"), page("upgrade", "polling,websocket").twice()];

    let told = Browser::shows(&gate.url(), &pages, &service).await;

    for (name, transport) in [("polling", "polling"), ("upgrade", "websocket")] {
        assert_eq!(told[name], json!({ "connected": transport, "answer": name, "http": "h2" }));
    }
    let seen = service.seen().await;
    let cookies = seen["connections"].as_array().unwrap().iter().map(|one| one["headers"]["cookie"].as_str());
    assert!(cookies.flatten().any(|cookie| cookie.contains("io=")), "{seen}");
}

#[tokio::test]
async fn a_page_connects_behind_a_proxy_that_ends_tls() {
    let (pki, service) = (Pki::new(), Service::without_auth().await);
    let trusting =
        Gate::before(&service).with("listen.trusted_proxies = [\"127.0.0.0/8\"]\nsocketio.cookie = \"io\"").await;
    let stranger = Gate::before(&service).await;
    let pair = pki.localhost(1);
    // As Traefik says it; most others say `https` in both cases.
    let schemes = "http-request set-header X-Forwarded-Proto https\n \
                   http-request set-header X-Forwarded-Proto wss if { req.hdr(upgrade) -i websocket }";
    let before = async |gate: &Gate| {
        let backend = Backend { name: "gate", address: gate.address, check: "" };
        let haproxy = Haproxy::start(&[backend], Some(&pair), schemes).await;
        let url = format!("https://localhost:{}", haproxy.address.port());
        (haproxy, url)
    };
    let ((_trusted, by_trusted), (_unknown, by_unknown)) = (before(&trusting).await, before(&stranger).await);
    let token = token("ada");
    let page = |name, url: &str, transports| Page::new(name, url, transports, &service).with_token(&token);
    let pages = [
        page("polling", &by_trusted, "polling"),
        page("websocket", &by_trusted, "websocket"),
        page("upgrade", &by_trusted, "polling,websocket").twice(),
        page("not-believed", &by_unknown, "polling"),
    ];

    let told = Browser::shows(&by_trusted, &pages, &service).await;

    assert_eq!(told["polling"], connected("polling", "polling"));
    assert_eq!(told["websocket"], connected("websocket", "websocket"));
    assert_eq!(told["upgrade"], connected("upgrade", "websocket"));
    assert_eq!(told["not-believed"], refused("post"), "the gate was asked for http, as far as it knows");
    // A Secure cookie comes back, over https and over wss.
    let seen = service.seen().await;
    let of_https = |one: &&Value| one["headers"]["x-forwarded-proto"] == "https";
    let believed: Vec<_> = seen["connections"].as_array().unwrap().iter().filter(of_https).collect();
    assert_eq!(believed.len(), 4, "{seen}");
    assert!(
        believed.iter().any(|one| one["headers"]["cookie"].as_str().is_some_and(|all| all.contains("io="))),
        "{seen}"
    );
    let told = ["\"origin\":\"https://localhost:", "\"asked\":\"http://localhost:", "\"setting\":\"origins.allow\""];
    stranger.log().wait(&told).await;
}
