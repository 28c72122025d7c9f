//! Passive recorders: counters of a worker, log lines, the exposition. Nobody is called back.

pub mod acme;
mod catalog;
mod counter;
pub mod gauges;
mod histogram;
pub mod journal;
mod line_limit;
mod process;
pub mod prometheus;
mod stderr;
pub mod tally;

pub use self::prometheus::Exposition;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[metrics]`: what is measured, and how finely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsTable {
    /// Upper bounds of the latency histogram's buckets, in milliseconds, ascending.
    pub latency_buckets_ms: Vec<u32>,
    /// How many event names become labels; further names are counted as `other`. At most 400.
    pub event_names: usize,
}

impl Default for MetricsTable {
    fn default() -> Self {
        Self { latency_buckets_ms: vec![1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000], event_names: 200 }
    }
}
