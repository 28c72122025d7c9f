//! What both WebSocket endpoints share: the client's handshake, its completion, and the request to the service.

use std::{mem::MaybeUninit, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use tokio::io::AsyncWriteExt;

use crate::{
    gateway::{
        edge::EdgeRules,
        head_guard::{self, GuardedIo},
        peer::{self, NominatedHeader, Passing, Peer},
        reply::{self, Body, Counts},
        router::Query,
    },
    policy::{connections::HEADER_FIELDS_MAX, token_source::TokenSources},
    relay::{
        cookies, dial::PackedRequest, dial_answer::ServiceRefusal, inflow::Inflow, leg::websocket::WebSocketLeg,
        stream::ClientStream,
    },
    session::table::Transport,
    wire::websocket::{
        frame::Sender,
        handshake::{self, Upgrade, UpgradeError},
    },
};

/// Query keys of the client's own transport.
const CLIENT_TRANSPORT_KEYS: [&str; 4] = ["sid", "t", "j", "b64"];
/// Headers of the handshake itself, which each leg has for itself.
const HANDSHAKE_HEADERS: [HeaderName; 5] = [
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_ACCEPT,
];
/// The code of an answer that says what the service says.
pub(super) const UPSTREAM_REFUSED: &str = "upstream.refused";
/// The 101 and the first packet fit into this.
const FIRST_BYTES: usize = 512;

/// A 101, and what becomes of the connection behind it.
pub(super) struct Switch {
    pub(super) answer: Response<Body>,
    pub(super) begin: Begin,
}

/// An answer other than 101.
pub(super) type Declined = Box<Response<Body>>;

/// Goes on with the connection.
pub(super) type Begin = Box<dyn FnOnce(Client)>;

/// A client after its handshake.
pub(super) struct Client {
    io: ClientStream,
    read_ahead: Bytes,
    /// The 101 where it has yet to be sent: it goes out with the first packet, in one call.
    unsent: Vec<u8>,
}

impl Client {
    /// Of a connection that hyper has not read from.
    pub(super) fn without_hyper(io: GuardedIo<ClientStream>, answer: &Response<Body>) -> Self {
        let (io, read_ahead) = io.into_parts();
        let mut unsent = Vec::with_capacity(FIRST_BYTES);
        unsent.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        for (name, value) in answer.headers() {
            for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                unsent.extend_from_slice(piece);
            }
        }
        unsent.extend_from_slice(b"\r\n");
        Self { io, read_ahead, unsent }
    }

    /// Of a connection on which hyper sends the 101, after other answers. `None` where the client has gone meanwhile.
    pub(super) async fn after_hyper(on_upgrade: OnUpgrade) -> Option<Self> {
        let (io, read_ahead) = head_guard::reclaim(on_upgrade.await.ok()?).ok()?;
        Some(Self { io, read_ahead, unsent: Vec::new() })
    }

    /// As the leg of a session.
    pub(super) fn into_leg(self, inflow: Inflow) -> WebSocketLeg<ClientStream> {
        WebSocketLeg::new(self.io, Sender::Service, inflow, &self.read_ahead)
            .beginning_with(self.unsent, Instant::now())
    }

    /// The connection once the 101 is sent, with what was read of it. `None` where the client has gone meanwhile.
    pub(super) async fn into_parts(mut self) -> Option<(ClientStream, Bytes)> {
        self.io.write_all(&self.unsent).await.ok()?;
        self.io.flush().await.ok()?;
        Some((self.io, self.read_ahead))
    }
}

/// The request with this head, which the guard has found good. `None` where hyper is to say what is wrong with it.
pub(super) fn read_request(head: &[u8]) -> Option<Parts> {
    let mut lines = [const { MaybeUninit::uninit() }; HEADER_FIELDS_MAX as usize];
    let mut request = httparse::Request::new(&mut []);
    httparse::ParserConfig::default().parse_request_with_uninit_headers(&mut request, head, &mut lines).ok()?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(request.method?.as_bytes()).ok()?;
    parts.uri = Uri::try_from(request.path?).ok()?;
    parts.headers = handshake::headers(request.headers)?;
    Some(parts)
}

/// The answer to an invalid upgrade request.
pub(super) fn refused(error: &UpgradeError) -> Response<Body> {
    let mut answer = reply::json(error.status(), "bad_handshake", error);
    if *error == UpgradeError::Version {
        let version = HeaderValue::from_static(handshake::VERSION);
        answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, version);
    }
    reply::at("handshake", reply::closing(answer))
}

