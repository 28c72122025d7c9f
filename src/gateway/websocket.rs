//! The endpoint of `[[websocket]]` routes: the handshake, then the same relay as for Socket.IO.

mod admitted_client;
mod bridge;
pub(crate) mod route;
pub(super) mod table;

use std::{mem, rc::Rc, sync::Arc, time::Instant};

use http::{Response, StatusCode, request::Parts};

pub use self::table::WebsocketTable;
use self::{admitted_client::AdmittedClient, route::PlainRoute};
use crate::{
    gateway::{
        edge::{Edge, EdgeRules, refuse},
        peer::Peer,
        reply::{self, Body},
        upgrade::{self, Client, Declined, Switch, UPSTREAM_REFUSED},
    },
    policy::{
        auth::{Auth, AuthError, Credential, KEYS_UNAVAILABLE, KEYS_WITHIN},
        connections::Permit,
        identity::{CertifiedUser, Identity},
        verdict::Refusal,
    },
    relay::{
        client_leg::ClientLeg,
        client_side::ClientSide,
        dial::{Dialled, PackedRequest},
        dial_error::DialError,
        dial_outcome,
        driver::Driver,
        inflow::Inflow,
        responder::Responder,
        service_leg::ServiceLeg,
        service_side::ServiceSide,
        worker::Worker,
    },
    session::{
        Beginning, Session,
        plain::{OnUpstreamLoss, PlainRules},
    },
    wire::websocket::{frame::Sender, handshake},
};

/// Answers the handshake of a `[[websocket]]` route: checks the token, then goes on as the route does.
pub(super) async fn open(
    edge: &Rc<Edge>,
    rules: Arc<EdgeRules>,
    parts: &Parts,
    peer: Peer,
    permit: Option<Permit>,
    route: usize,
) -> Result<Switch, Declined> {
    let offer = handshake::check_request(parts).map_err(|error| upgrade::refused(&error))?;
    let session_rules = edge.worker.rules();
    let (auth, sources) = (&session_rules.session.policies.auth, &session_rules.session.policies.token_sources);
    let token = sources.from_request(parts).map_err(|refusal| refuse("handshake", refusal))?;
    let credential = match (&token, &rules.websocket[route]) {
        // The namespace may have a login of its own.
        (None, PlainRoute::Bridge(route)) => Credential::NoneFor(&route.namespace),
        (token, _) => Credential::Token(token.as_ref()),
    };
    let identity = identify(&edge.worker, auth, credential, peer.certified_user()).await;
    let identity = identity.map_err(|refusal| refuse("handshake", refusal))?;
    let admitted = AdmittedClient { offer, token, identity, peer, permit };
    match &rules.websocket[route] {
        PlainRoute::Plain(route) => connect(edge, &rules, parts, admitted, Arc::clone(route)).await,
        PlainRoute::Bridge(route) => bridge::open(edge, &rules, parts, admitted, Arc::clone(route)),
    }
}

/// Connects to the service of a plain route, then upgrades the client.
async fn connect(
    edge: &Rc<Edge>,
    rules: &Arc<EdgeRules>,
    parts: &Parts,
    admitted: AdmittedClient,
    route: Arc<PlainRules>,
) -> Result<Switch, Declined> {
    let AdmittedClient { offer, token: _, identity, peer, permit } = admitted;
    let (rules, session_rules) = (Arc::clone(rules), edge.worker.rules());
    let sources = &session_rules.session.policies.token_sources;
    let mut request = upgrade::dial_request(parts, &rules, sources, &peer).map_err(upgrade::refused_header)?;
    let mut dialled = dial_service(edge, &rules, &request, &identity, &peer).await?;
    request.learn(&dialled.headers);
    let held = (route.on_upstream_loss == OnUpstreamLoss::Hold).then_some(request);
    let protocol = dialled.protocol.as_deref().or_else(|| sources.answered_subprotocol(&parts.headers));
    let mut answer = upgrade::switching_protocols(&offer, protocol);
    upgrade::bring(&rules, mem::take(&mut dialled.headers), &mut answer);
    let edge = Rc::clone(edge);
    let begin = Box::new(move |client| {
        let service = Service { dialled, again: held };
        relay(&edge, &rules, client, service, (route, identity), &peer, permit);
    });
    Ok(Switch { answer, begin })
}

/// The connection to the service, and the request that dials it again after a loss.
struct Service {
    dialled: Dialled,
    again: Option<PackedRequest>,
}

fn relay(
    edge: &Edge,
    rules: &EdgeRules,
    client: Client,
    service: Service,
    (route, identity): (Arc<PlainRules>, Identity),
    peer: &Peer,
    permit: Option<Permit>,
) {
    let worker = &edge.worker;
    let leg = client.into_leg(Inflow::new(Sender::Client, rules.max_payload, route.reads_messages()));
    let beginning = Beginning { rules: Arc::clone(&worker.rules().session), peer: peer.address, seed: rand::random() };
    let protocol = service.dialled.protocol.as_deref();
    let session = Session::plain(beginning, route, protocol, identity, worker.clock.now());
    let service_leg = ServiceLeg::over(service.dialled, session.view().service_reading());
    worker.tally.upstream_open(1);
    let client = ClientSide::new(ClientLeg::Websocket(leg), permit);
    Driver::spawn(worker, session, None, client, ServiceSide::new(service_leg, service.again));
}

/// Who the client is. Where that takes a key that is being fetched, the handshake waits for it.
pub(super) async fn identify(
    worker: &Worker,
    auth: &Auth,
    credential: Credential<'_>,
    certified: Option<&CertifiedUser>,
) -> Result<Identity, Refusal> {
    let until = Instant::now() + KEYS_WITHIN;
    loop {
        match auth.identify(credential, certified, worker.clock.now().wall()) {
            Ok(identity) => return Ok(identity),
            Err(AuthError::Refused(refusal)) => return Err(refusal),
            Err(AuthError::KeysPending) => {}
        }
        let (responder, changed) = Responder::awaited();
        worker.answer_when_keys_change(responder);
        if tokio::time::timeout_at(until.into(), changed).await.is_err() {
            return Err(KEYS_UNAVAILABLE);
        }
    }
}

async fn dial_service(
    edge: &Edge,
    rules: &EdgeRules,
    request: &PackedRequest,
    identity: &Identity,
    peer: &Peer,
) -> Result<Dialled, Response<Body>> {
    let began = edge.worker.clock.now().instant;
    let outcome = rules.dialler.dial(request, identity.forward_headers()).await;
    let now = edge.worker.clock.now().instant;
    dial_outcome::route_dialled(&edge.worker.service, &outcome, peer.address, began, now);
    outcome.map_err(|error| {
        let answer = reply::closing(match error {
            DialError::Timeout { .. } => {
                reply::json(StatusCode::GATEWAY_TIMEOUT, "upstream.timeout", "The service did not answer in time")
            }
            DialError::Connect { .. } | DialError::Tls { .. } | DialError::Http(_) => {
                reply::json(StatusCode::BAD_GATEWAY, "upstream.unreachable", "The service cannot be reached")
            }
            DialError::Refused(refusal) => upgrade::refused_by_service(&refusal),
            DialError::Answer(_) => {
                reply::json(StatusCode::BAD_GATEWAY, UPSTREAM_REFUSED, "The service refused the connection")
            }
        });
        reply::at("handshake", answer)
    })
}
