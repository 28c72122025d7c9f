//! Fetches the key set of an issuer and keeps it fresh in `policy::auth`.

mod fetch;
pub mod probe;

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use self::fetch::{FetchError, Fetched, Fetcher};
use crate::{
    fault::Fault,
    observe::{
        gauges::Gauges,
        journal::{self, LogLevel},
    },
    policy::auth::{
        compile::key_server,
        key_set::{IgnoredKey, KeySet},
        shared_keys::SharedKeys,
    },
};

/// How often the key set is fetched.
#[derive(Debug, Clone, Copy)]
struct FetchIntervals {
    /// Interval after a success, a tenth more or less, so that nodes do not fetch at the same time.
    refresh: Duration,
    /// A token with an unknown key triggers a fetch at once, at most once in this interval.
    rest: Duration,
    /// The wait after the first failure; each further failure doubles it.
    retry_first: Duration,
    /// The longest wait after a failure.
    retry_max: Duration,
    /// Without a success for this time the last good set is no longer used.
    stale_after: Duration,
}

const INTERVALS: FetchIntervals = FetchIntervals {
    refresh: Duration::from_mins(10),
    rest: Duration::from_secs(30),
    retry_first: Duration::from_secs(1),
    retry_max: Duration::from_secs(30),
    stale_after: Duration::from_hours(24),
};

/// The task that fetches one key set. When `auth.jwks_url` changes, replace it.
#[derive(Debug)]
pub struct KeyServer {
    fetcher: Fetcher,
    keys: Arc<SharedKeys>,
    wanted: Arc<Notify>,
    gauges: Arc<Gauges>,
    intervals: FetchIntervals,
    state: FetchState,
}

/// How often the wall clock is looked at while the next fetch is awaited: where the machine has slept, or the clock was set
/// forward, the fetch is due earlier than the monotonic clock shows.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A moment on both clocks.
#[derive(Debug, Clone, Copy)]
struct Moment {
    instant: Instant,
    wall: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    fn after(self, time: Duration) -> Self {
        Self { instant: self.instant + time, wall: self.wall + time }
    }

    /// Whether it has come by the time `now`, on whichever clock.
    fn has_come(self, now: Self) -> bool {
        self.instant <= now.instant || self.wall <= now.wall
    }

    /// Waits until it has come.
    async fn comes(self) {
        loop {
            let now = Self::now();
            if self.has_come(now) {
                return;
            }
            sleep_until(self.instant.min(now.instant + LOOK_EVERY)).await;
        }
    }
}

/// The state between two fetches.
#[derive(Debug)]
struct FetchState {
    due: Moment,
    retry: Duration,
    rest_ends: Option<Instant>,
    last_good: Option<Moment>,
    failing: bool,
    ignored: Vec<IgnoredKey>,
}

impl FetchState {
    /// Nothing was fetched yet, and a fetch is due.
    fn new(intervals: &FetchIntervals) -> Self {
        Self {
            due: Moment::now(),
            retry: intervals.retry_first,
            rest_ends: None,
            last_good: None,
            failing: false,
            ignored: Vec::new(),
        }
    }
}

impl KeyServer {
    /// Fetches the key set at `url`. `gauges` record every fetch.
    ///
    /// # Errors
    /// An address that is neither `https` nor loopback, or no trust anchors on this machine.
    pub fn new(url: &str, gauges: Arc<Gauges>) -> Result<Self, Fault> {
        let fetcher = Fetcher::new(key_server(url)?).map_err(|error| {
            let message = format!("needs the trusted certificates of this machine, which cannot be read: {error}");
            Fault::new("auth.jwks_url", message)
        })?;
        let wanted = Arc::new(Notify::new());
        let wake = Arc::clone(&wanted);
        let keys = Arc::new(SharedKeys::new(Box::new(move || wake.notify_one())));
        let state = FetchState::new(&INTERVALS);
        Ok(Self { fetcher, keys, wanted, gauges, intervals: INTERVALS, state })
    }

