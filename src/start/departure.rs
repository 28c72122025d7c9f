//! Maps signals to the stages in which a node leaves, and to their times.

use std::{pin::pin, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use crate::{gateway::drain::Stage, policy::connections::LimitsTable};

/// The longest grace after a second signal.
const IMPATIENT_GRACE: Duration = Duration::from_secs(2);

/// Signals beyond these change nothing any more.
const SIGNALS_MAX: usize = 8;

/// How long the stages of leaving take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DepartureTimes {
    /// `limits.lame_duck`.
    pub(super) lame_duck: Duration,
    /// `limits.shutdown_grace`.
    pub(super) grace: Duration,
}

impl DepartureTimes {
    pub(super) const fn of(limits: &LimitsTable) -> Self {
        Self { lame_duck: limits.lame_duck.0, grace: limits.shutdown_grace.0 }
    }
}

/// A signal by which the node is asked to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// SIGTERM: balancers may still send clients for a while.
    Term,
    /// SIGINT: somebody at a terminal waits.
    Int,
    /// SIGUSR1: as SIGTERM, and the process stays until one of the others comes.
    Drain,
}

/// The signals of this process, from now on.
///
/// # Errors
/// The system cannot watch them.
pub(super) fn signals() -> std::io::Result<mpsc::Receiver<Request>> {
    let (requests, received) = mpsc::channel(SIGNALS_MAX);
    let kinds = [
        (SignalKind::terminate(), Request::Term),
        (SignalKind::interrupt(), Request::Int),
        (SignalKind::user_defined1(), Request::Drain),
    ];
    for (kind, request) in kinds {
        let signal = signal(kind)?;
        tokio::spawn(pass_on(signal, request, requests.clone()));
    }
    Ok(received)
}

async fn pass_on(mut signal: Signal, request: Request, requests: mpsc::Sender<Request>) {
    while signal.recv().await.is_some() && requests.send(request).await.is_ok() {}
}

