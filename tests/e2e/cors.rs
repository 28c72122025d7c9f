//! Which page may read the answers of the Engine.IO endpoint: cross-origin requests of browsers (Fetch, "CORS protocol").

use crate::support::{Gate, Poller, Service, http, http::Reply, json, token};

const SCHOOL: &str = "https://school.example";
const ALLOW: &str = r#"origins.allow = ["https://school.example", "https://other.example"]"#;

/// The four headers that a browser looks at: origin, credentials, methods, headers.
fn leave(reply: &Reply) -> [Option<&str>; 4] {
    ["origin", "credentials", "methods", "headers"].map(|name| reply.header(&format!("access-control-allow-{name}")))
}

fn vary(reply: &Reply) -> Vec<&str> {
    reply.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect()
}

async fn preflight(gate: &Gate, origin: &str) -> Reply {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    http::request("OPTIONS", &format!("{}/socket.io/?EIO=4&transport=polling", gate.url()), &headers, "").await
}

#[tokio::test]
async fn a_page_that_is_allowed_may_read_every_answer() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(ALLOW).await;
    let page = [("origin", SCHOOL)];
    let readable = [Some(SCHOOL), Some("true"), None, None];
    let poller = Poller::shaking_hands(gate.address, "", &page).await;

    let connected = poller.post(format!("40{}", json!({ "token": token("ada") }))).await;
    let polled = poller.get().await;
    let url = format!("{}/socket.io/?EIO=4&transport=polling", gate.url());
    let opened = http::request("GET", &url, &page, "").await;
    let refused = http::request("GET", &(url.clone() + "&sid=AAAAAAAAAAAAAAAAAAAA"), &page, "").await;
    let wrong = http::request("GET", &(url + "&j=0"), &page, "").await;
    let too_large = poller.post("x".repeat(1_000_001)).await;
    // As a page asks whose base URL ends with a slash.
    let twice = http::request("GET", &format!("{}//socket.io/?EIO=4&transport=polling", gate.url()), &page, "").await;

    for (reply, status) in
        [(connected, 200), (polled, 200), (opened, 200), (refused, 400), (wrong, 400), (too_large, 413), (twice, 400)]
    {
        assert_eq!((reply.status, leave(&reply)), (status, readable), "{reply:?}");
        assert_eq!(vary(&reply), ["Origin"], "a cache must not give it to another page");
    }
}

#[tokio::test]
async fn a_browser_that_asks_first_is_told() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(ALLOW).await;

    let reply = preflight(&gate, SCHOOL).await;

    assert_eq!((reply.status, reply.text()), (204, ""));
    let told = [Some(SCHOOL), Some("true"), Some("GET,POST"), Some("authorization,content-type")];
    assert_eq!(leave(&reply), told);
    assert_eq!(vary(&reply), ["Access-Control-Request-Headers", "Origin"]);
    assert_eq!(reply.header("access-control-max-age"), Some("7200"));
    assert_eq!(service.seen().await["polls"], json!([]), "the service is not asked");
}

#[tokio::test]
async fn another_page_is_refused_and_may_read_why() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(ALLOW).await;
    let poller = Poller::socketio(gate.address).await;
    let why = r#"{"code":"forbidden","message":"Origin not allowed"}"#;

    for origin in ["https://evil.example", "null", "http://school.example", "https://school.example.evil.example"] {
        let page = [("origin", origin)];
        let strange = poller.with_headers(&page);
        let handshake = format!("{}/socket.io/?EIO=4&transport=polling", gate.url());
        let replies = [
            http::request("GET", &handshake, &page, "").await,
            strange.get().await,
            strange.post("42[\"silence\"]").await,
            // No success, so a browser sends nothing that needs a preflight: no header of the page's own.
            preflight(&gate, origin).await,
        ];
        for reply in replies {
            let seen = (reply.status, reply.text(), leave(&reply));
            assert_eq!(seen, (403, why, [Some(origin), Some("true"), None, None]), "{origin}: {reply:?}");
            assert_eq!(vary(&reply), ["Origin"], "a cache must not give it to another page");
        }
        assert_eq!(strange.websocket_refused().await.0, 403, "{origin}");
    }
    poller.echoes().await;
    assert!(service.seen().await["received"]["silence"].is_null());
}

#[tokio::test]
async fn what_asks_without_being_a_page_is_answered_as_by_engine_io_with_cors() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(ALLOW).await;

    for query in ["?EIO=4&transport=polling", "?EIO=4&transport=websocket", ""] {
        for headers in [&[][..], &[("origin", SCHOOL)]] {
            let ask = async |url: String| http::request("OPTIONS", &url, headers, "").await;
            let [asked, directly] = [gate.url(), service.url()].map(|url| format!("{url}/socket.io/{query}"));
            let (asked, directly) = (ask(asked).await, ask(directly).await);
            assert_eq!((asked.status, directly.status), (204, 204), "{query} {headers:?}: {asked:?} {directly:?}");
        }
    }
    assert_eq!(service.transports().await, 0);
}

#[tokio::test]
async fn every_page_may_be_allowed_but_without_its_cookies() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(r#"origins.allow = ["*"]"#).await;

    let opened = http::request(
        "GET",
        &format!("{}/socket.io/?EIO=4&transport=polling", gate.url()),
        &[("origin", "https://anybody.example")],
        "",
    )
    .await;
    let asked = preflight(&gate, "https://anybody.example").await;

    assert_eq!((opened.status, leave(&opened)), (200, [Some("*"), None, None, None]));
    assert_eq!(vary(&opened), [""; 0], "it is the same for everybody");
    assert_eq!((asked.status, leave(&asked)[..2].to_vec()), (204, vec![Some("*"), None]));
}

#[tokio::test]
async fn what_is_forwarded_keeps_the_services_own_answer() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(ALLOW).await;

    let reply = http::request("GET", &format!("{}/sessions/plan", gate.url()), &[("origin", SCHOOL)], "").await;
    let script = http::get(&format!("{}/socket.io/socket.io.js", gate.url())).await;

    assert_eq!((reply.status, leave(&reply)), (200, [None; 4]));
    assert_eq!(script.status, 200, "the client's script is the service's");
}

#[tokio::test]
async fn the_client_script_is_there_for_pages_that_may_connect() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(ALLOW).with("listen.client_script = true").await;
    let url = format!("{}/.tidegate/client.js", gate.url());

    let own = http::request("GET", &url, &[], "").await;
    let page = http::request("GET", &url, &[("origin", SCHOOL)], "").await;
    let known = http::request("GET", &url, &[("if-none-match", own.header("etag").unwrap())], "").await;
    let head = http::request("HEAD", &url, &[], "").await;
    let foreign = http::request("GET", &url, &[("origin", "https://evil.example")], "").await;

    assert_eq!((own.status, own.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
    assert_eq!(own.header("x-content-type-options"), Some("nosniff"));
    assert!(own.text().contains("tidegate-quality-badge"));
    assert_eq!((page.status, page.text(), page.header("access-control-allow-origin")), (200, own.text(), Some(SCHOOL)));
    assert_eq!((known.status, known.text()), (304, ""));
    assert_eq!((head.status, head.text(), head.header("etag")), (200, "", own.header("etag")));
    assert_eq!(head.header("content-length"), Some(&*own.text().len().to_string()));
    assert_eq!(foreign.status, 403);
}
