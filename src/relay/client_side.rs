//! The client's side of a session: its leg, its pauses, and the requests that arrive beside its frames.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use crate::{
    policy::connections::Permit,
    relay::{
        client_leg::ClientLeg,
        leg::polling::Upgraded,
        request::{Incoming, SessionRequest, Transfer, Upgrade},
        responder::Answered,
        scratch::Scratch,
    },
    session::{
        ended::Ended,
        message::{Ticket, Until},
        question::Answer,
    },
    wire::engineio::error::EngineError,
};

/// The client's side of a session.
#[derive(Debug)]
pub struct ClientSide {
    /// What the client holds.
    pub leg: ClientLeg,
    /// Until when nothing is read of the client.
    pub paused: Option<Until>,
    /// Its place among the open connections or, while the client is absent, among the absent ones, or a client that connects
    /// and leaves again and again would have any number of sessions.
    pub permit: Option<Permit>,
    asked: Option<Box<Asked>>,
}

/// A question of the session that is being answered.
#[derive(Debug)]
struct Asked {
    ticket: Ticket,
    answer: Answered<Answer>,
    /// What it means where there is no answer.
    otherwise: Answer,
}

impl ClientSide {
    /// With a connection that has a place among the open ones, if it needs one.
    #[must_use]
    pub const fn new(leg: ClientLeg, permit: Option<Permit>) -> Self {
        Self { leg, paused: None, permit, asked: None }
    }

    /// Whether something may be read of the client now.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// When a pause is over at the latest. `None`: there is none.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        self.paused.map(|until| match until {
            Until::Time(at) | Until::Answer(_, at) => at,
        })
    }

    /// Time has come to `now`.
    pub fn keep_time(&mut self, now: Instant) {
        if self.paused_until().is_some_and(|until| until <= now) {
            self.paused = None;
        }
    }

    /// The rules are others now: what waits for its time is judged by them.
    pub fn judge_again(&mut self) {
        self.paused = self.paused.filter(|until| matches!(until, Until::Answer(..)));
    }

    /// The session has asked this. Where there is no answer, `otherwise` is one.
    pub fn ask(&mut self, ticket: Ticket, answer: Answered<Answer>, otherwise: Answer) {
        self.asked = Some(Box::new(Asked { ticket, answer, otherwise }));
    }

    /// The answer to what was asked, once it is there. What waited for it is judged again.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Option<(Ticket, Answer)> {
        let asked = self.asked.as_mut()?;
        let Poll::Ready(answer) = Pin::new(&mut asked.answer).poll(cx) else { return None };
        let answered = (asked.ticket, answer.ok().and_then(Result::ok).unwrap_or(asked.otherwise));
        self.asked = None;
        if matches!(self.paused, Some(Until::Answer(ticket, _)) if ticket == answered.0) {
            self.paused = None;
        }
        Some(answered)
    }

    /// The client's connection is over, and the session goes on without it.
    pub fn detach(&mut self) -> ClientLeg {
        self.paused = None;
        self.asked = None;
        std::mem::replace(&mut self.leg, ClientLeg::Absent)
    }

    /// A request of a polling client.
    ///
    /// # Errors
    /// Why the session ends: the request breaks a rule of Engine.IO.
    pub fn request(&mut self, request: SessionRequest, now: Instant) -> Result<(), Ended> {
        match (&mut self.leg, request) {
            (ClientLeg::Polling(leg), SessionRequest::Poll(responder)) => leg.poll(responder),
            (ClientLeg::Polling(leg), SessionRequest::Payload(body, responder)) => leg.post(body, responder),
            (ClientLeg::Polling(leg), SessionRequest::Upgrade(responder)) => {
                responder.answer(if leg.promise_probe(now) { Upgrade::Probe } else { Upgrade::Close });
                Ok(())
            }
            (ClientLeg::Websocket(_), SessionRequest::Upgrade(responder)) => {
                responder.answer(Upgrade::Close);
                Ok(())
            }
            (ClientLeg::Websocket(_), request) | (ClientLeg::Polling(_), request @ SessionRequest::Claim(..)) => {
                Incoming::from(request).refuse(EngineError::BadRequest);
                Ok(())
            }
            (ClientLeg::Absent, request) => {
                Incoming::from(request).refuse(EngineError::SessionUnknown);
                Ok(())
            }
        }
    }

    /// A websocket came that a polling client may go over to. Any other client has none to come.
    pub fn transfer(&mut self, transfer: Transfer, now: Instant) {
        if let (ClientLeg::Polling(leg), Transfer::Websocket { io, read_ahead, base64 }) = (&mut self.leg, transfer)
            && let Ok(stream) = io.rebind()
        {
            leg.probe(stream, &read_ahead, base64, now);
        }
    }

    /// Goes on with an upgrade from polling. `None`: there is nothing new. True: the leg is a websocket from now on.
    pub fn poll_upgrade(&mut self, scratch: &mut Scratch, now: Instant, cx: &mut Context<'_>) -> Option<bool> {
        let ClientLeg::Polling(leg) = &mut self.leg else { return None };
        match leg.poll_probe(scratch, now, cx) {
            Upgraded::NotYet => None,
            Upgraded::Failed => Some(false),
            Upgraded::To(leg) => {
                self.leg = ClientLeg::Websocket(*leg);
                Some(true)
            }
        }
    }
}
