//! Interface through which workers hand mirrored events to `cluster`.

use std::{fmt, time::Instant};

use crate::session::action::Offered;

/// Takes packets that a `[[mirror]]` rule names, from all workers. It never blocks, and never waits for Redis.
pub trait Outlet: fmt::Debug + Send + Sync {
    /// Takes one.
    fn offer(&self, offer: Offer);

    /// A session is over: it gets no more copies.
    fn session_ended(&self, session: u64);
}

/// No other node.
#[derive(Debug)]
pub struct NoOutlet;

impl Outlet for NoOutlet {
    fn offer(&self, _: Offer) {}

    fn session_ended(&self, _: u64) {}
}

/// One copy of an event of the service, on its way to one client.
#[derive(Debug, PartialEq, Eq)]
pub struct Offer {
    /// The number of the session that gets it.
    pub session: u64,
    /// The event.
    pub event: Offered,
    /// When it was received.
    pub at: Instant,
}
