//! How long the guard waits for a client: one timer per connection for head, body and close.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use crate::gateway::patience::Patience;

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
    /// For a body.
    Body(Patience),
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
        self.waiting = Waiting::Body(Patience::new(self.body_grace));
    }

    /// So many bytes of a body came.
    pub(super) fn body_came(&mut self, bytes: usize) {
        if let Waiting::Body(patience) = &mut self.waiting {
            patience.moved(bytes, Instant::now());
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
            Waiting::Until => {}
            Waiting::Body(patience) if patience.ends().is_some() => {}
            Waiting::Body(patience) => self.timer.as_mut().reset(patience.wait(Instant::now())),
        }
        self.timer.as_mut().poll(cx)
    }

    fn wait(&mut self, time: Duration) {
        self.waiting = Waiting::Until;
        self.timer.as_mut().reset(Instant::now() + time);
    }
}
