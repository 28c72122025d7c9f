//! How the legs of a session come and go: dials, upgrades, connections from other sessions, the end.

use std::{rc::Rc, time::Duration};

use http::HeaderMap;

use super::{Driver, Turn};
use crate::{
    observe::journal,
    policy::connections::Permit,
    relay::{
        client_leg::ClientLeg,
        closing::Closing,
        dial::Dialled,
        dial_error::DialError,
        dial_outcome::{self, FailedDial},
        registry::Target,
        request::{Attachment, Incoming, SessionRequest, Transfer},
        responder::Responder,
        scratch::Scratch,
        service_leg::ServiceLeg,
        service_side::Dial,
    },
    session::{
        answer,
        ended::Ended,
        event::Event,
        message::{Side, Ticket},
        question::{Answer, Question, Returning},
    },
    wire::engineio::error::EngineError,
};

/// Sweeps are so far apart at most.
const SOON: Duration = Duration::from_millis(250);

impl Driver {
    pub(super) fn dial(&mut self, again: bool, turn: &mut Turn<'_, '_>) {
        let identity = turn.session.view().identity();
        match self.service.dial(again, identity, &self.worker, &self.rules, turn.now.instant) {
            // It begins when it is polled, which the next round does.
            Dial::UnderWay => {
                self.client.leg.dials(None);
                turn.cx.waker().wake_by_ref();
            }
            Dial::Later { at, reserved } => {
                turn.session.event(Event::DialLater { at, reserved }, turn.now);
                self.wake_if_soon(turn);
            }
            Dial::Objected => self.objected(turn),
        }
    }

    pub(super) fn dialled(&mut self, outcome: Result<Dialled, DialError>, turn: &mut Turn<'_, '_>) {
        let now = turn.now.instant;
        let probed = self.service.stops_probing();
        self.worker.service.record().dialled(outcome.is_ok());
        let mut dialled = match outcome {
            Ok(dialled) => dialled,
            Err(error) => {
                self.client.leg.dials(Some(HeaderMap::new()));
                return self.not_dialled(&error, probed, turn);
            }
        };
        dial_outcome::connected(&self.worker.service, now);
        if self.service.is_objected() {
            return self.objected(turn);
        }
        turn.session.event(Event::Connected(dialled.protocol.as_deref()), turn.now);
        if turn.session.ended().is_none() {
            self.worker.tally.upstream_open(1);
            let brought = self.service.learn(&mut dialled);
            self.client.leg.dials(Some(brought));
            self.service.open(dialled, turn.session.view().service_reading(), &self.worker, now);
        }
    }

    fn not_dialled(&mut self, error: &DialError, probed: bool, turn: &mut Turn<'_, '_>) {
        let (now, peer) = (turn.now.instant, turn.session.view().peer());
        match error {
            DialError::Refused(refusal) => {
                dial_outcome::refused(&self.worker.service, refusal, peer, now);
                if refusal.is_temporary() {
                    return self.lost(Ended::ServiceBusy, turn);
                }
                let note = turn.session.event(Event::Refused(refusal.status.as_u16(), &refusal.message), turn.now);
                self.ledger.note(Side::Client, note, turn.session.view());
            }
            error if error.is_final() => {
                journal::client_not_taken(peer, error);
                // It has answered, if not as this client would like.
                dial_outcome::reached(&self.worker.service, now);
                self.lost(Ended::ServiceRefused, turn);
            }
            error => {
                let began = self.service.dialled_at().unwrap_or(now);
                dial_outcome::failed(&self.worker.service, FailedDial { error, peer: Some(peer), probed, began }, now);
                self.lost(Ended::ServiceUnreachable, turn);
            }
        }
    }

    /// The service has closed the connection for what the client sent, and would do so again.
    fn objected(&mut self, turn: &mut Turn<'_, '_>) {
        journal::service_objected(turn.session.view().peer());
        self.lost(Ended::ServiceObjected, turn);
    }

