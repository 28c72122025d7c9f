//! `/drained`: answers once the last client has left, so that the service can stop after its clients.

use std::{
    cmp::Reverse,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::{StatusCode, header::HeaderValue, http::header};
use tokio::{sync::oneshot, time::timeout};

use super::{
    answer::{self, Answer},
    health::{Departure, Health},
};
use crate::side_http::LateAnswer;

/// How long the node may be asked before it is told to leave: both come from the same event, over different ways.
const UNASKED: Duration = Duration::from_secs(10);
/// With fewer, whoever asks would always displace the one that waits.
const WAITERS_MIN: usize = 2;

/// Those who wait. One more than the most takes the place of another: of the address that has most of them, the oldest. The hook of
/// the service comes once, from an address of its own, so nobody who asks again and again from another one displaces it.
#[derive(Debug)]
pub(super) struct Waiters {
    max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    oldest_first: Vec<Waiter>,
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    from: Option<IpAddr>,
    /// Dropped when another takes the place.
    _place: oneshot::Sender<()>,
}

/// A place among those who wait, given back by drop.
struct Place<'a> {
    waiters: &'a Waiters,
    number: u64,
    taken: oneshot::Receiver<()>,
}

impl Waiters {
    /// Nobody waits yet. `connections_max`: of the operator's address, of which most are for other answers.
    pub(super) fn new(connections_max: usize) -> Self {
        Self { max: (connections_max / 4).max(WAITERS_MIN), waiting: Mutex::default() }
    }

    fn come(&self, from: Option<IpAddr>) -> Place<'_> {
        let (place, taken) = oneshot::channel();
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        waiting.oldest_first.push(Waiter { number, from, _place: place });
        if waiting.oldest_first.len() > self.max {
            waiting.displace();
        }
        drop(waiting);
        Place { waiters: self, number, taken }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn displace(&mut self) {
        let of_address = |from| self.oldest_first.iter().filter(|waiter| waiter.from == from).count();
        // Of several that are equal, the first.
        let places = self.oldest_first.iter().enumerate();
        if let Some((oldest, _)) = places.min_by_key(|(_, waiter)| Reverse(of_address(waiter.from))) {
            self.oldest_first.remove(oldest);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiters.waiting().oldest_first.retain(|waiter| waiter.number != self.number);
    }
}

/// 200 once the node is drained. 503 if nobody has asked it to leave, or if others have come that wait too. `from`: who asks.
pub(super) async fn drained(health: &Health, waiters: &Waiters, from: Option<IpAddr>, answer: LateAnswer) -> Answer {
    let mut place = waiters.come(from.map(|from| from.to_canonical()));
    let _waiting = answer.wait();
    tokio::select! {
        // Who is displaced at the end of the drain has waited for it.
        biased;
        answer = left(health) => answer,
        _ = &mut place.taken => displaced(waiters.max),
    }
}

fn displaced(max: usize) -> Answer {
    let message = format!("More than {max} wait, which is the most, and this address has most of them; ask again.");
    let mut full = answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "waiters", &message);
    full.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    full
}

async fn left(health: &Health) -> Answer {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn is_displaced(place: &mut Place<'_>) -> bool {
        matches!(place.taken.try_recv(), Err(oneshot::error::TryRecvError::Closed))
    }

    #[test]
    fn who_asks_again_and_again_displaces_only_itself() {
        let (waiters, stranger, kubelet) = (Waiters::new(64), Some([10, 1, 0, 9].into()), Some([10, 0, 0, 1].into()));
        let mut strangers: Vec<_> = (0..waiters.max).map(|_| waiters.come(stranger)).collect();
        let mut hook = waiters.come(kubelet);
        assert!(is_displaced(&mut strangers[0]) && !is_displaced(&mut strangers[1]), "the oldest of those with most");
        strangers.extend((0..waiters.max * 2).map(|_| waiters.come(stranger)));
        assert!(!is_displaced(&mut hook));
        assert_eq!(waiters.waiting().oldest_first.len(), waiters.max);
        drop((strangers, hook));
        assert!(waiters.waiting().oldest_first.is_empty(), "places are given back");
    }

    #[test]
    fn of_addresses_with_one_place_each_the_oldest_makes_room() {
        let waiters = Waiters::new(4);
        let mut places: Vec<_> = (1..=3).map(|last| waiters.come(Some([10, 1, 0, last].into()))).collect();
        assert_eq!(places.iter_mut().map(is_displaced).collect::<Vec<_>>(), [true, false, false]);
    }
}
