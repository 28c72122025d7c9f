//! When to order, as arithmetic without a clock. Failures are stored in the cache and survive a restart. Times are
//! seconds since 1970, as in certificates.

use serde::{Deserialize, Serialize};

/// The wait after a first failure; each further one doubles it.
const RETRY_FIRST: u64 = 60;
const RETRY_MAX: u64 = 6 * HOUR;

/// The longest `Retry-After` that is respected. No limit of Let's Encrypt lasts longer.
const PATIENCE_MAX: u64 = 7 * 24 * HOUR;

/// Orders in any hour. Let's Encrypt allows five failures an hour for a name.
const ORDERS_PER_HOUR: usize = 3;
const HOUR: u64 = 3600;

/// The validity of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: u64,
    pub(super) not_after: u64,
}

/// A random fraction that spreads the orders of nodes over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chance(u16);

/// The attempts so far.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Attempts {
    /// Failures since the last success.
    failures: u32,
    /// No order before this time.
    rest_until: u64,
    /// The beginnings of the orders of the last hour.
    begun: Vec<u64>,
}

impl Chance {
    /// Any number is a fraction of `u16::MAX`.
    pub(super) const fn new(any: u16) -> Self {
        Self(any)
    }

    const fn of(self, all: u64) -> u64 {
        all * self.0 as u64 / u16::MAX as u64
    }
}

impl Validity {
    /// When to renew: after two thirds of the validity, or up to a twentieth of it earlier.
    pub(super) const fn renewal(self, chance: Chance) -> u64 {
        let lifetime = self.not_after.saturating_sub(self.not_before);
        self.not_before + lifetime / 3 * 2 - chance.of(lifetime / 20)
    }
}

impl Attempts {
    /// Failures since the last success.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// When the next order may begin, seen at `now`; in the past if it is late. `wanted` is when it is due.
    pub(super) fn due(&self, wanted: u64, now: u64) -> u64 {
        // A rest that is too long was written with a wrong clock.
        let rest = if self.rest_until <= now + 2 * PATIENCE_MAX { self.rest_until } else { 0 };
        let recent: Vec<u64> = self.recent(now).collect();
        let turn = if recent.len() < ORDERS_PER_HOUR { 0 } else { recent[recent.len() - ORDERS_PER_HOUR] + HOUR };
        wanted.max(rest).max(turn)
    }

    /// An order begins. It counts as failed until its end is known, so that a node that crashes and restarts waits too.
    pub(super) fn begin(&mut self, now: u64) {
        let mut begun: Vec<u64> = self.recent(now).collect();
        begun.push(now);
        self.begun = begun;
        self.failures = self.failures.saturating_add(1);
        self.rest_until = now + RETRY_FIRST;
    }

    /// The order succeeded.
    pub(super) const fn succeed(&mut self) {
        self.failures = 0;
        self.rest_until = 0;
    }

    /// The order failed. `retry_after` is the authority's `Retry-After`.
    pub(super) fn fail(&mut self, now: u64, retry_after: Option<u64>, chance: Chance) {
        let doublings = self.failures.saturating_sub(1).min(16);
        let wait = (RETRY_FIRST << doublings).min(RETRY_MAX);
        let asked = retry_after.map_or(0, |time| time.min(now + PATIENCE_MAX));
        let rest = (now + wait).max(asked);
        self.rest_until = rest + chance.of((rest - now) / 4);
    }

