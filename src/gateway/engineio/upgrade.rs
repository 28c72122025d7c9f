//! Upgrades a polling client to a WebSocket.

use std::{future::poll_fn, rc::Rc, time::Duration};

use http::request::Parts;

use super::request::{answer_of, deliver, rejected, sender, wants_base64};
use crate::{
    gateway::{
        edge::{Edge, EdgeRules},
        peer::Peer,
        reply,
        upgrade::{self, Client, Declined, Switch},
    },
    relay::{
        inflow::Inflow,
        request::{SessionRequest, Transfer, Upgrade},
        responder::Responder,
    },
    session::answer::Close,
    wire::{
        engineio::id::Sid,
        websocket::{frame::Sender, handshake},
    },
};

/// How long a client may take to close a superfluous WebSocket.
const LINGER: Duration = Duration::from_secs(2);

/// Completes the handshake and hands the WebSocket to the session, which may be on another thread.
pub(in crate::gateway) async fn upgrade(
    edge: &Rc<Edge>,
    rules: &EdgeRules,
    sid: Sid,
    parts: &Parts,
    peer: &Peer,
) -> Result<Switch, Declined> {
    let from = sender(edge, parts, peer);
    let offer = handshake::check_request(parts).map_err(|error| upgrade::refused(&error))?;
    let (responder, answered) = Responder::awaited();
    deliver(edge, sid, from.clone(), SessionRequest::Upgrade(responder));
    let verdict = answer_of(answered.await).map_err(|why| reply::closing(rejected(why)))?;
    let session_rules = edge.worker.rules();
    let protocol = session_rules.session.policies.token_sources.selected_subprotocol(&parts.headers);
    let answer = upgrade::switching_protocols(&offer, protocol);
    let (edge, max_payload, base64) = (Rc::clone(edge), rules.open.max_payload, wants_base64(&parts.uri));
    let go_on = async move |client: Client| match verdict {
        Upgrade::Probe => {
            let Some((io, read_ahead)) = client.into_parts().await else { return };
            deliver(&edge, sid, from, Transfer::Websocket { io, read_ahead, base64 });
        }
        Upgrade::Close => close(client, max_payload).await,
    };
    let begin = Box::new(move |client| drop(tokio::task::spawn_local(go_on(client))));
    Ok(Switch { answer, begin })
}

/// Closes a second WebSocket without a code, as engine.io does.
async fn close(client: Client, max_payload: u64) {
    let inflow = Inflow::new(Sender::Client, max_payload, false);
    let mut leg = client.into_leg(inflow);
    let now = std::time::Instant::now();
    leg.say_close(Close { code: None, reason: "" }, now);
    let mut buffer = [0; 256];
    // The connection ends whether or not the client answers.
    let _ = tokio::time::timeout(LINGER, poll_fn(|cx| leg.end(&mut buffer, now, cx))).await;
}
