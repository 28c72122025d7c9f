//! `/events`: the status once a second for everyone who listens, as server-sent events.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{Response, StatusCode, header::HeaderValue, http::header};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{
    answer::{self, Answer, Body},
    status::StatusSource,
};

/// How often the status is told.
const EVERY: Duration = Duration::from_secs(1);
/// Every so many times, the latencies so far are remembered.
const MARK_EVERY: u32 = 10;
/// So many streams at once, where there are connections enough: the other half of them is for short answers.
const STREAMS_MAX: usize = 16;
/// So many events wait for a listener that is slow. It misses those beyond: each says everything.
const BEHIND_MAX: usize = 2;

/// Everyone who listens.
#[derive(Debug)]
pub(super) struct Listeners {
    streams: Mutex<Vec<mpsc::Sender<Bytes>>>,
    max: usize,
}

impl Listeners {
    /// None yet. `connections_max`: of the operator's address.
    pub(super) fn new(connections_max: usize) -> Self {
        Self { streams: Mutex::default(), max: STREAMS_MAX.min(connections_max / 2).max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Bytes>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, who hears `first` at once. `None`: there are as many as there may be.
    fn join(&self, first: Bytes) -> Option<mpsc::Receiver<Bytes>> {
        let mut streams = self.lock();
        streams.retain(|stream| !stream.is_closed());
        if streams.len() >= self.max {
            return None;
        }
        let (stream, heard) = mpsc::channel(BEHIND_MAX);
        // It is empty.
        let _ = stream.try_send(first);
        streams.push(stream);
        Some(heard)
    }

    /// Tells everyone; made only if anyone listens.
    fn tell(&self, make: impl FnOnce() -> Bytes) {
        let mut streams = self.lock();
        streams.retain(|stream| !stream.is_closed());
        if streams.is_empty() {
            return;
        }
        let event = make();
        for stream in &*streams {
            // Who is behind misses this one.
            let _ = stream.try_send(event.clone());
        }
    }
}

/// A new stream.
pub(super) fn events(listeners: &Listeners, source: &StatusSource) -> Answer {
    let Some(heard) = listeners.join(event(source)) else {
        let message = format!("{} streams are open, which is the most; close a page.", listeners.max);
        let mut full = answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "streams", &message);
        full.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        return full;
    };
    let mut stream = Response::new(Body::lasting(heard));
    answer::describe(&mut stream, "text/event-stream");
    // nginx would keep it until a buffer is full.
    stream.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    stream
}

/// Tells the status every second, as long as this is polled.
pub(super) async fn tell(listeners: &Listeners, source: &StatusSource) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u32.. {
        ticks.tick().await;
        if tick % MARK_EVERY == 0 {
            source.overview.mark(Instant::now());
        }
        listeners.tell(|| event(source));
    }
}

/// JSON has no line end, so it is one line of an event.
fn event(source: &StatusSource) -> Bytes {
    let status = serde_json::to_string(&source.now()).unwrap_or_default();
    format!("event: status\ndata: {status}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_bounded_and_one_that_has_left_makes_room() {
        let listeners = Listeners::new(5);
        let join = || listeners.join(Bytes::from_static(b"first"));
        let (mut one, two) = (join().unwrap(), join().unwrap());
        assert!(join().is_none());
        drop(two);
        let three = join().unwrap();
        listeners.tell(|| Bytes::from_static(b"second"));
        assert_eq!((one.try_recv().unwrap(), one.try_recv().unwrap()), ("first".into(), "second".into()));
        drop((one, three));
        listeners.tell(|| unreachable!("nobody listens"));
    }

    #[test]
    fn who_is_slow_misses_events_and_holds_nobody_up() {
        let listeners = Listeners::new(64);
        let mut slow = listeners.join(Bytes::from_static(b"0")).unwrap();
        for event in ["1", "2", "3"] {
            listeners.tell(|| event.into());
        }
        assert_eq!((slow.try_recv().unwrap(), slow.try_recv().unwrap()), ("0".into(), "1".into()));
        listeners.tell(|| "4".into());
        assert_eq!(slow.try_recv().unwrap(), "4");
    }
}
