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
    access::OperatorToken,
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
    streams: Mutex<Vec<Stream>>,
    max: usize,
}

#[derive(Debug)]
struct Stream {
    parts: mpsc::Sender<Bytes>,
    /// Of the token in force when it was admitted.
    generation: u64,
}

impl Listeners {
    /// None yet. `connections_max`: of the operator's address.
    pub(super) fn new(connections_max: usize) -> Self {
        Self { streams: Mutex::default(), max: STREAMS_MAX.min(connections_max / 2).max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, who hears `first` at once. `None`: there are as many as there may be.
    fn join(&self, generation: u64, first: Bytes) -> Option<mpsc::Receiver<Bytes>> {
        let mut streams = self.lock();
        streams.retain(|stream| !stream.parts.is_closed());
        if streams.len() >= self.max {
            return None;
        }
        let (parts, heard) = mpsc::channel(BEHIND_MAX);
        // It is empty.
        let _ = parts.try_send(first);
        streams.push(Stream { parts, generation });
        Some(heard)
    }

    /// Tells everyone of this generation, and ends the streams of others; made only if anyone listens.
    fn tell(&self, generation: u64, make: impl FnOnce() -> Bytes) {
        let mut streams = self.lock();
        streams.retain(|stream| stream.generation == generation && !stream.parts.is_closed());
        if streams.is_empty() {
            return;
        }
        let event = make();
        for stream in &*streams {
            // Who is behind misses this one.
            let _ = stream.parts.try_send(event.clone());
        }
    }
}

/// A new stream. `generation`: of the token that has admitted it.
pub(super) fn events(listeners: &Listeners, source: &StatusSource, generation: u64) -> Answer {
    let Some(heard) = listeners.join(generation, event(source)) else {
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

/// Tells the status every second, as long as this is polled. Whom a token has admitted that is no longer in force hears no more.
pub(super) async fn tell(listeners: &Listeners, source: &StatusSource, token: &OperatorToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u32.. {
        ticks.tick().await;
        if tick % MARK_EVERY == 0 {
            source.overview.mark(Instant::now());
        }
        listeners.tell(token.generation(), || event(source));
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
        let join = || listeners.join(0, Bytes::from_static(b"first"));
        let (mut one, two) = (join().unwrap(), join().unwrap());
        assert!(join().is_none());
        drop(two);
        let three = join().unwrap();
        listeners.tell(0, || Bytes::from_static(b"second"));
        assert_eq!((one.try_recv().unwrap(), one.try_recv().unwrap()), ("first".into(), "second".into()));
        drop((one, three));
        listeners.tell(0, || unreachable!("nobody listens"));
    }

    #[test]
    fn who_is_slow_misses_events_and_holds_nobody_up() {
        let listeners = Listeners::new(64);
        let mut slow = listeners.join(0, Bytes::from_static(b"0")).unwrap();
        for event in ["1", "2", "3"] {
            listeners.tell(0, || event.into());
        }
        assert_eq!((slow.try_recv().unwrap(), slow.try_recv().unwrap()), ("0".into(), "1".into()));
        listeners.tell(0, || "4".into());
        assert_eq!(slow.try_recv().unwrap(), "4");
    }
}
