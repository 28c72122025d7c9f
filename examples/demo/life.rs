//! The life of the service: it can be killed, and comes back when its time is over, or earlier when it is revived.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::sleep_until};

/// How long it is down after a kill, if nobody revives it.
pub(crate) const DEAD_FOR: Duration = Duration::from_secs(5);

/// Whether the service lives. Clones are of the same service.
#[derive(Debug, Clone)]
pub(crate) struct Life(Arc<watch::Sender<State>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    /// It comes back then.
    Dead(Instant),
}

impl Life {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State::Alive)))
    }

    /// Its connections end, and it refuses new ones.
    pub(crate) fn kill(&self, dead_for: Duration) {
        self.0.send_replace(State::Dead(Instant::now() + dead_for));
    }

    pub(crate) fn revive(&self) {
        self.0.send_replace(State::Alive);
    }

    /// How long it is still dead. `None` while it lives.
    pub(crate) fn back_in(&self) -> Option<Duration> {
        match *self.0.borrow() {
            State::Alive => None,
            State::Dead(until) => Some(until.saturating_duration_since(Instant::now())),
        }
    }

    pub(crate) async fn killed(&self) {
        // Fails only without a sender, and this is one.
        let _ = self.0.subscribe().wait_for(|state| *state != State::Alive).await;
    }

    /// Until its time is over or somebody revives it; then it is alive.
    pub(crate) async fn revived(&self) {
        let mut state = self.0.subscribe();
        loop {
            let State::Dead(until) = *state.borrow_and_update() else { return };
            tokio::select! {
                () = sleep_until(until.into()) => self.revive(),
                _ = state.changed() => {}
            }
        }
    }
}
