//! `/drained`: answers once the last client has left, for a service that shall live for as long as that.

use std::time::Duration;

use hyper::{StatusCode, header::HeaderValue, http::header};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    answer::{self, Answer},
    health::{Departure, Health},
};
use crate::side_http::LateAnswer;

/// How long the node may be asked before it is told to leave: both come from the same event, over different ways.
const UNASKED: Duration = Duration::from_secs(10);
/// So many wait at once, where there are connections enough: three quarters of them are for other answers.
const WAITERS_MAX: usize = 8;

/// Room for those who wait.
#[derive(Debug)]
pub(super) struct Waiters {
    places: Semaphore,
    max: usize,
}

impl Waiters {
    /// Nobody waits yet. `connections_max`: of the operator's address.
    pub(super) fn new(connections_max: usize) -> Self {
        let max = WAITERS_MAX.min(connections_max / 4).max(1);
        Self { places: Semaphore::new(max), max }
    }
}

/// 200 once the node is drained. 503 if nobody has asked it to leave.
pub(super) async fn drained(health: &Health, waiters: &Waiters, answer: LateAnswer) -> Answer {
    let Ok(_place) = waiters.places.try_acquire() else {
        let message = format!("{} wait already, which is the most; ask again.", waiters.max);
        let mut full = answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "waiters", &message);
        full.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return full;
    };
    let _waiting = answer.wait();
    let mut departure = health.departure();
    // Its sender lives as long as `health`.
    if timeout(UNASKED, departure.wait_for(|departure| *departure != Departure::Stays)).await.is_err() {
        let message = format!(
            "Nobody has asked this node to leave for {} s: run `tidegate drain` beside it, or send it SIGUSR1 or SIGTERM.",
            UNASKED.as_secs()
        );
        return answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "not_leaving", &message);
    }
    let _ = departure.wait_for(|departure| *departure == Departure::Drained).await;
    answer::text(StatusCode::OK, "drained\n")
}
