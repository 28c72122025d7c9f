//! Publishes what waits in the queue, in batches, one after the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind};

use crate::{
    cluster::{backend::Backend, connection::Connection, queue::Outbound},
    observe::redis::{Dropped, RedisGauges},
};

/// One batch: messages, ...
const BATCH_MESSAGES: usize = 256;
/// ... and bytes, of more than one message.
const BATCH_BYTES: usize = 1 << 20;

/// The queue, and the batch that was taken from it.
pub(super) struct Publisher {
    backend: Backend,
    outbound: Outbound,
    gauges: Arc<RedisGauges>,
    /// All go to the server that has this key.
    home: Arc<str>,
    /// Not published yet, each with the moment since when it waits.
    pending: Vec<(Instant, Cmd)>,
    /// How long one waits at most.
    patience: Duration,
}

impl Publisher {
    pub(super) fn new(
        backend: Backend,
        outbound: Outbound,
        gauges: Arc<RedisGauges>,
        home: Arc<str>,
        patience: Duration,
    ) -> Self {
        Self { backend, outbound, gauges, home, pending: Vec::new(), patience }
    }

    pub(super) const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Waits until there is something to publish. Nothing is lost when this is dropped.
    pub(super) async fn ready(&mut self) {
        if self.pending.is_empty() {
            let taken = self.outbound.take(BATCH_MESSAGES, BATCH_BYTES).await;
            let command = |(since, envelope)| (since, self.backend.command(envelope));
            self.pending = taken.into_iter().map(command).collect();
        }
    }

    /// Publishes the batch. What Redis refuses is dropped, and the reason returned.
    ///
    /// # Errors
    /// The connection is of no use. What may be sent twice, and what Redis has certainly not published, is kept for the next one;
    /// the rest is dropped.
    pub(super) async fn publish(&mut self, connection: &mut Connection) -> RedisResult<Option<RedisError>> {
        let outcome = self.publish_batch(connection).await;
        self.outbound.keeps(self.pending.len());
        outcome
    }

    async fn publish_batch(&mut self, connection: &mut Connection) -> RedisResult<Option<RedisError>> {
        let mut batch = Pipeline::with_capacity(self.pending.len());
        self.pending.iter().for_each(|(_, command)| _ = batch.add_command(command.clone()));
        let answers = match connection.send_in_order(&batch, &self.home).await {
            Ok(answers) => answers,
            Err(error) => {
                self.unanswered(&error);
                return Err(error);
            }
        };
        let (mut refused, mut reason, mut kept) = (0, None, Vec::new());
        for (command, answer) in self.pending.drain(..).zip(answers) {
            match answer {
                // An order is kept: behind one that waits, all wait.
                Ok(_) if kept.is_empty() => {}
                Err(error) if self.backend.repeats() && passes(&error) => {
                    kept.push(command);
                    reason.get_or_insert(error);
                }
                Ok(_) => kept.push(command),
                Err(error) => {
                    refused += 1;
                    reason.get_or_insert(error);
                }
            }
        }
        self.pending = kept;
        self.gauges.dropped(Dropped::OutRefused, refused);
        match reason {
            Some(error) if passes(&error) => {
                self.expire(Instant::now());
                Err(error)
            }
            reason => Ok(reason),
        }
    }

    /// Drops what has waited for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        self.outbound.expire(now);
        let waited = self.pending.len();
        self.pending.retain(|(since, _)| now.saturating_duration_since(*since) <= self.patience);
        if self.pending.len() < waited {
            self.gauges.dropped(Dropped::OutExpired, (waited - self.pending.len()) as u64);
            self.outbound.keeps(self.pending.len());
        }
    }

    fn unanswered(&mut self, error: &RedisError) {
        // A cluster refuses a batch as a whole, also where only the last of it came too late for the server.
        let is_refused = self.pending.len() == 1 && passes(error);
        if is_refused || self.backend.repeats() {
            self.expire(Instant::now());
            return;
        }
        self.gauges.dropped(Dropped::OutUnanswered, self.pending.len() as u64);
        self.pending.clear();
    }
}

/// Whether another server, or the same one later, would take it.
fn passes(error: &RedisError) -> bool {
    use ServerErrorKind as Kind;
    matches!(
        error.kind(),
        ErrorKind::Server(
            Kind::ReadOnly
                | Kind::BusyLoading
                | Kind::MasterDown
                | Kind::ClusterDown
                | Kind::TryAgain
                | Kind::Moved
                | Kind::Ask
        )
    )
}

#[cfg(test)]
mod tests;
