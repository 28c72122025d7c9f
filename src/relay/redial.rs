//! The way to the service and, after a loss, back to it.

use std::task::Context;

use crate::{
    observe::journal,
    relay::{
        dial::{DialError, Dialled},
        driver::{Driver, Turn},
        leg::upstream::UpstreamLeg,
        pace::{self, Leave},
    },
    session::ended::Ended,
    wire::websocket::frame::OpCode,
};

impl Driver {
    /// Dials, or waits for those who go first.
    pub(super) fn ask_to_dial(&mut self, turn: &mut Turn<'_>) {
        let hold = &self.rules.terms.hold;
        // Where nothing is held, clients come back by themselves, at a pace of their own.
        let first = !turn.session.upstream().is_redial();
        let leave = match hold.hold {
            Some(_) => self.worker.pace.ask(first, self.place.take(), hold.pace, turn.now),
            None => Leave::Go,
        };
        match leave {
            Leave::Go => self.dial(turn),
            Leave::At(at, place) => {
                self.place = Some(place);
                turn.session.dial_in_turn(at);
            }
            Leave::Wait => turn.session.dial_later(turn.now + pace::look_again(rand::random())),
        }
    }

    fn dial(&mut self, turn: &Turn<'_>) {
        let Some(request) = &self.request else { return };
        let claims = turn.session.identity().map_or(&[][..], |identity| identity.forward_headers());
        self.upstream = UpstreamLeg::Dialling(Box::pin(self.rules.dialler.dial(request, claims)));
    }

    /// A dial has come to its end.
    pub(super) fn dialled(&mut self, outcome: Result<Dialled, DialError>, turn: &mut Turn<'_>) -> Result<(), Ended> {
        self.upstream = UpstreamLeg::Away;
        self.worker.tally.dial(outcome.is_ok());
        let dialled = outcome.map_err(|error| {
            journal::dial_failed(&error);
            if error.is_final() { Ended::ServiceRefused } else { Ended::ServiceUnreachable }
        })?;
        if let Some(away) = self.worker.pace.reached(turn.now) {
            journal::service_back(away);
        }
        turn.session.service_reached(dialled.protocol.as_deref(), turn.now)?;
        self.worker.tally.upstream_open(1);
        self.upstream = UpstreamLeg::over(dialled, &turn.session.dialect);
        Ok(())
    }

    /// The upstream leg is lost. The session waits for another, or ends.
    pub(super) fn service_gone(&mut self, turn: &mut Turn<'_>, ended: Ended) {
        let failures = turn.session.upstream().failures();
        let dial_at = turn.now + pace::backoff(failures, rand::random());
        let held = turn.session.service_gone(ended, &self.rules.terms, dial_at, turn.now);
        if !held {
            return;
        }
        if matches!(self.upstream, UpstreamLeg::Open(_)) {
            self.worker.tally.upstream_open(-1);
        }
        self.upstream = UpstreamLeg::Away;
        self.begun = None;
        self.close_reason = Box::default();
        if self.worker.pace.lost(turn.now) {
            journal::service_gone(ended.cause());
        }
    }

    /// Sends the packets whose turn it is.
    pub(super) fn send_packets(&mut self, turn: &mut Turn<'_>, cx: &mut Context<'_>) -> Result<(), Ended> {
        while let Some(packet) = turn.session.next_packet() {
            let first = self.upstream.send_message(packet.opcode(), packet.payload(), turn.now, cx);
            let sent = packet.attachments().fold(first, |sent, bytes| {
                sent.and_then(|()| self.upstream.send_message(OpCode::Binary, bytes, turn.now, cx))
            });
            if sent.is_err() {
                turn.session.packet_unsent(packet);
                return Err(Ended::ServiceLost);
            }
            turn.session.packet_sent(packet, &self.rules.terms);
        }
        Ok(())
    }

    /// Tells the worker what waits here, for its gauges and the bound of all queues together. True: that is passed, and
    /// this session has a part in it.
    pub(super) fn tell_queue(&mut self, turn: &Turn<'_>) -> bool {
        let upstream = turn.session.upstream();
        self.count_dropped(upstream.dropped());
        self.cell.held_since.set(upstream.away_since().filter(|_| upstream.is_redial()));
        let (packets, bytes) = upstream.waiting();
        self.worker.queued(&self.cell.queued, packets, bytes);
        bytes > 0 && self.worker.queues_are_full(self.rules.queue_total)
    }
}
