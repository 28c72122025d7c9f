//! What every endpoint of one worker needs: its sessions, the rules in force, refusals that are counted and logged.

use std::{cell::RefCell, net::IpAddr, rc::Rc, sync::Arc};

use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use ipnet::IpNet;

use crate::{
    gateway::{
        forward::Forward,
        head_guard::HeadRules,
        reply::{self, Body},
        router::Routes,
    },
    observe::journal::{self, RefusedHandshake},
    policy::{
        connections::Connections,
        handshake_rate::HandshakeRate,
        requests::Requests,
        verdict::{Refusal, RefusalKind},
    },
    relay::{dial::Dialler, worker::Worker},
    session::plain::PlainRules,
    wire::engineio::open::Open,
};

/// The compiled rules of the edge. A reload replaces them as a whole.
#[derive(Debug)]
pub struct EdgeRules {
    /// Which request goes where.
    pub routes: Routes,
    /// The plain routes, by the number that `routes` gives.
    pub websocket: Vec<Arc<PlainRules>>,
    /// Bounds of a request head.
    pub head: HeadRules,
    /// How many handshakes one address may make.
    pub handshake_rate: HandshakeRate,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Headers that only Tidegate may set.
    pub identity_headers: Vec<HeaderName>,
    /// The Engine.IO handshake packet for clients that poll; the sid in it is a placeholder.
    pub open: Open,
    /// The name of the cookie with the sid, where one is set.
    pub sid_cookie: Option<String>,
    /// The largest message of a client on a plain route, in bytes.
    pub max_payload: u64,
    /// How sessions reach the service.
    pub dialler: Dialler,
    /// How ordinary HTTP reaches the service.
    pub forward: Forward,
}

/// The edge of one worker thread, as endpoints see it.
#[derive(Debug)]
pub struct Edge {
    /// The sessions of this thread.
    pub worker: Rc<Worker>,
    /// The connections of the whole node.
    pub connections: Arc<Connections>,
    /// The requests under way of the whole node.
    pub requests: Arc<Requests>,
    rules: RefCell<Arc<EdgeRules>>,
}

impl Edge {
    /// The edge of `worker`.
    #[must_use]
    pub const fn new(
        worker: Rc<Worker>,
        connections: Arc<Connections>,
        requests: Arc<Requests>,
        rules: Arc<EdgeRules>,
    ) -> Self {
        Self { worker, connections, requests, rules: RefCell::new(rules) }
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<EdgeRules> {
        Arc::clone(&self.rules.borrow())
    }

    /// Puts new rules in force, for all requests that follow.
    pub fn adopt(&self, rules: Arc<EdgeRules>) {
        self.rules.replace(rules);
    }

    /// The HTTP answer to a refusal, counted and logged.
    pub(super) fn refuse(
        &self,
        stage: &'static str,
        refusal: Refusal,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Response<Body> {
        self.worker.tally.refused(stage, refusal.code);
        self.worker.tally.error(refusal.code);
        // An origin is visible ASCII; anything else is kept out of the log.
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        journal::refused_handshake(&RefusedHandshake { peer, stage, reason: refusal.code, origin });
        reply::closing(reply::json(status_of(refusal.kind), refusal.code, refusal.message))
    }
}

const fn status_of(kind: RefusalKind) -> StatusCode {
    match kind {
        RefusalKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        RefusalKind::Forbidden => StatusCode::FORBIDDEN,
        RefusalKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        RefusalKind::Malformed => StatusCode::BAD_REQUEST,
        RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}
