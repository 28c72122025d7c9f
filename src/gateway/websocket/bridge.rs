//! The handshake of a bridged route: a session whose client speaks JSON, and whose service is dialled as for Socket.IO.

use std::{rc::Rc, sync::Arc};

use http::request::Parts;

use super::admitted_client::AdmittedClient;
use crate::{
    gateway::{
        edge::{Edge, EdgeRules, refuse},
        reply,
        upgrade::{self, Client, Declined, Switch},
    },
    relay::{
        client_leg::ClientLeg, client_side::ClientSide, driver::Driver, inflow::Inflow, service_leg::ServiceLeg,
        service_side::ServiceSide,
    },
    session::{
        Beginning, Session,
        json::{BridgeRules, Bridging},
        message::TOO_BIG,
    },
    wire::websocket::frame::Sender,
};

/// Query keys of Engine.IO, all of which Tidegate writes itself for a client that does not speak it.
const TRANSPORT_KEYS: [&str; 6] = ["EIO", "transport", "sid", "t", "j", "b64"];

/// Members of a CONNECT that ask for the session of somebody else, or for an earlier one: a plain client has none.
const RECOVERY_KEYS: [&str; 2] = ["pid", "offset"];

/// Upgrades the client. The session asks the service for the namespace.
pub(super) fn open(
    edge: &Rc<Edge>,
    rules: &Arc<EdgeRules>,
    parts: &Parts,
    admitted: AdmittedClient,
    route: Arc<BridgeRules>,
) -> Result<Switch, Declined> {
    let AdmittedClient { offer, token, identity, peer, permit } = admitted;
    let session_rules = edge.worker.rules();
    let sources = &session_rules.session.policies.token_sources;
    // Neither the CONNECT nor the URL has them: a service may look for them in either.
    let unverified = sources.unverified_query_keys();
    let left_out: Vec<&str> = TRANSPORT_KEYS.into_iter().chain(RECOVERY_KEYS).chain(unverified).collect();
    let connect = sources.connect_json(parts, token.as_ref(), &left_out);
    let is_short = |connect: &[u8]| connect.len() <= session_rules.session.max_connect;
    let connect = connect.and_then(|connect| if is_short(&connect) { Ok(connect) } else { Err(TOO_BIG) });
    let connect = connect.map_err(|refusal| {
        reply::telling(refuse("handshake", refusal), |pending| {
            pending.setting = (refusal.code == TOO_BIG.code).then_some("socketio.max_connect");
        })
    })?;
    let request = upgrade::bridge_request(parts, rules, sources, &peer, &route.service_path, &left_out);
    let request = request.map_err(upgrade::refused_header)?;
    let answer = upgrade::switching_protocols(&offer, sources.selected_subprotocol(&parts.headers));
    let (edge, rules) = (Rc::clone(edge), Arc::clone(rules));
    let begin = Box::new(move |client: Client| {
        let worker = &edge.worker;
        let leg = client.into_leg(Inflow::new(Sender::Client, rules.max_payload, true));
        let rules = Arc::clone(&worker.rules().session);
        let beginning = Beginning { rules, peer: peer.address, seed: rand::random() };
        let bridging = Bridging { rules: route, sid: worker.draw_id(), identity, connect };
        let session = Session::bridged(beginning, bridging, worker.clock.now());
        let client = ClientSide::new(ClientLeg::Websocket(leg), permit);
        Driver::spawn(worker, session, None, client, ServiceSide::new(ServiceLeg::Absent, Some(request)));
    });
    Ok(Switch { answer, begin })
}
