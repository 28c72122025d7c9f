//! The handshake: a sid, and a session that has yet to join a namespace.
//!
//! The session opens for every client: official clients reconnect without end unless a final refusal is sent inside the
//! session.

use std::{mem, rc::Rc, sync::Arc, time::Instant};

use http::{HeaderMap, HeaderValue, Response, header, request::Parts};

use super::{
    polling,
    request::{EngineRequest, answer_of, refused, wants_base64},
};
use crate::{
    gateway::{
        edge::{Edge, EdgeRules},
        peer::{NominatedHeader, Peer},
        reply::Body,
        upgrade::{self, Declined, Switch},
        websocket,
    },
    observe::journal,
    policy::{
        auth::Credential,
        connections::Permit,
        sid_owner::{Requester, SidOwner},
        token_source::Token,
        verdict::Refusal,
    },
    relay::{
        client_leg::ClientLeg,
        client_side::ClientSide,
        dial::{Dialled, PackedRequest},
        dial_answer::ServiceRefusal,
        dial_outcome::first_dial,
        driver::Driver,
        inflow::Inflow,
        leg::polling::PollingLeg,
        responder::Responder,
        service_leg::ServiceLeg,
        service_side::ServiceSide,
    },
    session::{Beginning, Session, engineio::Handshake, table::DialAt},
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
    /// The service, where it was dialled first.
    dialled: Option<Dialled>,
    /// Whether a client that polls may upgrade. It may not where it would have to show a token that it cannot show then.
    may_upgrade: bool,
}

impl NewSession {
    fn read(edge: &Edge, rules: &EdgeRules, parts: &Parts, peer: &Peer) -> Result<Self, NominatedHeader> {
        let session_rules = edge.worker.rules();
        let sources = &session_rules.session.policies.token_sources;
        let token = sources.from_request(parts);
        let request = upgrade::dial_request(parts, rules, sources, peer)?;
        let may_upgrade = session_rules.upgrade_without_token || !sources.is_in_header_alone(parts);
        Ok(Self { sid: edge.worker.draw_id(), token, request, dialled: None, may_upgrade })
    }

    /// Dials the service now, where `socketio.dial` wants that and the handshake says who the client is. What the service's
    /// answer brings the client.
    async fn dial_first(&mut self, edge: &Edge, rules: &EdgeRules, peer: &Peer) -> Result<HeaderMap, ServiceRefusal> {
        if rules.dial == DialAt::Connect {
            return Ok(HeaderMap::new());
        }
        let relay_rules = edge.worker.rules();
        let auth = &relay_rules.session.policies.auth;
        let Ok(token) = &self.token else { return Ok(HeaderMap::new()) };
        let is_known = token.is_some() || peer.certified_user().is_some() || !auth.has_key();
        if !is_known {
            return Ok(HeaderMap::new());
        }
        // One that is refused hears it when it asks for a namespace.
        let credential = Credential::Token(token.as_ref());
        let Ok(identity) = websocket::identify(&edge.worker, auth, credential, peer.certified_user()).await else {
            return Ok(HeaderMap::new());
        };
        let claims = identity.forward_headers();
        let dialled =
            first_dial(&edge.worker, &relay_rules, peer.address, &mut self.request, claims).await.transpose()?;
        self.dialled = dialled;
        Ok(self.dialled.as_mut().map(|dialled| mem::take(&mut dialled.headers)).unwrap_or_default())
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
    let mut session = match NewSession::read(edge, &rules, parts, peer) {
        Ok(session) => session,
        Err(nominated) => return upgrade::refused_header(nominated),
    };
    let brought = match session.dial_first(edge, &rules, peer).await {
        Ok(brought) => brought,
        Err(refusal) => return upgrade::refused_by_service(&refusal),
    };
    let sender = Requester::new(session.token.clone(), &parts.headers, peer.address);
    let (sid, owner) = (session.sid, SidOwner::of(&sender));
    let mut leg = PollingLeg::new(rules.open.max_payload);
    let open = Open { upgrades: rules.open.upgrades && session.may_upgrade, ..rules.open };
    if open.upgrades != rules.open.upgrades {
        journal::no_upgrade_offered(peer.address);
    }
    leg.say(OpCode::Text, &opening(&open, sid));
    let (responder, packets) = Responder::awaited();
    if leg.poll(responder).is_err() {
        return refused(EngineError::BadRequest);
    }
    let client = ClientLeg::Polling(Box::new(leg));
    begin(edge, client, Some(owner), session, peer, Some(permit));
    let mut answer = polling::packets(edge, answer_of(packets.await));
    upgrade::bring(&rules, brought, &mut answer);
    if let Some(cookie) = sid_cookie(&rules, sid, peer) {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    answer
}

/// Upgrades the client and opens a session over the websocket.
pub(in crate::gateway) async fn over_websocket(
    edge: &Rc<Edge>,
    rules: Arc<EdgeRules>,
    parts: &Parts,
    peer: Peer,
    permit: Option<Permit>,
) -> Result<Switch, Declined> {
    let upgrade = handshake::check_request(parts).map_err(|error| upgrade::refused(&error))?;
    let mut session = NewSession::read(edge, &rules, parts, &peer).map_err(upgrade::refused_header)?;
    let brought = session.dial_first(edge, &rules, &peer).await;
    let brought = brought.map_err(|refusal| upgrade::refused_by_service(&refusal))?;
    let session_rules = edge.worker.rules();
    let protocol = session_rules.session.policies.token_sources.selected_subprotocol(&parts.headers);
    let mut answer = upgrade::switching_protocols(&upgrade, protocol);
    upgrade::bring(&rules, brought, &mut answer);
    if let Some(cookie) = sid_cookie(&rules, session.sid, &peer) {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    let edge = Rc::clone(edge);
    let base64 = wants_base64(&parts.uri);
    let begin = Box::new(move |client: upgrade::Client| {
        let inflow = Inflow::new(Sender::Client, rules.open.max_payload, false);
        let mut leg = client.into_leg(inflow).saying_base64(base64);
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
    let NewSession { sid, token, request, dialled, may_upgrade: _ } = session;
    let pid = rules.hold.resume.is_some().then(|| worker.draw_id());
    let handshake = Handshake { sid, pid, token, certified: peer.certified_user().cloned() };
    let beginning = Beginning { rules, peer: peer.address, seed: rand::random() };
    let now = worker.clock.now();
    let mut session = Session::socketio(beginning, handshake, now);
    let leg_of_service = match dialled {
        None => ServiceLeg::Absent,
        Some(dialled) => {
            session.dialled_first(now);
            worker.tally.upstream_open(1);
            ServiceLeg::over(dialled, session.view().service_reading())
        }
    };
    let service = ServiceSide::new(leg_of_service, Some(request));
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
