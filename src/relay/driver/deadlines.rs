//! Handles expired deadlines, and computes the next one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Driver, Turn};
use crate::session::{Session, ended::Ended, event::Event, message::Side};

/// A side that takes nothing for so long is given up.
const STALL: Duration = Duration::from_secs(10);

impl Driver {
    /// What time alone brings about: pings, limits, a drain, changed rules.
    pub(super) fn keep_time(&mut self, turn: &mut Turn<'_, '_>) {
        if !self.worker.still_obeys(&self.rules) {
            turn.acts();
            self.rules = self.worker.rules();
            turn.session.event(Event::NewRules(Arc::clone(&self.rules.session)), turn.now);
            self.client.judge_again();
        }
        if self.cell.take_revocation() {
            turn.acts();
            turn.session.event(Event::Revoked, turn.now);
        }
        if self.cell.take_close() {
            turn.acts();
            turn.session.event(Event::Lost(Ended::ClosedByOperator), turn.now);
        }
        let now = turn.now.instant;
        let (drains, shortage) = (self.cell.drains(now), self.cell.shortage.get());
        if now < self.cell.deadline.get() && !drains && shortage.is_none() {
            return;
        }
        turn.acts();
        if let Some(shortage) = shortage {
            turn.session.event(Event::Lost(Ended::Overloaded(shortage)), turn.now);
        }
        if drains {
            turn.session.event(Event::Drain, turn.now);
        }
        let is_unread = !self.service.leg.takes() || self.client.is_paused();
        if is_unread && self.client.leg.polls_within(self.rules.session.heartbeat(), now) {
            turn.session.event(Event::Unread(Side::Client), turn.now);
        }
        if !self.client.leg.takes() {
            turn.session.event(Event::Unread(Side::Service), turn.now);
        }
        turn.session.timeout(turn.now);
        self.client.keep_time(now);
        let is_stalled = |since: Option<Instant>| since.is_some_and(|since| now >= since + STALL);
        if is_stalled(self.client.leg.stalled_since()) {
            self.lost(Ended::ClientStalled, turn);
        } else if is_stalled(self.service.leg.stalled_since()) {
            self.lost(Ended::ServiceSlow, turn);
        }
    }

    /// Counts what the session and its legs keep now.
    pub(super) fn keeps(&self, session: &Session) {
        let in_legs = self.client.leg.memory() + self.service.leg.memory();
        self.cell.kept_in_legs.set(in_legs > 0);
        let kept = session.view().memory() + self.service.request_memory() + in_legs;
        self.worker.keeps(&self.cell, kept, self.rules.session_memory);
    }

    /// Nothing more can be done now. Messages that pass bring no deadline forward, so nothing is reckoned for them.
    pub(super) fn rest(&mut self, turn: &mut Turn<'_, '_>) {
        self.cell.flows_since.set(self.service.flows_since().filter(|_| self.client.leg.takes()));
        let is_stalled = self.client.leg.stalled_since().is_some() || self.service.leg.stalled_since().is_some();
        // A session that was held is not any more once the service has let it in, and that is a message that passes.
        let is_held = self.cell.service_down_since.get().is_some();
        let is_gathering = self.client.leg.is_gathering() || self.service.leg.is_gathering();
        if !turn.unsettled && !is_stalled && !is_held && !is_gathering && !self.cell.kept_in_legs.get() {
            return;
        }
        self.ledger.queue(turn.session.view());
        self.keeps(turn.session);
        let stalls = [self.client.leg.stalled_since(), self.service.leg.stalled_since()];
        let stalls = stalls.into_iter().flatten().map(|since| since + STALL);
        let others = [self.client.paused_until(), self.client.leg.probe_until()].into_iter().flatten();
        self.cell.deadline.set(stalls.chain(others).fold(turn.session.deadline(), Instant::min));
    }
}
