//! The body of a forwarded request. While it makes progress, the response timeout does not run.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, sleep_until};

/// A request body that records when it last made progress.
pub(super) struct Upload {
    body: Incoming,
    progress: Progress,
}

/// When a request body last made progress.
#[derive(Clone)]
pub(super) struct Progress {
    began: Instant,
    moved_ms: Arc<AtomicU64>,
}

impl Upload {
    pub(super) fn new(body: Incoming) -> (Self, Progress) {
        let progress = Progress { began: Instant::now(), moved_ms: Arc::default() };
        (Self { body, progress: progress.clone() }, progress)
    }
}

impl Progress {
    /// Completes after `timeout` without progress.
    pub(super) async fn stalled(self, timeout: Duration) {
        loop {
            let moved = self.began + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed));
            if moved + timeout <= Instant::now() {
                return;
            }
            sleep_until(moved + timeout).await;
        }
    }

    fn moved(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(ms, Ordering::Relaxed);
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.progress.moved();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
