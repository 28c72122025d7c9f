//! What the requests of a polling client do to its session: polls, payloads, the way over to a websocket.

use std::task::Context;

use crate::{
    relay::{
        client_leg::ClientLeg,
        driver::{Driver, Turn},
        leg::polling::Upgraded,
        mailbox::{ClientRequest, Upgrade},
        scratch::Scratch,
    },
    session::answer,
    wire::engineio::error::EngineError,
};

impl Driver {
    /// What the client asked for by other requests since the last poll.
    pub(super) fn take_letters(&mut self, turn: &mut Turn<'_>) {
        for request in self.cell.take_letters() {
            let fetches = matches!(
                (&self.client, &request),
                (ClientLeg::Polling(leg), ClientRequest::Poll(_)) if leg.has_packets()
            );
            if self.closing.is_some() && !fetches {
                request.refuse(EngineError::SessionUnknown);
                continue;
            }
            let taken = match (&mut self.client, request) {
                (_, ClientRequest::Claim(question)) => {
                    self.answer_claim(question, turn);
                    Ok(())
                }
                (_, ClientRequest::Arrive(arrival)) => {
                    self.arrive(*arrival, turn);
                    Ok(())
                }
                (ClientLeg::Polling(leg), ClientRequest::Poll(reply)) => leg.poll(reply),
                (ClientLeg::Polling(leg), ClientRequest::Payload(body, reply)) => leg.post(body, reply),
                (ClientLeg::Polling(leg), ClientRequest::Upgrade(reply)) => {
                    reply.answer(if leg.promise_probe(turn.now) { Upgrade::Probe } else { Upgrade::Close });
                    Ok(())
                }
                (ClientLeg::Polling(leg), ClientRequest::Websocket(stream, read_ahead)) => {
                    if let Ok(stream) = stream.settle() {
                        leg.probe(stream, &read_ahead, turn.now);
                    }
                    Ok(())
                }
                (ClientLeg::Websocket(_), ClientRequest::Upgrade(reply)) => {
                    reply.answer(Upgrade::Close);
                    Ok(())
                }
                (ClientLeg::Away, request) => {
                    request.refuse(EngineError::SessionUnknown);
                    Ok(())
                }
                (ClientLeg::Websocket(_), request) => {
                    request.refuse(EngineError::BadRequest);
                    Ok(())
                }
            };
            if let Err(ended) = taken {
                turn.session.end(ended);
            }
        }
    }

    /// Goes on with an upgrade from polling. True: the client leg is a websocket from now on.
    pub(super) fn poll_upgrade(&mut self, turn: &Turn<'_>, scratch: &mut Scratch, cx: &mut Context<'_>) -> bool {
        let ClientLeg::Polling(leg) = &mut self.client else { return false };
        match leg.poll_probe(scratch, turn.now, cx) {
            Upgraded::NotYet => false,
            Upgraded::Failed => {
                self.worker.tally.upgrade(false);
                false
            }
            Upgraded::To(leg) => {
                self.worker.tally.upgrade(true);
                self.worker.tally.polling(-1);
                self.client = ClientLeg::Websocket(leg);
                self.cell.upgraded();
                true
            }
        }
    }

    /// A client that was about to go over when the session ended hears of the end on its websocket.
    pub(super) fn poll_last_upgrade(&mut self, turn: &Turn<'_>, scratch: &mut Scratch, cx: &mut Context<'_>) {
        let (Some(closing), ClientLeg::Polling(leg)) = (&self.closing, &mut self.client) else { return };
        if let Upgraded::To(mut leg) = leg.poll_probe(scratch, turn.now, cx) {
            leg.say_close(answer::to_client(closing.ended(), &self.close_reason), turn.now);
            self.client = ClientLeg::Websocket(leg);
        }
    }
}
