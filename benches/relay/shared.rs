//! What all clients of one load share: what they send, how many more may begin, how long each took.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Instant,
};

use crate::{client::Events, scenario::Scenario};

/// What the clients share.
pub(crate) struct Shared {
    /// What they send.
    pub(crate) events: Events,
    /// Round trips, or connections, that are complete.
    pub(crate) done: Cell<usize>,
    /// How many more may begin.
    pub(crate) left: Cell<usize>,
    /// How long each took.
    pub(crate) took_ns: RefCell<Vec<u32>>,
}

impl Shared {
    /// Nothing is done and nothing may begin.
    pub(crate) fn new(scenario: &Scenario) -> Rc<Self> {
        let events = Events::new(scenario.in_flight, scenario.event_bytes);
        Rc::new(Self { events, done: Cell::new(0), left: Cell::new(0), took_ns: RefCell::default() })
    }

    /// Allows at most `wanted` more, and says how many.
    pub(crate) fn claim(&self, wanted: usize) -> usize {
        let claimed = wanted.min(self.left.get());
        self.left.set(self.left.get() - claimed);
        claimed
    }

    /// One round trip, or connection, is complete.
    pub(crate) fn finished(&self, began: Instant) {
        self.done.set(self.done.get() + 1);
        let took = u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX);
        self.took_ns.borrow_mut().push(took);
    }
}