    /// The beginnings in the hour before `now`, ascending. Later ones were written with a wrong clock.
    fn recent(&self, now: u64) -> impl Iterator<Item = u64> {
        let mut begun: Vec<u64> = self.begun.iter().copied().filter(|&time| time <= now && now - time < HOUR).collect();
        begun.sort_unstable();
        begun.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const NONE: Chance = Chance(0);
    const ALL: Chance = Chance(u16::MAX);

    #[test]
    fn a_certificate_is_renewed_when_two_thirds_of_it_are_over() {
        let day = 24 * HOUR;
        for (lifetime, latest, earliest) in [
            (90 * day, 60 * day, 60 * day - 9 * day / 2),
            (6 * day, 4 * day, 4 * day - 3 * day / 10),
            (30, 20, 19),
            (0, 0, 0),
        ] {
            let validity = Validity { not_before: NOW, not_after: NOW + lifetime };
            assert_eq!(validity.renewal(NONE), NOW + latest);
            assert_eq!(validity.renewal(ALL), NOW + earliest);
        }
        let upside_down = Validity { not_before: NOW, not_after: 0 };
        assert_eq!(upside_down.renewal(ALL), NOW);
    }

    #[test]
    fn waits_double_from_one_minute_to_six_hours() {
        let mut attempts = Attempts::default();
        let mut now = NOW;
        let waits: Vec<u64> = (0..12)
            .map(|_| {
                attempts.begin(now);
                attempts.fail(now, None, NONE);
                let wait = attempts.rest_until - now;
                now += 2 * HOUR;
                wait / 60
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360]);
        assert_eq!(attempts.failures(), 12);
        attempts.begin(now);
        attempts.succeed();
        assert_eq!((attempts.failures(), attempts.due(0, now)), (0, 0));
    }

    #[test]
    fn the_authority_may_ask_for_more_patience_but_not_for_less() {
        for (retry_after, rest) in [(30, 60), (3600, 3600), (u64::MAX - NOW, PATIENCE_MAX)] {
            let mut attempts = Attempts::default();
            attempts.begin(NOW);
            attempts.fail(NOW, Some(NOW + retry_after), NONE);
            assert_eq!(attempts.due(0, NOW), NOW + rest);
        }
    }

    #[test]
    fn a_node_that_dies_while_it_orders_waits_when_it_is_back() {
        let mut attempts = Attempts::default();
        attempts.begin(NOW);
        let read: Attempts = serde_json::from_str(&serde_json::to_string(&attempts).unwrap()).unwrap();
        assert_eq!(read, attempts);
        assert_eq!(read.due(NOW, NOW + 1), NOW + RETRY_FIRST);
    }

    #[test]
    fn the_fourth_order_of_an_hour_waits_also_where_the_others_were_good() {
        let mut attempts = Attempts::default();
        for minute in [0, 1, 2] {
            let now = NOW + minute * 60;
            assert_eq!(attempts.due(0, now), 0);
            attempts.begin(now);
            attempts.succeed();
        }
        assert_eq!(attempts.due(0, NOW + 180), NOW + HOUR);
        assert_eq!(attempts.due(0, NOW + HOUR), 0);
    }

    #[test]
    fn what_a_wrong_clock_has_written_is_not_believed() {
        let attempts = Attempts { failures: 3, rest_until: NOW + 400 * 24 * HOUR, begun: vec![NOW + HOUR; 3] };
        assert_eq!(attempts.due(NOW, NOW), NOW);
    }

    proptest! {
        /// Whatever the authority does, whenever an order is begun that is due.
        #[test]
        fn no_hour_sees_more_than_three_orders(
            steps in proptest::collection::vec((any::<Option<bool>>(), any::<u16>(), 0..5000_u64, 0..90_000_u64), 1..60)
        ) {
            let mut attempts = Attempts::default();
            let mut begun: Vec<u64> = Vec::new();
            let mut now = NOW;
            for (outcome, chance, later, retry_after) in steps {
                now = now.max(attempts.due(0, now)) + later;
                // The node is started anew in between.
                attempts = serde_json::from_str(&serde_json::to_string(&attempts).unwrap()).unwrap();
                attempts.begin(now);
                begun.push(now);
                match outcome {
                    Some(true) => attempts.succeed(),
                    Some(false) => {
                        attempts.fail(now, Some(now + retry_after), Chance(chance));
                        let rest = attempts.due(0, now) - now;
                        prop_assert!(rest >= RETRY_FIRST.max(retry_after));
                        prop_assert!(rest <= (RETRY_MAX.max(retry_after)) * 5 / 4 + HOUR);
                    }
                    None => {}
                }
            }
            for window in begun.windows(ORDERS_PER_HOUR + 1) {
                prop_assert!(window[ORDERS_PER_HOUR] - window[0] >= HOUR);
            }
            prop_assert!(attempts.begun.len() <= ORDERS_PER_HOUR);
        }
    }
}
