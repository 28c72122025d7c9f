//! The service of a session: the upstream leg, and the way to the service and back to it.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use crate::{
    policy::identity::Identity,
    relay::{
        dial::{DialError, Dialled, PackedRequest},
        reconnect_pacer::{self, DialTurn, PaceTicket},
        rules::RelayRules,
        service_leg::ServiceLeg,
        worker::Worker,
    },
};

/// The service's side of a session.
#[derive(Debug)]
pub struct ServiceSide {
    /// What the service holds.
    pub leg: ServiceLeg,
    /// What the service hears at its handshake. `None` on a route that is dialled once, before the session begins.
    request: Option<PackedRequest>,
    /// The session's place among those that go back to the service.
    place: Option<PaceTicket>,
}

/// When the service is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dial {
    /// Now: the dial is under way.
    UnderWay,
    /// At that time at the earliest. `reserved`: the session has a turn then.
    Later {
        /// When to ask again.
        at: Instant,
        /// Whether the session has a turn then.
        reserved: bool,
    },
}

impl ServiceSide {
    /// A service that hears `request` when it is dialled.
    #[must_use]
    pub const fn new(leg: ServiceLeg, request: Option<PackedRequest>) -> Self {
        Self { leg, request, place: None }
    }

    /// Dials, or says when that may be: sessions that go back to a service do so at a pace. `again`: the service was
    /// dialled before in this session.
    pub fn dial(
        &mut self,
        again: bool,
        identity: Option<&Identity>,
        worker: &Worker,
        rules: &Arc<RelayRules>,
        now: Instant,
    ) -> Dial {
        let hold = &rules.session.hold;
        // Where nothing is held, clients come back by themselves, at a pace of their own.
        let turn = match hold.hold {
            Some(_) => worker.pacer.ask(!again, self.place.take(), hold.pace, now),
            None => DialTurn::Now,
        };
        match turn {
            DialTurn::Now => {
                self.dial_now(identity, rules);
                Dial::UnderWay
            }
            DialTurn::At(at, place) => {
                self.place = Some(place);
                Dial::Later { at, reserved: true }
            }
            DialTurn::Later => Dial::Later { at: now + reconnect_pacer::look_again(rand::random()), reserved: false },
        }
    }

    fn dial_now(&mut self, identity: Option<&Identity>, rules: &RelayRules) {
        let Some(request) = &self.request else { return };
        let claims = identity.map_or(&[][..], Identity::forward_headers);
        self.leg = ServiceLeg::Dialling(Box::pin(rules.dialler.dial(request, claims)));
    }

    /// The outcome of a dial under way. The leg is absent until the connection is [put in its place](ServiceLeg::over).
    pub fn poll_dial(&mut self, cx: &mut Context<'_>) -> Poll<Result<Dialled, DialError>> {
        let outcome = self.leg.poll_dial(cx);
        if outcome.is_ready() {
            self.leg = ServiceLeg::Absent;
        }
        outcome
    }

    /// The connection is over. The leg as it was.
    pub fn detach(&mut self) -> ServiceLeg {
        mem::replace(&mut self.leg, ServiceLeg::Absent)
    }
}
