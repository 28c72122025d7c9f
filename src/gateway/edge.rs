//! One connection at the edge, from its first byte to its last HTTP answer: limits, routes, endpoints.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::pin,
    rc::Rc,
    sync::Arc,
};

use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Version, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::{net::TcpStream, sync::watch};

use crate::{
    gateway::{
        cors,
        drain::Stage,
        engineio::{self, EngineRequest},
        forward::Forward,
        head_guard::{GuardedIo, HeadLimits, KEEP_ALIVE_IDLE, Refused},
        http2,
        peer::Peer,
        reply::{self, Body},
        router::{Route, Routes},
        websocket,
    },
    observe::journal::{self, RefusedHandshake},
    policy::{
        connections::{Connections, Permit},
        handshake_rate::HandshakeRate,
        verdict::{Refusal, RefusalKind},
    },
    relay::{dial::Dialler, stream::ClientStream, worker::Worker},
    session::plain::PlainRoute,
    tls::{
        ClientCertificate,
        handshake::{Arrival, Handshakes, Protocol},
    },
    wire::engineio::open::Open,
};

/// What the edge obeys; replaced as a whole by a reload.
#[derive(Debug)]
pub struct EdgeRules {
    /// Which request goes where.
    pub routes: Routes,
    /// The plain routes, by the number that `routes` gives.
    pub websocket: Vec<Arc<PlainRoute>>,
    /// Bounds of a request head.
    pub head: HeadLimits,
    /// How often one address may shake hands.
    pub handshake_rate: HandshakeRate,
    /// Proxies whose word on the client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Headers that only Tidegate may set.
    pub identity_headers: Vec<HeaderName>,
    /// What Engine.IO clients that poll are told at the handshake; its sid is a blank.
    pub open: Open,
    /// The name of the cookie with the sid, where one is set.
    pub sid_cookie: Option<String>,
    /// The largest message of a client on a plain route, in bytes.
    pub max_payload: u64,
    /// How sessions reach the service.
    pub dialler: Dialler,
    /// How ordinary HTTP reaches the service.
    pub forward: Forward,
}

/// The edge of one worker thread.
#[derive(Debug)]
pub struct Edge {
    /// The sessions of this thread.
    pub worker: Rc<Worker>,
    /// How many connections the node has.
    pub connections: Arc<Connections>,
    /// Where clients come over TLS, what is done first.
    handshakes: Option<Handshakes>,
    rules: RefCell<Arc<EdgeRules>>,
    stage: watch::Receiver<Stage>,
    serving: Cell<usize>,
}

impl Edge {
    /// The edge of `worker`; with `handshakes`, behind TLS. Once `stage` says that it is drained, connections that carry
    /// no session are closed.
    #[must_use]
    pub fn new(
        worker: Rc<Worker>,
        connections: Arc<Connections>,
        handshakes: Option<Handshakes>,
        rules: Arc<EdgeRules>,
        stage: watch::Receiver<Stage>,
    ) -> Rc<Self> {
        Rc::new(Self { worker, connections, handshakes, rules: RefCell::new(rules), stage, serving: Cell::new(0) })
    }

    /// New rules, for every request from now on.
    pub fn adopt(&self, rules: Arc<EdgeRules>) {
        self.rules.replace(rules);
    }

