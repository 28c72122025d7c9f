//! The endpoint of `[[websocket]]` routes: the handshake, then the same relay as for Socket.IO.

pub(super) mod table;

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Response, StatusCode, request::Parts};

pub use self::table::WebsocketTable;
use crate::{
    gateway::{
        edge::{Edge, EdgeRules},
        peer::Peer,
        reply::{self, Body},
        upgrade::{self, Client, Declined, Switch},
    },
    observe::journal,
    policy::{
        auth::{Auth, AuthError, KEYS_UNAVAILABLE},
        connections::Permit,
        identity::Identity,
        token_source::Token,
        verdict::Refusal,
    },
    relay::{
        client_leg::ClientLeg,
        client_side::ClientSide,
        dial::{Dialled, PackedRequest},
        dial_error::DialError,
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

/// How long a handshake waits for a key that is being fetched.
const KEYS_WITHIN: Duration = Duration::from_secs(5);

/// Answers the handshake of a plain route: checks the token, connects to the service, then upgrades the client.
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
    let identity = match sources.from_request(parts) {
        Ok(token) => identify(&edge.worker, auth, token.as_ref()).await,
        Err(refusal) => Err(refusal),
    };
    let identity = identity.map_err(|refusal| edge.refuse("handshake", refusal, peer.address, &parts.headers))?;
    let identity = identity.or_certified(peer.certified_user());
    let request = upgrade::dial_request(parts, &rules, sources, &peer).map_err(upgrade::refused_header)?;
    let route = Arc::clone(&rules.websocket[route]);
    let dialled = dial_service(edge, &rules, &request, &identity).await?;
    let held = (route.on_upstream_loss == OnUpstreamLoss::Hold).then_some(request);
    let protocol = dialled.protocol.as_deref().or_else(|| sources.answered_subprotocol(&parts.headers));
    let answer = upgrade::switching_protocols(&offer, protocol);
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

/// Who this token names. Where that takes a key that is being fetched, the handshake waits for it.
async fn identify(worker: &Worker, auth: &Auth, token: Option<&Token>) -> Result<Identity, Refusal> {
    let until = Instant::now() + KEYS_WITHIN;
    loop {
        match auth.authenticate(token, worker.clock.now().wall()) {
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
) -> Result<Dialled, Response<Body>> {
    let outcome = rules.dialler.dial(request, identity.forward_headers()).await;
    edge.worker.tally.dial(outcome.is_ok());
    outcome.map_err(|error| {
        journal::dial_failed(&error);
        reply::closing(match error {
            DialError::Timeout { .. } => {
                reply::json(StatusCode::GATEWAY_TIMEOUT, "upstream.timeout", "The service did not answer in time")
            }
            DialError::Connect { .. } | DialError::Tls { .. } | DialError::Http(_) => {
                reply::json(StatusCode::BAD_GATEWAY, "upstream.unreachable", "The service cannot be reached")
            }
            DialError::Answer(_) => {
                reply::json(StatusCode::BAD_GATEWAY, "upstream.refused", "The service refused the connection")
            }
        })
    })
}
