//! Serves one connection, from its first byte to its last HTTP answer, and hands each request to its endpoint.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::{body::Incoming, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch, task::spawn_local, time::timeout};

use crate::{
    gateway::{
        admission::Admission,
        client_script, cors,
        drain::{self, Stage},
        edge::{Edge, EdgeRules, refuse},
        engineio::{self, request::EngineRequest},
        forward::Forwarding,
        head_guard::{GuardedIo, HeadRules, KEEP_ALIVE_IDLE, Refused},
        http2,
        peer::Peer,
        reply::{self, Body},
        request_summary::RequestSummary,
        router::{Route, WebsocketRoute},
        upgrade::{self, Client, Declined, Switch},
        websocket::{self, route::PlainRoute},
    },
    policy::{connections::Permit, verdict::Refusal},
    relay::stream::ClientStream,
    tls::{
        ClientCertificate,
        handshake::{Arrival, Handshakes, Protocol},
    },
};

/// How long a connection over a limit may take with its request and the answer.
const REFUSED_PATIENCE: Duration = Duration::from_secs(2);
/// How long a connection of HTTP/2 over a limit may be idle once it has heard so.
const REFUSED_IDLE: Duration = Duration::from_millis(100);
/// How much of a request is taken that is answered unheard.
const UNHEARD_BYTES: usize = 2048;

/// The server of one worker thread.
#[derive(Debug)]
pub struct Server {
    edge: Rc<Edge>,
    /// `None`: clients speak plain HTTP.
    handshakes: Option<Handshakes>,
    stage: watch::Receiver<Stage>,
    /// Each connection holds a clone while it is served and carries no session.
    serving: Rc<()>,
    /// Each connection that hears why it is refused holds a clone.
    refusing: Rc<()>,
    refusing_max: usize,
}

impl Server {
    /// Serves `edge`, behind TLS where there are `handshakes`. Once `stage` is draining, connections without a session
    /// are closed. At most `refusing_max` connections beyond a limit are heard before they are refused.
    #[must_use]
    pub fn new(
        edge: Rc<Edge>,
        handshakes: Option<Handshakes>,
        refusing_max: usize,
        stage: watch::Receiver<Stage>,
    ) -> Rc<Self> {
        Rc::new(Self { edge, handshakes, stage, serving: Rc::default(), refusing: Rc::default(), refusing_max })
    }

