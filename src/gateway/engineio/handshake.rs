//! The handshake: a sid, and a session that has yet to join a namespace.
//!
//! The session opens for every client: official clients reconnect for ever unless a final refusal is sent inside the
//! session.

use std::{rc::Rc, sync::Arc, time::Instant};

use http::{HeaderValue, Response, header, request::Parts};

use super::{
    polling,
    request::{EngineRequest, refused},
};
use crate::{
    gateway::{
        edge::{Edge, EdgeRules},
        peer::{NominatedHeader, Peer},
        reply::Body,
        upgrade::{self, Declined, Switch},
    },
    policy::{bearer::Bearer, connections::Permit, token_source::Token, verdict::Refusal},
    relay::{
        client_leg::ClientLeg,
        dial::PackedRequest,
        driver::Driver,
        inflow::Inflow,
        leg::{polling::PollingLeg, upstream::UpstreamLeg},
        mailbox::Reply,
    },
    session::{Session, socketio::SocketIo},
    wire::{
        engineio::{
            error::EngineError,
            open::{Open, Sid},
        },
        websocket::{
            frame::{OpCode, Sender},
            handshake,
        },
    },
};

/// An open packet fits into this.
const OPENING_BYTES: usize = 160;

/// What the handshake request says about the session, whichever its transport.
struct NewSession {
    sid: Sid,
    token: Result<Option<Token>, Refusal>,
    request: PackedRequest,
}

impl NewSession {
    fn read(edge: &Edge, rules: &EdgeRules, parts: &Parts, peer: &Peer) -> Result<Self, NominatedHeader> {
        let session_rules = edge.worker.rules();
        let sources = &session_rules.policies.token_sources;
        let token = sources.from_request(parts);
        let request = upgrade::dial_request(parts, rules, sources, peer)?;
        Ok(Self { sid: edge.worker.draw_sid(), token, request })
    }
}

/// Opens a session over polling. Its first packet is the answer.
pub(super) async fn over_polling(
    edge: &Rc<Edge>,
    rules: Arc<EdgeRules>,
    request: &EngineRequest,
    permit: Permit,
) -> Response<Body> {
    let EngineRequest { parts, peer, .. } = request;
    let session = match NewSession::read(edge, &rules, parts, peer) {
        Ok(session) => session,
        Err(nominated) => return upgrade::refused_header(nominated),
    };
    let (sid, bearer) = (session.sid, Bearer::new(&session.token, &parts.headers, peer.address));
    let mut leg = PollingLeg::new(rules.open.max_payload);
    leg.say(OpCode::Text, &opening(&Open { sid, ..rules.open }));
    let (reply, packets) = Reply::awaited();
    if leg.poll(reply).is_err() {
        return refused(EngineError::BadRequest);
    }
    let client = ClientLeg::Polling(Box::new(leg));
    begin(edge, client, Some(bearer), session, peer, Some(permit));
    let mut answer = polling::packets(packets.await);
    if let Some(cookie) = sid_cookie(&rules, sid, peer) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

/// Upgrades the client and opens a session over the websocket.
pub(in crate::gateway) fn over_websocket(
    edge: &Rc<Edge>,
    rules: Arc<EdgeRules>,
    parts: &Parts,
    peer: Peer,
    permit: Option<Permit>,
) -> Result<Switch, Declined> {
    let upgrade = handshake::check_request(parts).map_err(|error| upgrade::refused(&error))?;
    let session = NewSession::read(edge, &rules, parts, &peer).map_err(upgrade::refused_header)?;
    let session_rules = edge.worker.rules();
    let protocol = session_rules.policies.token_sources.answered_subprotocol(&parts.headers);
    let mut answer = upgrade::switching_protocols(&upgrade, protocol);
    if let Some(cookie) = sid_cookie(&rules, session.sid, &peer) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    let edge = Rc::clone(edge);
    let begin = Box::new(move |client: upgrade::Client| {
        let mut leg = client.into_leg(Inflow::new(Sender::Client, rules.open.max_payload, false));
        let open = Open { sid: session.sid, upgrades: false, ..rules.open };
        leg.say(OpCode::Text, &opening(&open), Instant::now());
        begin(&edge, ClientLeg::Websocket(leg), None, session, &peer, permit);
    });
    Ok(Switch { answer, begin })
}

fn begin(
    edge: &Edge,
    client: ClientLeg,
    bearer: Option<Bearer>,
    session: NewSession,
    peer: &Peer,
    permit: Option<Permit>,
) {
    let now = Instant::now();
    let worker = &edge.worker;
    let session_rules = worker.rules();
    let NewSession { sid, token, request } = session;
    let mut socketio =
        SocketIo::new(sid, token, now + session_rules.terms.connect_timeout).certified(peer.certified_user());
    if session_rules.terms.hold.resume.is_some() {
        socketio = socketio.resumable(worker.draw_sid());
    }
    let session = Session::socketio(peer.address, socketio, &session_rules.policies, &session_rules.terms, now);
    worker.spawn(session, client, bearer, now, |cell, client| {
        let upstream = UpstreamLeg::Away;
        Driver::new(Rc::clone(worker), cell, client, upstream, Some(request), permit)
    });
}

fn opening(open: &Open) -> Vec<u8> {
    let mut packet = Vec::with_capacity(OPENING_BYTES);
    open.encode(&mut packet);
    packet
}

/// As engine.io sets it with `cookie: true`.
fn sid_cookie(rules: &EdgeRules, sid: Sid, peer: &Peer) -> Option<HeaderValue> {
    let name = rules.sid_cookie.as_ref()?;
    let secure = if peer.tls { "; Secure" } else { "" };
    HeaderValue::try_from(format!("{name}={sid}; Path=/; HttpOnly; SameSite=Lax{secure}")).ok()
}
