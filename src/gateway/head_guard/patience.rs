//! How long the guard waits for a client: one timer per connection for head, body and parting.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// How long a body may keep us waiting at first, and the most it can earn again.
const BODY_GRACE: Duration = Duration::from_secs(10);
/// What a KiB of body earns: at less than 1 KiB/s the grace runs out.
const GRACE_PER_KIB: Duration = Duration::from_secs(1);
/// How long a client that was refused may take to read why, before the connection is cut under it.
const LINGER: Duration = Duration::from_secs(1);

/// The deadlines of one connection. Only time spent waiting for the client counts against its body.
pub(super) struct Patience {
    timer: Pin<Box<Sleep>>,
    head: Duration,
    waiting: Waiting,
}

enum Waiting {
    /// Between two requests: hyper's own idle timer runs, for it alone knows when an answer is complete.
    Idle,
    /// Until the timer.
    Until,
    /// For a body; `since` when nothing has come.
    Body { grace: Duration, since: Option<Instant> },
}

impl Patience {
    /// A new connection: its first head must be complete within `head`.
    pub(super) fn new(head: Duration) -> Self {
        Self { timer: Box::pin(sleep(head)), head, waiting: Waiting::Until }
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
        self.waiting = Waiting::Body { grace: BODY_GRACE, since: None };
    }

    /// So many bytes of a body came.
    pub(super) fn body_came(&mut self, bytes: usize) {
        if let Waiting::Body { grace, since } = &mut self.waiting {
            let waited = since.take().map_or(Duration::ZERO, |since| since.elapsed());
            let earned = GRACE_PER_KIB.mul_f64(bytes as f64 / 1024.0);
            *grace = (grace.saturating_sub(waited) + earned).min(BODY_GRACE);
        }
    }

    /// The connection is being closed.
    pub(super) fn linger(&mut self) {
        self.wait(LINGER);
    }

    /// Nothing has come: is it over?
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.waiting {
            Waiting::Idle => return Poll::Pending,
            Waiting::Until => {}
            Waiting::Body { since: Some(_), .. } => {}
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
