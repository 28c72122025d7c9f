//! The body of a service's answer, on its way to a client that may not take it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use crate::{gateway::patience::Patience, policy::requests::Place};

/// A body that lets go of the service when the client takes less than 1 KiB/s of it for too long.
///
/// HTTP asks for more of a body only once the client has taken the part before, so nothing here runs while the client does
/// not: a task beside the body watches the time.
#[derive(Debug)]
pub struct ServiceBody<B = Incoming> {
    held: Arc<Mutex<Held<B>>>,
    watch: AbortHandle,
}

/// What is let go of.
#[derive(Debug)]
struct Held<B> {
    /// `None`: let go of.
    body: Option<B>,
    /// The request's place among those under way.
    place: Option<Place>,
    patience: Patience,
}

/// Why a body ends early.
#[derive(Debug, thiserror::Error)]
pub enum ServiceBodyError<E> {
    /// The service broke off.
    #[error("the service broke off its answer")]
    Broken(#[source] E),
    /// The client did not take it.
    #[error("the client did not take the answer in time")]
    NotTaken,
}

impl<B: Body + Send + 'static> ServiceBody<B> {
    /// The client may keep the service waiting for so long. `on_cut` is called if it does longer. Must be called within a
    /// tokio runtime.
    pub fn new(body: B, place: Place, patience: Duration, on_cut: impl FnOnce() + Send + 'static) -> Self {
        let mut patience = Patience::new(patience);
        // The client takes the head first.
        patience.wait(Instant::now());
        let held = Arc::new(Mutex::new(Held { body: Some(body), place: Some(place), patience }));
        let watched = Arc::downgrade(&held);
        let watch = tokio::spawn(async move {
            if watch(&watched).await {
                on_cut();
            }
        });
        Self { held, watch: watch.abort_handle() }
    }
}

/// Waits until patience ends, and lets go. False where the body ends before.
async fn watch<B>(watched: &Weak<Mutex<Held<B>>>) -> bool {
    loop {
        let look_at = {
            let Some(held) = watched.upgrade() else { return false };
            let mut held = lock(&held);
            let now = Instant::now();
            match held.patience.ends() {
                Some(ends) if ends <= now => {
                    held.body = None;
                    held.place = None;
                    return true;
                }
                Some(ends) => ends,
                // While the service is waited for, the client cannot be late earlier than this.
                None => now + held.patience.whole() / 2,
            }
        };
        sleep_until(look_at).await;
    }
}

fn lock<B>(held: &Mutex<Held<B>>) -> MutexGuard<'_, Held<B>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Drop for ServiceBody<B> {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl<B: Body + Unpin> Body for ServiceBody<B> {
    type Data = B::Data;
    type Error = ServiceBodyError<B::Error>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let held = &mut *lock(&self.held);
        let Some(body) = &mut held.body else { return Poll::Ready(Some(Err(ServiceBodyError::NotTaken))) };
        let frame = Pin::new(body).poll_frame(cx);
        let now = Instant::now();
        // It was asked for, so the client has taken what was given before.
        held.patience.moved(0, now);
        if let Poll::Ready(frame) = &frame {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            held.patience.moved(data.map_or(0, Buf::remaining), now);
            held.patience.wait(now);
        }
        frame.map(|frame| frame.map(|frame| frame.map_err(ServiceBodyError::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.held).body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.held).body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::{sync::oneshot, time::timeout};

    use super::*;
    use crate::policy::{connections::LimitsTable, requests::Requests};

    /// Long enough for a busy machine to let a test take what is there.
    const PATIENCE: Duration = Duration::from_secs(3);
    const DEADLINE: Duration = Duration::from_secs(40);

    struct World {
        requests: Arc<Requests>,
        cut: oneshot::Receiver<()>,
    }

    /// A service that sends `pieces` and then, slowly, the end; or stands still with `None`.
    fn answer(
        pieces: usize,
        pause: Option<Duration>,
    ) -> (impl Body<Data = Bytes, Error: std::fmt::Debug> + Unpin, World) {
        let body = StreamBody::new(Box::pin(stream::unfold(0, move |at| async move {
            if at == pieces {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
                return None;
            }
            Some((Ok::<_, hyper::Error>(Frame::data(Bytes::from_static(b"piece"))), at + 1))
        })));
        let requests = Requests::new(&LimitsTable::default());
        let place = requests.admit([192, 0, 2, 1].into()).unwrap();
        let (tell, cut) = oneshot::channel();
        let body = ServiceBody::new(body, place, PATIENCE, || tell.send(()).unwrap());
        (body, World { requests, cut })
    }

    #[tokio::test]
    async fn a_client_that_takes_no_more_lets_go_of_the_service() {
        let (mut body, world) = answer(9, None);
        assert!(body.frame().await.unwrap().unwrap().is_data());
        timeout(DEADLINE, world.cut).await.unwrap().unwrap();
        assert_eq!(world.requests.under_way(), 0, "its place is free although the body is still there");
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn one_that_never_begins_does_too() {
        let (_body, world) = answer(9, None);
        timeout(DEADLINE, world.cut).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_slow_service_costs_the_client_nothing() {
        let (mut body, mut world) = answer(1, Some(PATIENCE * 2));
        assert!(body.frame().await.unwrap().unwrap().is_data());
        assert!(body.frame().await.is_none(), "the end, however late");
        assert!(world.cut.try_recv().is_err());
        assert_eq!(world.requests.under_way(), 1);
        drop(body);
        assert_eq!(world.requests.under_way(), 0);
    }
}
