//! `/livez`: every worker ticks. `/readyz`: everything that a client needs is there.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use hyper::StatusCode;
use serde::Serialize;
use tokio::sync::watch;

use super::answer::{self, Answer};
use crate::{
    observe::{
        redis::{RedisGauges, RedisSeen},
        service_record::{Seen, ServiceRecord},
        tally::Tally,
    },
    wire::query::Query,
};

/// A worker without a tick for this time is stuck.
const TICK_MAX_AGE: Duration = Duration::from_secs(5);

/// The state of the node, as `/livez` and `/readyz` report it.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    tallies: Vec<Arc<Tally>>,
    service: Arc<ServiceRecord>,
    /// Whether the node is ready only while Redis is there. `None`: the node does not use it.
    redis: Option<(Arc<RedisGauges>, bool)>,
    listening: AtomicBool,
    /// Why the node takes no new clients for long. `None`: it stays.
    draining: Mutex<Option<String>>,
    departure: watch::Sender<Departure>,
    certificate: AtomicBool,
    keys: Mutex<Result<(), String>>,
}

/// How far a node is with leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// Nobody has asked it to.
    Stays,
    /// In the lame duck, or draining.
    Leaves,
    /// No client is left.
    Drained,
}

/// What `/readyz` answers.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    conditions: Vec<Condition>,
}

/// One thing that the node needs, or that its operator wants to know.
#[derive(Debug, Serialize)]
pub(super) struct Condition {
    name: &'static str,
    ok: bool,
    /// Whether the node is unready while this condition fails.
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Since when, as HTTP writes dates.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

impl Readiness {
    fn of(conditions: Vec<Condition>) -> Self {
        Self { ready: conditions.iter().all(|condition| condition.ok || !condition.required), conditions }
    }

    /// This condition is told, and does not count.
    fn leave_out(&mut self, name: &str) {
        self.conditions.iter_mut().filter(|condition| condition.name == name).for_each(|one| one.required = false);
        *self = Self::of(std::mem::take(&mut self.conditions));
    }
}

impl Condition {
    const fn required(name: &'static str, ok: bool, why: Option<String>) -> Self {
        Self { name, ok, required: true, why, since: None }
    }

    /// A node stays in rotation while the service is down: taking it out would not help.
    fn upstream(seen: Option<Seen>) -> Self {
        let (ok, why, since) = match seen {
            None => (true, Some("not tried yet".to_owned()), None),
            Some(Seen { since, down }) => (down.is_none(), down, SystemTime::now().checked_sub(since.elapsed())),
        };
        Self { name: "upstream", ok, required: false, why, since: since.map(httpdate::fmt_http_date) }
    }

    /// Without Redis a node does all but tell other nodes, so it stays in rotation unless it must not.
    fn redis(RedisSeen { since, down }: RedisSeen, required: bool) -> Self {
        let since = SystemTime::now().checked_sub(since.elapsed());
        Self { name: "redis", ok: down.is_none(), required, why: down, since: since.map(httpdate::fmt_http_date) }
    }
}

impl Health {
    /// Not listening, no keys. `started`: what the workers' [ticks](Tally::tick) count from; one tally for each worker. `service`:
    /// what dials have shown of it.
    #[must_use]
    pub fn new(started: Instant, tallies: Vec<Arc<Tally>>, service: Arc<ServiceRecord>) -> Self {
        Self {
            started,
            tallies,
            service,
            redis: None,
            listening: AtomicBool::new(false),
            draining: Mutex::default(),
            departure: watch::Sender::new(Departure::Stays),
            certificate: AtomicBool::new(true),
            keys: Mutex::new(Err("not loaded yet".to_owned())),
        }
    }

    /// The node uses Redis, and is ready only while it is there if that is `required`.
    #[must_use]
    pub fn with_redis(self, gauges: Arc<RedisGauges>, required: bool) -> Self {
        Self { redis: Some((gauges, required)), ..self }
    }

    /// Clients can connect, or cannot.
    pub fn set_listening(&self, listening: bool) {
        self.listening.store(listening, Relaxed);
    }

    /// The node leaves. `why` is public.
    pub fn set_draining(&self, why: &str) {
        self.depart(Departure::Leaves, why);
    }

    /// The node has left: it has no clients, and its workers have ended. `why` it is not ready is public. Returns whether anybody
    /// has waited for it.
    pub fn set_drained(&self, why: &str) -> bool {
        self.depart(Departure::Drained, why);
        self.departure.receiver_count() > 0
    }

    fn depart(&self, departure: Departure, why: &str) {
        *self.draining.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
        self.departure.send_replace(departure);
    }

