//! What devices and programs send as `Origin`, and what proxies report of a client's scheme and host.

use crate::support::{Client, Gate, Poller, Raw, Service, Value, Way, http, json, raw::UPGRADE, token};

const TRUSTING: &str = "listen.trusted_proxies = [\"127.0.0.0/8\"]\nsocketio.cookie = \"io\"";

/// A stock client that sends this `Origin`, and whether it is let in.
async fn is_let_in(gate: &Gate, origin: &str, way: Way) -> bool {
    let mut options = way.options();
    options["extraHeaders"] = json!({ "origin": origin });
    options["reconnection"] = false.into();
    let client: Client = gate.connect_with(json!({ "token": token("ada") }), options).await;
    client.settled().await.is_ok()
}

#[tokio::test]
async fn electron_and_devices_are_let_in_where_their_word_is_written() {
    let service = Service::start().await;
    let as_delivered = Gate::before(&service).await;
    let written = Gate::before(&service).with("origins.allow = [\"file://\", \"null\"]").await;

    for way in Way::ALL {
        for origin in ["file://", "null"] {
            assert!(is_let_in(&written, origin, way).await, "{origin} {way:?}");
            assert!(!is_let_in(&as_delivered, origin, way).await, "{origin} {way:?}");
        }
        // The address that it connects to, as some clients name it.
        let own = as_delivered.url();
        assert!(is_let_in(&as_delivered, &own, way).await, "{way:?}");
        assert!(!is_let_in(&written, &own, way).await, "{way:?}");
        assert!(!is_let_in(&as_delivered, &own.replace("http:", "https:"), way).await, "{way:?}");
    }
}

/// The cookie of a handshake with these headers, and the scheme and host that the service is told.
async fn reported(gate: &Gate, service: &Service, headers: &[(&str, &str)]) -> (bool, Value) {
    let url = format!("{}/socket.io/?EIO=4&transport=polling", gate.url());
    let opened = http::request("GET", &url, headers, "").await;
    assert_eq!(opened.status, 200, "{headers:?}: {opened:?}");
    let cookie = opened.header("set-cookie").unwrap().to_owned();
    let forwarded = http::request("GET", &format!("{}/headers", gate.url()), headers, "").await.json();
    let poller = Poller::shaking_hands(gate.address, "", headers).await;
    poller.join(&json!({ "token": token("ada") }).to_string()).await;
    let seen = service.seen().await["connections"][0]["headers"].clone();
    service.forget().await;
    for name in ["x-forwarded-proto", "x-forwarded-host"] {
        assert_eq!(seen[name], forwarded["headers"][name], "{headers:?}");
    }
    (cookie.contains("; Secure"), json!([seen["x-forwarded-proto"], seen["x-forwarded-host"]]))
}

#[tokio::test]
async fn a_scheme_is_believed_in_every_spelling_and_of_a_list_the_clients_own() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(TRUSTING).await;
    for (scheme, addresses, host, secure, told) in [
        ("https", "8.8.8.8", "app.example", true, "app.example"),
        // Traefik, for a WebSocket.
        ("wss", "8.8.8.8", "app.example", true, "app.example"),
        ("HTTPS", "8.8.8.8", "app.example", true, "app.example"),
        ("ws", "8.8.8.8", "app.example", false, "app.example"),
        // Two proxies of ours, each of which has added what it saw.
        ("https, http", "8.8.8.8, 127.0.0.5", "app.example, inner", true, "app.example"),
        ("http,https", "8.8.8.8, 127.0.0.5", "app.example,inner", false, "app.example"),
        // What a client has said of itself stands before it.
        ("https, http", "8.8.8.8", "evil.example, app.example", false, "app.example"),
    ] {
        let headers = [
            ("x-forwarded-proto", scheme),
            ("x-forwarded-for", addresses),
            ("x-forwarded-host", host),
            ("origin", if secure { "https://app.example" } else { "http://app.example" }),
        ];
        let expected = json!([if secure { "https" } else { "http" }, told]);
        assert_eq!(reported(&gate, &service, &headers).await, (secure, expected), "{headers:?}");
    }

    // Nobody else is believed.
    let strict = Gate::before(&service).with("socketio.cookie = \"io\"").await;
    let headers = [("x-forwarded-proto", "wss"), ("x-forwarded-host", "app.example")];
    let expected = (false, json!(["http", strict.address.to_string()]));
    assert_eq!(reported(&strict, &service, &headers).await, expected);
    let own = [headers[0], headers[1], ("origin", "https://app.example")];
    let url = format!("{}/socket.io/?EIO=4&transport=polling", strict.url());
    assert_eq!(http::request("GET", &url, &own, "").await.status, 403);
}

#[tokio::test]
async fn a_websocket_of_the_own_page_is_opened_on_every_route() {
    let service = Service::plain().await;
    let gate = Gate::before(&service).with("auth.required = false\n[[websocket]]\npath = \"/ws\"").await;
    let status = async |host: &str, origin: &str| {
        let mut raw = Raw::connect(gate.address).await;
        let upgrade = UPGRADE.replace("localhost", host);
        raw.send(format!("GET /ws HTTP/1.1\r\n{upgrade}Origin: {origin}\r\n\r\n").as_bytes()).await;
        raw.status().await
    };
    for (host, origin, expected) in [
        ("app.example", "http://app.example", 101),
        ("app.example:8443", "http://app.example:8443", 101),
        ("[::1]:8443", "http://[::1]:8443", 101),
        ("App.Example", "http://app.example:80", 101),
        ("app.example", "http://app.example:8443", 403),
        ("app.example", "https://app.example", 403),
        ("app.example", "http://evil.example", 403),
        ("app.example", "null", 403),
    ] {
        assert_eq!(status(host, origin).await, expected, "{origin} at {host}");
    }
}
