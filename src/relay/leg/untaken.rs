//! What a peer has yet to take.

use std::{
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::AsyncWrite;

/// What the peer's connection has yet to take.
#[derive(Debug)]
pub(super) struct Untaken {
    /// Since when it has taken nothing.
    pub(super) since: Instant,
    /// `None`: the stream holds all of it, as TLS does.
    pub(super) unsent: Option<Box<Unsent>>,
}

impl Untaken {
    /// How many bytes the stream has yet to take.
    pub(super) const fn waiting(&self) -> usize {
        match &self.unsent {
            Some(unsent) => unsent.waiting(),
            None => 0,
        }
    }

    /// Ready: nothing is left.
    pub(super) fn flush<S: AsyncWrite + Unpin>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(unsent) = self.unsent.as_mut().filter(|unsent| unsent.waiting() > 0) {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, &unsent.bytes[unsent.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            unsent.sent += written;
        }
        self.unsent = None;
        Pin::new(io).poll_flush(cx)
    }
}

/// What the stream has yet to take.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    pub(super) bytes: Vec<u8>,
    /// So many of them were sent.
    sent: usize,
    /// Where the largest frame of Tidegate's own is in `bytes`.
    largest: Range<usize>,
}

impl Unsent {
    pub(super) const fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(super) fn of_largest(&self) -> usize {
        self.largest.end.saturating_sub(self.largest.start.max(self.sent))
    }

    /// Drops what was sent, once it is more than what waits: a peer that takes a little at a time may never have taken all.
    pub(super) fn forget_sent(&mut self) {
        if self.sent > self.waiting() {
            self.bytes.drain(..self.sent);
            self.largest = self.largest.start.saturating_sub(self.sent)..self.largest.end.saturating_sub(self.sent);
            self.sent = 0;
        }
    }

    /// What is queued from there on is said by the gate itself.
    pub(super) fn mark_own(&mut self, begin: usize) {
        if self.bytes.len() - begin >= self.of_largest() {
            self.largest = begin..self.bytes.len();
        }
    }
}
