//! How fast sessions dial a service again after an outage: one first, then so many a second, of the whole node.
//!
//! A session that has never dialled does not wait for others: only while no connection can be made at all it waits as they
//! do, and then for its own kind alone.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::session::backoff::backoff;

/// A session that has to wait for others asks again after about this long.
const LOOK: Duration = Duration::from_millis(500);

/// A session may dial this much before its turn, because the relay's clock is not exact.
const EARLY: Duration = Duration::from_millis(100);

/// The session that dials first is waited for no longer than this.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// Whether the service is down, as far as dials tell, and which session may dial it next. Asked at dials only.
#[derive(Debug, Default)]
pub struct ReconnectPacer(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since when the service is down, so that sessions that had it wait for a probe. `None`: it is there.
    down_since: Option<Instant>,
    /// No connection could be made, so that new sessions wait for the probe too.
    unreachable: bool,
    /// It was told that the service is down.
    told: bool,
    /// When a session began to probe the service. `None`: no probe is under way.
    probe: Option<Instant>,
    /// How often a probe has failed, and until when there is no other.
    failures: u32,
    quiet_until: Option<Instant>,
    /// For how long the service has been down so far. A ticket is a moment on a clock that stands still meanwhile, so an
    /// outage takes nobody's place.
    stood_still: Duration,
    again: Lane,
    first: Lane,
}

/// One queue. Sessions that dial for the first time do not wait behind those that dial again.
#[derive(Debug, Default)]
struct Lane {
    /// When the next ticket is free, on the clock of the tickets.
    next: Option<Instant>,
    /// When the next session may dial. Later than the tickets say if their holders were late: they do not dial all at
    /// once.
    turn: Option<Instant>,
}

/// A place among the sessions that wait to dial. It stays good through further outages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct PaceTicket {
    /// The turn, on the clock that stands still while the service is down. `None`: there is none yet.
    turn: Option<Instant>,
}

/// Whether a session may dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialTurn {
    /// Now.
    Now,
    /// Now, and others wait for what comes of it.
    Probe,
    /// At that time, with this ticket.
    At(Instant, PaceTicket),
    /// Another session probes first; ask again, with the same ticket or an empty one.
    Later,
}

impl ReconnectPacer {
    /// Whether a session may dial now. `first`: it has never dialled before. `ticket`: what it was given when it asked
    /// before.
    pub fn ask(&self, first: bool, ticket: Option<PaceTicket>, per_second: u32, now: Instant) -> DialTurn {
        let mut state = self.state();
        if state.down_since.is_some() && (!first || state.unreachable) {
            let is_probing = state.probe.is_some_and(|at| now < at + PROBE_PATIENCE);
            if is_probing || state.quiet_until.is_some_and(|until| now < until) {
                return DialTurn::Later;
            }
            state.probe = Some(now);
            return DialTurn::Probe;
        }
        if first && ticket.is_none() {
            return DialTurn::Now;
        }
        let apart = Duration::from_secs(1) / per_second.max(1);
        let stood_still = state.stood_still;
        let ticking = now.checked_sub(stood_still).unwrap_or(now);
        let lane = if first { &mut state.first } else { &mut state.again };
        let (turn, is_due) = match ticket.and_then(|ticket| ticket.turn) {
            Some(turn) => (turn, turn <= ticking + EARLY),
            None => {
                let turn = lane.next.map_or(ticking, |next| next.max(ticking));
                lane.next = Some(turn + apart);
                (turn, turn == ticking)
            }
        };
        let ticket = PaceTicket { turn: Some(turn) };
        if !is_due {
            return DialTurn::At(turn + stood_still, ticket);
        }
        let free_at = lane.turn.map_or(now, |turn| turn.max(now));
        if free_at > now + EARLY {
            return DialTurn::At(free_at - EARLY, ticket);
        }
        lane.turn = Some(free_at + apart);
        DialTurn::Now
    }

    /// No session has the service any more: those that had it wait for a probe.
    pub fn lost_by_all(&self, now: Instant) {
        self.state().down_since.get_or_insert(now);
    }

