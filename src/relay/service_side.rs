//! The service of a session: the upstream leg, and the way to the service and back to it.

use std::{
    io, mem,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::HeaderMap;

use crate::{
    policy::identity::Identity,
    relay::{
        dial::{Dialled, PackedRequest},
        dial_error::DialError,
        reconnect_pacer::{self, DialTurn, PaceTicket},
        rules::RelayRules,
        service_leg::ServiceLeg,
        service_state::{Loss, LossVerdict, Occasion, PROVOKED_WITHIN, REPEATED_WITHIN, ServiceState},
        worker::Worker,
    },
    session::{ended::Ended, view::Reading},
    wire::websocket::frame::OpCode,
};

/// Once a loss can be judged, it is within this.
const JUDGED_WITHIN: Duration = Duration::from_millis(250);

/// The service's side of a session.
#[derive(Debug)]
pub struct ServiceSide {
    /// What the service holds.
    pub leg: ServiceLeg,
    /// What the service hears at its handshake. `None` on a route that is dialled once, before the session begins.
    request: Option<PackedRequest>,
    /// The session's place among those that go back to the service.
    place: Option<PaceTicket>,
    /// Others wait for what comes of the dial under way.
    probes: bool,
    way: Way,
    /// When something that the client said was last sent over it.
    spoke: Option<Instant>,
    /// `None` in sessions that have never lost the service.
    lost: Option<Box<Lost>>,
}

/// The connection, or the way to it.
#[derive(Debug, Clone, Copy)]
enum Way {
    None,
    /// The last dial began then.
    Dialled(Instant),
    /// The connection was made then.
    Open(Instant),
}

/// The last loss of the service.
#[derive(Debug)]
struct Lost {
    loss: Loss,
    /// When the first of the losses was that it repeats.
    first: Instant,
    objection: Objection,
}

/// Whether a loss is an objection to what the client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Objection {
    /// It is not known yet.
    Open,
    /// It is, if the dial under way succeeds.
    Dial,
    /// It is not.
    Settled,
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
    /// Never: the service does not want what the client sends.
    Objected,
}

impl ServiceSide {
    /// A service that hears `request` when it is dialled.
    #[must_use]
    pub const fn new(leg: ServiceLeg, request: Option<PackedRequest>) -> Self {
        Self { leg, request, place: None, probes: false, way: Way::None, spoke: None, lost: None }
    }

    /// The session begins. A leg that it begins with has been connected just now.
    pub fn begin(&mut self, worker: &Worker) {
        if matches!(self.leg, ServiceLeg::Open(_)) {
            self.opened(worker, worker.clock.now().instant);
        }
    }

    fn opened(&mut self, worker: &Worker, now: Instant) {
        self.way = Way::Open(now);
        worker.service.opened(worker.index(), now);
    }

