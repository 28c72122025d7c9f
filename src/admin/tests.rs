//! The operator's address over a real socket.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::timeout,
};
use zeroize::Zeroizing;

use super::*;
use crate::{
    event_names::EventNames,
    observe::{gauges::Gauges, tally::Tally},
    side_http::HEADER_TIMEOUT,
    wire::engineio::id::NodeId,
};

struct Operator {
    address: SocketAddr,
    health: Arc<Health>,
    tally: Arc<Tally>,
    _stop: oneshot::Sender<()>,
}

const CONNECTIONS_MAX: usize = 8;
const PATIENCE: Duration = Duration::from_secs(40);

impl Operator {
    async fn start(bind: &str, token: Option<&str>) -> Self {
        let listener = TcpListener::bind(bind).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tally = Tally::new(&[1, 5]);
        let health = Arc::new(Health::new(Instant::now(), vec![Arc::clone(&tally)], Arc::default()));
        let names = Arc::new(EventNames::new(10, []));
        let exposition = Arc::new(Exposition::new(vec![Arc::clone(&tally)], names, Arc::new(Gauges::new()), None));
        let registry = Registry::new(NodeId::new([0; 6]), Vec::new());
        let admin = Admin {
            exposition,
            health: Arc::clone(&health),
            registry: registry.clone(),
            revoker: Some(Revoker::new(Arc::default(), registry, Arc::default())),
            token: token.map(|token| Zeroizing::new(token.into())).into(),
            connections_max: CONNECTIONS_MAX,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(serve(listener, admin, async move { drop(stopped.await) }));
        Self { address: SocketAddr::from(([127, 0, 0, 1], port)), health, tally, _stop: stop }
    }

    /// Sends `request` with a blank line behind it, and reads until the end.
    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{request}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}", self.address)).await
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {answer:?}"))
}

#[tokio::test]
async fn both_paths_of_the_metrics_give_the_same_page() {
    let operator = Operator::start("127.0.0.1:0", None).await;
    operator.tally.opened();
    for path in ["/metrics", "/metrics/prometheus", "/metrics?name[]=up"] {
        let answer = operator.get(path).await;
        assert_eq!(status(&answer), 200);
        assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
        assert!(answer.contains("\nwebsocket_connections_count 1\n"), "{answer}");
    }
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let operator = Operator::start("127.0.0.1:0", None).await;
    operator.health.set_keys(false, "the key set could not be fetched");
    let answer = operator.get("/readyz").await;
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("\"why\":\"the key set could not be fetched\""), "{answer}");
    operator.health.set_keys(true, "");
    operator.health.set_listening(true);
    let answer = operator.get("/readyz").await;
    assert_eq!(status(&answer), 200);
    assert!(answer.contains("{\"ready\":true,\"conditions\":[{\"name\":\"listening\",\"ok\":true,"), "{answer}");
    let asked =
        timeout(HEADER_TIMEOUT, operator.get("/livez")).await.expect("an answer before the others have had their time");
    assert_eq!(status(&asked), 200);
}

#[tokio::test]
async fn sessions_are_open_on_loopback_unless_there_is_a_token() {
    let open = Operator::start("127.0.0.1:0", None).await;
    let answer = open.get("/sessions?limit=5").await;
    assert!(answer.ends_with("{\"sessions\":[],\"next\":null}"), "{answer}");
    assert_eq!(status(&open.get("/sessions?limit=5000").await), 400);

    let closed = Operator::start("127.0.0.1:0", Some("s3cret")).await;
    assert_eq!(status(&closed.get("/sessions").await), 401);
    let request = "GET /sessions HTTP/1.1\r\nHost: gate.example\r\nAuthorization: Bearer s3cret";
    assert_eq!(status(&closed.ask(request).await), 200);
    assert_eq!(status(&closed.get("/metrics").await), 200);
}

#[tokio::test]
async fn sessions_beyond_loopback_need_a_token() {
    let operator = Operator::start("0.0.0.0:0", None).await;
    let answer = operator.get("/sessions").await;
    assert_eq!(status(&answer), 404);
    assert!(answer.contains("set admin.token"), "{answer}");
}

