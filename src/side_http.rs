//! An HTTP/1 server for short answers beside the gate: one request a connection, bounded in number, size and time.

mod body;
mod paced_stream;

use std::{collections::VecDeque, convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

pub use self::body::{Body, LateAnswer, Waiting};
use self::{body::Pace, paced_stream::PacedStream};

/// How long a request head may take.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The patience of every server that runs.
const PATIENCE: Patience = Patience { head: HEADER_TIMEOUT, connection: Duration::from_secs(10) };
/// How large a request head may be.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// The pause after a failed `accept`, so that a lack of descriptors does not become a lack of processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For a request head.
    head: Duration,
    /// For a connection, with its one request and answer. Of an answer that lasts: for the next part of it. One that is waited for
    /// is not bounded.
    connection: Duration,
}

/// A status, a type, a body.
pub type Answer = Response<Body>;

/// Who asks: an extension of each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Answers requests on `listener` until it is dropped, and with it every connection. Of more than `connections_max` at
/// once the oldest is closed, those with a [lasting](Body::lasting) or [late](LateAnswer) answer after all others: a slow client
/// keeps no other out. Who answers bounds the number of answers that last.
pub async fn serve<A, F>(listener: TcpListener, connections_max: usize, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    serve_with(PATIENCE, listener, connections_max, Arc::new(answer)).await;
}

async fn serve_with<A, F>(patience: Patience, listener: TcpListener, connections_max: usize, answer: Arc<A>)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<(AbortHandle, Arc<Pace>)> = VecDeque::new();
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|(connection, _)| !connection.is_finished());
        if oldest_first.len() >= connections_max {
            let short = oldest_first.iter().position(|(_, pace)| !pace.lasts());
            if let Some((oldest, _)) = oldest_first.remove(short.unwrap_or_default()) {
                oldest.abort();
            }
        }
        let pace = Arc::default();
        let task = connection(stream, Peer(peer), patience, Arc::clone(&pace), Arc::clone(&answer));
        oldest_first.push_back((connections.spawn(task), pace));
    }
}

async fn connection<A, F>(stream: TcpStream, peer: Peer, patience: Patience, pace: Arc<Pace>, answer: Arc<A>)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(LateAnswer::on(&pace));
        let (answer, pace) = (answer(request), Arc::clone(&pace));
        async move {
            let mut answer = answer.await;
            answer.body_mut().keep(&pace);
            Ok::<_, Infallible>(answer)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_buf_size(HEADER_BYTES_MAX)
        // One request a connection: scrapes are seconds apart, and an idle connection would hold a place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(PacedStream::new(stream, Arc::clone(&pace))), service);
    let (mut serving, mut seen) = (pin!(serving), None);
    // A client that goes away, or is too slow, gets no answer. One that lasts goes on while its client takes parts.
    while timeout(patience.connection, serving.as_mut()).await.is_err() {
        let last = pace.last();
        if last == seen && !pace.waits() {
            break;
        }
        seen = last;
    }
}

/// Text for people.
#[must_use]
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, "text/plain; charset=utf-8", body)
}

/// A body of the given type, in one piece.
#[must_use]
pub fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    describe(&mut answer, content_type);
    answer
}

