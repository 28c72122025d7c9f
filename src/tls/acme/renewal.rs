//! Keeps a valid certificate in use: takes it from the cache, and orders a new one in time.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::sleep;
use zeroize::Zeroizing;

use super::{
    authority::Authority,
    certificate::Ordered,
    challenges::Challenges,
    entries::{Entries, Entry},
    order::{OrderError, Orderer},
    schedule::{Attempts, Chance},
    table::AcmeRules,
};
use crate::observe::{
    gauges::Gauges,
    journal::{self, LogLevel},
};

/// How often the cache is read for a certificate of another replica.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The same while a certificate is due or could not be stored.
const LOOK_EVERY_WANTED: Duration = Duration::from_secs(5);

/// The task with its state.
#[derive(Debug)]
pub(super) struct Renewal {
    rules: AcmeRules,
    entries: Arc<Entries>,
    challenges: Arc<Challenges>,
    authority: Authority,
    gauges: Arc<Gauges>,
    held: Option<Held>,
    attempts: Attempts,
    /// `attempts` could not be stored, so the older ones in the cache are ignored.
    attempts_unsaved: bool,
    /// Cache content that was not usable, so that it is logged once.
    refused: Option<Zeroizing<Vec<u8>>>,
}

/// The certificate in use.
#[derive(Debug)]
struct Held {
    ordered: Ordered,
    /// When it is due for renewal.
    renewal: u64,
    /// It could not be stored.
    unsaved: bool,
}

impl Renewal {
    pub(super) fn new(
        rules: AcmeRules,
        entries: Arc<Entries>,
        challenges: Arc<Challenges>,
        authority: Authority,
        gauges: Arc<Gauges>,
    ) -> Self {
        let (held, attempts) = (None, Attempts::default());
        Self { rules, entries, challenges, authority, gauges, held, attempts, attempts_unsaved: false, refused: None }
    }

    pub(super) async fn run(mut self, mut publish: impl FnMut(&Ordered)) {
        loop {
            self.look(&mut publish).await;
            let pause = match self.left() {
                Duration::ZERO => self.order_in_turn(&mut publish).await,
                left if self.wanted() <= unix_seconds() || self.is_unsaved() => left.min(LOOK_EVERY_WANTED),
                left => left.min(LOOK_EVERY),
            };
            sleep(pause).await;
        }
    }

    /// How long until the next order.
    fn left(&self) -> Duration {
        let now = unix_seconds();
        let due = self.attempts.due(self.wanted(), now).max(now);
        self.gauges.acme.next_order(due);
        Duration::from_secs(due - now)
    }

    /// When a new certificate is due.
    fn wanted(&self) -> u64 {
        self.held.as_ref().map_or(0, |held| held.renewal)
    }

    /// Loads what is newer in the cache, and stores what could not be stored before.
    async fn look(&mut self, publish: &mut impl FnMut(&Ordered)) {
        if let Some(content) = self.entries.load(Entry::Certificate).await {
            self.found(&Zeroizing::new(content), publish);
        }
        if let Some(content) = self.entries.load(Entry::Attempts).await
            && !self.attempts_unsaved
        {
            self.attempts = serde_json::from_slice(&content).unwrap_or_default();
        }
        if self.is_unsaved()
            && let Some(_lock) = self.entries.try_lock().await
        {
            self.save_attempts().await;
            self.save_certificate().await;
        }
    }

    fn is_unsaved(&self) -> bool {
        self.attempts_unsaved || self.held.as_ref().is_some_and(|held| held.unsaved)
    }

