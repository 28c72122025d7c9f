//! The body of a forwarded request. While it makes progress or waits for the client, the response timeout does not run; while
//! the client keeps it waiting, its patience does.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::gateway::patience::Patience;

/// A request body that records when it last made progress, and ends with an error when the client is too slow.
pub(super) struct Upload<B = Incoming> {
    body: B,
    patience: Patience,
    timer: Option<Pin<Box<Sleep>>>,
    progress: Progress,
}

/// Why a request body ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// The client broke it off.
    #[error("the request body broke off")]
    Broken(#[source] hyper::Error),
    /// It came slower than 1 KiB/s for too long.
    #[error("the request body took too long")]
    TooSlow,
}

/// When a request body last made progress.
#[derive(Clone)]
pub(super) struct Progress {
    began: Instant,
    /// Or [`WAITS`].
    moved_ms: Arc<AtomicU64>,
}

/// The body waits for the client, and the service for the body.
const WAITS: u64 = u64::MAX;

impl<B> Upload<B> {
    /// The client may keep the service waiting for so long.
    pub(super) fn new(body: B, patience: Duration) -> (Self, Progress) {
        let progress = Progress { began: Instant::now(), moved_ms: Arc::default() };
        (Self { body, patience: Patience::new(patience), timer: None, progress: progress.clone() }, progress)
    }

    /// Ready when patience has ended.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ends = self.patience.wait(Instant::now());
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(ends)));
        if timer.deadline() != ends {
            timer.as_mut().reset(ends);
        }
        timer.as_mut().poll(cx)
    }
}

impl Progress {
    /// Completes after `timeout` without progress that is not the client's fault.
    pub(super) async fn stalled(self, timeout: Duration) {
        loop {
            let now = Instant::now();
            let moved = match self.moved_ms.load(Ordering::Relaxed) {
                WAITS => now,
                ms => self.began + Duration::from_millis(ms),
            };
            if moved + timeout <= now {
                return;
            }
            sleep_until(moved + timeout).await;
        }
    }

    fn moved(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.store(ms, Ordering::Relaxed);
    }

    fn waits(&self) {
        self.moved_ms.store(WAITS, Ordering::Relaxed);
    }
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Upload<B> {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            this.progress.waits();
            ready!(this.poll_patience(cx));
            return Poll::Ready(Some(Err(UploadError::TooSlow)));
        };
        let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        this.patience.moved(bytes, Instant::now());
        this.progress.moved();
        Poll::Ready(frame.map(|frame| frame.map_err(UploadError::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{self, StreamExt as _};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_come_ends_with_an_error() {
        let pieces = stream::iter([Ok(Frame::data(Bytes::from_static(b"a")))]).chain(stream::pending());
        let (mut upload, _) = Upload::new(StreamBody::new(pieces), Duration::from_millis(20));
        assert!(upload.frame().await.unwrap().unwrap().is_data());
        let began = Instant::now();
        assert!(matches!(upload.frame().await, Some(Err(UploadError::TooSlow))));
        assert!(began.elapsed() >= Duration::from_millis(15));
    }

    #[tokio::test]
    async fn a_service_that_waits_for_the_client_is_not_blamed_and_one_that_has_all_is() {
        const TIMEOUT: Duration = Duration::from_millis(200);
        let (mut upload, progress) = Upload::new(StreamBody::new(stream::pending()), TIMEOUT * 10);
        let blamed = tokio::select! {
            biased;
            () = progress.stalled(TIMEOUT) => "the service",
            Some(Err(UploadError::TooSlow)) = upload.frame() => "the client",
        };
        assert_eq!(blamed, "the client");

        let (mut upload, progress) = Upload::new(StreamBody::new(stream::empty()), TIMEOUT * 10);
        assert!(upload.frame().await.is_none());
        progress.stalled(TIMEOUT).await;
    }
}
