//! Passive recorders: counters of a worker, log lines, the page of metrics. Nothing here calls back.

pub mod acme;
mod catalog;
mod counter;
mod exposition;
pub mod gauges;
mod histogram;
pub mod journal;
pub mod limits;
mod line_limit;
pub mod memory;
pub mod mirror;
pub mod overview;
mod process;
pub mod prometheus;
pub mod redis;
pub mod refusals;
pub mod revocation;
pub mod service_record;
mod stderr;
pub mod tally;

pub use self::exposition::Exposition;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Faults};

/// `[metrics]`: what is measured, and how finely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsTable {
    /// Upper bounds of the latency histogram's buckets, in milliseconds, ascending.
    pub latency_buckets_ms: Vec<u32>,
    /// How many event names become labels; further names are counted as `other`. At most 400.
    #[schemars(range(max = EVENT_NAMES_MAX))]
    pub event_names: usize,
    /// How long a name of an event may be to become a label, in bytes, at most 1024. An event with a longer name passes like any
    /// other, is judged by its whole name, and is counted as `other`.
    #[schemars(range(min = 1, max = 1024))]
    pub event_name_bytes: u32,
}

/// Event names that can become labels; the slots of [`EventNames`](crate::event_names::EventNames) leave room for those
/// that the configuration names.
const EVENT_NAMES_MAX: usize = 400;

/// Labels longer than that are of no use on a page of metrics.
const EVENT_NAME_BYTES: std::ops::RangeInclusive<u32> = 1..=1024;

impl MetricsTable {
    /// Can this be measured?
    ///
    /// # Errors
    /// Buckets that do not ascend, more names than there is room for.
    pub fn check(&self) -> Result<(), Vec<Fault>> {
        let mut faults = Faults::default();
        let buckets = &self.latency_buckets_ms;
        if buckets.is_empty() || !buckets.is_sorted_by(|one, next| one < next) {
            let message = "needs at least one bound, and each larger than the one before";
            faults.add("metrics.latency_buckets_ms", message);
        }
        if self.event_names > EVENT_NAMES_MAX {
            let message = format!("is {}; at most {EVENT_NAMES_MAX} names can be labels", self.event_names);
            faults.add("metrics.event_names", message);
        }
        if !EVENT_NAME_BYTES.contains(&self.event_name_bytes) {
            let (least, most) = (EVENT_NAME_BYTES.start(), EVENT_NAME_BYTES.end());
            let message = format!("is {}; it must be between {least} and {most}", self.event_name_bytes);
            faults.add("metrics.event_name_bytes", message);
        }
        faults.finish(Some(()))
    }
}

impl Default for MetricsTable {
    fn default() -> Self {
        Self {
            latency_buckets_ms: vec![1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000],
            event_names: 200,
            event_name_bytes: 256,
        }
    }
}
