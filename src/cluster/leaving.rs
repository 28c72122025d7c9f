//! Waits for the last messages of a node that ends, and reports those that are lost.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    cluster::{link::Link, offers::Backlog, queue::Outbound},
    observe::{
        journal::{self, LogLevel},
        redis::RedisGauges,
    },
};

/// So long may the last messages take to be published.
pub const LAST_MESSAGES: Duration = Duration::from_millis(500);

/// How often a node that ends checks whether they are.
const LOOK: Duration = Duration::from_millis(5);

/// What is not published yet.
#[derive(Debug)]
pub struct Leaving {
    link: Link,
    outbound: Outbound,
    backlog: Backlog,
    gauges: Arc<RedisGauges>,
    /// Messages that were dropped before the node began to leave: they have nothing to do with its end.
    dropped_before: OnceLock<u64>,
}

impl Leaving {
    /// Of a node that does not leave yet.
    #[must_use]
    pub const fn new(link: Link, outbound: Outbound, backlog: Backlog, gauges: Arc<RedisGauges>) -> Self {
        Self { link, outbound, backlog, gauges, dropped_before: OnceLock::new() }
    }

    /// The node leaves from now on.
    pub fn begin(&self) {
        self.dropped_before.get_or_init(|| self.gauges.dropped_out());
    }

    /// Waits until what the workers have said last is published, and says how much is not. Where there is no connection nobody
    /// waits.
    pub async fn publish_last(&self) {
        self.begin();
        let until = Instant::now() + LAST_MESSAGES;
        while self.unpublished() > 0 && self.link.connection().is_some() && Instant::now() < until {
            sleep(LOOK).await;
        }
        self.tell();
    }

    fn unpublished(&self) -> usize {
        self.backlog.len() + self.outbound.unpublished()
    }

    fn tell(&self) {
        let dropped = self.gauges.dropped_out() - self.dropped_before.get().copied().unwrap_or_default();
        let lost = dropped + self.unpublished() as u64;
        if lost > 0 {
            let why = match self.gauges.seen().and_then(|seen| seen.down) {
                Some(why) => format!("Redis is unreachable: {why}"),
                None => format!("Redis has not confirmed them within {LAST_MESSAGES:?}"),
            };
            let sentence =
                format!("{lost} messages for other nodes were not published while this node was leaving: {why}");
            journal::line(LogLevel::Warn, &sentence);
        }
    }
}
