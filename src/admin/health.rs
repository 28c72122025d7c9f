//! `/livez`: every worker ticks. `/readyz`: everything that a client needs is there.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hyper::StatusCode;
use serde::Serialize;

use super::answer::{self, Answer};
use crate::observe::tally::{Tally, upstream_up};

/// A worker without a tick for this time is stuck.
const TICK_MAX_AGE: Duration = Duration::from_secs(5);

/// The state of the node, as `/livez` and `/readyz` report it.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    tallies: Vec<Arc<Tally>>,
    listening: AtomicBool,
    draining: AtomicBool,
    certificate: AtomicBool,
    keys: Mutex<Result<(), String>>,
}

/// What `/readyz` answers.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    conditions: [Condition; 5],
}

#[derive(Debug, Serialize)]
struct Condition {
    name: &'static str,
    ok: bool,
    /// Whether the node is unready while this condition fails.
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Health {
    /// Not listening, no keys. `started`: what the workers' [ticks](Tally::tick) count from; one tally for each worker.
    #[must_use]
    pub fn new(started: Instant, tallies: Vec<Arc<Tally>>) -> Self {
        Self {
            started,
            tallies,
            listening: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            certificate: AtomicBool::new(true),
            keys: Mutex::new(Err("not loaded yet".to_owned())),
        }
    }

    /// Clients can connect, or cannot.
    pub fn set_listening(&self, listening: bool) {
        self.listening.store(listening, Relaxed);
    }

    /// The node is draining, or not.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Relaxed);
    }

    /// Whether there is a certificate, or none is needed.
    pub fn set_certificate(&self, there: bool) {
        self.certificate.store(there, Relaxed);
    }

    /// Whether tokens can be verified, or need not be. `why` not is public.
    pub fn set_keys(&self, ok: bool, why: &str) {
        let keys = if ok { Ok(()) } else { Err(why.to_owned()) };
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Workers, counted from 0, without a recent tick.
    fn stuck(&self, now: Instant) -> Vec<usize> {
        let age = |tally: &Tally| {
            now.saturating_duration_since(self.started).saturating_sub(Duration::from_millis(tally.last_tick()))
        };
        (0..self.tallies.len()).filter(|worker| age(&self.tallies[*worker]) > TICK_MAX_AGE).collect()
    }

    fn readiness(&self) -> Readiness {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let upstream = match upstream_up(&self.tallies) {
            Some(true) => (true, None),
            Some(false) => (false, Some("the last connection to the service failed")),
            None => (true, Some("not tried yet")),
        };
        let unless = |ok: bool, why: &str| (!ok).then(|| why.to_owned());
        let listening = self.listening.load(Relaxed);
        let staying = !self.draining.load(Relaxed);
        let certificate = self.certificate.load(Relaxed);
        let conditions = [
            Condition {
                name: "listening",
                ok: listening,
                required: true,
                why: unless(listening, "the listener is not open"),
            },
            Condition { name: "keys", ok: keys.is_ok(), required: true, why: keys.err() },
            Condition {
                name: "certificate",
                ok: certificate,
                required: true,
                why: unless(certificate, "no certificate yet: it is being ordered; the log has the details"),
            },
            Condition { name: "draining", ok: staying, required: true, why: unless(staying, "the node is draining") },
            // A node stays in rotation while the service is down: taking it out would not help.
            Condition { name: "upstream", ok: upstream.0, required: false, why: upstream.1.map(str::to_owned) },
        ];
        Readiness { ready: conditions.iter().all(|condition| condition.ok || !condition.required), conditions }
    }
}

/// `/livez`: restart the process unless this is 200.
pub(super) fn livez(health: &Health) -> Answer {
    let stuck = health.stuck(Instant::now());
    if stuck.is_empty() {
        return answer::text(StatusCode::OK, "ok\n");
    }
    let workers = stuck.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let age = TICK_MAX_AGE.as_secs();
    answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("stuck for more than {age} s: worker {workers}\n"))
}

/// `/readyz`: send no new clients unless this is 200.
pub(super) fn readyz(health: &Health) -> Answer {
    let readiness = health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, &readiness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_stopped_ticking_is_named() {
        let started = Instant::now();
        let tallies = vec![Tally::new(&[]), Tally::new(&[])];
        let health = Health::new(started, tallies.clone());
        assert!(health.stuck(started + Duration::from_secs(5)).is_empty(), "a start may take a while");
        tallies[0].tick(9_000);
        tallies[1].tick(4_000);
        assert_eq!(health.stuck(started + Duration::from_secs(10)), [1]);
    }

    #[test]
    fn ready_is_listening_with_keys_and_not_draining() {
        let tally = Tally::new(&[]);
        let health = Health::new(Instant::now(), vec![Arc::clone(&tally)]);
        assert!(!health.readiness().ready);
        health.set_listening(true);
        assert!(!health.readiness().ready);
        health.set_keys(true, "");
        assert!(health.readiness().ready);
        health.set_certificate(false);
        assert!(!health.readiness().ready);
        health.set_certificate(true);
        health.set_draining(true);
        assert!(!health.readiness().ready);
    }

    #[test]
    fn a_service_that_is_away_is_reported_and_does_not_fail_readiness() {
        let tally = Tally::new(&[]);
        let health = Health::new(Instant::now(), vec![Arc::clone(&tally)]);
        health.set_listening(true);
        health.set_keys(true, "");
        tally.dial(false);
        let readiness = health.readiness();
        assert!(readiness.ready);
        assert!(readiness.conditions.iter().any(|condition| condition.name == "upstream" && !condition.ok));
    }
}