    /// The fetched keys, for [`Policies::compile`](crate::policy::policies::Policies::compile).
    #[must_use]
    pub fn keys(&self) -> Arc<SharedKeys> {
        Arc::clone(&self.keys)
    }

    /// Fetches once, before the keys are used. The gauges are those of the server in force until [`run`](Self::run) begins.
    ///
    /// # Errors
    /// Why the fetch has failed, with the address.
    pub async fn fetch_first(&mut self) -> Result<(), Fault> {
        match self.fetcher.fetch().await {
            Ok(Fetched { set, .. }) => {
                self.fetched(set);
                Ok(())
            }
            Err(error) => {
                let message = format!("is {}, which gives no key set: {}", self.fetcher.address(), causes(&error));
                Err(Fault::new("auth.jwks_url", message))
            }
        }
    }

    /// Fetches now, unless that was done, and then at each interval, and calls `changed` after each. Never returns.
    pub async fn run(mut self, changed: impl Fn()) {
        if self.state.last_good.is_some() {
            self.gauges.jwks_fetched(true);
            changed();
        }
        loop {
            let rest_ends = self.state.rest_ends;
            tokio::select! {
                () = self.state.due.comes() => self.keys.refresh_begins(),
                () = self.wanted.notified() => {
                    if !self.keys.refresh_wanted() {
                        continue;
                    }
                    self.state.rest_ends = Some(Instant::now() + self.intervals.rest);
                }
                () = sleep_until(rest_ends.unwrap_or(self.state.due.instant)), if rest_ends.is_some() => {
                    self.keys.rested();
                    self.state.rest_ends = None;
                    continue;
                }
            }
            match self.fetcher.fetch().await {
                Ok(Fetched { set, .. }) => {
                    self.fetched(set);
                    self.gauges.jwks_fetched(true);
                }
                Err(error) => self.failed(&error),
            }
            changed();
        }
    }

    fn fetched(&mut self, set: KeySet) {
        let (now, state) = (Moment::now(), &mut self.state);
        if state.failing || state.last_good.is_none() {
            let sentence = format!("the key set of {} was fetched: {} keys", self.fetcher.address(), set.len());
            journal::line(LogLevel::Info, &sentence);
        }
        if state.ignored != set.ignored() {
            for IgnoredKey { kid, reason } in set.ignored() {
                let kid = kid.as_deref().unwrap_or_default();
                journal::line(LogLevel::Warn, &format!("the published key {kid:?} is not used: {reason}"));
            }
            state.ignored = set.ignored().to_vec();
        }
        self.keys.loaded(set);
        state.last_good = Some(now);
        state.failing = false;
        state.retry = self.intervals.retry_first;
        state.due = now.after(about(self.intervals.refresh));
    }

    fn failed(&mut self, error: &FetchError) {
        let (now, state) = (Moment::now(), &mut self.state);
        // One line per outage; the counter has each attempt.
        if !state.failing {
            let sentence = format!("the key set of {} was not fetched: {}", self.fetcher.address(), causes(error));
            journal::line(LogLevel::Warn, &sentence);
        }
        self.keys.failed();
        self.gauges.jwks_fetched(false);
        if state.last_good.is_some_and(|last_good| last_good.after(self.intervals.stale_after).has_come(now)) {
            self.keys.forget();
            state.last_good = None;
            journal::line(LogLevel::Error, "the key set is too old and no longer used; tokens cannot be verified");
        }
        state.failing = true;
        state.due = now.after(about(state.retry));
        state.retry = (state.retry * 2).min(self.intervals.retry_max);
    }
}

/// `duration`, a tenth more or less.
fn about(duration: Duration) -> Duration {
    duration.mul_f64(rand::random_range(0.9..=1.1))
}

/// An error with its causes, in one sentence.
fn causes(error: &dyn Error) -> String {
    std::iter::successors(error.source(), |&cause| cause.source())
        .fold(error.to_string(), |sentence, cause| format!("{sentence}: {cause}"))
}

#[cfg(test)]
mod tests;
