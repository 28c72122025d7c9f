//! One connection at the edge, from its first byte to its last HTTP answer: limits, routes, endpoints.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::pin,
    rc::Rc,
    sync::Arc,
};

use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
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
        head_guard::{GuardedIo, HeadLimits, Refused},
        peer::Peer,
        reply::{self, Body},
        router::{Route, Routes},
        websocket,
    },
    observe::journal::{self, RefusedHandshake},
    policy::{
        connections::{Connections, Permit},
        verdict::{Refusal, RefusalKind},
    },
    relay::{dial::Dialler, worker::Worker},
    session::plain::PlainRoute,
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
    rules: RefCell<Arc<EdgeRules>>,
    stage: watch::Receiver<Stage>,
    serving: Cell<usize>,
}

impl Edge {
    /// The edge of `worker`. Once `stage` says that it is drained, connections that carry no session are closed.
    #[must_use]
    pub fn new(
        worker: Rc<Worker>,
        connections: Arc<Connections>,
        rules: Arc<EdgeRules>,
        stage: watch::Receiver<Stage>,
    ) -> Rc<Self> {
        Rc::new(Self { worker, connections, rules: RefCell::new(rules), stage, serving: Cell::new(0) })
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
        let admission = Rc::new(RefCell::new(admitted));
        let (io, refused) = GuardedIo::new(stream, rules.head);
        let service = service_fn(|request| {
            let (edge, admission, refused) = (Rc::clone(&self), Rc::clone(&admission), refused.clone());
            async move { Ok::<_, Infallible>(edge.answer(request, socket, &admission, &refused).await) }
        });
        let connection = rules.head.http1().serve_connection(TokioIo::new(io), service).with_upgrades();
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

    async fn answer(
        self: Rc<Self>,
        mut request: Request<Incoming>,
        socket: SocketAddr,
        admission: &RefCell<Result<Option<Permit>, Refusal>>,
        refused: &Refused,
    ) -> Response<Body> {
        if let (Some(answer), Some(error)) = (refused.answer(request.method()), refused.error()) {
            self.worker.tally.refused("head", error.code());
            return answer;
        }
        if let Err(refusal) = *admission.borrow() {
            return self.refuse("connection", refusal, socket.ip(), request.headers());
        }
        let rules = Arc::clone(&self.rules.borrow());
        let peer = Peer::of(socket, request.headers(), &rules.trusted_proxies, false);
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let route = rules.routes.route(&parts);
        if matches!(route, Route::Engineio(_) | Route::Websocket(_))
            && let Err(refusal) = self.worker.rules().policies.admit(&parts)
        {
            return self.refuse("handshake", refusal, peer.address, &parts.headers);
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
