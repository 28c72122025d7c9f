//! Requests that wait for a key, because only then their tokens can be verified.

use std::{cell::RefCell, time::Instant};

use crate::{
    policy::{auth::KEYS_WITHIN, sid_owner::Requester},
    relay::{registry::Target, request::Incoming},
};

/// So many requests of one worker wait at once.
const REQUESTS_MAX: usize = 256;

/// Requests of one worker, in the order in which they came.
#[derive(Debug, Default)]
pub struct Parked(RefCell<Vec<ParkedRequest>>);

/// A request that waits.
#[derive(Debug)]
pub struct ParkedRequest {
    /// The session that it names.
    pub to: Target,
    /// Who sends it.
    pub from: Requester,
    /// What it is.
    pub incoming: Incoming,
    /// Since when it has waited.
    pub since: Instant,
}

impl Parked {
    /// Lets a request wait, or gives it back where there is no room or it has waited too long.
    #[must_use]
    pub fn park(&self, request: ParkedRequest, now: Instant) -> Option<ParkedRequest> {
        let mut requests = self.0.borrow_mut();
        if requests.len() >= REQUESTS_MAX || request.is_overdue(now) {
            return Some(request);
        }
        requests.push(request);
        None
    }

    /// All of them, once the keys are others.
    #[must_use]
    pub fn take(&self) -> Vec<ParkedRequest> {
        self.0.take()
    }

    /// Those that have waited too long.
    #[must_use]
    pub fn overdue(&self, now: Instant) -> Vec<ParkedRequest> {
        self.0.borrow_mut().extract_if(.., |request| request.is_overdue(now)).collect()
    }
}

impl ParkedRequest {
    fn is_overdue(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= KEYS_WITHIN
    }
}
