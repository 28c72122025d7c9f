//! The handshake: a sid, and a session that has yet to join a namespace.
//!
//! The session opens for every client: official clients reconnect without end unless a final refusal is sent inside the
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
    policy::{connections::Permit, sid_owner::SidOwner, token_source::Token, verdict::Refusal},
    relay::{
        client_leg::ClientLeg, client_side::ClientSide, dial::PackedRequest, driver::Driver, inflow::Inflow,
        leg::polling::PollingLeg, responder::Responder, service_leg::ServiceLeg, service_side::ServiceSide,
    },
    session::{Beginning, Session, engineio::Handshake},
    wire::{
        engineio::{error::EngineError, id::Sid, open::Open},
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
        let sources = &session_rules.session.policies.token_sources;
        let token = sources.from_request(parts);
        let request = upgrade::dial_request(parts, rules, sources, peer)?;
        Ok(Self { sid: edge.worker.draw_id(), token, request })
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
    let (sid, owner) = (session.sid, SidOwner::new(&session.token, &parts.headers, peer.address));
    let mut leg = PollingLeg::new(rules.open.max_payload);
    leg.say(OpCode::Text, &opening(&rules.open, sid));
    let (responder, packets) = Responder::awaited();
    if leg.poll(responder).is_err() {
        return refused(EngineError::BadRequest);
    }
    let client = ClientLeg::Polling(Box::new(leg));
    begin(edge, client, Some(owner), session, peer, Some(permit));
    let mut answer = polling::packets(edge, packets.await);
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
    let protocol = session_rules.session.policies.token_sources.answered_subprotocol(&parts.headers);
    let mut answer = upgrade::switching_protocols(&upgrade, protocol);
    if let Some(cookie) = sid_cookie(&rules, session.sid, &peer) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    let edge = Rc::clone(edge);
    let begin = Box::new(move |client: upgrade::Client| {
        let mut leg = client.into_leg(Inflow::new(Sender::Client, rules.open.max_payload, false));
        let open = Open { upgrades: false, ..rules.open };
        leg.say(OpCode::Text, &opening(&open, session.sid), Instant::now());
        begin(&edge, ClientLeg::Websocket(leg), None, session, &peer, permit);
    });
    Ok(Switch { answer, begin })
}

fn begin(
    edge: &Edge,
    leg: ClientLeg,
    owner: Option<SidOwner>,
    session: NewSession,
    peer: &Peer,
    permit: Option<Permit>,
) {
    let worker = &edge.worker;
    let rules = Arc::clone(&worker.rules().session);
    let NewSession { sid, token, request } = session;
    let pid = rules.hold.resume.is_some().then(|| worker.draw_id());
    let handshake = Handshake { sid, pid, token, certified: peer.certified_user().map(Into::into) };
    let beginning = Beginning { rules, peer: peer.address, seed: rand::random() };
    let session = Session::socketio(beginning, handshake, worker.clock.now());
    let service = ServiceSide::new(ServiceLeg::Absent, Some(request));
    Driver::spawn(worker, session, owner, ClientSide::new(leg, permit), service);
}

fn opening(open: &Open, sid: Sid) -> Vec<u8> {
    let mut packet = Vec::with_capacity(OPENING_BYTES);
    open.encode(sid, &mut packet);
    packet
}

/// As engine.io sets it with `cookie: true`.
fn sid_cookie(rules: &EdgeRules, sid: Sid, peer: &Peer) -> Option<HeaderValue> {
    let name = rules.sid_cookie.as_ref()?;
    let secure = if peer.tls { "; Secure" } else { "" };
    let sid = sid.as_str();
    HeaderValue::try_from(format!("{name}={sid}; Path=/; HttpOnly; SameSite=Lax{secure}")).ok()
}
