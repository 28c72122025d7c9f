//! Heartbeat towards the client, on Tidegate's own clock: Engine.IO v4 `2` and `3`, or WebSocket ping and pong.

use std::time::{Duration, Instant};

use crate::session::quality::RoundTrips;

/// When the next ping is due, or the answer to the last one.
#[derive(Debug)]
pub struct Heartbeat {
    /// When the next ping is due or, after a ping, when its answer is due.
    due: Instant,
    asked_at: Option<Instant>,
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

impl Heartbeat {
    /// The first ping comes an interval after the start, as engine.io does.
    #[must_use]
    pub fn new(now: Instant, interval: Duration) -> Self {
        Self { due: now + interval, asked_at: None, trips: RoundTrips::default() }
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
        self.asked_at = Some(now);
        self.due = (self.due + timeout).max(now + timeout * 3 / 4);
        Beat::Ping
    }

    /// Asks the client before the next ping is due. False: it has yet to answer an earlier ping.
    pub fn ask(&mut self, now: Instant, timeout: Duration) -> bool {
        let asks = self.asked_at.is_none();
        if asks {
            self.asked_at = Some(now);
            self.due = now + timeout;
        }
        asks
    }

    /// The client sent something: an answer that is awaited gets that much more time.
    pub fn heard(&mut self, now: Instant, timeout: Duration) {
        if self.asked_at.is_some() {
            self.due = now + timeout;
        }
    }

    /// The client answered a ping: the round trip. `None` if no ping was sent.
    pub fn answered(&mut self, now: Instant, interval: Duration) -> Option<Duration> {
        let rtt = now.saturating_duration_since(self.asked_at.take()?);
        self.due = now + interval;
        self.trips.add(rtt);
        Some(rtt)
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
        assert_eq!(heartbeat.answered(answered, INTERVAL), Some(Duration::from_millis(40)));
        assert_eq!(heartbeat.due(), answered + INTERVAL);
        assert_eq!(heartbeat.answered(answered, INTERVAL), None, "a pong without a ping does not count");
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
}
