//! The endpoint of `[[websocket]]` routes: the handshake, then the same relay as for Socket.IO.

pub(super) mod table;

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
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
        dial::{DialError, Dialled, PackedRequest},
        driver::Driver,
        inflow::Inflow,
        leg::upstream::UpstreamLeg,
    },
    session::{
        Session,
        plain::{OnUpstreamLoss, Plain},
    },
    wire::websocket::{frame::Sender, handshake},
};

/// How long a handshake waits for a key that is being fetched, and how often it looks.
const KEYS_PATIENCE: Duration = Duration::from_secs(5);
const KEYS_RETRY: Duration = Duration::from_millis(50);

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
    let (auth, sources) = (&session_rules.policies.auth, &session_rules.policies.token_sources);
    let identity = match sources.from_request(parts) {
        Ok(token) => identify(auth, token.as_ref()).await,
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
    let plain = Plain::new(route, dialled.protocol.as_deref());
    let edge = Rc::clone(edge);
    let begin = Box::new(move |client| {
        let service = Service { dialled, again: held };
        relay(&edge, &rules, client, service, (plain, identity), &peer, permit);
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
    (plain, identity): (Plain, Identity),
    peer: &Peer,
    permit: Option<Permit>,
) {
    let now = Instant::now();
    let worker = &edge.worker;
    let session_rules = worker.rules();
    let whole = plain.reads_messages();
    let session = Session::plain(
        peer.address,
        plain,
        identity,
        &session_rules.policies,
        &session_rules.terms,
        SystemTime::now(),
        now,
    );
    let inflow = Inflow::new(Sender::Client, rules.max_payload, whole);
    let leg = client.into_leg(inflow);
    let upstream = UpstreamLeg::over(service.dialled, &session.dialect);
    worker.tally.upstream_open(1);
    worker.spawn(session, ClientLeg::Websocket(leg), None, now, |cell, client| {
        Driver::new(Rc::clone(worker), cell, client, upstream, service.again, permit)
    });
}

async fn identify(auth: &Auth, token: Option<&Token>) -> Result<Identity, Refusal> {
    let started = Instant::now();
    loop {
        match auth.authenticate(token, SystemTime::now()) {
            Ok(identity) => return Ok(identity),
            Err(AuthError::Refused(refusal)) => return Err(refusal),
            Err(AuthError::KeysPending) if started.elapsed() > KEYS_PATIENCE => return Err(KEYS_UNAVAILABLE),
            Err(AuthError::KeysPending) => tokio::time::sleep(KEYS_RETRY).await,
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
