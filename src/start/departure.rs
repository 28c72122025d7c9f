//! How the node leaves when it is asked to: which signal brings which stage, and when.

use std::time::Duration;

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
}

/// The signals of this process, from now on.
///
/// # Errors
/// The system cannot watch them.
pub(super) fn signals() -> std::io::Result<mpsc::Receiver<Request>> {
    let (requests, received) = mpsc::channel(SIGNALS_MAX);
    for (kind, request) in [(SignalKind::terminate(), Request::Term), (SignalKind::interrupt(), Request::Int)] {
        let signal = signal(kind)?;
        tokio::spawn(pass_on(signal, request, requests.clone()));
    }
    Ok(received)
}

async fn pass_on(mut signal: Signal, request: Request, requests: mpsc::Sender<Request>) {
    while signal.recv().await.is_some() && requests.send(request).await.is_ok() {}
}

/// Goes through the stages as `requests` ask for it, and enters each by `enter`. `times`: those in force, asked at the first
/// request. `passes`: waits for so long. `tell`: hears of each stage before it begins. `sessions`: how many are open.
pub(super) async fn follow(
    mut requests: mpsc::Receiver<Request>,
    times: impl Fn() -> DepartureTimes,
    passes: impl AsyncFn(Duration),
    sessions: impl Fn() -> u64,
    tell: impl Fn(&str),
    enter: impl Fn(Stage),
) {
    let Some(first) = requests.recv().await else { return };
    let DepartureTimes { lame_duck, grace } = times();
    let mut graces = [grace, grace.min(IMPATIENT_GRACE)].into_iter().chain(std::iter::repeat(Duration::ZERO));
    if first == Request::Term && !lame_duck.is_zero() {
        tell(&format!(
            "not ready any more; new clients are still served for {lame_duck:?}, then all are disconnected within {grace:?}"
        ));
        enter(Stage::Leaving(lame_duck));
        tokio::select! {
            biased;
            () = passes(lame_duck) => {}
            _ = requests.recv() => drop(graces.next()),
        }
    }
    loop {
        let grace = graces.next().unwrap_or_default();
        let open = sessions();
        tell(&format!("draining: no new clients; {open} open sessions, clients are disconnected within {grace:?}"));
        enter(Stage::Draining(grace));
        if requests.recv().await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::{
        Request::{Int, Term},
        *,
    };

    const TIMES: DepartureTimes = DepartureTimes { lame_duck: Duration::from_secs(5), grace: Duration::from_secs(30) };
    const LEAVING: Stage = Stage::Leaving(TIMES.lame_duck);

    /// The stages that these requests bring, which come before the lame duck is over, or after it.
    async fn stages(times: DepartureTimes, is_over: bool, requests: &[Request]) -> Vec<Stage> {
        let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
        for request in requests {
            sender.send(*request).await.unwrap();
        }
        drop(sender);
        let (seen, told) = (RefCell::new(Vec::new()), RefCell::new(0));
        let passes = async |time: Duration| {
            assert_eq!(time, times.lame_duck);
            if !is_over {
                std::future::pending::<()>().await;
            }
        };
        let enter = |stage| seen.borrow_mut().push(stage);
        follow(receiver, || times, passes, || 0, |_| *told.borrow_mut() += 1, enter).await;
        assert_eq!(seen.borrow().len(), *told.borrow(), "one line for each stage");
        seen.into_inner()
    }

    const fn draining(seconds: u64) -> Stage {
        Stage::Draining(Duration::from_secs(seconds))
    }

    #[tokio::test]
    async fn sigterm_serves_on_for_the_lame_duck_and_then_drains() {
        assert_eq!(stages(TIMES, true, &[Term]).await, [LEAVING, draining(30)]);
    }

    #[tokio::test]
    async fn sigint_and_a_lame_duck_of_zero_drain_at_once() {
        assert_eq!(stages(TIMES, false, &[Int]).await, [draining(30)]);
        let none = DepartureTimes { lame_duck: Duration::ZERO, ..TIMES };
        assert_eq!(stages(none, false, &[Term]).await, [draining(30)]);
    }

    #[tokio::test]
    async fn a_second_signal_of_either_kind_ends_the_lame_duck_and_shortens_the_grace() {
        for second in [Term, Int] {
            assert_eq!(stages(TIMES, false, &[Term, second]).await, [LEAVING, draining(2)], "{second:?}");
            let seen = stages(TIMES, true, &[Term, second]).await;
            assert_eq!(seen, [LEAVING, draining(30), draining(2)], "{second:?} while it drains");
        }
        let short = DepartureTimes { grace: Duration::from_secs(1), ..TIMES };
        let seen = stages(short, false, &[Int, Int]).await;
        assert_eq!(seen, [draining(1), draining(1)], "a second signal gives no more time");
    }

    #[tokio::test]
    async fn a_third_signal_leaves_no_time() {
        assert_eq!(stages(TIMES, false, &[Term, Int, Term]).await, [LEAVING, draining(2), draining(0)]);
        assert_eq!(stages(TIMES, false, &[Int, Int, Term]).await, [draining(30), draining(2), draining(0)]);
    }
}
