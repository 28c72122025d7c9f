//! How long the guard waits for a client: one timer per connection for head, body and close.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Time that each KiB of a body adds: below 1 KiB/s the grace runs out.
const GRACE_PER_KIB: Duration = Duration::from_secs(1);
/// How long a refused client has to read the answer before the connection is closed.
const LINGER: Duration = Duration::from_secs(1);

/// The deadlines of one connection. Only time spent waiting for the client counts against its body.
pub(super) struct Deadlines {
    timer: Pin<Box<Sleep>>,
    head: Duration,
    body_grace: Duration,
    waiting: Waiting,
}

enum Waiting {
    /// Between two requests. hyper's idle timer runs, because only hyper knows when an answer is complete.
    Idle,
    /// Until the timer.
    Until,
    /// For a body, as long as `grace`; nothing has come `since`.
    Body { grace: Duration, since: Option<Instant> },
}

impl Deadlines {
    /// A new connection: its first head must be complete within `head`. A body may keep us waiting for `body_grace`.
    pub(super) fn new(head: Duration, body_grace: Duration) -> Self {
        Self { timer: Box::pin(sleep(head)), head, body_grace, waiting: Waiting::Until }
    }

    /// No request is being read.
    pub(super) fn idle(&mut self) {
        self.waiting = Waiting::Idle;
    }

    /// The first byte of a head is there.
    pub(super) fn head_began(&mut self) {
        if matches!(self.waiting, Waiting::Idle) {
            self.wait(self.head);
        }
    }

    /// A body follows.
    pub(super) fn body_began(&mut self) {
        self.waiting = Waiting::Body { grace: self.body_grace, since: None };
    }

    /// So many bytes of a body came.
    pub(super) fn body_came(&mut self, bytes: usize) {
        if let Waiting::Body { grace, since } = &mut self.waiting {
            let waited = since.take().map_or(Duration::ZERO, |since| since.elapsed());
            *grace = grace_after(*grace, waited, bytes).min(self.body_grace);
        }
    }

    /// The connection is being closed.
    pub(super) fn linger(&mut self) {
        self.wait(LINGER);
    }

    /// Ready when the deadline has passed. Call it when no bytes are there.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.waiting {
            Waiting::Idle => return Poll::Pending,
            Waiting::Until | Waiting::Body { since: Some(_), .. } => {}
            Waiting::Body { grace, since } => {
                let now = Instant::now();
                *since = Some(now);
                self.timer.as_mut().reset(now + *grace);
            }
        }
        self.timer.as_mut().poll(cx)
    }

    fn wait(&mut self, time: Duration) {
        self.waiting = Waiting::Until;
        self.timer.as_mut().reset(Instant::now() + time);
    }
}

/// The grace that remains for a body after `waited` and then `bytes`.
fn grace_after(grace: Duration, waited: Duration, bytes: usize) -> Duration {
    grace.saturating_sub(waited) + GRACE_PER_KIB.mul_f64(bytes as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_earns_a_second_for_each_kib() {
        let seconds = Duration::from_secs;
        assert_eq!(grace_after(seconds(10), seconds(4), 0), seconds(6));
        assert_eq!(grace_after(seconds(10), seconds(4), 2048), seconds(8));
        assert_eq!(grace_after(seconds(1), seconds(4), 1024), seconds(1));
    }

    #[test]
    fn a_trickle_of_a_byte_each_second_runs_out_of_grace() {
        let mut grace = Duration::from_secs(10);
        for _ in 0..11 {
            grace = grace_after(grace, Duration::from_secs(1), 1).min(Duration::from_secs(10));
        }
        assert!(grace < Duration::from_secs(1), "{grace:?}");
    }
}
