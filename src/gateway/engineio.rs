//! The Engine.IO endpoint: handshakes over both transports, then requests that carry the sid of a session.

mod handshake;
mod polling;
pub(super) mod request;
mod upgrade;

use std::{rc::Rc, sync::Arc};

use http::Response;

pub(super) use self::{handshake::over_websocket, upgrade::upgrade};

use self::request::EngineRequest;
use crate::gateway::{
    cors,
    edge::{Edge, EdgeRules, refuse},
    reply::Body,
    router::EngineRoute,
};

/// Answers a request that stays HTTP.
pub(super) async fn answer(
    edge: &Rc<Edge>,
    rules: Arc<EdgeRules>,
    route: EngineRoute,
    request: EngineRequest,
) -> Response<Body> {
    match route {
        EngineRoute::Options => cors::preflight(&request.parts.headers),
        // The connection serves further requests, so the session needs a permit of its own.
        EngineRoute::Handshake => match edge.has_memory().and_then(|()| edge.admit(request.peer.address)) {
            Ok(permit) => handshake::over_polling(edge, rules, &request, permit).await,
            Err(refusal) => refuse("handshake", refusal),
        },
        EngineRoute::Poll(sid) => polling::poll(edge, sid, &request).await,
        EngineRoute::Post(sid) => match edge.requests.admit(request.peer.address) {
            Ok(place) => polling::post(edge, &rules, sid, request, place).await,
            Err(refusal) => refuse("request", refusal),
        },
    }
}
