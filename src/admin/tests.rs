//! The operator's address over a real socket.

mod drained;

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
    observe::{gauges::Gauges, overview::Overview, tally::Tally},
    policy::auth::revoked::{Revocation, Whom},
    relay::registry::{RevokedHere, WorkerCommand, WorkerHandle, WorkerInbox, channel},
    side_http::HEADER_TIMEOUT,
    wire::engineio::id::NodeId,
};

struct Operator {
    address: SocketAddr,
    health: Arc<Health>,
    tally: Arc<Tally>,
    token: OperatorToken,
    revoker: Revoker,
    stop: oneshot::Sender<()>,
}

const CONNECTIONS_MAX: usize = 8;
const PATIENCE: Duration = Duration::from_secs(40);

impl Operator {
    async fn start(bind: &str, token: Option<&str>) -> Self {
        Self::of_workers(Vec::new(), bind, token).await
    }

    async fn of_workers(workers: Vec<WorkerHandle>, bind: &str, token: Option<&str>) -> Self {
        let listener = TcpListener::bind(bind).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tally = Tally::new(&[1, 5]);
        let health = Arc::new(Health::new(Instant::now(), vec![Arc::clone(&tally)], Arc::default()));
        let names = Arc::new(EventNames::new(10, []));
        let exposition = Arc::new(Exposition::new(vec![Arc::clone(&tally)], names, Arc::new(Gauges::new()), None));
        let registry = Registry::new(NodeId::new([0; 6]), workers);
        let status = StatusSource {
            node: "node-1".to_owned(),
            started: (Instant::now(), std::time::SystemTime::now()),
            overview: Overview::new(vec![Arc::clone(&tally)], Arc::default()),
            in_force: status::InForce::default(),
        };
        status.in_force.set(status::Shown { toml: "[listen]\n".into(), upstream: "http://127.0.0.1:1".into() });
        let revoker = Revoker::new(Arc::default(), registry.clone(), Arc::default());
        let token = OperatorToken::from(token.map(|token| Zeroizing::new(token.into())));
        let admin = Admin {
            exposition,
            status,
            health: Arc::clone(&health),
            registry,
            revoker: Some(revoker.clone()),
            token: token.clone(),
            connections_max: CONNECTIONS_MAX,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(serve(listener, admin, async move { drop(stopped.await) }));
        Self { address: SocketAddr::from(([127, 0, 0, 1], port)), health, tally, token, revoker, stop }
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
    assert!(answer.ends_with("{\"sessions\":[],\"next\":null,\"total\":0}"), "{answer}");
    assert_eq!(status(&open.get("/sessions?limit=5000").await), 400);

    let closed = Operator::start("127.0.0.1:0", Some("s3cret")).await;
    assert_eq!(status(&closed.get("/sessions").await), 401);
    let request = "GET /sessions HTTP/1.1\r\nHost: gate.example\r\nAuthorization: Bearer s3cret";
    assert_eq!(status(&closed.ask(request).await), 200);
    assert_eq!(status(&closed.get("/metrics").await), 200);
}

#[tokio::test]
async fn the_root_is_a_page_for_browsers_and_an_index_for_programs() {
    let operator = Operator::start("127.0.0.1:0", Some("s3cret")).await;
    let browser = format!("GET / HTTP/1.1\r\nHost: {}\r\nAccept: text/html,*/*;q=0.8", operator.address);
    let page = operator.ask(&browser).await;
    assert!(page.contains("content-type: text/html; charset=utf-8\r\n") && page.contains("<!doctype html>"), "{page}");
    for header in ["content-security-policy: default-src 'none';", "x-content-type-options: nosniff", "vary: accept"] {
        assert!(page.to_lowercase().contains(header), "{header}: {page}");
    }
    assert!(operator.get("/").await.contains("\r\n\r\nTidegate, the operator's address."));
    for path in ["/page.js", "/charts.js", "/sessions.js", "/page.css", "/uplot.js", "/uplot.css"] {
        assert_eq!(status(&operator.get(path).await), 200, "{path} holds no figures");
    }
    let rebound = operator.ask("GET / HTTP/1.1\r\nHost: rebind.example\r\nAccept: text/html").await;
    assert_eq!(status(&rebound), 421);
}

#[tokio::test]
async fn what_the_page_shows_needs_the_token_as_sessions_do() {
    let operator = Operator::start("127.0.0.1:0", Some("s3cret")).await;
    let open = Operator::start("127.0.0.1:0", None).await;
    let abroad = Operator::start("0.0.0.0:0", None).await;
    for (path, shown) in [("/status", "\"node\":\"node-1\""), ("/config", "[listen]"), ("/sessions", "\"total\":0")] {
        assert_eq!(status(&operator.get(path).await), 401, "{path}");
        let right = format!("GET {path} HTTP/1.1\r\nHost: gate.example\r\nAuthorization: Bearer s3cret");
        for answer in [operator.ask(&right).await, open.get(path).await] {
            assert!(status(&answer) == 200 && answer.contains(shown), "{path}: {answer}");
        }
        assert_eq!(status(&abroad.get(path).await), 404, "{path}");
    }
    let at = open.address;
    for path in ["/status", "/config", "/sessions?sort=user", "/events"] {
        for site in ["cross-site", "same-site"] {
            let head =
                format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nSec-Fetch-Site: {site}\r\nSec-Fetch-Mode: no-cors");
            assert_eq!(status(&open.ask(&head).await), 403, "{head}");
        }
    }
    for (head, expected) in [
        ("GET /status HTTP/1.1\r\nHost: rebind.example".to_owned(), 421),
        (format!("GET /sessions?sort=user HTTP/1.1\r\nHost: {at}\r\nSec-Fetch-Site: same-origin"), 200),
        (format!("GET /config HTTP/1.1\r\nHost: {at}\r\nSec-Fetch-Site: none"), 200),
        (format!("POST /status HTTP/1.1\r\nHost: {at}\r\nContent-Length: 0"), 405),
    ] {
        assert_eq!(status(&open.ask(&head).await), expected, "{head}");
    }
    assert_eq!(status(&operator.get("/events").await), 401);
}

#[tokio::test]
async fn a_stream_tells_the_status_again_and_again_and_there_are_only_so_many() {
    let operator = Operator::start("127.0.0.1:0", None).await;
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS_MAX / 2 {
        let mut stream = TcpStream::connect(operator.address).await.unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert!(heard(&mut stream, "event: status").await.contains("content-type: text/event-stream"));
        streams.push(stream);
    }
    let full = operator.get("/events").await;
    assert!(status(&full) == 503 && full.contains("retry-after: 5"), "{full}");
    // Those that are open stay, however many ask for something short.
    for _ in 0..CONNECTIONS_MAX * 2 {
        assert_eq!(status(&operator.get("/status").await), 200);
    }
    operator.tally.opened();
    for stream in &mut streams {
        heard(stream, "\"sessions\":{\"open\":1,").await;
    }
    streams.pop();
    let joins = async {
        while status(&operator.ask("HEAD /events HTTP/1.1\r\nHost: localhost").await) != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, joins).await.expect("who leaves makes room");
    drop(operator.stop);
    for mut stream in streams {
        let ended = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        let _ = ended.expect("it ends with the server");
    }
}

#[tokio::test]
async fn another_token_ends_the_streams_that_the_one_before_has_opened() {
    let operator = Operator::start("127.0.0.1:0", Some("first")).await;
    let listen = async |token: &str| {
        let mut stream = TcpStream::connect(operator.address).await.unwrap();
        let head = format!("GET /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        heard(&mut stream, "event: status").await;
        stream
    };
    let set = |token: &str| operator.token.set(Some(Zeroizing::new(token.into())));
    let mut of_first = listen("first").await;
    set("first");
    operator.tally.opened();
    heard(&mut of_first, "\"sessions\":{\"open\":1,").await;
    set("second");
    let mut of_second = listen("second").await;
    let ended = timeout(PATIENCE, of_first.read_to_end(&mut Vec::new())).await;
    ended.expect("its token is no longer in force").unwrap();
    operator.tally.opened();
    heard(&mut of_second, "\"sessions\":{\"open\":2,").await;
}

/// What comes until `text` has come.
async fn heard(stream: &mut TcpStream, text: &str) -> String {
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains(text) {
        let read = timeout(PATIENCE, stream.read_buf(&mut heard)).await.expect("it is told in time").unwrap();
        assert!(read > 0, "closed before {text}: {}", String::from_utf8_lossy(&heard));
    }
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn a_session_is_closed_with_the_token_alone() {
    let operator = Operator::start("127.0.0.1:0", Some("s3cret")).await;
    let post = |authorization: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /close HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    for (authorization, body, expected) in [
        ("Bearer wrong", r#"{"session":1}"#, 401),
        ("Bearer s3cret", r#"{"session":1}"#, 404),
        ("Bearer s3cret", r#"{"session":"1"}"#, 400),
        ("Bearer s3cret", r#"{"session":1,"for":"1h"}"#, 400),
        ("Bearer s3cret", "", 400),
    ] {
        assert_eq!(status(&operator.ask(&post(authorization, body)).await), expected, "{authorization} {body}");
    }
    assert_eq!(status(&operator.get("/close").await), 405);
    let off = Operator::start("127.0.0.1:0", None).await;
    assert_eq!(status(&off.ask(&post("Bearer s3cret", r#"{"session":1}"#)).await), 403, "not even on loopback");
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

/// Posts with the right token, and hangs up as soon as the worker has its command. The node has noticed when this returns.
async fn posted_and_gone(operator: &Operator, worker: &mut WorkerInbox, path: &str, body: &str) -> WorkerCommand {
    let mut stream = TcpStream::connect(operator.address).await.unwrap();
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let command = timeout(PATIENCE, worker.next()).await.unwrap().unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(heard_to_the_end(stream).await, "", "it was not answered");
    command
}

async fn heard_to_the_end(mut stream: TcpStream) -> String {
    let mut heard = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut heard)).await.unwrap().unwrap();
    heard
}

#[tokio::test]
async fn what_an_operator_has_begun_is_done_though_nobody_waits_for_the_answer() {
    let (lines, _guard) = journal::tests::caught();
    let (handle, mut worker) = channel();
    let operator = Operator::of_workers(vec![handle], "127.0.0.1:0", Some("s3cret")).await;
    let command = posted_and_gone(&operator, &mut worker, "/close", r#"{"session":1}"#).await;
    let WorkerCommand::Close { id: 1, answer } = command else { panic!("{command:?}") };
    assert!(!answer.is_closed(), "nobody would log that the session was closed");

    let command = posted_and_gone(&operator, &mut worker, "/revoke", r#"{"socket":"a"}"#).await;
    let WorkerCommand::Revoked { answer } = command else { panic!("{command:?}") };
    // The token of the socket is revoked with it, and other sessions may have it.
    let token = Revocation { whom: Whom::Token("one".into()), until: 4_000_000_000 };
    answer.send(RevokedHere { sessions: 1, tokens: vec![token] }).unwrap();
    let command = timeout(PATIENCE, worker.next()).await.unwrap().unwrap();
    let WorkerCommand::Revoked { answer } = command else { panic!("{command:?}") };
    answer.send(RevokedHere::default()).unwrap();
    timeout(PATIENCE, operator.revoker.added()).await.expect("other nodes are told");
    assert_eq!(operator.revoker.list().len(), 2, "the socket and its token");
    let is_logged = async {
        while lines.containing("the operator revoked").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, is_logged).await.expect("the log says who has revoked what");
    let [line] = &lines.containing("the operator revoked")[..] else { panic!("more than once") };
    assert!(line.contains(r#""peer":"127.0.0.1","kind":"socket""#) && line.contains(r#""sessions":1"#), "{line}");
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
