//! Limits what no rate limit counts: messages that are refused and tokens that are verified. A client that causes too many
//! is slowed down first, and closed if that goes on.

use std::time::{Duration, Instant};

/// What refusing one message costs. It is a thousand times what it takes, ...
const REFUSAL: Duration = Duration::from_millis(1);

/// ... and what a CONNECT costs, for which a signature is verified.
const JOIN: Duration = Duration::from_millis(20);

/// What may be spent at once: a thousand refusals, fifty namespaces.
const BURST: Duration = Duration::from_secs(1);

/// How much of it is paid back before a client that has spent it all goes on.
const PAUSE: Duration = Duration::from_millis(500);

/// A client that spends all there is for so long is closed.
const LASTING: Duration = Duration::from_secs(5);

/// A leaky bucket as one instant (GCRA).
#[derive(Debug)]
pub(super) struct Flood {
    /// When everything will have been paid back.
    even_at: Instant,
    /// When all was spent, as long as it is not paid back.
    spent_at: Option<Instant>,
}

impl Flood {
    /// Nothing is spent.
    pub(super) const fn new(now: Instant) -> Self {
        Self { even_at: now, spent_at: None }
    }

    /// A message is refused, or means nothing.
    pub(super) fn refuse(&mut self, now: Instant) {
        self.spend(REFUSAL, now);
    }

    /// The client asks to join a namespace.
    pub(super) fn join(&mut self, now: Instant) {
        self.spend(JOIN, now);
    }

    fn spend(&mut self, cost: Duration, now: Instant) {
        if self.even_at <= now {
            *self = Self::new(now);
        }
        self.even_at += cost;
    }

    /// Until when no message of the client is judged. `None`: it may go on.
    pub(super) fn pause(&mut self, now: Instant) -> Option<Instant> {
        if self.even_at <= now + BURST {
            return None;
        }
        self.spent_at.get_or_insert(now);
        Some(self.even_at + PAUSE - BURST)
    }

    /// Whether the client has been slowed down for so long that it is to be closed.
    pub(super) fn lasts(&self, now: Instant) -> bool {
        self.spent_at.is_some_and(|at| now.saturating_duration_since(at) >= LASTING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many refusals, and how long they take.
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
    fn a_flood_that_does_not_end_is_ended() {
        let start = Instant::now();
        let (some, took) = refused(&mut Flood::new(start), 1_000_000, start);
        assert!(some < 7000, "{some}");
        assert!(took >= LASTING && took < LASTING + Duration::from_secs(1), "{took:?}");
    }

    #[test]
    fn whoever_pauses_by_itself_has_all_before_it_again() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        for round in 0..10 {
            let begin = start + BURST * 3 * round;
            assert_eq!(refused(&mut flood, 1500, begin).0, 1500);
        }
    }
}
