//! The last moments of a session: what is left is sent, both sides close.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    relay::{client_leg::ClientLeg, leg::upstream::UpstreamLeg},
    session::ended::Ended,
};

/// A side that has not closed by then is dropped.
const LINGER: Duration = Duration::from_secs(2);

/// How far the closing has come.
#[derive(Debug)]
pub struct Closing {
    ended: Ended,
    until: Instant,
    client_done: bool,
    service_done: bool,
}

impl Closing {
    /// Begins. A side that is gone need not be waited for.
    #[must_use]
    pub fn new(ended: Ended, now: Instant) -> Self {
        Self {
            ended,
            until: now + LINGER,
            client_done: ended == Ended::ClientLost,
            service_done: ended == Ended::ServiceLost,
        }
    }

    /// Why the session ended.
    #[must_use]
    pub const fn ended(&self) -> Ended {
        self.ended
    }

    /// When it is over at the latest.
    #[must_use]
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// Ready: both sides are closed, or have had their time.
    pub fn poll(
        &mut self,
        client: &mut ClientLeg,
        upstream: &mut UpstreamLeg,
        buffer: &mut [u8],
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        self.client_done |= client.end(buffer, now, cx).is_ready();
        self.service_done |= match upstream {
            UpstreamLeg::Open(leg) => leg.end(buffer, now, cx).is_ready(),
            UpstreamLeg::Away | UpstreamLeg::Dialling(_) => true,
        };
        if (self.client_done && self.service_done) || now >= self.until { Poll::Ready(()) } else { Poll::Pending }
    }
}
