//! Service events that are mirrored to other nodes.

use std::time::Instant;

use super::Driver;
use crate::{relay::outlet::Offer, session::action::Offered};

impl Driver {
    /// One copy of an event, on its way to this client.
    pub(super) fn offer(&self, offered: Offered, at: Instant) {
        let Offered { rule, namespace, room, json, attachments, offset } = offered;
        self.cell.has_offered.set(true);
        let (session, namespace) = (self.cell.id, namespace.into());
        self.worker.outlet.offer(Offer { session, rule, namespace, room, json, attachments, offset, at });
    }
}
