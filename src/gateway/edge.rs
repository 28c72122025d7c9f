//! What every endpoint of one worker needs: its sessions, the rules in force, refusals that are counted and logged.

use std::{cell::RefCell, net::IpAddr, rc::Rc, sync::Arc};

use http::{HeaderName, Response, StatusCode, Version};
use ipnet::IpNet;

use crate::{
    gateway::{
        forward::Forward,
        head_guard::HeadRules,
        reply::{self, Body, Counts, PendingRefusal},
        request_summary::RequestSummary,
        router::Routes,
        websocket::route::PlainRoute,
    },
    observe::{journal, memory::OverloadStep, refusals::Refused},
    policy::{
        connections::{Connections, Permit},
        descriptors::{Descriptors, PER_CLIENT},
        handshake_rate::HandshakeRate,
        requests::{Place, Requests},
        verdict::{Refusal, RefusalKind},
    },
    relay::{dial::Dialler, worker::Worker},
    session::table::DialAt,
    wire::engineio::open::Open,
};

/// The compiled rules of the edge. A reload replaces them as a whole.
#[derive(Debug)]
pub struct EdgeRules {
    /// Which request goes where.
    pub routes: Routes,
    /// The routes of plain WebSockets, by the number that `routes` gives.
    pub websocket: Vec<PlainRoute>,
    /// Bounds of a request head.
    pub head: HeadRules,
    /// How many handshakes one address may make.
    pub handshake_rate: HandshakeRate,
    /// Proxies whose `X-Forwarded-…` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Headers that only Tidegate may set, and those by which other proxies tell who the client is.
    pub identity_headers: Vec<HeaderName>,
    /// The Engine.IO handshake packet for clients that poll; the sid in it is a placeholder.
    pub open: Open,
    /// When the service is dialled for a Socket.IO client.
    pub dial: DialAt,
    /// The name of the cookie with the sid, where one is set.
    pub sid_cookie: Option<String>,
    /// The largest message of a client on a plain route, in bytes.
    pub max_payload: u64,
    /// How many packets one payload of polling may have.
    pub payload_packets: usize,
    /// So many bytes of memory may large polling payloads hold together.
    pub request_memory: usize,
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
    /// The descriptors that clients may use, of the whole node.
    pub descriptors: Arc<Descriptors>,
    rules: RefCell<Arc<EdgeRules>>,
}

impl Edge {
    /// The edge of `worker`.
    #[must_use]
    pub const fn new(
        worker: Rc<Worker>,
        connections: Arc<Connections>,
        requests: Arc<Requests>,
        descriptors: Arc<Descriptors>,
        rules: Arc<EdgeRules>,
    ) -> Self {
        Self { worker, connections, requests, descriptors, rules: RefCell::new(rules) }
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

    /// Permission for a session from `ip` that has no connection to itself, with descriptors for its two sides.
    ///
    /// # Errors
    /// Why there is no room.
    pub(super) fn admit(&self, ip: IpAddr) -> Result<Permit, Refusal> {
        let set_aside = self.descriptors.set_aside(PER_CLIENT)?;
        Ok(self.connections.admit(ip)?.with(set_aside))
    }

    /// A place for a request from `ip`, with a descriptor for its way to the service: over HTTP/1.1 the connection has one
    /// for the only request at a time.
    ///
    /// # Errors
    /// Why there is no room.
    pub(super) fn admit_request(&self, ip: IpAddr, version: Version) -> Result<Place, Refusal> {
        let place = self.requests.admit(ip)?;
        Ok(if version == Version::HTTP_2 { place.with(self.descriptors.set_aside(1)?) } else { place })
    }

    /// Whether there is memory for a new session.
    pub(super) fn has_memory(&self) -> Result<(), Refusal> {
        const OVERLOADED: Refusal = Refusal {
            kind: RefusalKind::Unavailable,
            code: "overloaded",
            message: "The server is overloaded. Please try again later.",
            rule: None,
            fault: None,
        };
        if self.worker.memory.step() == OverloadStep::None { Ok(()) } else { Err(OVERLOADED) }
    }

    /// Counts and logs the refusal that this answer is, if it is one that nobody has counted and logged.
    pub(super) fn tell(&self, summary: &RequestSummary, answer: &mut Response<Body>) {
        let Some(pending) = answer.extensions_mut().remove::<PendingRefusal>() else { return };
        let PendingRefusal { stage, reason, why, setting, seen, asked, counts } = pending;
        if counts != Counts::No {
            self.worker.tally.refused(stage, reason);
        }
        if counts == Counts::Error {
            self.worker.tally.error(reason);
        }
        let seen = seen.unwrap_or_else(|| summary.show());
        journal::refused(&Refused {
            why: Some(&why),
            seen: Some(&seen),
            origin: summary.origin(),
            asked: asked.as_deref(),
            setting,
            ..Refused::of(summary.peer, stage, reason)
        });
    }

    /// The same answer as bytes, to a client whose request is not waited for.
    pub(super) fn refuse_unheard(&self, stage: &'static str, refusal: Refusal, peer: IpAddr) -> Vec<u8> {
        self.record_refusal(stage, refusal.code, peer);
        reply::json_bytes(status_of(refusal.kind), refusal.code, refusal.message)
    }

    /// Counts and logs a refusal without an answer that would pass [`Edge::tell`].
    pub(super) fn record_refusal(&self, stage: &'static str, reason: &'static str, peer: IpAddr) {
        self.worker.tally.refused(stage, reason);
        self.worker.tally.error(reason);
        journal::refused(&Refused::of(peer, stage, reason));
    }
}

/// The HTTP answer to a refusal. It is counted and logged on its way, by [`Edge::tell`].
pub(super) fn refuse(stage: &'static str, refusal: Refusal) -> Response<Body> {
    let answer = reply::closing(reply::json(status_of(refusal.kind), refusal.code, refusal.message));
    reply::telling(answer, |pending| {
        (pending.stage, pending.counts) = (stage, Counts::Error);
        if let Some(fault) = refusal.fault {
            (pending.why, pending.setting) = (fault.to_string(), fault.setting());
        }
    })
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