#[tokio::test]
async fn a_revocation_takes_the_token_and_says_what_was_done() {
    let operator = Operator::start("127.0.0.1:0", Some("s3cret")).await;
    let post = |authorization: &str, body: &str| {
        format!(
            "POST /revoke HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {authorization}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let long = format!("{{\"jti\":{:?}}}", "x".repeat(300));
    for (authorization, body, expected, told) in [
        ("s3cret", r#"{"user":"ada"}"#, 200, r#""sessions":0,"reach":"node"}"#),
        ("s3cret", r#"{"jti":"a","for":"90m"}"#, 200, r#""revoked":"jti""#),
        ("s3cret", r#"{"socket":"a"}"#, 200, r#""revoked":"socket""#),
        ("wrong", r#"{"user":"ada"}"#, 401, "admin.token"),
        ("s3cret", r#"{"user":"ada","jti":"a"}"#, 400, "exactly one"),
        ("s3cret", r#"{"for":"1h"}"#, 400, "exactly one"),
        ("s3cret", r#"{"user":"ada","for":"0s"}"#, 400, "1s to"),
        ("s3cret", r#"{"user":"ada","for":"60"}"#, 400, "a duration needs a unit"),
        ("s3cret", r#"{"users":"ada"}"#, 400, "unknown field"),
        ("s3cret", r#"{"user":7}"#, 400, "invalid type"),
        ("s3cret", &long, 400, "256 bytes"),
    ] {
        let answer = operator.ask(&post(authorization, body)).await;
        assert_eq!(status(&answer), expected, "{body}: {answer}");
        assert!(answer.contains(told), "{body}: {answer}");
    }
    assert_eq!(status(&operator.get("/revoke").await), 405);
    let large = operator.ask(&post("s3cret", &format!("{{\"user\":{:?}}}", "x".repeat(9000)))).await;
    assert_eq!(status(&large), 413);
    let off = Operator::start("127.0.0.1:0", None).await;
    assert_eq!(status(&off.ask(&post("s3cret", "{}")).await), 403, "not even on loopback");
}

#[tokio::test]
async fn what_is_not_a_get_of_a_page_is_refused() {
    let operator = Operator::start("127.0.0.1:0", None).await;
    for (request, expected) in [
        ("HEAD /metrics HTTP/1.1\r\nHost: localhost", 200),
        ("GET / HTTP/1.0", 200),
        ("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0", 405),
        ("GET /metrics/ HTTP/1.1\r\nHost: localhost", 404),
        ("GET /metrics HTTP/1.1\r\nHost: rebind.example", 421),
    ] {
        assert_eq!(status(&operator.ask(request).await), expected, "{request}");
    }
    let head = operator.ask("HEAD / HTTP/1.1\r\nHost: localhost").await;
    assert!(head.ends_with("\r\n\r\n"), "a HEAD has no body: {head}");
}

#[tokio::test]
async fn probes_are_answered_whatever_their_method_and_host() {
    let operator = Operator::start("127.0.0.1:0", Some("s3cret")).await;
    operator.health.set_keys(true, "");
    for (ready, expected) in [(false, 503), (true, 200)] {
        operator.health.set_listening(ready);
        for path in ["/readyz", "/livez"] {
            for request in [
                "OPTIONS PATH HTTP/1.0",
                "OPTIONS PATH HTTP/1.1\r\nHost: gate.example",
                "GET PATH HTTP/1.1",
                "GET PATH HTTP/1.1\r\nHost: rebind.example:80",
                "GET PATH?from=probe HTTP/1.1\r\nHost: a\r\nHost: b",
                "HEAD PATH HTTP/1.0",
                "POST PATH HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0",
                "PROPFIND PATH HTTP/1.1\r\nHost:",
            ] {
                let status = status(&operator.ask(&request.replace("PATH", path)).await);
                assert_eq!(status, if path == "/livez" { 200 } else { expected }, "{request} {path}");
            }
        }
    }
    for (request, expected) in [("OPTIONS / HTTP/1.0", 405), ("GET /readyz/ HTTP/1.1\r\nHost: rebind.example", 421)] {
        assert_eq!(status(&operator.ask(request).await), expected, "no probe: {request}");
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let operator = Operator::start("127.0.0.1:0", None).await;
    let mut stream = TcpStream::connect(operator.address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection is closed");
}

#[tokio::test]
async fn idle_connections_beyond_the_bound_do_no_harm() {
    let operator = Operator::start("127.0.0.1:0", None).await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        idle.push(TcpStream::connect(operator.address).await.unwrap());
    }
    let asked =
        timeout(HEADER_TIMEOUT, operator.get("/livez")).await.expect("an answer before the others have had their time");
    assert_eq!(status(&asked), 200);
}
