//! Heartbeat towards the client, on Tidegate's own clock: Engine.IO v4 `2` and `3`, or WebSocket ping and pong.

use std::time::{Duration, Instant};

use crate::session::quality::RoundTrips;

/// How often a client is pinged, and how long it may take to answer. Official clients are told both at their handshake, and leave
/// where no ping comes for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PingTimes {
    /// Between two pings.
    pub interval: Duration,
    /// For the answer to one.
    pub timeout: Duration,
}

impl PingTimes {
    /// From a ping without an answer to the next one.
    pub(super) fn again_after(self) -> Duration {
        self.interval.max(self.timeout)
    }
}

/// When the next ping is due, or the answer to the last one.
#[derive(Debug)]
pub struct Heartbeat {
    /// When the next ping is due or, after a ping, when its answer is due.
    due: Instant,
    /// When the last ping went, if its answer is awaited.
    asked_at: Option<Instant>,
    /// The last ping went while the one before it was without an answer.
    is_asked_again: bool,
    /// So many pings are without an answer: several where the client was pinged [again](Heartbeat::again), and of a websocket
    /// those too that it [need not](Heartbeat::answered_by_any) answer any more.
    unanswered: u16,
    trips: RoundTrips,
}

/// What to do for the heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing yet.
    Wait,
    /// Send a ping.
    Ping,
    /// The client did not answer.
    Dead,
}

/// What an answer of the client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pong {
    /// No ping was sent.
    Unasked,
    /// It answers an earlier ping than the last one.
    Earlier,
    /// It answers one of several pings, and nobody can tell which.
    OneOfSeveral,
    /// It answers the last ping: the round trip.
    Last(Duration),
}

impl Heartbeat {
    /// The first ping comes an interval after the start, as engine.io does.
    #[must_use]
    pub fn new(now: Instant, interval: Duration) -> Self {
        Self { due: now + interval, asked_at: None, is_asked_again: false, unanswered: 0, trips: RoundTrips::default() }
    }

    /// The client is back, with another connection. What is known of the one before stays until as much is known of this one.
    pub fn begin_again(&mut self, now: Instant, interval: Duration) {
        *self = Self { trips: self.trips, ..Self::new(now, interval) };
    }

    /// When [`beat`](Self::beat) has something to do.
    #[must_use]
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// What to do now. The answer is due a timeout after the ping was due, as the client was told, even if the ping
    /// goes a little late; the client has most of the timeout in any case.
    pub fn beat(&mut self, now: Instant, timeout: Duration) -> Beat {
        if now < self.due {
            return Beat::Wait;
        }
        if self.asked_at.is_some() {
            return Beat::Dead;
        }
        self.asks(now);
        self.due = (self.due + timeout).max(now + timeout * 3 / 4);
        Beat::Ping
    }

    /// Asks the client before the next ping is due. False: it has yet to answer an earlier ping.
    pub fn ask(&mut self, now: Instant, timeout: Duration) -> bool {
        let asks = self.asked_at.is_none();
        if asks {
            self.asks(now);
            self.due = now + timeout;
        }
        asks
    }

    const fn asks(&mut self, now: Instant) {
        self.is_asked_again = self.asked_at.is_some();
        self.asked_at = Some(now);
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// When the client is to be pinged [again](Self::again). `None`: it has no ping to answer.
    pub fn again_at(&self, after: Duration) -> Option<Instant> {
        self.asked_at.filter(|_| self.unanswered < u16::MAX).map(|at| at + after)
    }

    /// Whether to ping once more because the last ping was so long ago. Its answer may stand behind what is read late: a client
    /// of Engine.IO leaves if no pings come, and that a connection is gone which is not read is noticed by writing to it.
    pub fn again(&mut self, now: Instant, after: Duration) -> bool {
        let is_due = self.again_at(after).is_some_and(|at| now >= at);
        if is_due {
            self.asks(now);
        }
        is_due
    }

    /// The client sent something, or is not read: an answer that is awaited gets that much more time.
    pub fn heard(&mut self, now: Instant, timeout: Duration) {
        if self.asked_at.is_some() {
            self.due = now + timeout;
        }
    }

    /// The client answered a ping.
    pub fn answered(&mut self, now: Instant, interval: Duration) -> Pong {
        let Some(asked_at) = self.asked_at else { return Pong::Unasked };
        self.unanswered -= 1;
        if self.unanswered > 0 {
            return Pong::Earlier;
        }
        let rtt = now.saturating_duration_since(asked_at);
        (self.asked_at, self.due) = (None, now + interval);
        self.trips.add(rtt);
        Pong::Last(rtt)
    }

    /// The client answered a ping of a websocket. An answer to the last of several pings may be the only one (RFC 6455 §5.5.3),
    /// so any of them will do, and those that come after it answer nothing more.
    pub fn answered_by_any(&mut self, now: Instant, interval: Duration) -> Pong {
        let Some(unanswered) = self.unanswered.checked_sub(1) else { return Pong::Unasked };
        self.unanswered = unanswered;
        let Some(asked_at) = self.asked_at.take() else { return Pong::Earlier };
        self.due = now + interval;
        if self.is_asked_again {
            return Pong::OneOfSeveral;
        }
        let rtt = now.saturating_duration_since(asked_at);
        self.trips.add(rtt);
        Pong::Last(rtt)
    }

    /// The last round trips.
    #[must_use]
    pub(super) const fn trips(&self) -> &RoundTrips {
        &self.trips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(25);
    const TIMEOUT: Duration = Duration::from_secs(20);

    #[test]
    fn an_answered_ping_is_followed_by_the_next() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, INTERVAL);
        assert_eq!(heartbeat.beat(start + INTERVAL - Duration::from_millis(1), TIMEOUT), Beat::Wait);
        let pinged = start + INTERVAL;
        assert_eq!(heartbeat.beat(pinged, TIMEOUT), Beat::Ping);
        let answered = pinged + Duration::from_millis(40);
        assert_eq!(heartbeat.answered(answered, INTERVAL), Pong::Last(Duration::from_millis(40)));
        assert_eq!(heartbeat.due(), answered + INTERVAL);
        assert_eq!(heartbeat.answered(answered, INTERVAL), Pong::Unasked, "a pong without a ping does not count");
    }

