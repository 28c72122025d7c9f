//! Answers an operator's requests about the sessions of this worker.

use super::Worker;
use crate::relay::{
    cell::SessionCell,
    listing::{Scan, Sort, Value},
    registry::SessionView,
};

/// So many sessions are looked at before others of the thread have their turn.
const SLICE: usize = 256;

impl Worker {
    /// Looks at some more sessions for a list.
    #[must_use]
    pub(super) fn scan(&self, mut scan: Scan) -> Scan {
        let sessions = self.sessions.borrow();
        if let Some(wanted) = scan.plain() {
            let mut left = wanted.min(SLICE);
            for cell in sessions.above(scan.seen()).take(left) {
                left -= 1;
                scan.saw(cell.id);
                scan.offer(cell.id, Value::Number(cell.id));
            }
            if left > 0 || scan.plain() == Some(0) {
                scan.count(sessions.len());
                scan.end();
            }
            return scan;
        }
        let (mut left, mut peer) = (SLICE, String::new());
        for cell in sessions.above(scan.seen()).take(SLICE) {
            left -= 1;
            scan.saw(cell.id);
            look(cell, &mut scan, &mut peer);
        }
        if left > 0 {
            scan.end();
        }
        scan
    }

    /// What is known of those sessions that are here.
    #[must_use]
    pub(super) fn show(&self, ids: &[u64]) -> Vec<SessionView> {
        let (sessions, now) = (self.sessions.borrow(), self.clock.now().instant);
        ids.iter().filter_map(|id| sessions.get(*id)).map(|cell| cell.view(now)).collect()
    }

    /// The operator ends a session. `None`: it is not here, or has ended.
    pub(super) fn close(&self, id: u64) -> Option<SessionView> {
        let sessions = self.sessions.borrow();
        let cell = sessions.get(id).filter(|cell| cell.session.borrow().ended().is_none())?;
        cell.close();
        Some(cell.view(self.clock.now().instant))
    }

    /// The numbers of all sessions, ascending.
    #[cfg(test)]
    pub(in crate::relay) fn ids(&self) -> Vec<u64> {
        self.sessions.borrow().iter().map(|cell| cell.id).collect()
    }
}

/// One session, which may match.
fn look(cell: &SessionCell, scan: &mut Scan, peer: &mut String) {
    let session = cell.session.borrow();
    let view = session.view();
    if !scan.query().search.finds(view, peer) {
        return;
    }
    let value = match scan.query().sort {
        Sort::Id => Value::Number(cell.id),
        // The youngest has the highest number.
        Sort::Age => Value::Number(u64::MAX - cell.id),
        Sort::User => view.identity().and_then(|identity| identity.user()).map_or(Value::Missing, Value::Text),
        Sort::Rtt => {
            view.rtt().map_or(Value::Missing, |rtt| Value::Number(u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)))
        }
        Sort::Received => Value::Number(cell.packets.get().0),
        Sort::Refused => Value::Number(cell.refused.get()),
        Sort::Waiting => Value::Number(view.waiting().0 as u64),
    };
    scan.count(1);
    scan.offer(cell.id, value);
}
