//! One request to the Engine.IO endpoint: what it carries, and how it reaches the session that it names.

use http::{Response, request::Parts};
use hyper::body::Incoming;

use crate::{
    gateway::{
        edge::Edge,
        head_guard::Refused,
        peer::Peer,
        reply::{self, Body},
    },
    policy::sid_owner::SidOwner,
    relay::{registry::Target, request},
    wire::engineio::{error::EngineError, id::Sid},
};

/// A request to the endpoint.
pub(in crate::gateway) struct EngineRequest {
    pub(in crate::gateway) parts: Parts,
    pub(in crate::gateway) body: Incoming,
    pub(in crate::gateway) peer: Peer,
    /// Tells why the body broke off, where the head guard cut it off.
    pub(in crate::gateway) refused: Refused,
}

/// Identifies the sender, so that only the owner of a sid can use it.
pub(super) fn sender(edge: &Edge, parts: &Parts, peer: &Peer) -> SidOwner {
    let token = edge.worker.rules().session.policies.token_sources.from_request(parts);
    SidOwner::new(&token, &parts.headers, peer.address)
}

/// Hands a request to the session with this sid.
pub(super) fn deliver(edge: &Edge, sid: Sid, from: SidOwner, incoming: impl Into<request::Incoming>) {
    edge.worker.deliver(Target::Sid(sid), Some(from), incoming);
}

/// The answer to a request that breaks a rule of Engine.IO.
pub(in crate::gateway) fn refused(error: EngineError) -> Response<Body> {
    reply::json(error.status(), error.code(), error)
}
