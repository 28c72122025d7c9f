//! The Engine.IO endpoint: the handshake over WebSocket, then a session that has yet to join a namespace.

use std::{rc::Rc, sync::Arc, time::Instant};

use http::{Response, request::Parts};
use hyper::upgrade::OnUpgrade;

use crate::{
    gateway::{
        edge::{Edge, EdgeRules},
        peer::Peer,
        reply::Body,
        upgrade::{self, Client},
    },
    policy::{connections::Permit, token_source::Token, verdict::Refusal},
    relay::{
        dial::DialRequest,
        driver::{Driver, Route},
        inflow::Inflow,
        leg::{upstream::UpstreamLeg, websocket::WebSocketLeg},
    },
    session::{Session, socketio::SocketIo},
    wire::{
        engineio::open::{Open, Sid},
        websocket::{
            frame::{OpCode, Sender},
            handshake,
        },
    },
};

/// Answers the handshake. Whoever the client is, it is upgraded: a refusal that is final must be said inside the
/// session, or official clients come back for ever.
pub(super) fn open(
    edge: &Rc<Edge>,
    rules: Arc<EdgeRules>,
    parts: &Parts,
    on_upgrade: OnUpgrade,
    peer: Peer,
    permit: Option<Permit>,
) -> Response<Body> {
    let offer = match handshake::check_request(parts) {
        Ok(offer) => offer,
        Err(error) => return upgrade::refused(&error),
    };
    let session_rules = edge.worker.rules();
    let sources = &session_rules.policies.token_sources;
    let token = sources.from_request(parts);
    let request = match upgrade::dial_request(parts, &rules, sources, &peer) {
        Ok(request) => request,
        Err(nominated) => return upgrade::refused_header(&nominated),
    };
    let answer = upgrade::switching_protocols(&offer, sources.answered_subprotocol(&parts.headers));
    let edge = Rc::clone(edge);
    tokio::task::spawn_local(async move {
        if let Some(client) = upgrade::completed(on_upgrade).await {
            begin(&edge, &rules, client, token, request, &peer, permit);
        }
    });
    answer
}

fn begin(
    edge: &Edge,
    rules: &EdgeRules,
    client: Client,
    token: Result<Option<Token>, Refusal>,
    request: DialRequest,
    peer: &Peer,
    permit: Option<Permit>,
) {
    let now = Instant::now();
    let worker = &edge.worker;
    let session_rules = worker.rules();
    let sid = Sid::new(rand::random());
    let mut opening = Vec::new();
    Open { sid, ..rules.open }.encode(&mut opening);
    let socketio = SocketIo::new(sid, token, now + session_rules.terms.connect_timeout);
    let session = Session::socketio(peer.address, socketio, &session_rules.policies, &session_rules.terms, now);
    let inflow = Inflow::new(Sender::Client, rules.open.max_payload, false);
    let mut leg = WebSocketLeg::new(client.io, Sender::Service, inflow, &client.read_ahead);
    leg.say(OpCode::Text, &opening, now);
    let route = Route { dialler: rules.dialler.clone(), request };
    worker.spawn(session, now, |cell| {
        let upstream = UpstreamLeg::Idle { waiting: Vec::new() };
        Driver::new(Rc::clone(worker), cell, leg, upstream, Some(route), permit)
    });
}
