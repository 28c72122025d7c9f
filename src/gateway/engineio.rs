//! The Engine.IO endpoint: handshakes over both transports, then the requests that bring the sid of a session.

mod handshake;
mod polling;
mod upgrade;

use std::{rc::Rc, sync::Arc};

use http::{Response, request::Parts};
use hyper::{body::Incoming, upgrade::OnUpgrade};

use crate::{
    gateway::{
        cors,
        edge::{Edge, EdgeRules},
        head_guard::Refused,
        peer::Peer,
        reply::{self, Body},
        router::EngineRoute,
    },
    policy::{bearer::Bearer, connections::Permit, verdict::Refusal},
    relay::mailbox::{ClientRequest, Letter},
    session::Transport,
    wire::engineio::{error::EngineError, open::Sid},
};

/// A request to the endpoint.
pub(super) struct EngineRequest {
    pub(super) parts: Parts,
    pub(super) body: Incoming,
    pub(super) on_upgrade: OnUpgrade,
    pub(super) peer: Peer,
    /// Says why the body broke off, where the guard did that.
    pub(super) refused: Refused,
}

/// Answers a request. `permit` takes the place among the open connections that a session over websocket goes on with.
pub(super) async fn answer(
    edge: &Rc<Edge>,
    rules: Arc<EdgeRules>,
    route: EngineRoute,
    request: EngineRequest,
    permit: impl FnOnce() -> Result<Option<Permit>, Refusal>,
) -> Response<Body> {
    let headers = request.parts.headers.clone();
    let mut answer = match route {
        EngineRoute::Preflight => cors::preflight(&headers),
        EngineRoute::Handshake(Transport::Websocket) => match permit() {
            Ok(permit) => return handshake::over_websocket(edge, rules, request, permit),
            Err(refusal) => edge.refuse("handshake", refusal, request.peer.address, &headers),
        },
        // The connection goes on to serve other requests, so the session has a place of its own.
        EngineRoute::Handshake(Transport::Polling) => match edge.connections.admit(request.peer.address) {
            Ok(permit) => handshake::over_polling(edge, rules, &request, permit).await,
            Err(refusal) => edge.refuse("handshake", refusal, request.peer.address, &headers),
        },
        EngineRoute::Poll(sid) => polling::poll(edge, sid, &request).await,
        EngineRoute::Post(sid) => polling::post(edge, &rules, sid, request).await,
        EngineRoute::Upgrade(sid) => return upgrade::upgrade(edge, &rules, sid, request).await,
    };
    cors::allow(&edge.worker.rules().policies.origins, &headers, &mut answer);
    answer
}

/// Engine.IO's own error.
pub(super) fn refused(error: EngineError) -> Response<Body> {
    reply::json(error.status(), error.code(), error)
}

/// Hands a request to the session with this sid.
fn deliver(edge: &Edge, sid: Sid, bearer: Bearer, request: ClientRequest) {
    edge.worker.registry.deliver(sid, Letter { bearer, request });
}

/// What the request shows of who sends it.
fn bearer(edge: &Edge, parts: &Parts, peer: &Peer) -> Bearer {
    let token = edge.worker.rules().policies.token_sources.from_request(parts);
    Bearer::new(&token, &parts.headers, peer.address)
}
