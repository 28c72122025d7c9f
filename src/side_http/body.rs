//! The body of an answer: in one piece, or in parts that come as time goes by.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// The body of an answer.
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    Whole(Full<Bytes>),
    Lasting { parts: mpsc::Receiver<Bytes>, pace: Arc<Pace> },
}

impl Body {
    /// What comes from `parts`, until its sender is gone. The connection lasts as long as its client takes a part now and then.
    #[must_use]
    pub fn lasting(parts: mpsc::Receiver<Bytes>) -> Self {
        Self(Kind::Lasting { parts, pace: Arc::default() })
    }

    /// When the client takes parts is told there. In one piece, it is not.
    pub(super) fn keep(&mut self, of_connection: &Arc<Pace>) {
        if let Kind::Lasting { pace, .. } = &mut self.0 {
            *pace = Arc::clone(of_connection);
            pace.taken(Instant::now());
        }
    }
}

impl<B: Into<Bytes>> From<B> for Body {
    fn from(bytes: B) -> Self {
        Self(Kind::Whole(Full::new(bytes.into())))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.get_mut().0 {
            Kind::Whole(body) => Pin::new(body).poll_frame(cx),
            Kind::Lasting { parts, pace } => {
                let part = std::task::ready!(parts.poll_recv(cx));
                pace.taken(Instant::now());
                Poll::Ready(part.map(|part| Ok(Frame::data(part))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Whole(body) if body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(body) => body.size_hint(),
            Kind::Lasting { .. } => SizeHint::default(),
        }
    }
}

/// When a client has last taken a part of a body that lasts, and whether it waits for its answer.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Mutex<Option<Instant>>,
    waits: AtomicBool,
}

impl Pace {
    fn taken(&self, now: Instant) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// `None`: the answer does not last, or there is none yet.
    pub(super) fn last(&self) -> Option<Instant> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer may take as long as it wants.
    pub(super) fn waits(&self) -> bool {
        self.waits.load(Relaxed)
    }

    /// The answer, or what is there of it, takes longer than that of others may.
    pub(super) fn lasts(&self) -> bool {
        self.waits() || self.last().is_some()
    }
}

/// The connection of a request, whose answer may be one that is long waited for. An extension of each request.
#[derive(Debug, Clone, Default)]
pub struct LateAnswer(Arc<Pace>);

impl LateAnswer {
    pub(super) fn on(connection: &Arc<Pace>) -> Self {
        Self(Arc::clone(connection))
    }

    /// As long as the value lives the connection is kept, as one with a [lasting](Body::lasting) body is. Who answers bounds
    /// the number of them.
    #[must_use]
    pub fn wait(self) -> Waiting {
        self.0.waits.store(true, Relaxed);
        Waiting(self.0)
    }
}

/// An answer that is waited for.
#[derive(Debug)]
pub struct Waiting(Arc<Pace>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waits.store(false, Relaxed);
    }
}
