//! Forwards all other HTTP requests to the service, streamed both ways. Only hop-by-hop headers are removed.

mod upload;

use std::{
    error::Error,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderName, Request, Response, StatusCode, Uri, Version, uri};
use http_body_util::Either;
use hyper::{body::Incoming, ext::on_informational};
use hyper_util::{
    client::legacy::{
        self, Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::sync::Notify;
use tower_service::Service;

use self::upload::{Upload, UploadError};
use super::{
    head_guard::{BODY_GRACE, HeadError},
    peer::{Peer, clean_request, strip_hop_by_hop},
    reply::{self, Body},
    service_body::ServiceBody,
};
use crate::{
    observe::{journal, refusals::Refused, tally::Tally},
    policy::requests::Place,
    relay::{
        dial::{Dialler, INTERIM_ANSWERS_MAX},
        dial_error::DialError,
        dial_outcome,
        service_state::ServiceState,
        stream::ServiceStream,
    },
};

/// Node closes idle connections after 5 s by default; an older one might close under a request.
const POOL_IDLE: Duration = Duration::from_secs(4);
/// How long a client may not take an answer, and less than 1 KiB/s of it. Longer than for a request: what the kernel
/// has taken in of an answer reaches a slow client only after a while.
const ANSWER_GRACE: Duration = Duration::from_secs(60);

/// Forwards ordinary HTTP requests to the service, over a pool of connections.
#[derive(Debug, Clone)]
pub struct Forward {
    client: Client<Connector, Upload>,
    service: uri::Authority,
    response_timeout: Duration,
}

/// What a request holds and who counts it.
#[derive(Debug)]
pub struct Forwarding<'a> {
    /// Who sent it.
    pub peer: &'a Peer,
    /// Headers that only we may set.
    pub identity: &'a [HeaderName],
    /// Its place among the requests under way, kept until the client has its answer.
    pub place: Place,
    /// Counts clients that are too slow.
    pub tally: &'a Arc<Tally>,
}

impl Forward {
    /// An empty pool whose connections `dialler` makes, of which at most `pool` are kept while idle. The service must begin
    /// its answer within `response_timeout`. `state` learns from each connection, made or failed.
    #[must_use]
    pub fn new(dialler: Dialler, response_timeout: Duration, pool: usize, state: Arc<ServiceState>) -> Self {
        let service = dialler.authority().clone();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(pool)
            .build(Connector { dialler, state });
        Self { client, service, response_timeout }
    }

    /// The service's answer to `request`, or our own if the service gives none.
    pub async fn forward(&self, request: Request<Incoming>, forwarding: Forwarding<'_>) -> Response<Body> {
        let Forwarding { peer, identity, place, tally } = forwarding;
        let (mut parts, body) = request.into_parts();
        if let Err(nominated) = clean_request(&mut parts.headers, identity) {
            return reply::closing(reply::json(StatusCode::BAD_REQUEST, "http_connection", nominated));
        }
        peer.set_forwarded(&mut parts.headers);
        parts.uri = match self.uri(&parts.uri) {
            Ok(uri) => uri,
            Err(_) => return reply::json(StatusCode::BAD_REQUEST, "http_syntax", "The request target is not valid"),
        };
        parts.version = Version::HTTP_11;
        let (upload, progress) = Upload::new(body, BODY_GRACE);
        let mut request = Request::from_parts(parts, upload);
        let too_many_interim = count_interim(&mut request);
        let answer = self.client.request(request);
        tokio::select! {
            biased;
            () = too_many_interim.notified() => broken(),
            answer = answer => match answer {
                Ok(answer) => answered(answer, peer, place, tally),
                Err(error) => failed(&error),
            },
            () = progress.stalled(self.response_timeout) => {
                reply::json(StatusCode::GATEWAY_TIMEOUT, "upstream.timeout", "The service did not answer in time")
            }
        }
    }

    /// The same path and query, byte for byte, at the service.
    fn uri(&self, uri: &Uri) -> Result<Uri, http::Error> {
        let target = uri.path_and_query().map_or("/", uri::PathAndQuery::as_str);
        Uri::builder().scheme("http").authority(self.service.clone()).path_and_query(target).build()
    }
}

/// Connects to the service as sessions do, whatever the URL says.
#[derive(Debug, Clone)]
struct Connector {
    dialler: Dialler,
    state: Arc<ServiceState>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<ServiceStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (connect, state) = (self.dialler.connect(), Arc::clone(&self.state));
        Box::pin(async move {
            let began = Instant::now();
            let outcome = connect.await;
            dial_outcome::request_dialled(&state, &outcome, began, Instant::now());
            outcome.map(TokioIo::new)
        })
    }
}

impl Connection for ServiceStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Notifies when the service has sent more interim answers (1xx) than are put up with before its answer. They are not
/// passed on.
fn count_interim<B>(request: &mut Request<B>) -> Arc<Notify> {
    let (notify, seen) = (Arc::new(Notify::new()), AtomicU8::new(0));
    let notified = Arc::clone(&notify);
    on_informational(request, move |_| {
        if seen.fetch_add(1, Relaxed) >= INTERIM_ANSWERS_MAX {
            notify.notify_one();
        }
    });
    notified
}

fn answered(answer: Response<Incoming>, peer: &Peer, place: Place, tally: &Arc<Tally>) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    // `Upgrade` was removed from the request, so a 101 is a fault of the service.
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return broken();
    }
    strip_hop_by_hop(&mut parts.headers);
    parts.version = Version::HTTP_11;
    let (tally, address) = (Arc::clone(tally), peer.address);
    let body = ServiceBody::new(body, place, ANSWER_GRACE, move || too_slow(&tally, address, "answer_timeout"));
    Response::from_parts(parts, Either::Right(body))
}

fn failed(error: &legacy::Error) -> Response<Body> {
    if error.is_connect() {
        return reply::json(StatusCode::BAD_GATEWAY, "upstream.unreachable", "The service cannot be reached");
    }
    // The client's body broke off. If the head guard cut it off, the caller replaces this answer.
    let cause = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    let Some(cause) = cause.filter(|cause| cause.is_user()) else { return broken() };
    if let Some(UploadError::TooSlow) = cause.source().and_then(|source| source.downcast_ref()) {
        return HeadError::BodyTimeout.answer();
    }
    reply::closing(reply::json(StatusCode::BAD_REQUEST, "http_framing", "The request body broke off"))
}

/// Counts and logs a client that keeps the service waiting.
fn too_slow(tally: &Tally, peer: IpAddr, reason: &'static str) {
    tally.refused("request", reason);
    journal::refused(&Refused::of(peer, "request", reason));
}

fn broken() -> Response<Body> {
    reply::json(StatusCode::BAD_GATEWAY, "upstream.broken", "The service broke off before it answered")
}

#[cfg(test)]
mod tests;
