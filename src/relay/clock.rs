//! The clocks of one worker: the monotonic one is read, the wall clock is reckoned from it.

use std::{
    cell::Cell,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use crate::session::now::Now;

/// Two clocks that run at different speeds, and two reads that are not made at once, stay within this.
const UNSTEADY: Duration = Duration::from_secs(1);

/// A jump of the wall clock that an operator hears of, in milliseconds.
const JUMP_MS: i64 = 30_000;

/// Reads one clock where two are wanted. The wall clock is read at each [`set`](Self::set) alone, so between two of them it
/// does not jump.
#[derive(Debug)]
pub struct Clock {
    now: Cell<Now>,
    /// What the deadlines that depend on the wall clock were last reckoned by.
    followed: Cell<Now>,
}

impl Clock {
    /// Set to this moment.
    #[must_use]
    pub fn new() -> Self {
        let now = read();
        Self { now: Cell::new(now), followed: Cell::new(now) }
    }

    /// Follows the wall clock again, by what both clocks have just shown. To be called several times a second. True: it was
    /// set, or the machine has slept, so deadlines that depend on it are others.
    #[must_use]
    pub fn set(&self, read: Now) -> bool {
        self.now.set(read);
        let jumped = ahead_ms(read, self.followed.get()).unsigned_abs() >= UNSTEADY.as_millis() as u64;
        if jumped {
            self.followed.set(read);
        }
        jumped
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now.get().at(Instant::now())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// What both clocks show.
#[must_use]
pub fn read() -> Now {
    Now::new(Instant::now(), SystemTime::now())
}

/// How far the wall clock is ahead of where it would be if both clocks had run alike since `earlier`, in milliseconds.
fn ahead_ms(now: Now, earlier: Now) -> i64 {
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    match now.wall().duration_since(earlier.at(now.instant).wall()) {
        Ok(ahead) => ms(ahead),
        Err(behind) => -ms(behind.duration()),
    }
}

/// Jumps of the wall clock, each told once, whichever worker notices it first.
#[derive(Debug)]
pub struct Jumps {
    began: Now,
    told_ms: AtomicI64,
}

impl Default for Jumps {
    fn default() -> Self {
        Self { began: read(), told_ms: AtomicI64::new(0) }
    }
}

impl Jumps {
    /// By how many milliseconds the wall clock was set forward or, below zero, back since the last jump that was told; also
    /// if the machine has slept for so long. `None`: not by so much that it is told.
    pub fn news(&self, now: Now) -> Option<i64> {
        let (ahead, told) = (ahead_ms(now, self.began), self.told_ms.load(Relaxed));
        let jump = ahead - told;
        let is_news = jump.abs() > JUMP_MS && self.told_ms.compare_exchange(told, ahead, Relaxed, Relaxed).is_ok();
        is_news.then_some(jump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_jump_is_noticed_once_and_a_small_one_is_not() {
        let clock = Clock::new();
        let start = read();
        let later = |real: Duration, shown: Duration| Now::new(start.instant + real, start.wall() + shown);
        assert!(!clock.set(later(HOUR, HOUR + Duration::from_millis(500))));
        assert!(clock.set(later(HOUR, HOUR * 2)));
        assert!(!clock.set(later(HOUR * 2, HOUR * 3)));
        assert!(clock.set(later(HOUR * 2, HOUR * 2)), "back");
        // Little by little is a jump too.
        let noticed = (1..=60).filter(|&ms| clock.set(later(HOUR * 2, HOUR * 2 + Duration::from_millis(ms * 50))));
        assert_eq!(noticed.count(), 3);
    }

    #[test]
    fn a_jump_of_more_than_thirty_seconds_is_told_once_of_all_workers() {
        let jumps = Jumps::default();
        let start = jumps.began;
        let later = |real: Duration, shown: Duration| Now::new(start.instant + real, start.wall() + shown);
        assert_eq!(jumps.news(later(HOUR, HOUR + Duration::from_secs(30))), None);
        assert_eq!(jumps.news(later(HOUR, HOUR * 2)), Some(3_600_000));
        assert_eq!(jumps.news(later(HOUR, HOUR * 2)), None, "another worker notices the same");
        assert_eq!(jumps.news(later(HOUR * 2, HOUR * 2)), Some(-3_600_000));
    }
}