    /// Whether every connection has ended or become a session.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        Rc::strong_count(&self.serving) == 1
    }

    /// Serves a connection that was accepted. Whether it is over a limit is known before anything is done for it.
    pub fn accept(self: &Rc<Self>, stream: TcpStream, socket: SocketAddr) {
        let (rules, ip) = (self.edge.rules(), socket.ip());
        // Behind a trusted proxy all clients share one address, so each session is counted by itself.
        let by_request = rules.trusted_proxies.iter().any(|proxy| proxy.contains(&ip));
        if let Some(handshakes) = self.handshakes.as_ref().filter(|_| !by_request)
            && !rules.handshake_rate.admit(ip, Instant::now())
        {
            return handshakes.refuse(stream, ip);
        }
        match Admission::of(&self.edge, ip, by_request) {
            Ok(admission) => drop(spawn_local(Rc::clone(self).serve(stream, socket, admission))),
            Err(refusal) => self.turn_away(stream, socket, refusal),
        }
    }

    /// Answers a connection over a limit. It has no descriptor of clients, so few at once are heard, and not for long; any
    /// other is answered unheard, or closed where it would need a TLS handshake.
    fn turn_away(self: &Rc<Self>, stream: TcpStream, socket: SocketAddr, refusal: Refusal) {
        let (server, place) = (Rc::clone(self), Rc::clone(&self.refusing));
        if Rc::strong_count(&place) - 1 > self.refusing_max {
            let answer = self.edge.refuse_unheard("connection", refusal, socket.ip());
            if self.handshakes.is_none() {
                // A connection that is closed with unread bytes is reset, and the answer may be lost.
                let _ = stream.try_read(&mut [0; UNHEARD_BYTES]);
                let _ = stream.try_write(&answer);
            }
            return;
        }
        spawn_local(async move {
            let _place = place;
            let refusing = Rc::clone(&server).serve(stream, socket, Admission::refused(refusal));
            if timeout(REFUSED_PATIENCE, Box::pin(refusing)).await.is_err() {
                server.edge.refuse_unheard("connection", refusal, socket.ip());
            }
        });
    }

    /// Serves one connection until it ends or becomes a session. Rare and large futures are boxed, so that this task stays
    /// small.
    async fn serve(self: Rc<Self>, stream: TcpStream, socket: SocketAddr, admission: Admission) {
        let _serving = Rc::clone(&self.serving);
        let rules = self.edge.rules();
        let Some(arrival) = self.arrive(stream, socket.ip(), &rules).await else { return };
        let client = Rc::new(Connection {
            socket,
            tls: arrival.tls,
            certificate: arrival.certificate,
            admission: RefCell::new(admission),
        });
        let mut head = rules.head;
        if arrival.tls {
            // TLS had the first half of the time.
            head.handshake_timeout /= 2;
        }
        match arrival.protocol {
            Protocol::Http1 => self.serve_http1(arrival.io, client, &head).await,
            Protocol::Http2 => Box::pin(self.serve_http2(arrival.io, client, &head)).await,
        }
    }

    async fn arrive(&self, stream: TcpStream, ip: IpAddr, rules: &EdgeRules) -> Option<Arrival> {
        let Some(handshakes) = &self.handshakes else { return Some(Arrival::plain(stream)) };
        // The first request has the other half of the time.
        let within = rules.head.handshake_timeout / 2;
        Box::pin(handshakes.accept(stream, ip, within)).await
    }

    /// Answers a first request for a WebSocket without hyper, because most connections bring no other. hyper serves all
    /// others, and every refusal.
    async fn serve_http1(self: Rc<Self>, io: ClientStream, client: Rc<Connection>, head: &HeadRules) {
        let (mut io, refused) = GuardedIo::new(io, *head);
        let asks_for_websocket = tokio::select! {
            biased;
            asks = poll_fn(|cx| io.poll_upgrade(cx)) => asks,
            () = drain::begins(self.stage.clone()) => false,
        };
        let first = if asks_for_websocket { self.open_first(&io, &client).await } else { None };
        let refusal = match first {
            Some(Ok(Switch { answer, begin })) => return begin(Client::without_hyper(io, &answer)),
            Some(Err(refusal)) => Some(*refusal),
            None => None,
        };
        Box::pin(self.serve_hyper(io, client, head, refused, refusal)).await;
    }

    /// Answers the first request of a connection. `None` if it does not open a WebSocket.
    async fn open_first(&self, io: &GuardedIo<ClientStream>, client: &Connection) -> Option<Result<Switch, Declined>> {
        let parts = upgrade::read_request(io.head())?;
        let rules = self.edge.rules();
        let Route::Websocket(route) = rules.routes.route(&parts) else { return None };
        let opened = match self.admit(&rules, Route::Websocket(route), &parts, client) {
            Ok(peer) => self.open(rules, route, &parts, peer, client).await,
            Err(refusal) => Err(refusal),
        };
        Some(opened.map_err(|mut refusal| {
            self.edge.tell(&RequestSummary::of_head(self.address(client, &parts.headers), &parts), &mut refusal);
            refusal
        }))
    }

    /// Serves a connection with hyper. `refusal` is the answer to its first request, `None` if that was not judged yet.
    async fn serve_hyper(
        self: Rc<Self>,
        io: GuardedIo<ClientStream>,
        client: Rc<Connection>,
        head: &HeadRules,
        refused: Refused,
        refusal: Option<Response<Body>>,
    ) {
        let refusal = Cell::new(refusal);
        let service = service_fn(|request| {
            let (server, client, refused) = (Rc::clone(&self), Rc::clone(&client), refused.clone());
            let refusal = refusal.take();
            async move {
                Ok::<_, Infallible>(match refusal {
                    Some(refusal) => refusal,
                    None => server.answer(request, &client, &refused).await,
                })
            }
        });
        let connection = head.http1().serve_connection(TokioIo::new(io), service).with_upgrades();
        let mut connection = pin!(connection);
        tokio::select! {
            // An error here is the client's; each refusal was counted when it was answered.
            _ = connection.as_mut() => {}
            () = drain::begins(self.stage.clone()) => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }

    async fn serve_http2(self: Rc<Self>, io: ClientStream, client: Rc<Connection>, head: &HeadRules) {
        let peer = client.socket.ip();
        let between = if client.is_refused() { REFUSED_IDLE } else { KEEP_ALIVE_IDLE };
        let activity = http2::Activity::new(head.handshake_timeout, between);
        let service = {
            let (server, activity, rules) = (Rc::clone(&self), Rc::clone(&activity), *head);
            service_fn(move |mut request| {
                let (server, client, activity) = (Rc::clone(&server), Rc::clone(&client), Rc::clone(&activity));
                let serving = activity.begin();
                async move {
                    let _serving = serving;
                    let summary = server.summary(&request, &client);
                    let answer = match http2::normalize(&mut request, &rules) {
                        Ok(()) => server.answer(request, &client, &Refused::default()).await,
                        Err(error) => {
                            let mut answer = error.answer();
                            server.edge.tell(&summary, &mut answer);
                            answer
                        }
                    };
                    Ok::<_, Infallible>(activity.attend(answer))
                }
            })
        };
        let leave = drain::begins(self.stage.clone());
        let (connection, flooded) = http2::connection(io, head, service);
        http2::serve(connection, &activity, leave).await;
        if flooded.is_set() {
            self.edge.record_refusal("http2", "control_flood", peer);
        }
    }

    /// What the log may show of a request.
    fn summary<B>(&self, request: &Request<B>, client: &Connection) -> RequestSummary {
        let address = self.address(client, request.headers());
        RequestSummary::of(address, request.method(), request.uri(), request.version(), request.headers())
    }

    /// The client's address, as far as it is known before its request is judged.
    fn address(&self, client: &Connection, headers: &HeaderMap) -> IpAddr {
        Peer::of(client.socket, headers, &self.edge.rules().trusted_proxies, client.tls).address
    }

    /// Answers a request. A refusal is counted and logged here, whoever refuses.
    async fn answer(&self, request: Request<Incoming>, client: &Connection, refused: &Refused) -> Response<Body> {
        let summary = self.summary(&request, client);
        let mut answer = self.respond(request, client, refused).await;
        self.edge.tell(&summary, &mut answer);
        answer
    }

    async fn respond(&self, mut request: Request<Incoming>, client: &Connection, refused: &Refused) -> Response<Body> {
        if let Some(answer) = refused.answer(request.method()) {
            return answer;
        }
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let rules = self.edge.rules();
        let route = rules.routes.route(&parts);
        let origin = parts.headers.get(header::ORIGIN).cloned();
        let request = Routed { parts, body, rules, on_upgrade };
        let mut answer = self.respond_at(route, request, client, refused).await;
        // A page may read whatever the gate says of itself, and why it is refused. No page reads the answer to a WebSocket.
        if !matches!(route, Route::Forward | Route::Websocket(_)) {
            cors::allow(&self.edge.worker.rules().session.policies.origins, origin, &mut answer);
        }
        answer
    }

    async fn respond_at(
        &self,
        route: Route,
        request: Routed,
        client: &Connection,
        refused: &Refused,
    ) -> Response<Body> {
        let Routed { parts, body, rules, on_upgrade } = request;
        let peer = match self.admit(&rules, route, &parts, client) {
            Ok(peer) => peer,
            Err(refusal) => return *refusal,
        };
        match route {
            Route::Forward => {
                let version = parts.version;
                let answer = self.forward(&rules, Request::from_parts(parts, body), &peer, refused).await;
                self.edge.worker.tally.http(answer.status().as_u16());
                // So that the next request goes to another node. A poll is not told so: it would lose its session there.
                let moves_on = self.stage.borrow().is_leaving() && version != Version::HTTP_2;
                if moves_on { reply::closing(answer) } else { answer }
            }
            Route::ClientScript => client_script::answer(&parts.headers),
            Route::Refused(error) => reply::closing(engineio::request::refused(error)),
            Route::Engineio(route) => {
                let request = EngineRequest { parts, body, peer, refused: refused.clone() };
                engineio::answer(&self.edge, rules, route, request).await
            }
            Route::Ambiguous => {
                let message =
                    "The path may mean the Socket.IO endpoint or a WebSocket route to one reader, and not to another";
                reply::at("handshake", reply::closing(reply::json(StatusCode::BAD_REQUEST, "path_ambiguous", message)))
            }
            Route::Websocket(_) if parts.version == Version::HTTP_2 => http2::no_websocket(),
            Route::Websocket(route) => match self.open(rules, route, &parts, peer, client).await {
                Ok(Switch { answer, begin }) => {
                    spawn_local(async {
                        if let Some(client) = Client::after_hyper(on_upgrade).await {
                            begin(client);
                        }
                    });
                    answer
                }
                Err(refusal) => *refusal,
            },
        }
    }

    async fn forward(
        &self,
        rules: &EdgeRules,
        request: Request<Incoming>,
        peer: &Peer,
        refused: &Refused,
    ) -> Response<Body> {
        let place = match self.edge.admit_request(peer.address, request.version()) {
            Ok(place) => place,
            Err(refusal) => return refuse("request", refusal),
        };
        let tally = &self.edge.worker.tally;
        let forwarding = Forwarding { peer, identity: &rules.identity_headers, place, tally };
        let answer = rules.forward.forward(request, forwarding).await;
        match refused.error().filter(|error| error.is_in_body()) {
            Some(error) => error.answer(),
            None => answer,
        }
    }

    /// Checks connection limits and policies for this route. Returns the client of the request.
    fn admit(&self, rules: &EdgeRules, route: Route, parts: &Parts, client: &Connection) -> Result<Peer, Declined> {
        if let Err(refusal) = client.admission.borrow().permit {
            return Err(refuse("connection", refusal).into());
        }
        let peer = Peer::of(client.socket, &parts.headers, &rules.trusted_proxies, client.tls)
            .with_certificate(client.certificate.clone());
        // No foreign page opens a session, or gets the script that would.
        let opens = match route {
            Route::Engineio(_) | Route::ClientScript => true,
            Route::Websocket(route) => route != WebsocketRoute::Unknown,
            Route::Forward | Route::Refused(_) | Route::Ambiguous => false,
        };
        if opens && let Err(refusal) = self.edge.worker.rules().session.policies.admit(parts, peer.site()) {
            // To compare with the origin.
            let asked = peer.site().to_string();
            return Err(reply::telling(refuse("handshake", refusal), |pending| pending.asked = Some(asked)).into());
        }
        Ok(peer)
    }

    /// Answers a request for a WebSocket.
    async fn open(
        &self,
        rules: Arc<EdgeRules>,
        route: WebsocketRoute,
        parts: &Parts,
        peer: Peer,
        client: &Connection,
    ) -> Result<Switch, Declined> {
        let refuse = |refusal| refuse("handshake", refusal);
        match route {
            WebsocketRoute::Handshake => {
                self.edge.has_memory().map_err(refuse)?;
                let permit = client.permit(&self.edge, peer.address).map_err(refuse)?;
                Box::pin(engineio::over_websocket(&self.edge, rules, parts, peer, permit)).await
            }
            WebsocketRoute::Upgrade(sid) => engineio::upgrade(&self.edge, &rules, sid, parts, &peer).await,
            WebsocketRoute::Plain(index) => {
                self.edge.has_memory().map_err(refuse)?;
                let permit = client.permit(&self.edge, peer.address).map_err(refuse)?;
                Box::pin(websocket::open(&self.edge, rules, parts, peer, permit, index)).await
            }
            WebsocketRoute::Unknown => {
                let message = "There is no WebSocket route at this path";
                let answer = reply::closing(reply::json(StatusCode::NOT_FOUND, "no_websocket_route", message));
                let paths: Vec<_> = rules.websocket.iter().map(PlainRoute::path).collect();
                Err(reply::telling(answer, |pending| {
                    // Which paths there are is for the operator alone.
                    pending.why = match paths.is_empty() {
                        true => "there is no [[websocket]] table at all".to_owned(),
                        false => format!("no [[websocket]] has this path; there are {}", paths.join(", ")),
                    };
                    pending.stage = "handshake";
                })
                .into())
            }
        }
    }
}

/// A request whose route is known.
struct Routed {
    parts: Parts,
    body: Incoming,
    rules: Arc<EdgeRules>,
    on_upgrade: OnUpgrade,
}

/// A client's connection, whichever request comes over it.
struct Connection {
    socket: SocketAddr,
    tls: bool,
    certificate: Option<Arc<ClientCertificate>>,
    /// What it may use, until a session takes it over.
    admission: RefCell<Admission>,
}

impl Connection {
    fn is_refused(&self) -> bool {
        self.admission.borrow().permit.is_err()
    }

    /// The permit that a session takes over from its connection, or one of its own.
    fn permit(&self, edge: &Edge, address: IpAddr) -> Result<Option<Permit>, Refusal> {
        self.admission.borrow_mut().take(edge, address)
    }
}
