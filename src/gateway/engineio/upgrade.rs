//! Upgrades a polling client to a WebSocket.

use std::{future::poll_fn, rc::Rc, time::Duration};

use http::Response;

use super::request::{EngineRequest, deliver, refused};
use crate::{
    gateway::{
        edge::{Edge, EdgeRules},
        reply::{self, Body},
        upgrade::{self, Client},
    },
    relay::{
        inflow::Inflow,
        leg::websocket::WebSocketLeg,
        mailbox::{ClientRequest, Reply, Upgrade},
    },
    session::answer::Close,
    wire::{
        engineio::{error::EngineError, open::Sid},
        websocket::{frame::Sender, handshake},
    },
};

/// How long a client may take to close a superfluous WebSocket.
const LINGER: Duration = Duration::from_secs(2);

/// Completes the handshake and hands the WebSocket to the session, which may be on another thread.
pub(super) async fn upgrade(edge: &Rc<Edge>, rules: &EdgeRules, sid: Sid, request: EngineRequest) -> Response<Body> {
    let bearer = request.bearer(edge);
    let offer = match handshake::check_request(&request.parts) {
        Ok(offer) => offer,
        Err(error) => return upgrade::refused(&error),
    };
    let (reply, answered) = Reply::awaited();
    deliver(edge, sid, bearer.clone(), ClientRequest::Upgrade(reply));
    let verdict = match answered.await.unwrap_or(Err(EngineError::SessionUnknown)) {
        Ok(verdict) => verdict,
        Err(error) => return reply::closing(refused(error)),
    };
    let session_rules = edge.worker.rules();
    let protocol = session_rules.policies.token_sources.answered_subprotocol(&request.parts.headers);
    let answer = upgrade::switching_protocols(&offer, protocol);
    let (edge, max_payload) = (Rc::clone(edge), rules.open.max_payload);
    tokio::task::spawn_local(async move {
        let Some(client) = upgrade::completed(request.on_upgrade).await else { return };
        match verdict {
            Upgrade::Probe => {
                let Client { io, read_ahead } = client;
                deliver(&edge, sid, bearer, ClientRequest::Websocket(io, read_ahead));
            }
            Upgrade::Close => close(client, max_payload).await,
        }
    });
    answer
}

/// Closes a second WebSocket without a code, as engine.io does.
async fn close(client: Client, max_payload: u64) {
    let inflow = Inflow::new(Sender::Client, max_payload, false);
    let mut leg = WebSocketLeg::new(client.io, Sender::Service, inflow, &[]);
    let now = std::time::Instant::now();
    leg.say_close(Close { code: None, reason: "" }, now);
    let mut buffer = [0; 256];
    // The connection ends whether or not the client answers.
    let _ = tokio::time::timeout(LINGER, poll_fn(|cx| leg.end(&mut buffer, now, cx))).await;
}
