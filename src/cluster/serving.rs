//! One connection to Redis from its first command to its loss.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{ErrorKind, Pipeline, RedisError, ServerErrorKind, cmd};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    cluster::{
        advice::{Advice, Complaints},
        connection::Connection,
        publisher::Publisher,
        pushes::Pushes,
        rules::RedisRules,
    },
    observe::{
        journal::{self, LogLevel},
        redis::RedisGauges,
    },
};

/// How often the connection is checked.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Checks in a row without an answer, after which the connection is given up. One may be an accident.
const STRIKES: u32 = 2;

/// How often the subscriptions are checked by a message to ourselves, ...
const ECHO_EVERY: Duration = Duration::from_secs(5);

/// ... and how long that may take.
const ECHO_WITHIN: Duration = Duration::from_secs(2);

/// A connection, and what works on it.
pub(super) struct Serving<'a> {
    pub(super) rules: &'a RedisRules,
    pub(super) node: u64,
    pub(super) gauges: &'a Arc<RedisGauges>,
    pub(super) publisher: &'a mut Publisher,
    /// Why the stream is not read, where there is one.
    pub(super) reading: Option<&'a watch::Receiver<Option<String>>>,
    pub(super) complaints: &'a mut Complaints,
    pub(super) pushes: &'a Arc<Pushes>,
    pub(super) connection: Connection,
    /// Of what Redis refuses to publish, beside what else is wrong.
    pub(super) refusals: Complaints,
    /// When Redis has answered last, ...
    pub(super) answered: Instant,
    /// ... and when a message to ourselves has come last.
    pub(super) heard: Instant,
}

/// How a connection was lost.
#[derive(Debug)]
pub(super) struct Lost {
    /// Why.
    pub(super) told: Advice,
    /// Since when nothing may have come any more: a server that stands still is noticed late.
    pub(super) since: Instant,
}

/// What is known of the subscriptions.
#[derive(Debug, Default)]
struct Subscriptions {
    confirmed: bool,
    /// The last number that was sent to ourselves, when, and on how many kinds of channels.
    sent: u64,
    at: Option<Instant>,
    kinds: usize,
    /// It came back, or could not be sent.
    proven: bool,
}