    /// Dials, or says when that may be: sessions that go back to a service do so at a pace, once it is known that it has
    /// not closed the connection for what the client sent. `again`: the service was dialled before in this session.
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
        let turn = if hold.hold.is_none() {
            DialTurn::Now
        } else {
            match self.judge(&worker.service, now) {
                Some(LossVerdict::Objection) => return Dial::Objected,
                // Those that lost the service together are not all judged, and perhaps closed, in the same moment.
                Some(LossVerdict::Undecided(at)) => {
                    return Dial::Later { at: at + JUDGED_WITHIN.mul_f64(rand::random()), reserved: false };
                }
                _ => worker.service.pacer().ask(!again, self.place, hold.pace, now),
            }
        };
        match turn {
            DialTurn::Now | DialTurn::Probe => {
                self.place = None;
                self.probes = turn == DialTurn::Probe;
                self.way = Way::Dialled(now);
                self.dial_now(identity, rules);
                Dial::UnderWay
            }
            DialTurn::At(at, place) => {
                self.place = Some(place);
                Dial::Later { at, reserved: true }
            }
            DialTurn::Later => {
                self.place.get_or_insert_default();
                Dial::Later { at: now + reconnect_pacer::look_again(rand::random()), reserved: false }
            }
        }
    }

    /// What the last loss means, if that is not known yet.
    fn judge(&mut self, state: &ServiceState, now: Instant) -> Option<LossVerdict> {
        let lost = self.lost.as_mut().filter(|lost| lost.objection != Objection::Settled)?;
        let verdict = state.judge(&lost.loss, now);
        match verdict {
            LossVerdict::Unconfirmed => lost.objection = Objection::Dial,
            LossVerdict::Absence => (lost.objection, lost.loss.repeats) = (Objection::Settled, 0),
            LossVerdict::Unexplained => lost.objection = Objection::Settled,
            LossVerdict::Objection | LossVerdict::Undecided(_) => {}
        }
        Some(verdict)
    }

    /// What the service hears when it is dialled, for another session to which the client goes.
    pub const fn take_request(&mut self) -> Option<PackedRequest> {
        self.request.take()
    }

    /// The client is back with another connection, of which the service hears at the dials that follow.
    pub fn replace_request(&mut self, request: Option<PackedRequest>) {
        if let (Some(mut request), Some(earlier)) = (request, &mut self.request) {
            request.replaces(earlier);
            *earlier = request;
        }
    }

    /// What is kept to dial the service again, in bytes of memory.
    #[must_use]
    pub fn request_memory(&self) -> usize {
        self.request.as_ref().map_or(0, PackedRequest::memory)
    }

    fn dial_now(&mut self, identity: Option<&Identity>, rules: &RelayRules) {
        let Some(request) = &self.request else { return };
        let claims = identity.map_or(&[][..], Identity::forward_headers);
        self.leg = ServiceLeg::Dialling(Box::pin(rules.dialler.dial(request, claims)));
    }

    /// The outcome of a dial under way. The leg is absent until the connection is [put in its place](Self::open).
    pub fn poll_dial(&mut self, cx: &mut Context<'_>) -> Poll<Result<Dialled, DialError>> {
        let outcome = self.leg.poll_dial(cx);
        if outcome.is_ready() {
            self.leg = ServiceLeg::Absent;
        }
        outcome
    }

    /// The dial is over: whether others waited for it.
    pub const fn stops_probing(&mut self) -> bool {
        mem::replace(&mut self.probes, false)
    }

    /// When the last dial began. `None`: it has led to a connection.
    #[must_use]
    pub const fn dialled_at(&self) -> Option<Instant> {
        if let Way::Dialled(at) = self.way { Some(at) } else { None }
    }

    /// The dial has succeeded. Whether that says that the service closed the connection before for what the client sent.
    #[must_use]
    pub fn is_objected(&self) -> bool {
        self.lost.as_ref().is_some_and(|lost| lost.objection == Objection::Dial)
    }

    /// The next dial repeats the cookies that the service has set in this answer. Its headers for the client.
    pub fn learn(&mut self, dialled: &mut Dialled) -> HeaderMap {
        let headers = mem::take(&mut dialled.headers);
        if let Some(request) = &mut self.request {
            request.learn(&headers);
        }
        headers
    }

    /// Goes on with a connection.
    pub fn open(&mut self, dialled: Dialled, reading: Reading, worker: &Worker, now: Instant) {
        self.leg = ServiceLeg::over(dialled, reading);
        self.opened(worker, now);
        match &mut self.lost {
            // What it is asked first is what the client has asked for.
            None => self.spoke = Some(now),
            Some(lost) => lost.objection = Objection::Settled,
        }
    }

    /// Since when the service has been connected.
    #[must_use]
    pub const fn flows_since(&self) -> Option<Instant> {
        if let Way::Open(since) = self.way { Some(since) } else { None }
    }

    /// Sends frames of the client, or parts of one that follow each other.
    ///
    /// # Errors
    /// The socket's.
    #[inline]
    pub fn send(&mut self, bytes: &[u8], now: Instant, cx: &mut Context<'_>) -> io::Result<()> {
        self.spoke = Some(now);
        self.leg.send(bytes, now, cx)
    }

    /// Sends a message of the client as one frame.
    ///
    /// # Errors
    /// The socket's.
    pub fn send_message(
        &mut self,
        opcode: OpCode,
        payload: &[u8],
        now: Instant,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        self.spoke = Some(now);
        self.leg.send_message(opcode, payload, now, cx)
    }

    /// The connection is over. The leg as it was.
    pub fn detach(&mut self) -> ServiceLeg {
        mem::replace(&mut self.leg, ServiceLeg::Absent)
    }

    /// The session of this number has lost a connection, and goes on.
    pub fn lost(&mut self, why: Ended, session: u64, worker: &Worker, now: Instant) {
        let is_recent = |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) <= PROVOKED_WITHIN);
        let (spoke, opened) = (is_recent(self.spoke.take()), self.flows_since());
        self.way = Way::None;
        let occasion = match why {
            Ended::ServiceSlow => Occasion::None,
            Ended::ServiceClosed(code) if code.comes_back() && spoke => Occasion::Unclear,
            _ if spoke => Occasion::Packet,
            _ if is_recent(opened) => Occasion::Unclear,
            _ => Occasion::None,
        };
        let known = self.lost.as_ref().filter(|last| {
            let is_near = now.saturating_duration_since(last.first) <= REPEATED_WITHIN;
            last.loss.repeats > 0 && is_near && !worker.service.has_failed_since(last.loss.at)
        });
        let (first, repeats) = known.map_or((now, 0), |last| (last.first, last.loss.repeats));
        let repeats = if occasion == Occasion::None { 0 } else { repeats.saturating_add(1) };
        let loss = Loss { at: now, session, worker: worker.index(), occasion, repeats };
        worker.service.lost(&loss);
        self.lost = Some(Box::new(Lost { loss, first, objection: Objection::Open }));
    }
}

