//! The end of a session: the rest is sent, and both sides close.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    relay::{client_leg::ClientLeg, service_leg::ServiceLeg},
    session::ended::Ended,
};

/// The longest wait for a side to close; then it is dropped.
const LINGER: Duration = Duration::from_secs(2);

/// The stage of the closing.
#[derive(Debug)]
pub struct Closing {
    ended: Ended,
    until: Instant,
    client_closed: bool,
    service_closed: bool,
}

impl Closing {
    /// Begins.
    #[must_use]
    pub fn new(ended: Ended, now: Instant) -> Self {
        Self { ended, until: now + LINGER, client_closed: false, service_closed: false }
    }

    /// Why the session ended.
    #[must_use]
    pub const fn ended(&self) -> Ended {
        self.ended
    }

    /// When the closing is over at the latest.
    #[must_use]
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// Ready: both sides are closed, or their time is over.
    pub fn poll(
        &mut self,
        client: &mut ClientLeg,
        service: &mut ServiceLeg,
        buffer: &mut [u8],
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        self.client_closed = self.client_closed || client.end(buffer, now, cx).is_ready();
        self.service_closed = self.service_closed
            || match service {
                ServiceLeg::Open(leg) => leg.end(buffer, now, cx).is_ready(),
                ServiceLeg::Absent | ServiceLeg::Dialling(_) => true,
            };
        // A side that is lost is not waited for.
        let client_done = self.client_closed || self.ended == Ended::ClientLost;
        let service_done = self.service_closed || self.ended == Ended::ServiceLost;
        if (client_done && service_done) || now >= self.until { Poll::Ready(()) } else { Poll::Pending }
    }
}
