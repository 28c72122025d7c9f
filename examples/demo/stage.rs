//! What the page does to the demo from outside: it kills and revives the service, delays the line, and looks at the gate as
//! an operator does.
//!
//! It has a port of its own, because it must answer while the service is dead, and undelayed.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, client, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{
    life::{DEAD_FOR, Life},
    line::Line,
    log::LogBook,
};

/// The longest death; a client of a service that is down is held for 30 s.
const DEAD_MOST: Duration = Duration::from_secs(25);
/// The newest sessions of the gate that the page looks at.
const SESSIONS: usize = 1000;

/// What can be done.
pub(crate) struct Stage {
    pub(crate) life: Life,
    pub(crate) line: Line,
    pub(crate) log: LogBook,
    /// The gate's address for operators.
    pub(crate) admin: SocketAddr,
}

impl Stage {
    /// Answers at `listener`, on a thread of its own, until the process ends.
    pub(crate) fn start(self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let stage = Arc::new(self);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("stage".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(serve(listener, stage)) {
                eprintln!("the controls of the demo have stopped: {error}");
            }
        })?;
        Ok(())
    }

    async fn answer(&self, request: &Request<Incoming>) -> (StatusCode, Value) {
        let number = |name: &str| query(request.uri(), name);
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/state") => (StatusCode::OK, self.state(number("after").unwrap_or(0))),
            (&Method::GET, "/sessions") => match sessions(self.admin).await {
                Ok(listing) => (StatusCode::OK, listing),
                Err(error) => (StatusCode::BAD_GATEWAY, json!({ "error": error.to_string() })),
            },
            (&Method::POST, "/kill") => {
                let dead_for = number("seconds").map_or(DEAD_FOR, Duration::from_secs);
                self.life.kill(dead_for.min(DEAD_MOST));
                (StatusCode::OK, self.state(u64::MAX))
            }
            (&Method::POST, "/revive") => {
                self.life.revive();
                (StatusCode::OK, self.state(u64::MAX))
            }
            (&Method::POST, "/delay") => {
                self.line.delay(Duration::from_millis(number("ms").unwrap_or(0)));
                (StatusCode::OK, self.state(u64::MAX))
            }
            _ => (StatusCode::NOT_FOUND, json!({ "error": "there is no such control" })),
        }
    }

    fn state(&self, after: u64) -> Value {
        let (lines, last) = self.log.after(after);
        let back_in_ms = self.life.back_in().map(|left| left.as_millis() as u64);
        json!({ "backInMs": back_in_ms, "delayMs": self.line.delay_ms(), "log": { "lines": lines, "last": last } })
    }
}

async fn serve(listener: TcpListener, stage: Arc<Stage>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let stage = Arc::clone(&stage);
        let answers = service_fn(move |request| {
            let stage = Arc::clone(&stage);
            async move { Ok::<_, Infallible>(respond(&stage, &request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answers));
    }
}

/// Pages of this machine are answered, and no others: a page from elsewhere must not kill the service.
async fn respond(stage: &Stage, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let origin = request.headers().get(header::ORIGIN);
    let (status, body) = match origin {
        Some(origin) if !is_of_this_machine(origin) => {
            (StatusCode::FORBIDDEN, json!({ "error": "only pages of this machine may do that" }))
        }
        _ => stage.answer(request).await,
    };
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(origin) = origin.filter(|_| status != StatusCode::FORBIDDEN) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    response
}

fn is_of_this_machine(origin: &HeaderValue) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    matches!(origin.as_ref().and_then(Uri::host), Some("127.0.0.1" | "localhost" | "[::1]"))
}

fn query(uri: &Uri, name: &str) -> Option<u64> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

/// What the gate tells an operator of its sessions.
async fn sessions(admin: SocketAddr) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(admin).await?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(format!("/sessions?limit={SESSIONS}")).header(header::HOST, admin.to_string());
    let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    Ok(serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?)
}
