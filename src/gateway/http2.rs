//! HTTP/2 (RFC 9113): the same requests in another framing, judged by the same rules as a head of HTTP/1.1.
//!
//! Only over TLS, for clients that negotiate it. A WebSocket needs HTTP/1.1; browsers open another connection for it.

pub mod frame_watch;

use std::{
    cell::Cell,
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    rt::Executor,
    server::conn::http2::{Builder, Connection},
    service::HttpService,
};
use hyper_util::rt::{TokioIo, TokioTimer};

use self::frame_watch::{Flooded, WatchedIo};
use crate::{
    gateway::{
        head_guard::{HeadError, HeadRules, judge_head, respelled},
        reply::{self, Body},
    },
    relay::stream::ClientStream,
};

/// Requests at once on one connection; a client needs two for long-polling.
const STREAMS_MAX: u32 = 64;
/// Streams that a client may have opened and reset before they are served (CVE-2023-44487).
const RESETS_MAX: usize = 20;
/// Unread bytes of one body, and of all bodies of a connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// A list of headers may be so many times as large as a head before it is refused unread: h2 answers such a one by itself,
/// and nothing is counted or logged of it.
const LIST_FACTOR: u32 = 4;
/// Unsent bytes of one stream.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// Interval of HTTP/2 pings, and how long their answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(25);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long open requests may take after the graceful shutdown began.
const PARTING: Duration = Duration::from_secs(5);

/// Futures of this thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalExecutor;

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async {
            future.await;
        });
    }
}

/// The connection of a client that negotiated HTTP/2, as hyper serves it.
type Served<S> = Connection<TokioIo<WatchedIo<ClientStream>>, S, LocalExecutor>;

/// A connection of a client that negotiated HTTP/2, and whether it was closed for a flood of frames.
pub(super) fn connection<S>(io: ClientStream, limits: &HeadRules, service: S) -> (Served<S>, Flooded)
where
    S: HttpService<Incoming, ResBody = Attended<Body>> + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
{
    let mut builder = Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX).saturating_mul(LIST_FACTOR))
        .max_send_buf_size(SEND_BYTES_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let (io, flooded) = WatchedIo::new(io);
    (builder.serve_connection(TokioIo::new(io), service), flooded)
}

/// Brings a request into its HTTP/1.1 form and judges it there.
///
/// # Errors
/// The rule that it breaks.
pub fn normalize<B>(request: &mut Request<B>, rules: &HeadRules) -> Result<(), HeadError> {
    let authority = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let headers = request.headers_mut();
    if let Some(authority) = authority {
        let authority = authority.map_err(|_| HeadError::HostInvalid)?;
        if headers.get_all(header::HOST).iter().any(|host| host != authority) {
            return Err(HeadError::HostInvalid);
        }
        headers.insert(header::HOST, authority);
    }
    // RFC 9113 §8.2.3: a cookie may be split into several fields.
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1 {
        let cookie = HeaderValue::from_bytes(&cookies.join(&b"; "[..])).map_err(|_| HeadError::FieldValue)?;
        headers.insert(header::COOKIE, cookie);
    }
    let mut head = format!("{} {target} HTTP/1.1\r\n", request.method()).into_bytes();
    for (name, value) in request.headers() {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(piece);
        }
    }
    head.extend_from_slice(b"\r\n");
    if head.len() > rules.head_bytes {
        return Err(HeadError::HeadTooLarge);
    }
    judge_head(&head, rules.header_fields)?;
    let target = match respelled(target.as_bytes()) {
        Some(target) => String::from_utf8(target).map_err(|_| HeadError::TargetByte)?,
        None => target,
    };
    // Routes, policies and the service expect origin-form, as over HTTP/1.1.
    *request.uri_mut() = target.parse().map_err(|_| HeadError::TargetByte)?;
    Ok(())
}

/// The answer to a WebSocket request over HTTP/2.
pub(super) fn no_websocket() -> Response<Body> {
    reply::at("handshake", reply::json(StatusCode::BAD_REQUEST, "bad_handshake", "A WebSocket is opened over HTTP/1.1"))
}

/// Tracks whether a connection is idle.
#[derive(Debug)]
pub(super) struct Activity {
    requests: Cell<u32>,
    idle_since: Cell<Instant>,
    patience: Cell<Duration>,
    /// The idle time from the first request on.
    between: Duration,
}

