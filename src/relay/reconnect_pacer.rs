//! How fast sessions dial a service again after an outage: one first, then so many a second, of the whole node.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::session::upstream::backoff;

/// A session that has to wait for others asks again after about this long.
const LOOK: Duration = Duration::from_millis(500);

/// A session may dial this much before its turn, because the relay's clock is not exact.
const EARLY: Duration = Duration::from_millis(100);

/// The session that dials first is waited for no longer than this.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// Whether the service is down, as far as any session knows, and which session may dial it next. Asked at dials only.
#[derive(Debug, Default)]
pub struct ReconnectPacer(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since when the service is down. `None`: it is up.
    down_since: Option<Instant>,
    /// When a session began to probe the service. `None`: no probe is under way.
    probe: Option<Instant>,
    /// How often a probe has failed, and until when there is no other.
    failures: u32,
    quiet_until: Option<Instant>,
    /// When the next ticket is free.
    next: Option<Instant>,
    /// When the next session may dial. Later than the tickets say if their holders were late: they do not dial all at
    /// once.
    turn: Option<Instant>,
    /// Counts the outages: a ticket from before the last one is void.
    outages: u64,
}

/// A turn to dial after the current outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaceTicket(u64);

/// Whether a session may dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialTurn {
    /// Now.
    Now,
    /// At that time, with this ticket.
    At(Instant, PaceTicket),
    /// Another session probes first; ask again.
    Later,
}

impl ReconnectPacer {
    /// Whether a session may dial now. `first`: it has never dialled before, so it passes while no session waits for a
    /// turn.
    pub fn ask(&self, first: bool, ticket: Option<PaceTicket>, per_second: u32, now: Instant) -> DialTurn {
        let mut state = self.state();
        if state.down_since.is_some() {
            let is_probing = state.probe.is_some_and(|at| now < at + PROBE_PATIENCE);
            if is_probing || state.quiet_until.is_some_and(|until| now < until) {
                return DialTurn::Later;
            }
            state.probe = Some(now);
            return DialTurn::Now;
        }
        let free_at = state.next.map_or(now, |next| next.max(now));
        let apart = Duration::from_secs(1) / per_second.max(1);
        let ticket = ticket.filter(|ticket| *ticket == PaceTicket(state.outages));
        if ticket.is_none() {
            if first && free_at == now {
                return DialTurn::Now;
            }
            state.next = Some(free_at + apart);
            if free_at > now {
                return DialTurn::At(free_at, PaceTicket(state.outages));
            }
        }
        let turn = state.turn.map_or(now, |turn| turn.max(now));
        if turn > now + EARLY {
            return DialTurn::At(turn - EARLY, PaceTicket(state.outages));
        }
        state.turn = Some(turn + apart);
        DialTurn::Now
    }

    /// A session has lost the service, or did not reach it. True: the service was up until now.
    pub fn lost(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.probe.take().is_some() {
            state.quiet_until = Some(now + backoff(state.failures, 0.5));
            state.failures = state.failures.saturating_add(1);
        }
        let is_new = state.down_since.is_none();
        if is_new {
            state.down_since = Some(now);
            state.outages += 1;
        }
        is_new
    }

    /// A session has ended while it dialled. If it was the probe, another session may probe.
    pub fn found_nothing(&self) {
        self.state().probe = None;
    }

    /// A session has reached the service. The length of the outage; `None` if there was none.
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

/// How long a session waits before it asks again.
#[must_use]
pub fn look_again(spread: f64) -> Duration {
    LOOK.mul_f64(0.5 + spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_the_service_is_up_a_first_dial_does_not_wait() {
        let (pacer, now) = (ReconnectPacer::default(), Instant::now());
        assert!((0..1000).all(|_| pacer.ask(true, None, 1, now) == DialTurn::Now));
    }

    #[test]
    fn one_session_probes_first_and_then_the_others_dial_at_the_configured_rate() {
        let (pacer, start) = (ReconnectPacer::default(), Instant::now());
        assert!(pacer.lost(start), "a new outage");
        assert!(!pacer.lost(start), "the same outage");
        assert_eq!(pacer.ask(false, None, 10, start), DialTurn::Now);
        assert_eq!(pacer.ask(false, None, 10, start), DialTurn::Later);
        assert_eq!(pacer.ask(true, None, 10, start), DialTurn::Later, "new sessions wait too");
        pacer.lost(start);
        assert_eq!(pacer.ask(false, None, 10, start), DialTurn::Later, "not at once again");
        assert_eq!(
            pacer.ask(false, None, 10, start + Duration::from_millis(100)),
            DialTurn::Now,
            "another session probes"
        );
        let back = start + Duration::from_secs(2);
        assert_eq!(pacer.reached(back), Some(Duration::from_secs(2)));
        assert_eq!(pacer.reached(back), None);

        assert_eq!(pacer.ask(false, None, 10, back), DialTurn::Now);
        let tickets: Vec<_> = (0..20).map(|_| pacer.ask(false, None, 10, back)).collect();
        let Some(&DialTurn::At(last, ticket)) = tickets.last() else { panic!("{tickets:?}") };
        assert_eq!(last, back + Duration::from_secs(2), "20 more at 10 a second");
        assert_eq!(pacer.ask(false, Some(ticket), 10, last), DialTurn::Now, "a session with a ticket needs no other");
        pacer.lost(last);
        pacer.reached(last);
        assert_ne!(
            pacer.ask(false, None, 1, last),
            pacer.ask(false, Some(ticket), 1, last),
            "the ticket is of an earlier outage"
        );
    }

    #[test]
    fn sessions_that_are_late_for_their_turns_do_not_dial_all_at_once() {
        let (pacer, back) = (ReconnectPacer::default(), Instant::now());
        pacer.lost(back);
        pacer.reached(back);
        let at = |ms| back + Duration::from_millis(ms);
        // For a second no task runs, while a hundred turns pass; then all sessions are asked every ten milliseconds.
        let mut waiting: Vec<_> = (0..100).map(|_| pacer.ask(false, None, 100, back)).collect();
        let mut dialled = Vec::new();
        for now in (1000..2100).step_by(10) {
            waiting.retain_mut(|waits| {
                if let DialTurn::At(turn, ticket) = *waits
                    && turn <= at(now)
                {
                    *waits = pacer.ask(false, Some(ticket), 100, at(now));
                }
                let goes = *waits == DialTurn::Now;
                dialled.extend(goes.then_some(now));
                !goes
            });
        }
        let in_half_a_second = |from: u64| dialled.iter().filter(|at| (from..from + 500).contains(at)).count();
        let busiest = dialled.iter().map(|from| in_half_a_second(*from)).max();
        assert!(waiting.is_empty() && busiest <= Some(62), "{} wait still, {busiest:?}", waiting.len());
    }

    #[test]
    fn a_probe_without_a_result_does_not_block_other_sessions() {
        let (pacer, start) = (ReconnectPacer::default(), Instant::now());
        pacer.lost(start);
        assert_eq!(pacer.ask(false, None, 1, start), DialTurn::Now);
        assert_eq!(pacer.ask(false, None, 1, start + PROBE_PATIENCE), DialTurn::Now);
        pacer.found_nothing();
        assert_eq!(pacer.ask(false, None, 1, start + PROBE_PATIENCE), DialTurn::Now, "its client has left");
    }
}
