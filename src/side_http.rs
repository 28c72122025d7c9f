//! An HTTP/1 server for short answers beside the gate: one request a connection, bounded in number, size and time.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

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
/// How long a connection may take with its one request and answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How large a request head may be.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// The pause after a failed `accept`, so that a lack of descriptors does not become a lack of processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A status, a type, a body in one piece.
pub type Answer = Response<Full<Bytes>>;

/// Answers requests on `listener` until it is dropped, and with it every connection. Of more than `connections_max` at
/// once the oldest is closed: a slow client keeps no other out.
pub async fn serve<A, F>(listener: TcpListener, connections_max: usize, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let answer = Arc::new(answer);
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
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
        oldest_first.push_back(connections.spawn(connection(stream, Arc::clone(&answer))));
    }
}

async fn connection<A, F>(stream: TcpStream, answer: Arc<A>)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        // One request a connection: scrapes are seconds apart, and an idle connection would hold a place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that goes away, or is too slow, gets no answer.
    let _ = timeout(CONNECTION_TIMEOUT, serving).await;
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_slow_client_keeps_no_other_out() {
        const MAX: usize = 16;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = |request: Request<Incoming>| async move { text(StatusCode::OK, request.uri().to_string()) };
        let serving = tokio::spawn(serve(listener, MAX, answer));
        let mut silent = Vec::new();
        for _ in 0..MAX * 2 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /x HTTP/1.1\r\nHost: ws.test\r\n\r\n").await.unwrap();
        let mut got = String::new();
        timeout(HEADER_TIMEOUT / 2, client.read_to_string(&mut got)).await.unwrap().unwrap();
        assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("/x"), "{got}");
        serving.abort();
    }
}