/// A request that is being served.
#[derive(Debug)]
pub(super) struct Serving(Rc<Activity>);

/// The body of an answer. The connection is busy while the service has yet to send more of it, and idle while the
/// client does not read it.
#[derive(Debug)]
pub(super) struct Attended<B> {
    body: B,
    activity: Rc<Activity>,
    awaiting: Option<Serving>,
}

impl Activity {
    /// A client has `first` for its first request, then `between` from one request to the next.
    pub(super) fn new(first: Duration, between: Duration) -> Rc<Self> {
        let (idle_since, patience) = (Cell::new(Instant::now()), Cell::new(first));
        Rc::new(Self { requests: Cell::new(0), idle_since, patience, between })
    }

    pub(super) fn begin(self: &Rc<Self>) -> Serving {
        self.requests.set(self.requests.get() + 1);
        self.patience.set(self.between);
        Serving(Rc::clone(self))
    }

    /// The same answer with a body that keeps the connection busy.
    pub(super) fn attend<B>(self: &Rc<Self>, answer: Response<B>) -> Response<Attended<B>> {
        answer.map(|body| Attended { body, activity: Rc::clone(self), awaiting: None })
    }

    async fn ceased(&self) {
        loop {
            let patience = self.patience.get();
            let until = self.idle_since.get() + patience;
            if self.requests.get() == 0 && Instant::now() >= until {
                return;
            }
            let look_at = if self.requests.get() == 0 { until } else { Instant::now() + patience };
            tokio::time::sleep_until(look_at.into()).await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get() - 1);
        self.0.idle_since.set(Instant::now());
    }
}

impl<B: HttpBody + Unpin> HttpBody for Attended<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        // hyper polls only while the client's window has room.
        let Self { body, activity, awaiting } = self.get_mut();
        let frame = Pin::new(body).poll_frame(cx);
        *awaiting = if frame.is_pending() { Some(awaiting.take().unwrap_or_else(|| activity.begin())) } else { None };
        activity.idle_since.set(Instant::now());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Serves until the client closes, is idle for too long, or `leave` completes.
pub(super) async fn serve<S>(connection: Served<S>, activity: &Activity, leave: impl Future)
where
    S: HttpService<Incoming, ResBody = Attended<Body>> + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
{
    let mut connection = pin!(connection);
    tokio::select! {
        // An error here is the client's.
        _ = connection.as_mut() => return,
        () = activity.ceased() => {}
        _ = leave => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(PARTING, connection).await;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::stream::poll_fn;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::{sync::mpsc, time::timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_connection_is_idle_when_its_last_request_is_answered_and_some_time_after() {
        let activity = Activity::new(PATIENCE, PATIENCE);
        let (one, other) = (activity.begin(), activity.begin());
        drop(one);
        assert!(timeout(PATIENCE * 5, activity.ceased()).await.is_err(), "a request is served");
        drop(other);
        let answered = Instant::now();
        activity.ceased().await;
        assert!(answered.elapsed() >= PATIENCE);
    }
    #[tokio::test]
    async fn a_client_may_take_longer_from_one_request_to_the_next_than_for_its_first() {
        const LONG: Duration = Duration::from_secs(3600);
        let activity = Activity::new(PATIENCE, LONG);
        timeout(LONG / 2, activity.ceased()).await.expect("it has asked for nothing");
        drop(activity.begin());
        assert!(timeout(PATIENCE * 5, activity.ceased()).await.is_err(), "it has asked before");
    }

    #[tokio::test]
    async fn a_connection_is_not_idle_while_the_service_is_at_an_answer_but_while_the_client_does_not_take_it() {
        let activity = Activity::new(PATIENCE, PATIENCE);
        let (service, mut sent) = mpsc::channel(1);
        let body = StreamBody::new(poll_fn(move |cx| sent.poll_recv(cx)));
        let mut answer = activity.attend(Response::new(body)).into_body();
        for _ in 0..3 {
            let (idle, frame) = (activity.ceased(), answer.frame());
            let late = async {
                assert!(timeout(PATIENCE * 5, idle).await.is_err(), "the service is slow");
                service.send(Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"tick")))).await.unwrap();
            };
            let (frame, ()) = tokio::join!(frame, late);
            assert!(frame.unwrap().unwrap().is_data());
        }
        timeout(PATIENCE * 50, activity.ceased()).await.expect("the client takes no more");
    }
}