#[cfg(test)]
mod tests {
    use std::{rc::Rc, task::Waker};

    use super::*;
    use crate::{relay::tests::world, wire::websocket::close::CloseCode};

    const SECOND: Duration = Duration::from_secs(1);

    /// A side without a socket.
    struct World {
        worker: Rc<Worker>,
        side: ServiceSide,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            let worker = world::worker(([127, 0, 0, 1], 1).into(), 100);
            Self { worker, side: ServiceSide::new(ServiceLeg::Absent, None), now: Instant::now() + 1000 * SECOND }
        }

        fn loses(&mut self, why: Ended, opened_ago: Duration, spoke_ago: Option<Duration>) -> Loss {
            let before = |ago: Duration| self.now.checked_sub(ago).unwrap();
            self.side.opened(&self.worker, before(opened_ago));
            if let Some(ago) = spoke_ago {
                let sent = self.side.send(b"", before(ago), &mut Context::from_waker(Waker::noop()));
                sent.unwrap();
            }
            self.side.lost(why, 1, &self.worker, self.now);
            self.side.lost.as_ref().unwrap().loss
        }

        fn repeats(&mut self, spoke_ago: Option<Duration>) -> u8 {
            self.loses(Ended::ServiceLost, 10 * SECOND, spoke_ago).repeats
        }
    }

    #[test]
    fn what_came_before_a_loss() {
        let closed = Ended::ServiceClosed;
        let table = [
            (Ended::ServiceLost, 9 * SECOND, Some(SECOND), Occasion::Packet),
            (Ended::ServiceLost, SECOND / 10, Some(SECOND / 10), Occasion::Packet),
            (Ended::ServiceLost, 9 * SECOND, Some(SECOND * 2), Occasion::None),
            (Ended::ServiceLost, 9 * SECOND, None, Occasion::None),
            (Ended::ServiceLost, SECOND, None, Occasion::Unclear),
            (closed(CloseCode::NO_STATUS), 9 * SECOND, Some(SECOND), Occasion::Packet),
            (closed(CloseCode::INTERNAL), 9 * SECOND, Some(SECOND), Occasion::Packet),
            (closed(CloseCode::RESTART), 9 * SECOND, Some(SECOND), Occasion::Unclear),
            (closed(CloseCode::RESTART), 9 * SECOND, None, Occasion::None),
            (Ended::ServiceSlow, SECOND, Some(SECOND), Occasion::None),
        ];
        for (why, opened_ago, spoke_ago, occasion) in table {
            let loss = World::new().loses(why, opened_ago, spoke_ago);
            assert_eq!(loss.occasion, occasion, "{why:?} {opened_ago:?} {spoke_ago:?}");
        }
    }

    #[test]
    fn losses_repeat_while_dials_between_them_succeed() {
        let mut world = World::new();
        for expected in 1..=3 {
            world.now += 20 * SECOND;
            assert_eq!(world.repeats(Some(SECOND)), expected);
        }
        world.now += 30 * SECOND;
        assert_eq!(world.repeats(Some(SECOND)), 1, "over a minute after the first");
        assert_eq!(world.repeats(Some(SECOND)), 2);
        assert_eq!(world.repeats(None), 0, "nothing of the client came before it");
        assert_eq!(world.repeats(Some(SECOND)), 1);
        world.worker.service.dial_failed(false, false, world.now, &"refused", world.now);
        world.now += SECOND;
        assert_eq!(world.repeats(Some(SECOND)), 1, "the service was down");
    }
}
