//! What both WebSocket endpoints share: the client's handshake, its completion, and the request to the service.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use hyper::upgrade::OnUpgrade;

use crate::{
    gateway::{
        edge::EdgeRules,
        head_guard,
        peer::{self, NominatedHeader, Peer},
        reply::{self, Body},
        router::Query,
    },
    policy::token_source::TokenSources,
    relay::{dial::DialRequest, stream::ClientStream},
    session::Transport,
    wire::websocket::handshake::{self, Upgrade, UpgradeError},
};

/// Query keys of the client's own transport.
const CLIENT_TRANSPORT_KEYS: [&str; 4] = ["sid", "t", "j", "b64"];

/// A client after its handshake.
pub(super) struct Client {
    pub(super) io: ClientStream,
    pub(super) read_ahead: Bytes,
}

/// The answer to an invalid upgrade request.
pub(super) fn refused(error: &UpgradeError) -> Response<Body> {
    let mut answer = reply::json(error.status(), "bad_handshake", error);
    if *error == UpgradeError::Version {
        let version = HeaderValue::from_static(handshake::VERSION);
        answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, version);
    }
    reply::closing(answer)
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

/// The connection after hyper has sent the 101; `None` where the client has gone.
pub(super) async fn completed(on_upgrade: OnUpgrade) -> Option<Client> {
    let (io, read_ahead) = head_guard::reclaim(on_upgrade.await.ok()?).ok()?;
    Some(Client { io, read_ahead })
}

/// The handshake request to the service: the client's target and headers without those that must not pass.
pub(super) fn dial_request(
    parts: &Parts,
    rules: &EdgeRules,
    sources: &TokenSources,
    peer: &Peer,
) -> Result<DialRequest, NominatedHeader> {
    let query = Query::of(&parts.uri);
    let left_out: Vec<&str> = CLIENT_TRANSPORT_KEYS.into_iter().chain(sources.query_keys()).collect();
    let mut query = query.without(&left_out);
    if Query::new(&query).get("transport").as_deref() == Some(Transport::Polling.name()) {
        // The service sees a WebSocket, whichever transport the client uses.
        let others = Query::new(&query).without(&["transport"]);
        query = format!("{others}{}transport=websocket", if others.is_empty() { "" } else { "&" });
    }
    let path = parts.uri.path();
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut headers = parts.headers.clone();
    let protocols = sources.subprotocols(&parts.headers).into_iter().map(str::to_owned).collect();
    peer::clean_request(&mut headers, &rules.identity_headers)?;
    for name in [
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_VERSION,
        header::SEC_WEBSOCKET_EXTENSIONS,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::SEC_WEBSOCKET_ACCEPT,
    ] {
        headers.remove(name);
    }
    peer.set_forwarded(&mut headers);
    Ok(DialRequest { target, headers, protocols })
}

/// The answer to a request whose `Connection` header names an identifying header.
pub(super) fn refused_header(nominated: &NominatedHeader) -> Response<Body> {
    reply::closing(reply::json(StatusCode::BAD_REQUEST, "http_connection", nominated))
}