    #[test]
    fn a_ping_that_goes_late_leaves_the_client_most_of_its_time() {
        let start = Instant::now();
        for (late, due) in
            [(TIMEOUT / 100, INTERVAL + TIMEOUT), (TIMEOUT * 9, INTERVAL + TIMEOUT * 9 + TIMEOUT * 3 / 4)]
        {
            let mut heartbeat = Heartbeat::new(start, INTERVAL);
            assert_eq!(heartbeat.beat(start + INTERVAL + late, TIMEOUT), Beat::Ping);
            assert_eq!(heartbeat.due(), start + due, "{late:?} late");
        }
    }

    #[test]
    fn a_silent_client_times_out_and_one_that_sends_does_not() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, INTERVAL);
        let pinged = start + INTERVAL;
        assert_eq!(heartbeat.beat(pinged, TIMEOUT), Beat::Ping);
        heartbeat.heard(pinged + TIMEOUT / 2, TIMEOUT);
        assert_eq!(heartbeat.beat(pinged + TIMEOUT, TIMEOUT), Beat::Wait);
        assert_eq!(heartbeat.beat(pinged + TIMEOUT / 2 + TIMEOUT, TIMEOUT), Beat::Dead);
    }

    #[test]
    fn of_several_answers_that_are_read_late_the_last_one_is_measured() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, INTERVAL);
        let pinged = start + INTERVAL;
        assert_eq!(heartbeat.beat(pinged, TIMEOUT), Beat::Ping);
        heartbeat.heard(pinged + INTERVAL, TIMEOUT);
        assert!(!heartbeat.again(pinged + INTERVAL - Duration::from_millis(1), INTERVAL));
        assert!(heartbeat.again(pinged + INTERVAL, INTERVAL));
        assert!(!heartbeat.again(pinged + INTERVAL, INTERVAL), "it was just pinged");
        let read = pinged + INTERVAL + Duration::from_secs(1);
        assert_eq!(heartbeat.answered(read, INTERVAL), Pong::Earlier);
        assert_eq!(heartbeat.answered(read, INTERVAL), Pong::Last(Duration::from_secs(1)));
        assert_eq!((heartbeat.due(), heartbeat.again_at(INTERVAL)), (read + INTERVAL, None));
    }

    #[test]
    fn of_several_pings_of_a_websocket_one_is_answered_or_each() {
        for answers in [1, 2] {
            let start = Instant::now();
            let mut heartbeat = Heartbeat::new(start, INTERVAL);
            let pinged = start + INTERVAL;
            assert_eq!(heartbeat.beat(pinged, TIMEOUT), Beat::Ping);
            assert!(heartbeat.again(pinged + INTERVAL, INTERVAL));
            let read = pinged + INTERVAL + Duration::from_secs(1);
            let pongs: Vec<Pong> = (0..answers).map(|_| heartbeat.answered_by_any(read, INTERVAL)).collect();
            assert_eq!(pongs, [Pong::OneOfSeveral, Pong::Earlier][..answers]);
            assert_eq!(heartbeat.beat(read + INTERVAL, TIMEOUT), Beat::Ping);
            let answered = read + INTERVAL + Duration::from_millis(40);
            assert_eq!(heartbeat.answered_by_any(answered, INTERVAL), Pong::Last(Duration::from_millis(40)));
            let more: Vec<Pong> = (0..2).map(|_| heartbeat.answered_by_any(answered, INTERVAL)).collect();
            assert_eq!(more, [[Pong::Earlier, Pong::Unasked], [Pong::Unasked; 2]][answers - 1]);
        }
    }
}
