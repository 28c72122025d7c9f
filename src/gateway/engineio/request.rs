//! One request to the Engine.IO endpoint: what it carries, and how it reaches the session that it names.

use http::{Response, Uri, request::Parts};
use hyper::body::Incoming;
use tokio::sync::oneshot::error::RecvError;

use crate::{
    gateway::{
        edge::Edge,
        head_guard::Refused,
        peer::Peer,
        reply::{self, Body, Counts},
        router::Query,
    },
    policy::sid_owner::Requester,
    relay::{registry::Target, request, responder::Rejection},
    wire::engineio::{error::EngineError, id::Sid},
};

/// What the log says of a sid that is unknown.
const NO_SESSION: &str = "no session here has this sid: it has ended, the node has started anew since, or a balancer sends one \
                          client to several nodes; the client connects anew by itself";

/// A request to the endpoint.
pub(in crate::gateway) struct EngineRequest {
    pub(in crate::gateway) parts: Parts,
    pub(in crate::gateway) body: Incoming,
    pub(in crate::gateway) peer: Peer,
    /// Tells why the body broke off, where the head guard cut it off.
    pub(in crate::gateway) refused: Refused,
}

/// Identifies the sender, so that only the owner of a sid can use it.
pub(super) fn sender(edge: &Edge, parts: &Parts, peer: &Peer) -> Requester {
    let token = edge.worker.rules().session.policies.token_sources.from_request(parts);
    Requester::new(token, &parts.headers, peer.address)
}

/// Whether the client wants binary messages of its WebSocket as base64 in text: `forceBase64` of official clients. As Node reads
/// it, every value but none means yes.
pub(super) fn wants_base64(uri: &Uri) -> bool {
    Query::of(uri).get("b64").is_some_and(|b64| !b64.is_empty())
}

/// Hands a request to the session with this sid.
pub(super) fn deliver(edge: &Edge, sid: Sid, from: Requester, incoming: impl Into<request::Incoming>) {
    edge.worker.deliver(Target::Sid(sid), Some(from), incoming);
}

/// The answer to a request that breaks a rule of Engine.IO.
pub(in crate::gateway) fn refused(error: EngineError) -> Response<Body> {
    let answer = reply::json(error.status(), error.code(), error);
    reply::telling(answer, |pending| (pending.stage, pending.reason) = ("handshake", error.reason()))
}

/// The answer to a request that the session which it names, or whoever looks for that, refuses. It was counted there.
pub(super) fn rejected(Rejection { error, reason, fault }: Rejection) -> Response<Body> {
    reply::telling(refused(error), |pending| {
        (pending.stage, pending.reason, pending.counts) = ("session", reason, Counts::No);
        if reason == EngineError::SessionUnknown.reason() {
            pending.why = NO_SESSION.to_owned();
        }
        if let Some(fault) = fault {
            (pending.why, pending.setting) = (fault.to_string(), fault.setting());
        }
    })
}

/// What came of a request. A session that has ended answers nothing.
pub(super) fn answer_of<T>(answered: Result<Result<T, Rejection>, RecvError>) -> Result<T, Rejection> {
    answered.unwrap_or_else(|_| Err(EngineError::SessionUnknown.into()))
}
