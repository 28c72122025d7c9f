//! The service behind the gate: an ordinary Socket.IO server that does not know of Tidegate.
//!
//! It speaks the events of a tutoring service, checks no token and counts no message.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef, TryData},
};
use tokio::{net::TcpListener, sync::Notify, time::sleep};

use super::token::Secret;

/// The learner that every visitor of the page is.
pub(crate) const LEARNER: &str = "ada";

const PAGE: &str = include_str!("assets/index.html");
const STYLE: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");
/// socket.io-client 4.8.4, `dist/socket.io.min.js`, as published.
const CLIENT: &str = include_str!("assets/socket.io.min.js");
/// The placeholder of the token in the page.
const TOKEN_PLACE: &str = "{{token}}";
/// The placeholder of the commands that put Tidegate in front of another service.
const YOURS_PLACE: &str = "{{yours}}";
/// Those commands are the first block of shell under this heading of the README.
const README: &str = include_str!("../../README.md");
const YOURS_HEADING: &str = "## Put it in front of your service";

const QUALITY_EVERY: Duration = Duration::from_secs(5);
/// How long it is down after a kill.
const DEAD_FOR: Duration = Duration::from_secs(5);
const LAST_WORD: Duration = Duration::from_millis(50);
const LESSON_ADAPTED_EVERY: u32 = 5;
const BREAK_AFTER: u32 = 12;

/// Starts the service on a free loopback port, on a thread of its own, and returns its address.
pub(crate) fn start(secret: Secret) -> io::Result<SocketAddr> {
    let mut listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let secret = Arc::new(secret);
    thread::Builder::new().name("service".to_owned()).spawn(move || {
        loop {
            if let Err(error) = live(listener, &secret) {
                return eprintln!("the service of the demo has stopped: {error}");
            }
            thread::sleep(DEAD_FOR);
            listener = match std::net::TcpListener::bind(address) {
                Ok(listener) => listener,
                Err(error) => return eprintln!("the service of the demo does not restart: {error}"),
            };
        }
    })?;
    Ok(address)
}

/// One run of the service, until it is killed: its runtime drops all state and connections.
fn live(listener: std::net::TcpListener, secret: &Arc<Secret>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let killed = Arc::new(Notify::new());
        tokio::select! {
            served = serve(listener, Arc::clone(secret), Arc::clone(&killed)) => served,
            () = killed.notified() => Ok(()),
        }
    })
}

async fn serve(listener: std::net::TcpListener, secret: Arc<Secret>, killed: Arc<Notify>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let pages = service_fn(move |request| {
        let response = page(&request, &secret, &killed);
        async move { Ok::<_, Infallible>(response) }
    });
    let (service, io) = SocketIo::builder().build_with_inner_svc(pages);
    io.ns("/", connected);
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(connection.with_upgrades());
    }
}

/// Late enough that the request to kill is still answered.
fn kill_soon(killed: &Arc<Notify>) {
    let killed = Arc::clone(killed);
    tokio::spawn(async move {
        sleep(LAST_WORD).await;
        killed.notify_one();
    });
}

