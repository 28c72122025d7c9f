//! What is counted and logged of an end: of a client's connection, and of what the session had beside it.

use crate::{
    observe::journal::{self, Ended as EndedLine},
    relay::{
        client_leg::ClientLeg,
        driver::{self, Driver, Turn},
        leg::upstream::UpstreamLeg,
    },
    session::{Dialect, ended::Ended},
};

impl Driver {
    /// The client's connection is over. The session may go on without it.
    pub(super) fn record_client_end(&mut self, turn: &Turn<'_>, ended: Ended) {
        let tally = &self.worker.tally;
        tally.ended(ended.cause());
        if ended.is_error() {
            tally.error(ended.cause());
        }
        if matches!(self.client, ClientLeg::Polling(_)) {
            tally.polling(-1);
        }
        // Of one that was never let in, the refusals were logged when they were said.
        if !std::mem::take(&mut self.authenticated) {
            return;
        }
        tally.left_authenticated();
        if !journal::writes_sessions() {
            return;
        }
        let namespaces: Vec<String> = match &turn.session.dialect {
            Dialect::SocketIo(socketio) => socketio.namespaces.names().map(str::to_owned).collect(),
            Dialect::Plain(_) => Vec::new(),
        };
        let sid = driver::sid_of(turn.session);
        let (packets_received, packets_sent) = self.cell.packets.get();
        journal::session_ended(&EndedLine {
            session: self.opened(turn.session, sid.as_deref(), &namespaces),
            duration: turn.now.saturating_duration_since(self.cell.opened),
            packets_received,
            packets_sent,
            packets_refused: self.cell.refused.get(),
            packets_unsent: unsent(turn),
            cause: ended.cause(),
            fault: ended.fault().name(),
        });
    }

    /// The session is over.
    pub(super) fn record_service_end(&mut self, turn: &mut Turn<'_>) {
        self.count_dropped(unsent(turn));
        turn.session.forget_backlog();
        self.worker.queued(&self.cell.queued, 0, 0);
        self.cell.held_since.set(None);
        match self.upstream {
            UpstreamLeg::Open(_) => self.worker.tally.upstream_open(-1),
            // Others may have waited for what this one finds.
            UpstreamLeg::Dialling(_) => self.worker.pace.found_nothing(),
            UpstreamLeg::Away => {}
        }
    }

    /// So many packets of the client are known not to reach the service.
    pub(super) fn count_dropped(&mut self, dropped: u64) {
        let known = std::mem::replace(&mut self.dropped, dropped);
        self.worker.tally.queue_dropped(dropped.saturating_sub(known));
    }
}

/// Packets of the client that waited for the service and never reached it.
fn unsent(turn: &Turn<'_>) -> u64 {
    turn.session.upstream().dropped() + turn.session.upstream().waiting().0 as u64
}
