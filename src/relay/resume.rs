//! A client that comes back: its new connection goes over to the session that it had.
//!
//! The session may be on another thread, so what is asked and what is handed over are letters. Whoever has the `pid`
//! and the right user gets in; everybody else gets a session of their own, and the one that was asked for hears nothing.

use std::{
    future::Future as _,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::oneshot;

use crate::{
    policy::{bearer::Bearer, connections::Permit, identity::Identity},
    relay::{
        client_leg::ClientLeg,
        driver::{Driver, Turn},
        mailbox::{ClientRequest, Question, Reply},
        registry::Errand,
    },
    session::{
        ended::Ended,
        resume::{Back, Recovery},
    },
    wire::{
        engineio::{error::EngineError, open::Sid},
        socketio::peek::PacketHead,
    },
};

/// The session that is asked answers within this, or there is none.
const PATIENCE: Duration = Duration::from_secs(2);

/// A client that wants its session back.
#[derive(Debug)]
pub struct Claim {
    answer: oneshot::Receiver<Result<(), EngineError>>,
    taken_back: Option<bool>,
    until: Instant,
    recovery: Recovery,
    namespace: Box<str>,
    identity: Identity,
}

/// A connection that goes over to the session that its client had.
#[derive(Debug)]
pub struct Arrival {
    client: ClientLeg,
    sid: Sid,
    bearer: Option<Box<Bearer>>,
    permit: Option<Permit>,
    peer: IpAddr,
    identity: Identity,
    namespace: Box<str>,
    offset: Option<u64>,
}

/// What becomes of a CONNECT that shows a `pid`.
pub(super) enum Claimed {
    /// It is one like any other.
    No,
    /// It waits for the answer, until then at most.
    Wait(Instant),
    /// The connection goes over.
    Yes,
}

impl Driver {
    /// Does this first CONNECT ask for a session that the client had before?
    pub(super) fn claims(&mut self, head: &PacketHead<'_>, payload: &[u8], turn: &Turn<'_>) -> Claimed {
        if self.rules.terms.hold.resume.is_none() || turn.session.identity().is_some() {
            return Claimed::No;
        }
        if let Some(claim) = &self.claim {
            return match claim.taken_back {
                None if turn.now < claim.until => Claimed::Wait(claim.until),
                None => Claimed::No,
                Some(true) => Claimed::Yes,
                Some(false) => Claimed::No,
            };
        }
        let Some(recovery) = Recovery::read(payload) else { return Claimed::No };
        let Some(identity) = turn.session.who(payload, &self.rules.policies, SystemTime::now()) else {
            return Claimed::No;
        };
        let (reply, answer) = Reply::awaited();
        let question = Question {
            user: identity.user().map(Box::from),
            namespace: head.namespace.into(),
            offset: recovery.offset,
            reply,
        };
        self.worker.registry.resume(recovery.pid, ClientRequest::Claim(question));
        let until = turn.now + PATIENCE;
        let namespace = head.namespace.into();
        self.claim = Some(Claim { answer, taken_back: None, until, recovery, namespace, identity });
        Claimed::Wait(until)
    }

    /// Has the session answered that was asked?
    pub(super) fn poll_claim(&mut self, cx: &mut Context<'_>) {
        let Some(claim) = &mut self.claim else { return };
        if claim.taken_back.is_some() {
            return;
        }
        if let Poll::Ready(answer) = Pin::new(&mut claim.answer).poll(cx) {
            claim.taken_back = Some(matches!(answer, Ok(Ok(()))));
            self.worker.tally.resume(claim.taken_back == Some(true));
            self.paused_until = None;
        }
    }

    /// The connection goes over. This session is no more, and nobody hears of it.
    pub(super) fn hand_over(&mut self, turn: &mut Turn<'_>) {
        let (Some(claim), Some(sid)) = (self.claim.take(), self.cell.sid()) else { return };
        let Claim { recovery, namespace, identity, .. } = claim;
        let arrival = Arrival {
            client: std::mem::replace(&mut self.client, ClientLeg::Away),
            sid,
            bearer: self.cell.bearer(),
            permit: self.permit.take(),
            peer: turn.session.peer(),
            identity,
            namespace,
            offset: recovery.offset,
        };
        self.worker.moved(sid, recovery.pid);
        self.worker.registry.resume(recovery.pid, ClientRequest::Arrive(Box::new(arrival)));
    }

    /// The client is gone, and may come back. Its place among the open connections stays taken, or whoever connects and
    /// leaves again and again would have any number of sessions.
    pub(super) fn client_gone(&mut self, turn: &mut Turn<'_>, ended: Ended) {
        self.client.say_end(ended, "", self.upstream.between_frames(), turn.now);
        self.record_client_end(turn, ended);
        self.client = ClientLeg::Away;
        self.paused_until = None;
        self.close_reason = Box::default();
        turn.session.client_gone(ended, turn.now);
        self.cell.client_gone(turn.now);
    }

    /// Would this session take a client back?
    pub(super) fn answer_claim(&self, question: Question, turn: &Turn<'_>) {
        let Question { user, namespace, offset, reply } = question;
        if self.closing.is_none() && turn.session.takes_back(user.as_deref(), &namespace, offset) {
            reply.answer(());
        }
    }

    /// The client is back, with its new connection.
    pub(super) fn arrive(&mut self, arrival: Arrival, turn: &mut Turn<'_>) {
        let Arrival { client, sid, bearer, permit, peer, identity, namespace, offset } = arrival;
        let Some(client) = client.settle() else { return };
        if !turn.session.takes_back(identity.user(), &namespace, offset) {
            return;
        }
        if !matches!(self.client, ClientLeg::Away) {
            // It has noticed the loss before we have.
            self.client_gone(turn, Ended::Replaced);
        }
        if let Some(earlier) = self.cell.goes_by(sid, bearer, client.transport()) {
            self.worker.registry.send(earlier, Errand::Forget(earlier));
        }
        self.client = client;
        self.permit = permit;
        turn.session.client_back(Back { sid, peer, identity }, &self.rules.terms, SystemTime::now(), turn.now);
        turn.session.namespace_back(&namespace, offset);
    }
}
