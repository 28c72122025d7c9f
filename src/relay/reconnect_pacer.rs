//! How fast sessions go back to a service that has been away: one first, then so many a second, of the whole node.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::session::upstream::backoff;

/// A session that others go before asks again after about this long.
const LOOK: Duration = Duration::from_millis(500);

/// As much earlier than its turn a session may go: what the clock of the relay leaves undecided.
const EARLY: Duration = Duration::from_millis(100);

/// The one that went first is not waited for longer than this.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// Whether the service is there, as far as any session knows, and who may dial it next. Asked at dials only.
#[derive(Debug, Default)]
pub struct ReconnectPacer(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since when the service is away; none: it is there.
    down_since: Option<Instant>,
    /// When somebody went to look, and has not come back.
    probe: Option<Instant>,
    /// How often that was in vain, and until when nobody goes again.
    failures: u32,
    quiet_until: Option<Instant>,
    /// When the next place is free.
    next: Option<Instant>,
    /// When the next one may go. Later than the places say where their holders were late: they do not go all at once.
    turn: Option<Instant>,
    /// Counts the absences: a place from before the last one is worth nothing.
    absences: u64,
}

/// A place among those who go back, for this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaceTicket(u64);

/// May a session dial?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialTurn {
    /// Now.
    Now,
    /// At that time, with this place.
    At(Instant, PaceTicket),
    /// Somebody else looks first; ask again.
    Later,
}

impl ReconnectPacer {
    /// May a session dial now? `first`: it has never dialled before, which costs nothing while nobody goes back.
    pub fn ask(&self, first: bool, place: Option<PaceTicket>, per_second: u32, now: Instant) -> DialTurn {
        let mut state = self.state();
        if state.down_since.is_some() {
            let somebody_looks = state.probe.is_some_and(|at| now < at + PROBE_PATIENCE);
            if somebody_looks || state.quiet_until.is_some_and(|until| now < until) {
                return DialTurn::Later;
            }
            state.probe = Some(now);
            return DialTurn::Now;
        }
        let free_at = state.next.map_or(now, |next| next.max(now));
        let apart = Duration::from_secs(1) / per_second.max(1);
        let place = place.filter(|place| *place == PaceTicket(state.absences));
        if place.is_none() {
            if first && free_at == now {
                return DialTurn::Now;
            }
            state.next = Some(free_at + apart);
            if free_at > now {
                return DialTurn::At(free_at, PaceTicket(state.absences));
            }
        }
        let turn = state.turn.map_or(now, |turn| turn.max(now));
        if turn > now + EARLY {
            return DialTurn::At(turn - EARLY, PaceTicket(state.absences));
        }
        state.turn = Some(turn + apart);
        DialTurn::Now
    }

    /// A session has lost the service, or did not reach it. True: it was there until now.
    pub fn lost(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.probe.take().is_some() {
            state.quiet_until = Some(now + backoff(state.failures, 0.5));
            state.failures = state.failures.saturating_add(1);
        }
        let news = state.down_since.is_none();
        if news {
            state.down_since = Some(now);
            state.absences += 1;
        }
        news
    }

    /// A session has ended while it dialled. If it went first, another one may.
    pub fn found_nothing(&self) {
        self.state().probe = None;
    }

    /// A session has reached the service. How long it was away, where it was.
    pub fn reached(&self, now: Instant) -> Option<Duration> {
        let mut state = self.state();
        (state.probe, state.failures, state.quiet_until) = (None, 0, None);
        let down_since = state.down_since.take()?;
        (state.next, state.turn) = (Some(now), Some(now));
        Some(now.saturating_duration_since(down_since))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a session waits that others go before.
#[must_use]
pub fn look_again(spread: f64) -> Duration {
    LOOK.mul_f64(0.5 + spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_the_service_is_there_a_first_dial_waits_for_nobody() {
        let (pace, now) = (ReconnectPacer::default(), Instant::now());
        assert!((0..1000).all(|_| pace.ask(true, None, 1, now) == DialTurn::Now));
    }

    #[test]
    fn one_looks_first_and_then_they_go_at_the_pace() {
        let (pace, start) = (ReconnectPacer::default(), Instant::now());
        assert!(pace.lost(start), "news");
        assert!(!pace.lost(start), "no news");
        assert_eq!(pace.ask(false, None, 10, start), DialTurn::Now);
        assert_eq!(pace.ask(false, None, 10, start), DialTurn::Later);
        assert_eq!(pace.ask(true, None, 10, start), DialTurn::Later, "those who are new wait too");
        pace.lost(start);
        assert_eq!(pace.ask(false, None, 10, start), DialTurn::Later, "not at once again");
        assert_eq!(pace.ask(false, None, 10, start + Duration::from_millis(100)), DialTurn::Now, "another one looks");
        let back = start + Duration::from_secs(2);
        assert_eq!(pace.reached(back), Some(Duration::from_secs(2)));
        assert_eq!(pace.reached(back), None);

        assert_eq!(pace.ask(false, None, 10, back), DialTurn::Now);
        let places: Vec<_> = (0..20).map(|_| pace.ask(false, None, 10, back)).collect();
        let Some(&DialTurn::At(last, place)) = places.last() else { panic!("{places:?}") };
        assert_eq!(last, back + Duration::from_secs(2), "20 more at 10 a second");
        assert_eq!(pace.ask(false, Some(place), 10, last), DialTurn::Now, "whoever has a place asks for no other");
        pace.lost(last);
        pace.reached(last);
        assert_ne!(pace.ask(false, None, 1, last), pace.ask(false, Some(place), 1, last), "it was for another return");
    }

    #[test]
    fn who_is_late_for_a_turn_does_not_go_together_with_all_others_who_are() {
        let (pace, back) = (ReconnectPacer::default(), Instant::now());
        pace.lost(back);
        pace.reached(back);
        let at = |ms| back + Duration::from_millis(ms);
        // Nothing moves for a second in which a hundred had their turns; then they are asked every ten milliseconds.
        let mut waiting: Vec<_> = (0..100).map(|_| pace.ask(false, None, 100, back)).collect();
        let mut gone = Vec::new();
        for now in (1000..2100).step_by(10) {
            waiting.retain_mut(|leave| {
                if let DialTurn::At(turn, place) = *leave
                    && turn <= at(now)
                {
                    *leave = pace.ask(false, Some(place), 100, at(now));
                }
                let goes = *leave == DialTurn::Now;
                gone.extend(goes.then_some(now));
                !goes
            });
        }
        let in_half_a_second = |from: u64| gone.iter().filter(|at| (from..from + 500).contains(at)).count();
        let busiest = gone.iter().map(|from| in_half_a_second(*from)).max();
        assert!(waiting.is_empty() && busiest <= Some(62), "{} wait still, {busiest:?}", waiting.len());
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_holds_nobody_up() {
        let (pace, start) = (ReconnectPacer::default(), Instant::now());
        pace.lost(start);
        assert_eq!(pace.ask(false, None, 1, start), DialTurn::Now);
        assert_eq!(pace.ask(false, None, 1, start + PROBE_PATIENCE), DialTurn::Now);
        pace.found_nothing();
        assert_eq!(pace.ask(false, None, 1, start + PROBE_PATIENCE), DialTurn::Now, "its client has left");
    }
}