    /// The session goes on without the service, which is lost or was not reached.
    pub(super) fn detach_service(&mut self, why: Ended, turn: &mut Turn<'_, '_>) {
        if !self.leave_service(why, turn) {
            return;
        }
        let now = turn.now.instant;
        self.cell.flows_since.set(None);
        self.service.lost(why, self.cell.id, &self.worker, now);
        self.wake_if_soon(turn);
    }

    /// The connection to the service is over, and the service hears of that where it takes a Close at once. False: there was none.
    fn leave_service(&mut self, why: Ended, turn: &mut Turn<'_, '_>) -> bool {
        let ServiceLeg::Open(mut leg) = self.service.detach() else { return false };
        self.worker.tally.upstream_open(-1);
        if self.client.leg.between_frames() {
            leg.say_close(answer::to_service(why, ""), turn.now.instant);
        }
        // Nobody polls it any more: what it does not take now is lost with the connection.
        let _ = leg.flush(turn.now.instant, turn.cx);
        true
    }

    /// A dial that is due before the next sweep does not wait for that: where the service has gone, it fails, and where
    /// many sessions wait, they do not all dial at the sweeps.
    fn wake_if_soon(&self, turn: &Turn<'_, '_>) {
        let (cell, at) = (Rc::clone(&self.cell), turn.session.deadline());
        if at < turn.now.instant + SOON {
            tokio::task::spawn_local(async move {
                tokio::time::sleep_until(at.into()).await;
                cell.wake();
            });
        }
    }

    pub(super) fn ask(&mut self, ticket: Ticket, question: Question) {
        let (responder, answer) = Responder::awaited();
        let otherwise = match question {
            Question::Keys => {
                self.worker.answer_when_keys_change(responder);
                Answer::KeysChanged
            }
            Question::Claim(pid, claim) => {
                self.worker.deliver(Target::Pid(pid), None, SessionRequest::Claim(claim, responder));
                Answer::Claim(false)
            }
        };
        self.client.ask(ticket, answer, otherwise);
    }

    /// What has come to the mailbox since the last poll.
    pub(super) fn take_mail(&mut self, turn: &mut Turn<'_, '_>) {
        if !self.cell.has_mail() {
            return;
        }
        turn.acts();
        for incoming in self.cell.take_mail() {
            let fetches = matches!(
                (&self.client.leg, &incoming),
                (ClientLeg::Polling(leg), Incoming::Request(SessionRequest::Poll(_))) if leg.has_packets()
            );
            match incoming {
                incoming if self.closing.is_some() && !fetches => {
                    self.worker.refuse(incoming, EngineError::SessionUnknown)
                }
                Incoming::Request(SessionRequest::Claim(claim, responder)) => {
                    responder.answer(Answer::Claim(turn.session.claimed(&claim)));
                }
                Incoming::Request(request) => {
                    if let Err(why) = self.client.request(request, turn.now.instant) {
                        self.lost(why, turn);
                    }
                }
                Incoming::Transfer(Transfer::Attach(attachment)) => self.attach(*attachment, turn),
                Incoming::Transfer(transfer) => self.client.transfer(transfer, turn.now.instant),
            }
        }
    }

    /// The client is back, with its new connection. One that this session does not take back is closed.
    pub(super) fn attach(&mut self, attachment: Attachment, turn: &mut Turn<'_, '_>) {
        let Attachment { leg, owner, permit, returning, request } = attachment;
        let transport = leg.transport();
        let Some(leg) = leg.rebind().filter(|_| turn.session.takes_back(&returning.claim)) else {
            return self.worker.connection_lost(returning.sid, transport);
        };
        if !matches!(self.client.leg, ClientLeg::Absent) {
            // The client has noticed the loss of its connection before the gate has. It is not absent, and the new connection
            // has a place of its own.
            self.client.permit = None;
            self.lost(Ended::Replaced, turn);
        }
        if let Some(earlier) = self.cell.client_returned(returning.sid, owner, leg.transport()) {
            self.worker.registry.forget_sid(earlier);
        }
        self.client.leg = leg;
        self.client.permit = permit;
        self.service.replace_request(request);
        turn.session.event(Event::Returned(returning), turn.now);
    }