impl Serving<'_> {
    /// Works until the connection is lost.
    pub(super) async fn run(mut self) -> Lost {
        let told = self.work().await;
        let since = match told.kind {
            "timeout" => self.answered,
            "silent" => self.heard,
            _ => Instant::now(),
        };
        Lost { told, since }
    }

    async fn work(&mut self) -> Advice {
        self.connection.set_name(self.node, &self.rules.prefix).await;
        let mut checks = interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut subscriptions, mut strikes) = (Subscriptions::default(), 0);
        let pushes = Arc::clone(self.pushes);
        loop {
            let outcome = tokio::select! {
                biased;
                why = pushes.ended() => return Advice::new("closed", why),
                () = pushes.hears() => {
                    self.mark_proven(&mut subscriptions);
                    Ok(())
                }
                _ = checks.tick() => self.check(&mut subscriptions, &mut strikes).await,
                () = self.publisher.ready() => self.publish().await,
            };
            if let Err(told) = outcome {
                return told;
            }
        }
    }

    async fn publish(&mut self) -> Result<(), Advice> {
        match self.publisher.publish(&mut self.connection).await {
            Ok(None) => Ok(()),
            Ok(Some(error)) => {
                self.complain_of_publishing(&error);
                Ok(())
            }
            // The checks find out whether Redis is only slow.
            Err(error) if error.is_timeout() => Ok(()),
            Err(error) => Err(self.told(&error)),
        }
    }

    fn complain_of_publishing(&mut self, error: &RedisError) {
        let told = self.told(error);
        if self.refusals.admit(&told, Instant::now()) {
            let line = format!("Redis at {} refuses to publish: {}", self.rules.place(), told.sentence);
            journal::line(LogLevel::Warn, &line);
        }
    }

    async fn check(&mut self, subscriptions: &mut Subscriptions, strikes: &mut u32) -> Result<(), Advice> {
        let mut ping = Pipeline::new();
        ping.add_command(cmd("PING"));
        let answer = self.connection.send_in_order(&ping, &self.rules.prefix).await;
        match answer.and_then(|answers| answers.into_iter().collect::<Result<Vec<_>, _>>()) {
            Ok(_) => (*strikes, self.answered) = (0, Instant::now()),
            Err(error) if is_forbidden(&error) => *strikes = 0,
            Err(error) if error.is_timeout() && *strikes + 1 < STRIKES => {
                *strikes += 1;
                return Ok(());
            }
            Err(error) => return Err(self.told(&error)),
        }
        if !subscriptions.confirmed {
            self.subscribe(subscriptions).await?;
        }
        self.prove(subscriptions).await?;
        self.tell_state(subscriptions);
        Ok(())
    }

    /// Subscribes. Where Redis refuses, the connection stays for those who need no channel.
    async fn subscribe(&mut self, subscriptions: &mut Subscriptions) -> Result<(), Advice> {
        self.pushes.set_open(true);
        match self.publisher.backend().subscribe(&mut self.connection).await {
            Ok(()) => subscriptions.confirmed = true,
            Err(error) if is_forbidden(&error) => {
                let told = self.told(&error);
                let now = Instant::now();
                self.gauges.down(&told.sentence, now);
                if self.complaints.admit(&told, now) {
                    let line = format!("Redis at {} refuses a subscription: {}", self.rules.place(), told.sentence);
                    journal::line(LogLevel::Warn, &line);
                }
            }
            Err(error) => return Err(self.told(&error)),
        }
        Ok(())
    }

    /// Sends a message to ourselves from time to time, and sees whether it has come.
    async fn prove(&mut self, subscriptions: &mut Subscriptions) -> Result<(), Advice> {
        if !subscriptions.confirmed {
            return Ok(());
        }
        let age = subscriptions.at.map(|at| at.elapsed());
        let has_come = self.pushes.has_heard(subscriptions.sent, subscriptions.kinds);
        match age {
            Some(age) if !has_come && age >= ECHO_WITHIN => {
                let why = "a message to ourselves did not come back: the subscription is lost; it is made again";
                return Err(Advice::new("silent", why));
            }
            Some(age) if age < ECHO_EVERY => return Ok(()),
            _ => {}
        }
        let (sent, mut batch) = (subscriptions.sent + 1, Pipeline::new());
        let echoes = self.publisher.backend().echoes(sent);
        let kinds = echoes.len();
        echoes.into_iter().for_each(|echo| _ = batch.add_command(echo));
        let answers = match self.connection.send_in_order(&batch, &self.rules.prefix).await {
            Ok(answers) => answers,
            // Whether it is lost shows at the next check.
            Err(error) if error.is_timeout() => return Ok(()),
            Err(error) => return Err(self.told(&error)),
        };
        match answers.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(_) => (subscriptions.sent, subscriptions.kinds) = (sent, kinds),
            Err(error) if is_forbidden(&error) => {
                subscriptions.proven = true;
                self.complain_of_publishing(&error);
            }
            Err(error) => return Err(self.told(&error)),
        }
        subscriptions.at = Some(Instant::now());
        Ok(())
    }

    /// A message to ourselves has come.
    fn mark_proven(&mut self, subscriptions: &mut Subscriptions) {
        if subscriptions.sent > 0 && self.pushes.has_heard(subscriptions.sent, subscriptions.kinds) {
            subscriptions.proven = true;
            self.heard = Instant::now();
            self.tell_state(subscriptions);
        }
    }

    /// Says whether events of other nodes come.
    fn tell_state(&mut self, subscriptions: &Subscriptions) {
        if !(subscriptions.confirmed && subscriptions.proven) {
            return;
        }
        let now = Instant::now();
        if let Some(why) = self.reading.and_then(|reading| reading.borrow().clone()) {
            self.gauges.down(&format!("the stream is not read: {why}"), now);
            return;
        }
        let Some(seen) = self.gauges.seen().filter(|seen| seen.down.is_some()) else { return };
        self.gauges.up(now);
        self.complaints.forget();
        let lasted = now.saturating_duration_since(seen.since).as_secs_f64();
        let line = format!("Redis at {} is there, after {lasted:.1} s; events of other nodes come", self.rules.place());
        journal::line(LogLevel::Info, &line);
    }

    fn told(&self, error: &RedisError) -> Advice {
        Advice::of(error, self.rules)
    }
}

fn is_forbidden(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
}
