//! Long-polling: a GET waits for packets, a POST delivers them.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::time::{Instant, timeout_at};

use super::request::{EngineRequest, answer_of, deliver, refused, rejected, sender};
use crate::{
    gateway::{
        edge::{Edge, EdgeRules},
        head_guard::{BODY_GRACE, HeadError},
        patience::Patience,
        reply::{self, Body},
        upgrade,
    },
    policy::requests::Place,
    relay::{
        request::SessionRequest,
        responder::{Polled, Rejection, Responder},
    },
    wire::engineio::{error::EngineError, id::Sid, payload},
};

/// How many bytes beyond `maxPayload` are read and discarded. A client that still sends when the connection closes sees
/// a reset instead of the answer.
const DISCARDED_MAX: u64 = 8_000_000;

/// Why a payload of too many packets is refused.
const TOO_MANY: &str = "payload_packets";

/// Waits for packets. The answer comes with the first packet, at the latest a ping.
pub(super) async fn poll(edge: &Edge, sid: Sid, request: &EngineRequest) -> Response<Body> {
    let (responder, answered) = Responder::awaited();
    deliver(edge, sid, sender(edge, &request.parts, &request.peer), SessionRequest::Poll(responder));
    packets(edge, answer_of(answered.await))
}

/// Accepts a payload as a whole. One that breaks off is discarded. It has its `place` while the client is waited for.
pub(super) async fn post(
    edge: &Edge,
    rules: &EdgeRules,
    sid: Sid,
    request: EngineRequest,
    place: Place,
) -> Response<Body> {
    let from = sender(edge, &request.parts, &request.peer);
    if let Some(answer) = refused_type(&request.parts) {
        return answer;
    }
    let body = match read(edge, rules, request).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    drop(place);
    if payload::packets(&body) > rules.payload_packets {
        return too_many(rules.payload_packets);
    }
    let (responder, answered) = Responder::awaited();
    deliver(edge, sid, from, SessionRequest::Payload(body, responder));
    match answer_of(answered.await) {
        // As engine.io answers, so that old browsers do not offer a download.
        Ok(()) => content("text/html", Bytes::from_static(b"ok")),
        Err(why) => rejected(why),
    }
}

/// The answer to a poll.
pub(super) fn packets(edge: &Edge, answered: Result<Polled, Rejection>) -> Response<Body> {
    match answered {
        Ok(Polled { packets, headers }) => {
            let mut answer = content("text/plain; charset=UTF-8", edge.worker.memory.hold().over(packets));
            if let Some(headers) = headers {
                upgrade::bring(&edge.rules(), *headers, &mut answer);
            }
            answer
        }
        Err(why) => rejected(why),
    }
}

fn content(kind: &'static str, bytes: Bytes) -> Response<Body> {
    let mut answer = Response::new(reply::body(bytes));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Engine.IO 4 has text payloads only, whatever type they are said to have; engine.io refuses the type of the binary
/// payloads of version 3. No client compresses them.
fn refused_type(parts: &Parts) -> Option<Response<Body>> {
    if parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream") {
        return Some(reply::at("session", reply::closing(refused(EngineError::BadRequest))));
    }
    parts.headers.contains_key(header::CONTENT_ENCODING).then(|| {
        let message = "A payload is sent as it is, without Content-Encoding";
        reply::at(
            "session",
            reply::closing(reply::json(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_encoding", message)),
        )
    })
}

/// Reads a payload. Its bytes count from their arrival until the session has judged the last of them.
async fn read(edge: &Edge, rules: &EdgeRules, request: EngineRequest) -> Result<Bytes, Response<Body>> {
    let max = rules.open.max_payload;
    let EngineRequest { mut body, refused: guard, .. } = request;
    if body.size_hint().lower() > max + DISCARDED_MAX {
        return Err(too_big(max));
    }
    let (mut payload, mut received, mut held) = (Vec::new(), 0, edge.worker.memory.hold());
    let mut patience = Patience::new(BODY_GRACE);
    loop {
        let Ok(frame) = timeout_at(patience.wait(Instant::now()), body.frame()).await else {
            return Err(HeadError::BodyTimeout.answer());
        };
        let Some(frame) = frame else { break };
        let broken_off = || guard.answer_in_body().unwrap_or_else(|| reply::closing(refused(EngineError::BadRequest)));
        let Ok(piece) = frame.map_err(|_| broken_off())?.into_data() else { continue };
        patience.moved(piece.len(), Instant::now());
        received += piece.len() as u64;
        if received > max + DISCARDED_MAX {
            break;
        }
        if received > max {
            payload = Vec::new();
        } else {
            payload.extend_from_slice(&piece);
            if !held.grow(payload.capacity(), rules.request_memory) {
                return Err(reply::at("session", reply::closing(refused(EngineError::Overloaded))));
            }
        }
    }
    if received > max { Err(too_big(max)) } else { Ok(held.over(payload)) }
}

fn too_many(max: usize) -> Response<Body> {
    let message = format!("The payload has more than {max} packets");
    reply::at("session", reply::json(StatusCode::PAYLOAD_TOO_LARGE, TOO_MANY, message))
}

fn too_big(max: u64) -> Response<Body> {
    let message = format!("The payload is larger than maxPayload, {max} bytes");
    reply::at("session", reply::closing(reply::json(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_big", message)))
}
