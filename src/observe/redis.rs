//! Whether Redis is there, and what was lost on the way to it and from it.

use std::{
    array,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Why a message between nodes is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Of those that wait to be published there are too many.
    OutOverflow,
    /// It has waited to be published for too long.
    OutExpired,
    /// Redis refused it.
    OutRefused,
    /// Redis did not answer in time, or the connection was lost: it may have been published.
    OutUnanswered,
    /// Of those that wait to be delivered there are too many.
    InOverflow,
    /// It was published, and had left the stream before this node read it.
    InMissed,
}

impl Dropped {
    /// In the order of the page of metrics.
    const ALL: [Self; 6] =
        [Self::OutOverflow, Self::OutExpired, Self::OutRefused, Self::OutUnanswered, Self::InOverflow, Self::InMissed];

    /// The labels `direction` and `reason`.
    const fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::OutOverflow => ("out", "overflow"),
            Self::OutExpired => ("out", "expired"),
            Self::OutRefused => ("out", "refused"),
            Self::OutUnanswered => ("out", "unanswered"),
            Self::InOverflow => ("in", "overflow"),
            Self::InMissed => ("in", "missed"),
        }
    }
}

/// The figures of the connection to Redis. Any thread may write.
#[derive(Debug, Default)]
pub struct RedisGauges {
    dropped: [AtomicU64; Dropped::ALL.len()],
    connects_ok: AtomicU64,
    connects_failed: AtomicU64,
    state: Mutex<Option<State>>,
}

#[derive(Debug, Clone)]
struct State {
    /// Without a subscription so far, up to `since` or, while there is one, up to its loss.
    gap: Duration,
    since: Instant,
    /// `None`: subscribed.
    down: Option<String>,
}

/// Redis as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSeen {
    /// Since when that is so.
    pub since: Instant,
    /// Why there is no subscription. `None`: there is one.
    pub down: Option<String>,
}

/// The figures at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RedisFigures {
    pub(super) up: bool,
    pub(super) gap: Duration,
    pub(super) connects_ok: u64,
    pub(super) connects_failed: u64,
    /// Direction, reason, messages.
    pub(super) dropped: [(&'static str, &'static str, u64); Dropped::ALL.len()],
}

impl RedisGauges {
    /// Redis is used: the figures are shown from now on, and the gap begins.
    pub fn in_use(&self, now: Instant) {
        let down = Some("not connected yet".to_owned());
        self.lock().get_or_insert(State { gap: Duration::ZERO, since: now, down });
    }

    /// An attempt to connect succeeded, or failed.
    pub fn connected(&self, ok: bool) {
        if ok { &self.connects_ok } else { &self.connects_failed }.fetch_add(1, Relaxed);
    }

    /// Connected and subscribed from now on.
    pub fn up(&self, now: Instant) {
        if let Some(state) = self.lock().as_mut().filter(|state| state.down.is_some()) {
            state.gap += now.saturating_duration_since(state.since);
            (state.since, state.down) = (now, None);
        }
    }

    /// Not subscribed any more, `since` then. `why` is public; of a connection that is lost already the latest reason is kept.
    pub fn down(&self, why: &str, since: Instant) {
        if let Some(state) = self.lock().as_mut() {
            if state.down.is_none() {
                state.since = since.max(state.since);
            }
            state.down = Some(why.to_owned());
        }
    }

    /// Messages were dropped.
    pub fn dropped(&self, reason: Dropped, messages: u64) {
        self.dropped[reason as usize].fetch_add(messages, Relaxed);
    }

    /// Messages of this node that were dropped so far, for whatever reason.
    #[must_use]
    pub fn dropped_out(&self) -> u64 {
        let is_out = |reason: &&Dropped| reason.labels().0 == "out";
        Dropped::ALL.iter().filter(is_out).map(|reason| self.count(*reason)).sum()
    }

    /// Redis as it was last seen. `None`: the node does not use it.
    #[must_use]
    pub fn seen(&self) -> Option<RedisSeen> {
        self.lock().as_ref().map(|state| RedisSeen { since: state.since, down: state.down.clone() })
    }

    /// `None` if the node does not use Redis.
    pub(super) fn figures(&self, now: Instant) -> Option<RedisFigures> {
        let state = self.lock().clone()?;
        let open = if state.down.is_some() { now.saturating_duration_since(state.since) } else { Duration::ZERO };
        Some(RedisFigures {
            up: state.down.is_none(),
            gap: state.gap + open,
            connects_ok: self.connects_ok.load(Relaxed),
            connects_failed: self.connects_failed.load(Relaxed),
            dropped: array::from_fn(|at| {
                let (direction, reason) = Dropped::ALL[at].labels();
                (direction, reason, self.dropped[at].load(Relaxed))
            }),
        })
    }

    /// Messages dropped so far for this reason.
    #[must_use]
    pub fn count(&self, reason: Dropped) -> u64 {
        self.dropped[reason as usize].load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_time_without_a_subscription() {
        let (gauges, start) = (RedisGauges::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let gap = |seconds| gauges.figures(at(seconds)).map(|figures| (figures.up, figures.gap.as_secs()));
        assert_eq!(gap(1), None, "a node without Redis has no such figures");
        gauges.in_use(at(0));
        assert_eq!(gap(2), Some((false, 2)));
        gauges.up(at(3));
        assert_eq!(gap(10), Some((true, 3)));
        gauges.down("refused", at(20));
        gauges.down("still refused", at(22));
        assert_eq!(gap(25), Some((false, 8)));
        gauges.up(at(26));
        gauges.up(at(30));
        assert_eq!(gap(40), Some((true, 9)));
    }

    #[test]
    fn every_reason_has_its_own_count() {
        let gauges = RedisGauges::default();
        gauges.in_use(Instant::now());
        for (count, reason) in Dropped::ALL.into_iter().enumerate() {
            gauges.dropped(reason, count as u64);
        }
        let figures = gauges.figures(Instant::now()).unwrap();
        assert_eq!(figures.dropped.map(|(_, _, count)| count), [0, 1, 2, 3, 4, 5]);
        assert_eq!(figures.dropped[4], ("in", "overflow", 4));
        assert_eq!(gauges.dropped_out(), 1 + 2 + 3);
    }
}
