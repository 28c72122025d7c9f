//! One allowance, counted with GCRA by governor, on the caller's clock.

use std::{
    cell::Cell,
    num::NonZeroU32,
    sync::OnceLock,
    time::{Duration, Instant},
};

use governor::{
    RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};

/// So many packets at once, then one more after each interval.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    pub(super) messages: NonZeroU32,
    /// At least a nanosecond.
    pub(super) interval: Duration,
}

/// One allowance. It may be used from several threads.
#[derive(Debug)]
pub(super) struct Limiter(RateLimiter<NotKeyed, InMemoryState, CallersClock, NoOpMiddleware<Nanos>>);

impl Limiter {
    /// Nothing is used yet.
    pub(super) fn new(quota: Quota, now: Instant) -> Self {
        CallersClock::set(now);
        let quota = governor::Quota::with_period(quota.interval)
            .expect("per is at least 1 ms and messages at most a million, so the interval is not 0")
            .allow_burst(quota.messages);
        Self(RateLimiter::direct_with_clock(quota, CallersClock))
    }

    /// An allowance with this many left.
    pub(super) fn with_left(quota: Quota, left: u32, now: Instant) -> Self {
        let limiter = Self::new(quota, now);
        if let Some(used) = NonZeroU32::new(quota.messages.get().saturating_sub(left)) {
            // A new limiter always has its whole burst.
            let _ = limiter.0.check_n(used);
        }
        limiter
    }

    /// Uses everything that is left of this quota, and returns how many that were.
    pub(super) fn use_up(&self, quota: Quota, now: Instant) -> u32 {
        CallersClock::set(now);
        let takes =
            |count: u32| NonZeroU32::new(count).is_some_and(|count| matches!(self.0.check_n(count), Ok(Ok(()))));
        // Each power of two at most once, from the largest on that fits: governor multiplies the interval with it.
        (0..=quota.messages.ilog2()).rev().map(|bit| 1 << bit).filter(|count| takes(*count)).sum()
    }

    /// Uses so many, or all that are left.
    pub(super) fn spend(&self, mut count: u32, now: Instant) {
        CallersClock::set(now);
        for bit in (0..u32::BITS).rev() {
            let part = 1 << bit;
            let takes = |part| NonZeroU32::new(part).is_some_and(|part| matches!(self.0.check_n(part), Ok(Ok(()))));
            if part <= count && takes(part) {
                count -= part;
            }
        }
    }

    /// Uses so many at once, or none of them. The error is the time when they are available; `count` is at most the burst.
    pub(super) fn check_n(&self, count: NonZeroU32, now: Instant) -> Result<(), Instant> {
        CallersClock::set(now);
        match self.0.check_n(count) {
            Ok(checked) => checked.map_err(|not_until| CallersClock::instant(not_until.earliest_possible())),
            Err(_above_the_burst) => Err(now),
        }
    }

    /// Uses one. The error is the time when one is available.
    pub(super) fn check(&self, now: Instant) -> Result<(), Instant> {
        CallersClock::set(now);
        self.0.check().map_err(|not_until| CallersClock::instant(not_until.earliest_possible()))
    }
}

/// governor reads a clock and takes no time as an argument. This clock returns the time that its caller has just set,
/// in nanoseconds since the first time that was set.
#[derive(Debug, Clone, Copy)]
struct CallersClock;

static BEGINNING: OnceLock<Instant> = OnceLock::new();

thread_local! {
    static NOW: Cell<Option<(Instant, Nanos)>> = const { Cell::new(None) };
}

impl CallersClock {
    /// The packets of one receive share one instant, which is converted once.
    fn set(now: Instant) {
        if NOW.get().is_none_or(|(known, _)| known != now) {
            let beginning = BEGINNING.get_or_init(|| now);
            NOW.set(Some((now, now.saturating_duration_since(*beginning).into())));
        }
    }

    fn instant(nanos: Nanos) -> Instant {
        *BEGINNING.get().expect("every call of governor is behind a call of set") + Duration::from_nanos(nanos.into())
    }
}

impl Clock for CallersClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        NOW.get().expect("every call of governor is behind a call of set").1
    }
}