fn page(request: &Request<Incoming>, secret: &Secret, killed: &Arc<Notify>) -> Response<Full<Bytes>> {
    let (status, kind, body): (_, _, Bytes) = match request.uri().path() {
        "/kill" if request.method() == Method::POST => {
            kill_soon(killed);
            let back_in = LAST_WORD + DEAD_FOR;
            let told = json!({ "backInMs": back_in.as_millis() as u64 });
            (StatusCode::ACCEPTED, "application/json", told.to_string().into())
        }
        "/alive" => (StatusCode::OK, "text/plain", "alive\n".into()),
        "/" => match secret.token_for(LEARNER) {
            Ok(token) => {
                let page = PAGE.replace(TOKEN_PLACE, &token).replace(YOURS_PLACE, &escaped(put_in_front()));
                (StatusCode::OK, "text/html; charset=utf-8", page.into())
            }
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string().into()),
        },
        "/page.css" => (StatusCode::OK, "text/css; charset=utf-8", STYLE.into()),
        "/page.js" => (StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT.into()),
        "/socket.io.min.js" => (StatusCode::OK, "text/javascript; charset=utf-8", CLIENT.into()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "no such page\n".into()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// The commands of the README, or where to find them if it was rearranged.
fn put_in_front() -> &'static str {
    let block = || {
        let (_, section) = README.split_once(YOURS_HEADING)?;
        let (_, shell) = section.split_once("```sh\n")?;
        shell.split_once("```").map(|(commands, _)| commands)
    };
    block().unwrap_or("See README.md.")
}

/// As text of an HTML element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[derive(Default, Deserialize)]
struct Auth {
    #[serde(rename = "learnerId")]
    learner_id: Option<String>,
}

async fn connected(socket: SocketRef, TryData(auth): TryData<Auth>) {
    let learner = auth.unwrap_or_default().learner_id.unwrap_or_else(|| "somebody".to_owned());
    let answers = Arc::new(AtomicU32::new(0));
    socket.on("agent:learning", async move |socket: SocketRef, Data::<Value>(asked), ack: AckSender| {
        learning(&socket, &asked, ack, &learner, &answers);
    });
    socket.on("agent:tutor", async |socket: SocketRef, Data::<Value>(asked), ack: AckSender| {
        let input = asked["input"].as_str().unwrap_or_default();
        emit(
            &socket,
            "tutor:message",
            &json!({ "message": format!("You asked: {input} What do you think yourself?") }),
        );
        answer(ack, &json!({ "success": true }));
    });
    socket.on("agent:speech", async |Data::<Value>(asked), ack: AckSender| {
        let characters = asked["audioBuffer"].as_str().map_or(0, str::len);
        answer(ack, &json!({ "success": true, "transcript": "", "base64Characters": characters }));
    });
    tokio::spawn(watch_quality(socket));
}

fn learning(socket: &SocketRef, asked: &Value, ack: AckSender, learner: &str, answers: &AtomicU32) {
    match asked["action"].as_str() {
        Some("start_session") => {
            answers.store(0, Ordering::Relaxed);
            answer(ack, &json!({ "success": true, "session": { "learnerId": learner, "subject": asked["subject"] } }));
            emit(socket, "tutor:message", &json!({ "message": format!("Welcome, {learner}. Shall we begin?") }));
        }
        Some("process_answer") => {
            let count = answers.fetch_add(1, Ordering::Relaxed) + 1;
            answer(ack, &json!({ "success": true, "answers": count }));
            if count.is_multiple_of(LESSON_ADAPTED_EVERY) {
                emit(socket, "content:adapted", &json!({ "difficulty": 1 + count / LESSON_ADAPTED_EVERY }));
            }
            if count == BREAK_AFTER {
                emit(socket, "break:suggested", &json!({ "minutes": 5, "because": format!("{count} answers") }));
            }
        }
        Some("get_recommendation") => {
            let next = 1 + answers.load(Ordering::Relaxed) / LESSON_ADAPTED_EVERY;
            answer(ack, &json!({ "success": true, "recommendation": format!("fractions, level {next}") }));
        }
        _ => answer(ack, &json!({ "error": "action is one of start_session, process_answer, get_recommendation" })),
    }
}

/// Tells the client, from time to time, how long its last answer took: an ack in the other direction.
async fn watch_quality(socket: SocketRef) {
    let mut latency_ms = None;
    loop {
        sleep(QUALITY_EVERY).await;
        let asked = Instant::now();
        let Ok(answered) = socket.emit_with_ack::<_, Value>("connection:quality", &json!({ "latencyMs": latency_ms }))
        else {
            return;
        };
        latency_ms = answered.await.ok().map(|_| asked.elapsed().as_micros() as f64 / 1e3);
    }
}

fn answer(ack: AckSender, body: &Value) {
    // Fails only if the client has left, and then the answer is not needed.
    let _ = ack.send(body);
}

fn emit(socket: &SocketRef, event: &str, body: &Value) {
    // As above.
    let _ = socket.emit(event, body);
}