/// Goes through the stages as `requests` ask for it, and enters each by `enter`. `times`: those in force, asked at the first
/// request. `passes`: waits for so long. `tell`: hears of each stage before it begins. `sessions`: how many are open. `stay`:
/// whether the process stays once it has been drained; until it is called, it does not.
pub(super) async fn follow(
    mut requests: mpsc::Receiver<Request>,
    times: impl Fn() -> DepartureTimes,
    passes: impl AsyncFn(Duration),
    sessions: impl Fn() -> u64,
    tell: impl Fn(&str),
    enter: impl Fn(Stage),
    stay: impl Fn(bool),
) {
    let Some(first) = requests.recv().await else { return };
    let DepartureTimes { lame_duck, grace } = times();
    let mut graces = [grace, grace.min(IMPATIENT_GRACE)].into_iter().chain(std::iter::repeat(Duration::ZERO));
    let mut stays = first == Request::Drain;
    if stays {
        tell("SIGUSR1: this node leaves, and its process stays until SIGTERM");
        stay(true);
    }
    // Somebody else asks that the process ends, who knows nothing of the drain: it is not a second signal.
    let ends = || {
        tell("the process ends as soon as it is drained");
        stay(false);
    };
    if first != Request::Int && !lame_duck.is_zero() {
        tell(&format!(
            "not ready any more; new clients are still served for {lame_duck:?}, then all are disconnected within {grace:?}"
        ));
        enter(Stage::Leaving(lame_duck));
        let mut over = pin!(passes(lame_duck));
        loop {
            let request = tokio::select! {
                biased;
                () = &mut over => break,
                request = requests.recv() => request,
            };
            match request {
                Some(Request::Drain) => {}
                Some(request) if stays => {
                    stays = false;
                    ends();
                    if request == Request::Int {
                        break;
                    }
                }
                _ => {
                    graces.next();
                    break;
                }
            }
        }
    }
    loop {
        let grace = graces.next().unwrap_or_default();
        let open = sessions();
        tell(&format!("draining: no new clients; {open} open sessions, clients are disconnected within {grace:?}"));
        enter(Stage::Draining(grace));
        loop {
            match requests.recv().await {
                None => return,
                Some(Request::Drain) => {}
                Some(_) if stays => {
                    stays = false;
                    ends();
                }
                Some(_) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use tokio::task::yield_now;

    use self::Seen::{Enter, Stay};
    use super::{
        Request::{Drain, Int, Term},
        *,
    };

    const TIMES: DepartureTimes = DepartureTimes { lame_duck: Duration::from_secs(5), grace: Duration::from_secs(30) };
    const NO_LAME_DUCK: DepartureTimes = DepartureTimes { lame_duck: Duration::ZERO, ..TIMES };
    const LEAVING: Seen = Enter(Stage::Leaving(TIMES.lame_duck));

    /// What follows from requests.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Seen {
        Enter(Stage),
        Stay(bool),
    }

    /// What follows from the requests that come `early`, in the lame duck if there is one, and from those that come `late`, after
    /// the drain has begun.
    async fn seen(times: DepartureTimes, early: &[Request], late: &[Request]) -> Vec<Seen> {
        let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
        let (seen, told, over) = (RefCell::new(Vec::new()), Cell::new(0), Cell::new(false));
        let until = async |done: &dyn Fn() -> bool| {
            while !done() {
                yield_now().await;
            }
        };
        let asks = async {
            for request in early {
                sender.send(*request).await.unwrap();
                until(&|| sender.capacity() == SIGNALS_MAX).await;
            }
            over.set(true);
            until(&|| seen.borrow().iter().any(|seen| matches!(seen, Enter(Stage::Draining(_))))).await;
            for request in late {
                sender.send(*request).await.unwrap();
            }
            drop(sender);
        };
        let passes = async |time: Duration| {
            assert_eq!(time, times.lame_duck);
            until(&|| over.get()).await;
        };
        let (enter, stay) = (|stage| seen.borrow_mut().push(Enter(stage)), |stays| seen.borrow_mut().push(Stay(stays)));
        let tell = |_: &str| told.set(told.get() + 1);
        let follows = follow(receiver, || times, passes, || 0, tell, enter, stay);
        tokio::join!(follows, asks);
        assert_eq!(seen.borrow().len(), told.get(), "one line for each");
        seen.into_inner()
    }

    const fn draining(seconds: u64) -> Seen {
        Enter(Stage::Draining(Duration::from_secs(seconds)))
    }

    #[tokio::test]
    async fn sigterm_serves_on_for_the_lame_duck_and_then_drains() {
        assert_eq!(seen(TIMES, &[Term], &[]).await, [LEAVING, draining(30)]);
    }

    #[tokio::test]
    async fn sigint_and_a_lame_duck_of_zero_drain_at_once() {
        assert_eq!(seen(TIMES, &[Int], &[]).await, [draining(30)]);
        assert_eq!(seen(NO_LAME_DUCK, &[Term], &[]).await, [draining(30)]);
        assert_eq!(seen(NO_LAME_DUCK, &[Drain], &[]).await, [Stay(true), draining(30)]);
    }

    #[tokio::test]
    async fn a_second_signal_of_either_kind_ends_the_lame_duck_and_shortens_the_grace() {
        for second in [Term, Int] {
            assert_eq!(seen(TIMES, &[Term, second], &[]).await, [LEAVING, draining(2)], "{second:?}");
            let seen = seen(TIMES, &[Term], &[second]).await;
            assert_eq!(seen, [LEAVING, draining(30), draining(2)], "{second:?} while it drains");
        }
        let short = DepartureTimes { grace: Duration::from_secs(1), ..TIMES };
        let seen = seen(short, &[Int], &[Int]).await;
        assert_eq!(seen, [draining(1), draining(1)], "a second signal gives no more time");
    }

    #[tokio::test]
    async fn a_third_signal_leaves_no_time() {
        assert_eq!(seen(TIMES, &[Term, Int], &[Term]).await, [LEAVING, draining(2), draining(0)]);
        assert_eq!(seen(TIMES, &[Int], &[Int, Term]).await, [draining(30), draining(2), draining(0)]);
    }

    #[tokio::test]
    async fn sigusr1_leaves_as_sigterm_does_and_the_process_stays() {
        assert_eq!(seen(TIMES, &[Drain], &[]).await, [Stay(true), LEAVING, draining(30)]);
    }

    #[tokio::test]
    async fn the_first_signal_to_end_leaves_a_drain_its_time() {
        let expected = [Stay(true), LEAVING, Stay(false), draining(30)];
        for first in [Term, Int] {
            assert_eq!(seen(TIMES, &[Drain, first], &[]).await, expected, "{first:?} in the lame duck");
            let seen = seen(TIMES, &[Drain], &[first]).await;
            assert_eq!(seen, [Stay(true), LEAVING, draining(30), Stay(false)], "{first:?} while it drains");
        }
    }

    #[tokio::test]
    async fn the_one_after_it_counts_as_a_second_one() {
        let expected = [Stay(true), LEAVING, Stay(false), draining(2)];
        assert_eq!(seen(TIMES, &[Drain, Term, Term], &[]).await, expected, "both in the lame duck");
        let expected = [Stay(true), LEAVING, Stay(false), draining(30), draining(2), draining(0)];
        assert_eq!(seen(TIMES, &[Drain, Term], &[Int, Term]).await, expected, "while it drains");
        let expected = [Stay(true), LEAVING, draining(30), Stay(false), draining(2), draining(0)];
        assert_eq!(seen(TIMES, &[Drain], &[Term, Term, Term]).await, expected, "all while it drains");
    }

    #[tokio::test]
    async fn sigusr1_changes_nothing_for_a_node_that_leaves() {
        assert_eq!(seen(TIMES, &[Drain, Drain], &[Drain]).await, [Stay(true), LEAVING, draining(30)]);
        assert_eq!(seen(TIMES, &[Term, Drain], &[Drain]).await, [LEAVING, draining(30)], "it ends all the same");
    }
}