    fn found(&mut self, content: &Zeroizing<Vec<u8>>, publish: &mut impl FnMut(&Ordered)) {
        if self.held.as_ref().is_some_and(|held| held.ordered.pem == *content) || self.refused.as_ref() == Some(content)
        {
            return;
        }
        match Ordered::from_pem(content.clone(), &self.rules.domains) {
            Ok(ordered) => {
                let better = |held: &Held| held.ordered.validity.not_after < ordered.validity.not_after;
                if self.held.as_ref().is_none_or(better) {
                    let sentence = format!("the certificate in tls.acme.cache is used: {}", self.about(&ordered));
                    journal::line(LogLevel::Info, &sentence);
                    self.hold(ordered, false, publish);
                }
            }
            Err(error) => {
                let sentence =
                    format!("tls.acme.cache: the stored certificate cannot be used, a new one is ordered: {error}");
                journal::line(LogLevel::Warn, &sentence);
                self.refused = Some(content.clone());
            }
        }
    }

    /// Orders, unless another replica does. Returns the pause before the next look.
    async fn order_in_turn(&mut self, publish: &mut impl FnMut(&Ordered)) -> Duration {
        let Some(_lock) = self.entries.try_lock().await else { return LOOK_EVERY_WANTED };
        // The previous holder of the lock may have ordered or failed.
        self.look(publish).await;
        if !self.left().is_zero() {
            return Duration::ZERO;
        }
        let challenge_type =
            self.rules.challenge_types[self.attempts.failures() as usize % self.rules.challenge_types.len()];
        self.attempts.begin(unix_seconds());
        self.save_attempts().await;
        let client = self.authority.client();
        let (rules, entries, challenges) = (&self.rules, &*self.entries, &self.challenges);
        let outcome = Orderer { rules, entries, challenges, client: &client, challenge_type }.order().await;
        match outcome {
            Ok(ordered) => {
                self.gauges.acme.ordered(true);
                journal::line(LogLevel::Info, &format!("a certificate was ordered: {}", self.about(&ordered)));
                self.attempts.succeed();
                self.hold(ordered, true, publish);
                self.save_certificate().await;
            }
            Err(error) => {
                self.failed(&error, client.retry_after());
                // Sets the time of the next attempt, so that a scrape never shows this failure with the old time.
                self.left();
                self.gauges.acme.ordered(false);
            }
        }
        self.save_attempts().await;
        Duration::ZERO
    }

    fn failed(&mut self, error: &OrderError, retry_after: Option<u64>) {
        let now = unix_seconds();
        self.attempts.fail(now, retry_after, any_chance());
        let next = self.attempts.due(0, now);
        let meanwhile = match &self.held {
            Some(held) => format!("the old one stays in force: {}", self.about(&held.ordered)),
            None => "there is no other, so no client can connect over TLS".to_owned(),
        };
        let domains = self.rules.domains.join(", ");
        let sentence = format!(
            "no certificate for {domains} could be ordered from {}: {error}; the next attempt is in {} minutes; {meanwhile}",
            self.rules.directory,
            (next - now).div_ceil(60)
        );
        journal::line(LogLevel::Error, &sentence);
    }

    fn hold(&mut self, ordered: Ordered, unsaved: bool, publish: &mut impl FnMut(&Ordered)) {
        publish(&ordered);
        let renewal = ordered.validity.renewal(any_chance());
        self.held = Some(Held { ordered, renewal, unsaved });
    }

    async fn save_attempts(&mut self) {
        if let Ok(content) = serde_json::to_vec(&self.attempts) {
            self.attempts_unsaved = !self.entries.store(Entry::Attempts, content).await;
        }
    }

    async fn save_certificate(&mut self) {
        if let Some(held) = self.held.as_mut().filter(|held| held.unsaved) {
            held.unsaved = !self.entries.store(Entry::Certificate, held.ordered.pem.to_vec()).await;
        }
    }

    /// Names and end of a certificate, for the log.
    fn about(&self, ordered: &Ordered) -> String {
        let verb = if ordered.validity.not_after < unix_seconds() { "expired" } else { "is good until" };
        format!("{} {verb} {}", self.rules.domains.join(", "), httpdate::fmt_http_date(ordered.not_after()))
    }
}

fn any_chance() -> Chance {
    Chance::new(rand::random())
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