    /// The connection goes to another session. This one is over, and leaves no line in the log.
    pub(super) fn hand_over(&mut self, returning: Returning, turn: &mut Turn<'_, '_>) {
        let pid = returning.pid;
        self.worker.moved(&self.cell, pid);
        // Where it was dialled at the handshake.
        self.leave_service(Ended::HandedOver, turn);
        let (leg, permit) = (self.client.detach(), self.client.permit.take());
        let (owner, request) = (self.cell.owner(), self.service.take_request());
        let attachment = Attachment { leg, owner, permit, returning, request };
        self.worker.deliver(Target::Pid(pid), None, Transfer::Attach(Box::new(attachment)));
    }

    pub(super) fn detach_client(&mut self, why: Ended, turn: &mut Turn<'_, '_>) {
        let now = turn.now.instant;
        self.client.leg.say_end(why, answer::to_client(why, ""), self.service.leg.between_frames(), now);
        let transport = self.client.leg.transport();
        // Nobody polls it any more: what it does not take now is lost with the connection.
        let _ = self.client.leg.flush(now, turn.cx);
        self.client.detach();
        self.cell.client_lost();
        let left = self.client.permit.as_mut().map_or(Ok(()), Permit::leave);
        if left.is_ok() {
            self.ledger.client_lost(turn.session.view(), transport, why, now);
        }
        if let Err(limit) = left {
            // It ends, and has one line for that.
            self.ledger.client_ended(turn.session.view(), transport, why);
            self.worker.tally.refused("resume", limit.code);
            journal::session_not_kept(turn.session.view().peer(), limit.code, limit.key);
            self.lost(Ended::NotKept(limit.code), turn);
        }
    }

    /// Both sides hear of the end, where a frame of ours does not tear one of theirs.
    pub(super) fn end(&mut self, turn: &mut Turn<'_, '_>, ended: Ended) {
        let (now, view) = (turn.now.instant, turn.session.view());
        self.worker.rooms.forget(&self.cell);
        self.client.leg.say_end(ended, view.close_of_client(ended), self.service.leg.between_frames(), now);
        if self.client.leg.between_frames() {
            self.service.leg.say_close(answer::to_service(ended, view.close_reason()), now);
        }
        self.closing = Some(Box::new(Closing::new(ended, now)));
        self.ledger.session_ended(view, self.client.leg.transport(), ended, now);
        let unsent = turn.session.abandon();
        self.ledger.queue_ended(unsent, turn.session.view().lost());
        if let Some(inflow) = self.client.leg.inflow() {
            inflow.forget();
        }
        if let Some(inflow) = self.service.leg.inflow() {
            inflow.forget();
        }
        if matches!(ended, Ended::Overloaded(_)) && !self.client.leg.takes() {
            // A Close would wait behind what the client does not read.
            self.client.detach();
        }
        self.keeps(turn.session);
        if matches!(self.service.leg, ServiceLeg::Open(_)) {
            self.worker.tally.upstream_open(-1);
        }
        if self.service.stops_probing() {
            self.worker.service.pacer().found_nothing();
        }
        self.cell.flows_since.set(None);
    }

    /// A client that was about to go over to a websocket when the session ended hears of the end there.
    pub(super) fn poll_last_upgrade(&mut self, turn: &mut Turn<'_, '_>, scratch: &mut Scratch) {
        let (Some(closing), now) = (&self.closing, turn.now.instant) else { return };
        if self.client.poll_upgrade(scratch, now, turn.cx) == Some(true)
            && let ClientLeg::Websocket(leg) = &mut self.client.leg
        {
            leg.say_close(turn.session.view().close_of_client(closing.ended()), now);
        }
    }
}
