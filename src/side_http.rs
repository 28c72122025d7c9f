//! An HTTP/1 server for short answers beside the gate: one request a connection, bounded in number, size and time.

use std::{collections::VecDeque, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

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
    /// For a connection, with its one request and answer.
    connection: Duration,
}

/// A status, a type, a body in one piece.
pub type Answer = Response<Full<Bytes>>;

/// Who asks: an extension of each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Answers requests on `listener` until it is dropped, and with it every connection. Of more than `connections_max` at
/// once the oldest is closed: a slow client keeps no other out.
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
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= connections_max
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        oldest_first.push_back(connections.spawn(connection(stream, Peer(peer), patience, Arc::clone(&answer))));
    }
}

async fn connection<A, F>(stream: TcpStream, peer: Peer, patience: Patience, answer: Arc<A>)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_buf_size(HEADER_BYTES_MAX)
        // One request a connection: scrapes are seconds apart, and an idle connection would hold a place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that goes away, or is too slow, gets no answer.
    let _ = timeout(patience.connection, serving).await;
}

/// Text for people.
#[must_use]
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, "text/plain; charset=utf-8", body)
}

/// A body of the given type, which no browser shall keep or take for something else.
#[must_use]
pub fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        task::JoinHandle,
    };

    use super::*;

    /// As good as for ever: a test that waits for it has found that another time is ignored.
    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(100);
    const CONNECTIONS_MAX: usize = 16;

    /// A server that says which URI it was asked for, and never answers to `/never`.
    async fn server(patience: Patience) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = |request: Request<Incoming>| async move {
            if request.uri() == "/never" {
                std::future::pending::<()>().await;
            }
            text(StatusCode::OK, request.uri().to_string())
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
