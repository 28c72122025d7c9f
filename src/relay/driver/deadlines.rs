//! What time alone brings about in a session, and when its task is next due for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Driver, Turn};
use crate::session::{ended::Ended, event::Event};

/// A side that takes nothing for so long is given up.
const STALL: Duration = Duration::from_secs(10);

impl Driver {
    /// What time alone brings about: pings, limits, a drain, changed rules.
    pub(super) fn keep_time(&mut self, turn: &mut Turn<'_, '_>) {
        if !self.worker.still_obeys(&self.rules) {
            turn.acts();
            self.rules = self.worker.rules();
            turn.session.event(Event::NewRules(Arc::clone(&self.rules.session)), turn.now);
        }
        let now = turn.now.instant;
        let drains = self.cell.drains(now);
        if now < self.cell.deadline.get() && !drains {
            return;
        }
        turn.acts();
        if drains {
            turn.session.event(Event::Drain, turn.now);
        }
        if !self.service.leg.takes() || self.client.is_paused() {
            turn.session.event(Event::Unread, turn.now);
        }
        turn.session.timeout(turn.now);
        self.client.keep_time(now);
        let is_stalled = |since: Option<Instant>| since.is_some_and(|since| now >= since + STALL);
        if is_stalled(self.client.leg.stalled_since()) {
            self.lost(Ended::SlowReader, turn);
        } else if is_stalled(self.service.leg.stalled_since()) {
            self.lost(Ended::ServiceSlow, turn);
        }
    }

    /// Nothing more can be done now. Messages that pass bring no deadline forward, so nothing is reckoned for them.
    pub(super) fn rest(&mut self, turn: &mut Turn<'_, '_>) {
        self.cell.flows_since.set(self.service.flows_since().filter(|_| self.client.leg.takes()));
        let is_stalled = self.client.leg.stalled_since().is_some() || self.service.leg.stalled_since().is_some();
        // A session that was held is not any more once the service has let it in, and that is a message that passes.
        let is_held = self.cell.service_down_since.get().is_some();
        if !turn.unsettled && !is_stalled && !is_held {
            return;
        }
        if self.ledger.queue(turn.session.view(), self.rules.queue_total) {
            turn.session.event(Event::Lost(Ended::QueueFull), turn.now);
            // So that no other session ends for packets that are dropped with this one.
            self.worker.queued(&self.cell.queued, 0, 0);
            turn.cx.waker().wake_by_ref();
        }
        let stalls = [self.client.leg.stalled_since(), self.service.leg.stalled_since()];
        let stalls = stalls.into_iter().flatten().map(|since| since + STALL);
        let others = [self.client.paused_until(), self.client.leg.probe_until()].into_iter().flatten();
        self.cell.deadline.set(stalls.chain(others).fold(turn.session.deadline(), Instant::min));
    }
}
