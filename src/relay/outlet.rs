//! Interface through which workers hand mirrored events to `cluster`.

use std::{fmt, sync::Arc, time::Instant};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The number of the session that gets it.
    pub session: u64,
    /// The number of the `[[mirror]]` rule that names it.
    pub rule: usize,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The room that the rule resolves to. `None`: all clients of the namespace.
    pub room: Option<Box<str>>,
    /// The JSON array of the event, without the offset of connection state recovery.
    pub json: Vec<u8>,
    /// Its attachments, in order.
    pub attachments: Vec<Vec<u8>>,
    /// The offset that the service gave this broadcast, by which all copies of it are known.
    pub offset: Option<Box<str>>,
    /// When it was received.
    pub at: Instant,
}
