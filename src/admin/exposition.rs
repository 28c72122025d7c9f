//! `/metrics` and `/metrics/prometheus`: the same page for Prometheus.

use hyper::StatusCode;

use super::answer::{self, Answer};
use crate::observe::prometheus::{CONTENT_TYPE, Exposition};

/// The figures as of now. Not cached: a page of 200 events takes less than the 5 ms that would be worth it.
pub(super) fn metrics(exposition: &Exposition) -> Answer {
    answer::with_type(StatusCode::OK, CONTENT_TYPE, exposition.render())
}