    /// A dial has failed. `probed`: it was the probe. `unreachable`: there was no connection. `down`: that says that the
    /// service is down. True: it is down since now, as far as anybody was told.
    pub fn failed(&self, probed: bool, unreachable: bool, down: bool, now: Instant) -> bool {
        let mut state = self.state();
        if probed {
            state.probe = None;
            state.quiet_until = Some(now + backoff(state.failures, 0.5));
            state.failures = state.failures.saturating_add(1);
        }
        state.unreachable = unreachable;
        if !down {
            return false;
        }
        state.down_since.get_or_insert(now);
        !std::mem::replace(&mut state.told, true)
    }

    /// The session that probes has ended while it dialled, so another session may.
    pub fn found_nothing(&self) {
        self.state().probe = None;
    }

    /// A session has reached the service. The length of the outage; `None` if nobody was told of one.
    pub fn reached(&self, now: Instant) -> Option<Duration> {
        let mut state = self.state();
        (state.probe, state.failures, state.quiet_until, state.unreachable) = (None, 0, None, false);
        let down = now.saturating_duration_since(state.down_since.take()?);
        state.stood_still += down;
        (state.again.turn, state.first.turn) = (Some(now), Some(now));
        std::mem::take(&mut state.told).then_some(down)
    }

    /// The service has accepted a connection of a dial that began then. Where it accepted none before, it is
    /// [reached](Self::reached); a connection that was made before the service was down says nothing.
    pub fn accepted(&self, began: Instant, now: Instant) -> Option<Duration> {
        let state = self.state();
        let ends_it = state.unreachable && state.down_since.is_some_and(|since| since <= began);
        drop(state);
        if ends_it { self.reached(now) } else { None }
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

    fn refused(pacer: &ReconnectPacer, probed: bool, now: Instant) -> bool {
        pacer.failed(probed, true, true, now)
    }

    #[test]
    fn while_the_service_is_there_a_first_dial_does_not_wait() {
        let (pacer, now) = (ReconnectPacer::default(), Instant::now());
        assert!((0..1000).all(|_| pacer.ask(true, None, 1, now) == DialTurn::Now));
        // A thousand dial again, one a second.
        assert!((0..1000).any(|_| pacer.ask(false, None, 1, now) != DialTurn::Now));
        assert!((0..1000).all(|_| pacer.ask(true, None, 1, now) == DialTurn::Now), "others are in no queue before it");
        pacer.lost_by_all(now);
        assert!((0..1000).all(|_| pacer.ask(true, None, 1, now) == DialTurn::Now), "nor does it wait for a probe");
    }

    #[test]
    fn one_session_probes_first_and_then_the_others_dial_at_the_configured_rate() {
        let (pacer, start) = (ReconnectPacer::default(), Instant::now());
        pacer.lost_by_all(start);
        assert_eq!(pacer.ask(false, None, 10, start), DialTurn::Probe);
        assert_eq!(pacer.ask(false, None, 10, start), DialTurn::Later);
        assert!(refused(&pacer, true, start), "a new outage");
        assert!(!refused(&pacer, false, start), "the same outage");
        assert_eq!(pacer.ask(true, None, 10, start), DialTurn::Later, "new sessions wait too");
        assert_eq!(pacer.ask(false, None, 10, start), DialTurn::Later, "not at once again");
        assert_eq!(
            pacer.ask(false, None, 10, start + Duration::from_millis(100)),
            DialTurn::Probe,
            "another session probes"
        );
        let back = start + Duration::from_secs(2);
        assert_eq!(pacer.reached(back), Some(Duration::from_secs(2)));
        assert_eq!(pacer.reached(back), None);

        assert_eq!(pacer.ask(false, None, 10, back), DialTurn::Now);
        let tickets: Vec<_> = (0..20).map(|_| pacer.ask(false, None, 10, back)).collect();
        let Some(&DialTurn::At(last, ticket)) = tickets.last() else { panic!("{tickets:?}") };
        assert_eq!(last, back + Duration::from_secs(2), "20 more at 10 a second");
        assert_eq!(pacer.ask(true, None, 10, back), DialTurn::Now, "a new session does not wait behind them");
        assert_eq!(pacer.ask(false, Some(ticket), 10, last), DialTurn::Now, "a session with a ticket needs no other");
    }

    #[test]
    fn a_place_among_those_that_wait_outlives_a_second_outage() {
        let (pacer, start) = (ReconnectPacer::default(), Instant::now());
        let turns: Vec<_> = (0..50).map(|_| pacer.ask(false, None, 10, start)).collect();
        let DialTurn::At(_, ticket) = turns[20] else { panic!("{turns:?}") };
        let DialTurn::At(_, far) = turns[40] else { panic!("{turns:?}") };
        let again = start + Duration::from_secs(1);
        refused(&pacer, false, again);
        assert_eq!(pacer.ask(false, Some(ticket), 10, again), DialTurn::Probe);
        assert_eq!(pacer.ask(false, Some(far), 10, again), DialTurn::Later);
        let back = again + Duration::from_secs(7);
        pacer.reached(back);
        let DialTurn::At(turn, kept) = pacer.ask(false, Some(ticket), 10, back) else { panic!("too early") };
        assert_eq!((turn, kept), (start + Duration::from_secs(2 + 7), ticket), "it has lost the outage alone");
        let DialTurn::At(turn, _) = pacer.ask(false, None, 10, back) else { panic!("not behind the others") };
        assert_eq!(turn, start + Duration::from_secs(5 + 7), "who comes now is behind all of them");
        assert_eq!(pacer.ask(false, Some(far), 10, start + Duration::from_secs(4 + 7)), DialTurn::Now);
    }

    #[test]
    fn new_sessions_that_had_to_wait_have_a_queue_of_their_own() {
        let (pacer, start) = (ReconnectPacer::default(), Instant::now());
        refused(&pacer, false, start);
        assert_eq!(pacer.ask(false, None, 10, start), DialTurn::Probe);
        assert_eq!(pacer.ask(true, None, 10, start), DialTurn::Later);
        pacer.reached(start);
        for _ in 0..1000 {
            pacer.ask(false, None, 10, start);
        }
        let waited = Some(PaceTicket::default());
        assert_eq!(pacer.ask(true, waited, 10, start), DialTurn::Now);
        let DialTurn::At(turn, _) = pacer.ask(true, waited, 10, start) else { panic!("all at once") };
        assert_eq!(turn, start + Duration::from_millis(100));
    }

    #[test]
    fn a_handshake_that_fails_over_a_connection_stops_no_new_session() {
        let (pacer, start) = (ReconnectPacer::default(), Instant::now());
        assert!(!pacer.failed(false, false, false, start));
        assert_eq!(pacer.ask(false, None, 10, start), DialTurn::Now, "the service is there for others");
        assert!(pacer.failed(false, false, true, start), "nobody has it");
        assert_eq!(pacer.ask(true, None, 10, start), DialTurn::Now);
        refused(&pacer, false, start);
        assert_eq!(pacer.ask(false, None, 10, start), DialTurn::Probe);
        assert_eq!(pacer.ask(true, None, 10, start), DialTurn::Later);
        pacer.failed(true, false, true, start);
        assert_eq!(pacer.ask(true, None, 10, start), DialTurn::Now, "connections can be made again");
    }

    #[test]
    fn sessions_that_are_late_for_their_turns_do_not_dial_all_at_once() {
        let (pacer, back) = (ReconnectPacer::default(), Instant::now());
        pacer.lost_by_all(back);
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
        pacer.lost_by_all(start);
        assert_eq!(pacer.ask(false, None, 1, start), DialTurn::Probe);
        assert_eq!(pacer.ask(false, None, 1, start + PROBE_PATIENCE), DialTurn::Probe);
        pacer.found_nothing();
        assert_eq!(pacer.ask(false, None, 1, start + PROBE_PATIENCE), DialTurn::Probe, "its client has left");
    }
}