    /// How far it is with leaving.
    pub(super) fn departure(&self) -> watch::Receiver<Departure> {
        self.departure.subscribe()
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

    /// Whether Redis is there. `None`: the node does not use it.
    pub(super) fn redis(&self) -> Option<Condition> {
        let (gauges, required) = self.redis.as_ref()?;
        Some(Condition::redis(gauges.seen()?, *required))
    }

    fn readiness(&self) -> Readiness {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let leaves = self.draining.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let unless = |ok: bool, why: &str| (!ok).then(|| why.to_owned());
        let listening = self.listening.load(Relaxed);
        let certificate = self.certificate.load(Relaxed);
        let no_certificate = unless(certificate, "no certificate yet: it is being ordered; the log has the details");
        let mut conditions = vec![
            Condition::required("listening", listening, unless(listening, "the listener is not open")),
            Condition::required("keys", keys.is_ok(), keys.err()),
            Condition::required("certificate", certificate, no_certificate),
            Condition::required("draining", leaves.is_none(), leaves),
        ];
        conditions.extend(self.redis());
        conditions.push(Condition::upstream(self.service.seen()));
        Readiness::of(conditions)
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

/// `/readyz`: send no new clients unless this is 200. With `?without=certificate` a node is ready while its certificate is
/// ordered: where the authority reaches it only through the balancer that asks, it would never get one.
pub(crate) fn readyz(health: &Health, query: Option<&str>) -> Answer {
    let mut readiness = health.readiness();
    if query.is_some_and(|query| Query::new(query).get("without").as_deref() == Some("certificate")) {
        readiness.leave_out("certificate");
    }
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
        let health = Health::new(started, tallies.clone(), Arc::default());
        assert!(health.stuck(started + Duration::from_secs(5)).is_empty(), "a start may take a while");
        tallies[0].tick(9_000);
        tallies[1].tick(4_000);
        assert_eq!(health.stuck(started + Duration::from_secs(10)), [1]);
        tallies[1].retire();
        assert!(
            health.stuck(started + Duration::from_secs(10)).is_empty(),
            "one that has ended in good order is not stuck"
        );
    }

    #[test]
    fn ready_is_listening_with_keys_and_not_draining() {
        let tally = Tally::new(&[]);
        let health = Health::new(Instant::now(), vec![Arc::clone(&tally)], Arc::default());
        assert!(!health.readiness().ready);
        health.set_listening(true);
        assert!(!health.readiness().ready);
        health.set_keys(true, "");
        assert!(health.readiness().ready);
        health.set_certificate(false);
        assert!(!health.readiness().ready);
        health.set_certificate(true);
        health.set_draining("the node leaves");
        assert!(!health.readiness().ready);
    }

    #[test]
    fn a_certificate_that_is_being_ordered_is_left_out_where_that_is_asked_and_nothing_else_is() {
        let health = Health::new(Instant::now(), vec![Tally::new(&[])], Arc::default());
        health.set_listening(true);
        health.set_keys(true, "");
        health.set_certificate(false);
        let ready = |query| readyz(&health, query).status() == StatusCode::OK;
        assert!(!ready(None) && !ready(Some("without=keys")) && ready(Some("without=certificate")));
        health.set_keys(false, "too old");
        assert!(!ready(Some("without=keys")) && !ready(Some("without=certificate")));
        health.set_keys(true, "");
        health.set_draining("the node leaves");
        assert!(!ready(Some("without=draining")) && !ready(Some("without=certificate")));
    }

    #[test]
    fn a_service_that_is_down_is_reported_and_does_not_fail_readiness() {
        let service = Arc::new(ServiceRecord::default());
        let health = Health::new(Instant::now(), vec![Tally::new(&[])], Arc::clone(&service));
        health.set_listening(true);
        health.set_keys(true, "");
        let upstream = || {
            let mut readiness = health.readiness();
            assert!(readiness.ready);
            let upstream = readiness.conditions.pop().unwrap();
            (upstream.ok, upstream.why, upstream.since.is_some())
        };
        assert_eq!(upstream(), (true, Some("not tried yet".to_owned()), false));
        service.mark_down(&"connection refused", Instant::now());
        assert_eq!(upstream(), (false, Some("connection refused".to_owned()), true));
        service.mark_up(Instant::now());
        assert_eq!(upstream(), (true, None, true));
    }

    #[test]
    fn redis_fails_readiness_only_where_it_is_required() {
        for required in [false, true] {
            let gauges = Arc::new(RedisGauges::default());
            let health = Health::new(Instant::now(), vec![Tally::new(&[])], Arc::default());
            let health = health.with_redis(Arc::clone(&gauges), required);
            health.set_listening(true);
            health.set_keys(true, "");
            assert!(health.redis().is_none() && health.readiness().ready, "a node without Redis says nothing of it");
            gauges.in_use(Instant::now());
            gauges.down("nothing listens there", Instant::now());
            let redis = health.redis().unwrap();
            assert_eq!((redis.ok, redis.why.as_deref()), (false, Some("nothing listens there")));
            assert_eq!(health.readiness().ready, !required);
            gauges.up(Instant::now());
            assert!(health.redis().unwrap().ok && health.readiness().ready);
        }
    }
}
