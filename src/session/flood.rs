//! A budget for what no rate limit counts: refusing a client's messages and verifying its tokens. A client that spends
//! all of it is slowed down, and closed if it goes on.

use std::time::{Duration, Instant};

use crate::policy::gcra::Gcra;

/// The cost of refusing one message, and the unit of the budget.
const REFUSAL: u32 = 1;

/// The cost of a CONNECT, for which a signature is verified.
const JOIN: u32 = 15;

/// One unit comes back after each step: a thousand times as long as a refusal takes.
const STEP: Duration = Duration::from_millis(1);

/// Units that may be spent at once: a thousand refusals, sixty-six namespaces.
const BURST: u32 = 1000;

/// How long a client waits that has spent all of its budget.
const PAUSE: Duration = Duration::from_millis(500);

/// A client that keeps spending all of its budget is closed after this time.
const LASTING: Duration = Duration::from_secs(5);

/// What one client has left of its budget.
#[derive(Debug)]
pub(super) struct Flood {
    budget: Gcra,
    /// When the client may go on. In the past, or `None`: now.
    paused_until: Option<Instant>,
    /// Since when the client has spent all of its budget. `None` once the whole budget is back.
    spent_at: Option<Instant>,
}

impl Flood {
    /// The whole budget.
    pub(super) const fn new(now: Instant) -> Self {
        Self { budget: Gcra::new(now), paused_until: None, spent_at: None }
    }

    /// A message is refused or ignored.
    pub(super) fn refuse(&mut self, now: Instant) {
        self.spend(REFUSAL, now);
    }

    /// The client asks to join a namespace.
    pub(super) fn join(&mut self, now: Instant) {
        self.spend(JOIN, now);
    }

    fn spend(&mut self, cost: u32, now: Instant) {
        if self.budget.is_full(now) {
            self.spent_at = None;
        }
        if let Err(affordable_at) = self.budget.take(cost, STEP, BURST, now) {
            self.paused_until = Some(affordable_at + PAUSE);
            self.spent_at.get_or_insert(now);
        }
    }

    /// Until when the client's messages wait. `None`: they do not wait.
    #[inline]
    pub(super) fn pause(&self, now: Instant) -> Option<Instant> {
        self.paused_until.filter(|until| *until > now)
    }

    /// Whether the client has kept spending all of its budget for so long that it has to be closed.
    pub(super) fn lasts(&self, now: Instant) -> bool {
        self.spent_at.is_some_and(|at| now.saturating_duration_since(at) >= LASTING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many refusals pass before the flood ends, and how long they take.
    fn refused(flood: &mut Flood, count: u32, start: Instant) -> (u32, Duration) {
        let mut now = start;
        for done in 0..count {
            while let Some(until) = flood.pause(now) {
                if flood.lasts(now) {
                    return (done, now - start);
                }
                now = until;
            }
            flood.spend(REFUSAL, now);
        }
        (count, now - start)
    }

    #[test]
    fn a_burst_is_refused_at_once_and_a_large_one_is_slowed_down() {
        let start = Instant::now();
        assert_eq!(refused(&mut Flood::new(start), 1000, start), (1000, Duration::ZERO));
        let (all, took) = refused(&mut Flood::new(start), 4000, start);
        assert!(all == 4000 && took < LASTING, "{all} {took:?}");
    }

    #[test]
    fn a_flood_that_does_not_stop_ends_the_session() {
        let start = Instant::now();
        let (some, took) = refused(&mut Flood::new(start), 1_000_000, start);
        assert!(some < 7000, "{some}");
        assert!(took >= LASTING && took < LASTING + Duration::from_secs(1), "{took:?}");
    }

    #[test]
    fn a_client_that_pauses_by_itself_has_the_whole_budget_again() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        for round in 0..10 {
            let begin = start + STEP * BURST * 3 * round;
            assert_eq!(refused(&mut flood, 1500, begin).0, 1500);
        }
    }
}
