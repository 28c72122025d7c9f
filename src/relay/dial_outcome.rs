//! Reports the outcome of a dial to the other sessions and to the log, and dials before there is a session.

use std::{net::IpAddr, time::Instant};

use http::{HeaderName, HeaderValue};

use crate::{
    observe::journal,
    relay::{
        dial::{Dialled, PackedRequest},
        dial_answer::ServiceRefusal,
        dial_error::DialError,
        reconnect_pacer::DialTurn,
        rules::RelayRules,
        service_state::{Failure, ServiceState},
        worker::Worker,
    },
};

/// The service has answered.
pub(super) fn reached(service: &ServiceState, now: Instant) {
    if let Some(down) = service.reached(now) {
        journal::service_back(down);
    }
}

/// It is connected.
pub(super) fn connected(service: &ServiceState, now: Instant) {
    reached(service, now);
    if service.lacks_websocket(false) {
        journal::service_takes_websocket();
    }
}

/// It does not let this client in. Of other clients that says nothing.
pub(super) fn refused(service: &ServiceState, refusal: &ServiceRefusal, peer: IpAddr, now: Instant) {
    // It is there, whatever it says to this client.
    reached(service, now);
    journal::client_not_taken(peer, refusal);
    if refusal.lacks_websocket() && service.lacks_websocket(true) {
        journal::service_lacks_websocket();
    }
}

/// A dial that has failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailedDial<'a> {
    /// Why.
    pub error: &'a DialError,
    /// The client for whom it was made. `None`: a forwarded request, whose answer has a line of its own.
    pub peer: Option<IpAddr>,
    /// Whether others waited for it.
    pub probed: bool,
    /// When it began.
    pub began: Instant,
}

/// It was not reached, or fails.
pub(super) fn failed(service: &ServiceState, dial: FailedDial<'_>, now: Instant) {
    let FailedDial { error, peer, probed, began } = dial;
    match service.dial_failed(probed, error.was_connected(), began, error, now) {
        Failure::OfOne => {
            if let Some(peer) = peer {
                journal::client_not_taken(peer, error);
            }
        }
        Failure::Down => journal::service_gone(error),
        Failure::StillDown => journal::service_still_gone(error),
    }
}

/// The dial of a plain route, before there is a session: its outcome says of the service what that of a session says.
/// `began`: when it began. `peer`: the client for whom it was made.
pub fn route_dialled<T>(
    service: &ServiceState,
    outcome: &Result<T, DialError>,
    peer: IpAddr,
    began: Instant,
    now: Instant,
) {
    service.record().dialled(outcome.is_ok());
    match outcome {
        Ok(_) => reached(service, now),
        Err(error) if error.is_final() => {
            reached(service, now);
            journal::client_not_taken(peer, error);
        }
        Err(error) => failed(service, FailedDial { error, peer: Some(peer), probed: false, began }, now),
    }
}

/// A connection for a forwarded request, without a handshake. `began`: when the dial began.
pub fn request_dialled<T>(service: &ServiceState, outcome: &Result<T, DialError>, began: Instant, now: Instant) {
    service.record().dialled(outcome.is_ok());
    match outcome {
        Ok(_) => {
            if let Some(down) = service.accepted(began, now) {
                journal::service_back(down);
            }
        }
        Err(error) => failed(service, FailedDial { error, peer: None, probed: false, began }, now),
    }
}

/// Dials the service before there is a session, so that its answer reaches the client with the gate's own. `None`: the
/// service cannot be dialled now, or fails, for which a session waits. `peer`: the client for whom it is dialled.
pub async fn first_dial(
    worker: &Worker,
    rules: &RelayRules,
    peer: IpAddr,
    request: &mut PackedRequest,
    claims: &[(HeaderName, HeaderValue)],
) -> Option<Result<Dialled, ServiceRefusal>> {
    let hold = &rules.session.hold;
    if hold.hold.is_some() {
        match worker.service.pacer().ask(true, None, hold.pace, worker.clock.now().instant) {
            DialTurn::Now => {}
            DialTurn::Probe => {
                worker.service.pacer().found_nothing();
                return None;
            }
            DialTurn::At(..) | DialTurn::Later => return None,
        }
    }
    let began = worker.clock.now().instant;
    let outcome = rules.dialler.dial(request, claims).await;
    let now = worker.clock.now().instant;
    worker.service.record().dialled(outcome.is_ok());
    match outcome {
        Ok(dialled) => {
            connected(&worker.service, now);
            request.learn(&dialled.headers);
            Some(Ok(dialled))
        }
        Err(DialError::Refused(refusal)) => {
            refused(&worker.service, &refusal, peer, now);
            Some(Err(refusal))
        }
        Err(error) => {
            failed(&worker.service, FailedDial { error: &error, peer: Some(peer), probed: false, began }, now);
            None
        }
    }
}