/// The answer 101.
pub(super) fn switching_protocols(upgrade: &Upgrade, protocol: Option<&str>) -> Response<Body> {
    let mut answer = Response::new(reply::body(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, handshake::accept(&upgrade.key));
    if let Some(protocol) = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    answer
}

/// The answer to a client that the service does not let in: what it would have been told without the gate.
pub(super) fn refused_by_service(refusal: &ServiceRefusal) -> Response<Body> {
    let status = if refusal.status.is_client_error() { refusal.status } else { StatusCode::BAD_GATEWAY };
    let answer = reply::closing(reply::json(status, UPSTREAM_REFUSED, &refusal.message));
    reply::telling(answer, |pending| (pending.stage, pending.counts) = ("handshake", Counts::Error))
}

/// Adds what the service's answer to its handshake brings the client. The gate's own headers and cookie stay what they are.
pub(super) fn bring(rules: &EdgeRules, brought: HeaderMap, answer: &mut Response<Body>) {
    let headers = answer.headers_mut();
    let is_ours = |name: &HeaderName, value: &HeaderValue| match *name {
        header::SET_COOKIE => cookies::name_of(value).is_some_and(|name| rules.sid_cookie.as_deref() == Some(name)),
        _ => false,
    };
    let ours: Vec<_> = headers.keys().filter(|name| *name != header::SET_COOKIE).cloned().collect();
    let mut last = None;
    for (name, value) in brought {
        // A name is given for the first of its values alone.
        last = name.or(last);
        if let Some(name) = last.clone().filter(|name| !ours.contains(name) && !is_ours(name, &value)) {
            headers.append(name, value);
        }
    }
}

/// The handshake request to the service: the client's target and headers without those that must not pass.
pub(super) fn dial_request(
    parts: &Parts,
    rules: &EdgeRules,
    sources: &TokenSources,
    peer: &Peer,
) -> Result<PackedRequest, NominatedHeader> {
    let protocols = sources.subprotocols(&parts.headers).into_iter().map(str::to_owned).collect();
    request_for(&dial_target(&parts.uri, sources), protocols, parts, rules, peer)
}

/// The same of a bridged route: the service is asked for its Socket.IO, without the query parameters in `left_out`, and for no
/// subprotocol.
pub(super) fn bridge_request(
    parts: &Parts,
    rules: &EdgeRules,
    sources: &TokenSources,
    peer: &Peer,
    service_path: &str,
    left_out: &[&str],
) -> Result<PackedRequest, NominatedHeader> {
    let left_out: Vec<&str> = left_out.iter().copied().chain(sources.removed_query_keys()).collect();
    let query = Query::of(&parts.uri).without(&left_out);
    let separator = if query.is_empty() { "" } else { "&" };
    let target = format!("{service_path}?EIO=4&transport=websocket{separator}{query}");
    request_for(&target, Vec::new(), parts, rules, peer)
}

fn request_for(
    target: &str,
    protocols: Vec<String>,
    parts: &Parts,
    rules: &EdgeRules,
    peer: &Peer,
) -> Result<PackedRequest, NominatedHeader> {
    let passing = Passing::of(&parts.headers, &rules.identity_headers)?;
    let forwarded: Vec<_> = peer.forwarded().collect();
    let passes = |name: &HeaderName| {
        passing.passes(name)
            && !peer::is_trust_header(name)
            && !HANDSHAKE_HEADERS.contains(name)
            && !forwarded.iter().any(|(ours, _)| ours == name)
    };
    let said = parts.headers.iter().filter(|(name, _)| passes(name));
    let headers = said.chain(forwarded.iter().map(|(name, value)| (name, value)));
    Ok(PackedRequest::new(target, headers, protocols))
}

/// Whatever the client comes by, the service sees a websocket.
fn dial_target(uri: &Uri, sources: &TokenSources) -> String {
    let query = Query::of(uri);
    let polls = query.get("transport").as_deref() == Some(Transport::Polling.name());
    let mut left_out: Vec<&str> = CLIENT_TRANSPORT_KEYS.into_iter().chain(sources.removed_query_keys()).collect();
    if polls {
        left_out.push("transport");
    }
    let mut query = query.without(&left_out);
    if polls {
        let separator = if query.is_empty() { "" } else { "&" };
        query = format!("{query}{separator}transport=websocket");
    }
    let path = uri.path();
    if query.is_empty() { path.to_owned() } else { [path, "?", &query].concat() }
}

/// The answer to a request whose `Connection` header names an identifying header.
pub(super) fn refused_header(nominated: NominatedHeader) -> Response<Body> {
    reply::closing(reply::json(StatusCode::BAD_REQUEST, "http_connection", nominated))
}