    /// Is no connection served that has not become a session?
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.serving.get() == 0
    }

    /// Serves one connection until it ends or becomes a session.
    pub async fn serve(self: Rc<Self>, stream: TcpStream, socket: SocketAddr) {
        let _serving = Serving::new(Rc::clone(&self));
        let rules = Arc::clone(&self.rules.borrow());
        // Behind a proxy all clients share one address: there each session is counted by itself.
        let by_request = rules.trusted_proxies.iter().any(|proxy| proxy.contains(&socket.ip()));
        let admitted = if by_request { Ok(None) } else { self.connections.admit(socket.ip()).map(Some) };
        let Some(arrival) = self.arrive(stream, socket.ip(), &rules, !by_request).await else { return };
        let caller = Rc::new(Caller {
            socket,
            tls: arrival.tls,
            certificate: arrival.certificate,
            admitted: RefCell::new(admitted),
        });
        let mut head = rules.head;
        if arrival.tls {
            // The first half of the time was for TLS.
            head.handshake_timeout /= 2;
        }
        match arrival.protocol {
            Protocol::Http1 => self.serve_http1(arrival.io, caller, &head).await,
            Protocol::Http2 => self.serve_http2(arrival.io, caller, &head).await,
        }
    }

    async fn arrive(&self, stream: TcpStream, ip: IpAddr, rules: &EdgeRules, limited: bool) -> Option<Arrival> {
        let Some(handshakes) = &self.handshakes else { return Some(Arrival::plain(stream)) };
        // The other half of the time is for the first request.
        let within = rules.head.handshake_timeout / 2;
        let rate = limited.then_some(&rules.handshake_rate);
        handshakes.accept(stream, ip, within, rate).await
    }

    async fn serve_http1(self: Rc<Self>, io: ClientStream, caller: Rc<Caller>, head: &HeadLimits) {
        let (io, refused) = GuardedIo::new(io, *head);
        let service = service_fn(|request| {
            let (edge, caller, refused) = (Rc::clone(&self), Rc::clone(&caller), refused.clone());
            async move { Ok::<_, Infallible>(edge.answer(request, &caller, &refused).await) }
        });
        let connection = head.http1().serve_connection(TokioIo::new(io), service).with_upgrades();
        let mut connection = pin!(connection);
        let mut stage = self.stage.clone();
        tokio::select! {
            // What ends a connection early is the client's own affair; what it was told is counted where it was said.
            _ = connection.as_mut() => {}
            _ = stage.wait_for(Stage::is_draining) => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }

    async fn serve_http2(self: Rc<Self>, io: ClientStream, caller: Rc<Caller>, head: &HeadLimits) {
        let activity = http2::Activity::new(head.handshake_timeout, KEEP_ALIVE_IDLE);
        let service = {
            let (edge, activity) = (Rc::clone(&self), Rc::clone(&activity));
            service_fn(move |mut request| {
                let (edge, caller, activity) = (Rc::clone(&edge), Rc::clone(&caller), Rc::clone(&activity));
                let serving = activity.begin();
                async move {
                    let _serving = serving;
                    let answer = match http2::normalize(&mut request) {
                        Ok(()) => edge.answer(request, &caller, &Refused::default()).await,
                        Err(error) => {
                            edge.worker.tally.refused("head", error.code());
                            reply::head_error(error)
                        }
                    };
                    Ok::<_, Infallible>(activity.attend(answer))
                }
            })
        };
        let mut stage = self.stage.clone();
        let leave = stage.wait_for(Stage::is_draining);
        http2::serve(http2::connection(io, head, service), &activity, leave).await;
    }

    async fn answer(
        self: Rc<Self>,
        mut request: Request<Incoming>,
        caller: &Caller,
        refused: &Refused,
    ) -> Response<Body> {
        let (socket, admission) = (caller.socket, &caller.admitted);
        if let (Some(answer), Some(error)) = (refused.answer(request.method()), refused.error()) {
            self.worker.tally.refused("head", error.code());
            return answer;
        }
        if let Err(refusal) = *admission.borrow() {
            return self.refuse("connection", refusal, socket.ip(), request.headers());
        }
        let rules = Arc::clone(&self.rules.borrow());
        let peer = Peer::of(socket, request.headers(), &rules.trusted_proxies, caller.tls)
            .with_certificate(caller.certificate.clone());
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let route = rules.routes.route(&parts);
        if matches!(route, Route::Engineio(_) | Route::Websocket(_))
            && let Err(refusal) = self.worker.rules().policies.admit(&parts)
        {
            return self.refuse("handshake", refusal, peer.address, &parts.headers);
        }
        if parts.version == Version::HTTP_2 && route.opens_websocket() {
            self.worker.tally.refused("handshake", "bad_handshake");
            return http2::no_websocket();
        }
        match route {
            Route::Forward => {
                let request = Request::from_parts(parts, body);
                let answer = rules.forward.forward(request, &peer, &rules.identity_headers).await;
                let answer = refused.answer_in_body().unwrap_or(answer);
                self.worker.tally.http(answer.status().as_u16());
                answer
            }
            Route::Refused(error) => {
                self.worker.tally.refused("handshake", error.reason());
                let mut answer = reply::closing(engineio::refused(error));
                cors::allow(&self.worker.rules().policies.origins, &parts.headers, &mut answer);
                answer
            }
            Route::NoWebsocket => {
                self.worker.tally.refused("handshake", "no_websocket_route");
                let message = "There is no WebSocket route at this path";
                reply::closing(reply::json(StatusCode::NOT_FOUND, "no_websocket_route", message))
            }
            Route::Engineio(route) => {
                let permit = || self.permit(admission, peer.address);
                let refused = refused.clone();
                let request = EngineRequest { parts, body, on_upgrade, peer: peer.clone(), refused };
                engineio::answer(&self, rules, route, request, permit).await
            }
            Route::Websocket(index) => match self.permit(admission, peer.address) {
                Ok(permit) => websocket::open(&self, rules, &parts, on_upgrade, peer, permit, index).await,
                Err(refusal) => self.refuse("handshake", refusal, peer.address, &parts.headers),
            },
        }
    }

    /// The place among the open connections that the session takes over.
    fn permit(
        &self,
        admission: &RefCell<Result<Option<Permit>, Refusal>>,
        address: IpAddr,
    ) -> Result<Option<Permit>, Refusal> {
        match std::mem::replace(&mut *admission.borrow_mut(), Ok(None)) {
            Ok(None) => self.connections.admit(address).map(Some),
            taken => taken,
        }
    }

    /// The HTTP answer to a refusal, counted and logged.
    pub(super) fn refuse(
        &self,
        stage: &'static str,
        refusal: Refusal,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Response<Body> {
        self.worker.tally.refused(stage, refusal.code);
        self.worker.tally.error(refusal.code);
        // What is no visible ASCII is no origin, and not for a log either.
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        journal::refused_handshake(&RefusedHandshake { peer, stage, reason: refusal.code, origin });
        reply::closing(reply::json(status_of(refusal.kind), refusal.code, refusal.message))
    }
}

/// Who is at the other end of a connection.
struct Caller {
    socket: SocketAddr,
    tls: bool,
    certificate: Option<Arc<ClientCertificate>>,
    admitted: RefCell<Result<Option<Permit>, Refusal>>,
}

/// Counts a connection for as long as it is served.
struct Serving(Rc<Edge>);

impl Serving {
    fn new(edge: Rc<Edge>) -> Self {
        edge.serving.set(edge.serving.get() + 1);
        Self(edge)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.set(self.0.serving.get() - 1);
    }
}

const fn status_of(kind: RefusalKind) -> StatusCode {
    match kind {
        RefusalKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        RefusalKind::Forbidden => StatusCode::FORBIDDEN,
        RefusalKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        RefusalKind::Malformed => StatusCode::BAD_REQUEST,
        RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}