/// The type of a body, which no browser shall keep or take for something else.
pub fn describe(answer: &mut Answer, content_type: &'static str) {
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::mpsc,
        task::JoinHandle,
    };

    use super::*;

    /// As good as for ever: a test that waits for it has found that another time is ignored.
    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(100);
    const CONNECTIONS_MAX: usize = 16;

    /// Bytes of the flood that were given to a connection.
    static FLOODED: AtomicUsize = AtomicUsize::new(0);

    /// A server that says which URI it was asked for, and never answers to `/never`.
    async fn server(patience: Patience) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = |request: Request<Incoming>| async move {
            if request.uri() == "/never" {
                std::future::pending::<()>().await;
            }
            let (bytes, pause) = match request.uri().path() {
                "/flood" => (1000, Duration::ZERO),
                "/lasts" => (1000, Duration::from_millis(5)),
                "/silent" => (1000, LONG),
                _ => return text(StatusCode::OK, request.uri().to_string()),
            };
            let (parts, given) = mpsc::channel(1);
            tokio::spawn(async move {
                while parts.send(vec![b'x'; bytes].into()).await.is_ok() {
                    if pause.is_zero() {
                        FLOODED.fetch_add(bytes, Relaxed);
                    }
                    sleep(pause).await;
                }
            });
            Response::new(Body::lasting(given))
        };
        (address, tokio::spawn(serve_with(patience, listener, CONNECTIONS_MAX, Arc::new(answer))))
    }

    /// What comes until the server closes.
    async fn heard(mut client: TcpStream) -> String {
        let mut got = String::new();
        let read = timeout(Duration::from_secs(40), client.read_to_string(&mut got)).await;
        let _ = read.expect("the server closes the connection");
        got
    }

    #[tokio::test]
    async fn a_slow_client_keeps_no_other_out() {
        let (address, serving) = server(Patience { head: LONG, connection: LONG }).await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX * 2 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /x HTTP/1.1\r\nHost: ws.test\r\n\r\n").await.unwrap();
        let got = heard(client).await;
        assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("/x"), "{got}");
        serving.abort();
    }

    #[tokio::test]
    async fn an_answer_lasts_while_its_client_takes_it_and_no_longer() {
        // Long enough for a busy machine to hand over a part in it.
        let patience = Duration::from_secs(3);
        let (address, serving) = server(Patience { head: LONG, connection: patience }).await;
        // Its head has come, and nothing of it is read.
        let ask = async |path: &str| {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(format!("GET {path} HTTP/1.1\r\nHost: ws.test\r\n\r\n").as_bytes()).await.unwrap();
            client.peek(&mut [0]).await.unwrap();
            client
        };
        let began = tokio::time::Instant::now();
        let (mut taking, silent, unread) = (ask("/lasts").await, ask("/silent").await, ask("/flood").await);
        let takes = async {
            let mut others = Vec::new();
            while began.elapsed() < patience * 5 / 2 || others.len() < CONNECTIONS_MAX * 2 {
                taking.read_exact(&mut [0; 2000]).await.expect("it lasts longer than a short answer may");
                // They are closed before those that last are.
                if others.len() < CONNECTIONS_MAX * 2 {
                    others.push(TcpStream::connect(address).await.unwrap());
                }
            }
        };
        // Nothing of this one is read until it is over.
        let closed = async {
            while !matches!(unread.try_write(b"x"), Err(error) if error.kind() != std::io::ErrorKind::WouldBlock) {
                sleep(SHORT).await;
            }
        };
        let closed = timeout(Duration::from_secs(40), closed);
        let ((), silent, closed) = tokio::join!(takes, heard(silent), closed);
        assert!(silent.starts_with("HTTP/1.1 200") && !silent.ends_with("0\r\n\r\n"), "it is cut off: {silent}");
        closed.expect("who takes nothing is cut off");
        let flooded = FLOODED.load(Relaxed);
        assert!(flooded < 512 * 1024, "{flooded} bytes waited for who takes nothing");
        serving.abort();
    }

    #[tokio::test]
    async fn a_head_and_a_connection_have_a_time_each() {
        for (patience, request) in [
            (Patience { head: SHORT, connection: LONG }, "GET /x HTTP/1.1\r\nHost:"),
            (Patience { head: LONG, connection: SHORT }, "GET /x HTTP/1.1\r\nHost:"),
            (Patience { head: LONG, connection: SHORT }, "GET /never HTTP/1.1\r\nHost: ws.test\r\n\r\n"),
        ] {
            let (address, serving) = server(patience).await;
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(request.as_bytes()).await.unwrap();
            let got = heard(client).await;
            assert!(!got.contains("200"), "{request}: {got}");
            serving.abort();
        }
    }
}
