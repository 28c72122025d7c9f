//! `/status`: the node at one moment, in one JSON value.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hyper::StatusCode;
use serde::Serialize;

use super::answer::{self, Answer};
use crate::observe::overview::{
    Certificate, MemoryFigures, Moment, Overview, Percentiles, Reachability, ReloadFigures, SessionFigures, Totals,
};

/// The configuration that is in force, which a reload replaces.
#[derive(Debug, Clone, Default)]
pub struct InForce(Arc<RwLock<Shown>>);

/// What is shown of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// All of it as TOML. Secrets are named in it, and do not stand in it.
    pub toml: Arc<str>,
    /// Where the service is.
    pub upstream: Arc<str>,
}

impl InForce {
    /// From now on this one is.
    pub fn set(&self, shown: Shown) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    fn get(&self) -> Shown {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where the status comes from.
#[derive(Debug)]
pub struct StatusSource {
    /// What operators call this node.
    pub node: String,
    /// When it has started.
    pub started: (Instant, SystemTime),
    /// Its figures.
    pub overview: Overview,
    /// Its configuration.
    pub in_force: InForce,
}

/// The node at one moment.
#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    node: &'a str,
    version: &'static str,
    /// The moment of the figures, in seconds since 1970, as every time here; with thousandths, for rates.
    at: f64,
    started_at: u64,
    uptime_seconds: u64,
    sessions: SessionFigures,
    totals: Totals,
    latency_ms: Option<Percentiles>,
    upstream: Upstream,
    redis: Option<Reachability>,
    certificates: Vec<Certificate>,
    memory: MemoryFigures,
    reload: ReloadFigures,
}

#[derive(Debug, Serialize)]
struct Upstream {
    url: String,
    #[serde(flatten)]
    seen: Reachability,
}

impl StatusSource {
    /// The node as of now.
    pub(super) fn now(&self) -> Status<'_> {
        let now = Moment { instant: Instant::now(), wall: SystemTime::now() };
        let (began, began_at) = self.started;
        let figures = self.overview.figures(now);
        Status {
            node: &self.node,
            version: env!("CARGO_PKG_VERSION"),
            at: unix(now.wall).as_millis() as f64 / 1000.0,
            started_at: unix(began_at).as_secs(),
            uptime_seconds: now.instant.saturating_duration_since(began).as_secs(),
            sessions: figures.sessions,
            totals: figures.totals,
            latency_ms: figures.latency_ms,
            upstream: Upstream { url: self.in_force.get().upstream.to_string(), seen: figures.upstream },
            redis: figures.redis,
            certificates: figures.certificates,
            memory: figures.memory,
            reload: figures.reload,
        }
    }
}

fn unix(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The node as of now.
pub(super) fn status(source: &StatusSource) -> Answer {
    answer::json(StatusCode::OK, &source.now())
}

/// `/config`: the configuration that is in force.
pub(super) fn config(source: &StatusSource) -> Answer {
    answer::with_type(StatusCode::OK, "application/toml; charset=utf-8", source.in_force.get().toml.as_bytes().to_vec())
}
