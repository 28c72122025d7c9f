//! Looks for a Redis adapter of the service on the same key. Where there is one, its clients would get everything twice.
//!
//! A gate subscribes by pattern, which `PUBSUB` does not count. So whoever is counted on one of the adapters' channels is an
//! adapter, and gates never take each other for one.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, aio::ConnectionLike};
use tokio::time;

use crate::{
    cluster::{
        link::Link,
        standing::{Known, Standing},
    },
    observe::{
        journal::{self, LogLevel},
        mirror::MirrorGauges,
    },
    wire::redis_adapter::channel,
};

/// How often it is looked for an adapter where there was none.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// How often while there is one: the mirror goes on soon after it has gone.
const CHECK_CONFLICT_EVERY: Duration = Duration::from_secs(5);

/// How soon after a check that had no answer.
const CHECK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// So long after Redis was unreachable an adapter that was there before may still be on its way back.
const RETURN_WITHIN: Duration = Duration::from_secs(30);

/// How long one question may take.
const ANSWER_PATIENCE: Duration = Duration::from_millis(500);

/// Every server of Socket.IO has this namespace, and its adapter a channel for it.
const MAIN_NAMESPACE: &str = "/";

/// An adapter that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adapter {
    /// `createAdapter` of `@socket.io/redis-adapter`.
    Classic,
    /// `createShardedAdapter` of `@socket.io/redis-adapter`.
    Sharded,
    /// `createAdapter` of `@socket.io/redis-streams-adapter`.
    Streams,
}

/// Looks for adapters as long as the node runs.
#[derive(Debug)]
pub(super) struct Guard {
    key: Arc<str>,
    link: Link,
    standing: Standing,
    gauges: Arc<MirrorGauges>,
    /// Since when there is another connection, on which an adapter that was there before has not been seen. `None`: nobody is
    /// waited for.
    awaited: Option<Instant>,
    /// The last check failed, and the log has said so.
    has_failed: bool,
}

impl Guard {
    pub(super) const fn new(key: Arc<str>, link: Link, standing: Standing, gauges: Arc<MirrorGauges>) -> Self {
        Self { key, link, standing, gauges, awaited: None, has_failed: false }
    }

    /// Checks at once, at each new connection, whenever somebody wants it, and from time to time.
    pub(super) async fn run(mut self) {
        loop {
            let wait = self.check().await;
            tokio::select! {
                () = time::sleep(wait) => {}
                () = self.standing.wanted() => {}
                goes_on = self.link.changed() => {
                    if !goes_on {
                        return;
                    }
                    self.waits_for_who_was_there(Instant::now());
                }
            }
        }
    }

    /// There is another connection, or none.
    fn waits_for_who_was_there(&mut self, now: Instant) {
        self.awaited = (self.standing.known() == Known::Adapter).then_some(now);
    }

    /// Returns when to check again.
    async fn check(&mut self) -> Duration {
        if self.link.take_change() {
            self.waits_for_who_was_there(Instant::now());
        }
        let Some(mut connection) = self.link.connection() else {
            self.standing.checked(None);
            return CHECK_AGAIN_AFTER;
        };
        match adapter(&mut connection, &self.key).await {
            Ok(found) => {
                self.has_failed = false;
                self.found(found, Instant::now())
            }
            Err(error) => {
                self.failed(&error);
                CHECK_AGAIN_AFTER
            }
        }
    }

    fn found(&mut self, found: Option<Adapter>, now: Instant) -> Duration {
        let is_early = |since| now.saturating_duration_since(since) < RETURN_WITHIN;
        if found.is_none() && self.awaited.is_some_and(is_early) {
            // The service may connect later than this node.
            self.standing.checked(None);
            return CHECK_CONFLICT_EVERY;
        }
        self.awaited = None;
        let known = if found.is_some() { Known::Adapter } else { Known::Alone };
        let before = self.standing.checked(Some(known));
        self.gauges.set_conflict(found.is_some());
        match found {
            Some(adapter) if before != Known::Adapter => journal::line(LogLevel::Warn, &conflict(adapter, &self.key)),
            None if before == Known::Adapter => {
                let sentence = format!(
                    "no Redis adapter of the service is on the key {:?} any more: events go between nodes again",
                    self.key
                );
                journal::line(LogLevel::Info, &sentence);
            }
            _ => {}
        }
        if found.is_some() { CHECK_CONFLICT_EVERY } else { CHECK_EVERY }
    }

    /// One line for each time that it begins to fail.
    fn failed(&mut self, error: &RedisError) {
        let known = self.standing.checked(None);
        if std::mem::replace(&mut self.has_failed, true) {
            return;
        }
        let effect = match known {
            Known::Nothing => "until then no event goes to other nodes or comes from them",
            Known::Alone | Known::Adapter => "until then what was known holds",
        };
        let fix = match error.kind() {
            ErrorKind::Server(redis::ServerErrorKind::NoPerm) => "; the user of redis.username needs +pubsub",
            _ => "",
        };
        let sentence = format!(
            "cannot ask Redis whether the service has an adapter of its own, and asks again: {effect}: {error}{fix}"
        );
        journal::line(LogLevel::Warn, &sentence);
    }
}

/// Which adapter is on the key. In a cluster each question goes to all nodes, and their answers are joined.
pub(super) async fn adapter(redis: &mut impl ConnectionLike, key: &str) -> RedisResult<Option<Adapter>> {
    // All namespaces: there are few of them.
    let requests: Vec<String> = ask(redis, "CHANNELS", &channel::request_pattern(key)).await?;
    if !requests.is_empty() {
        return Ok(Some(Adapter::Classic));
    }
    // Not all channels of the other adapters: they have one for each room.
    let base = channel::broadcast(key, MAIN_NAMESPACE, None);
    let streams: HashMap<String, u64> = ask(redis, "NUMSUB", &base).await?;
    if streams.values().any(|subscribers| *subscribers > 0) {
        return Ok(Some(Adapter::Streams));
    }
    let sharded = match ask::<HashMap<String, u64>>(redis, "SHARDNUMSUB", &base).await {
        // Before Redis 7 there are no sharded channels.
        Err(error) if is_unknown(&error) => HashMap::new(),
        answer => answer?,
    };
    Ok(sharded.values().any(|subscribers| *subscribers > 0).then_some(Adapter::Sharded))
}

async fn ask<T: FromRedisValue>(redis: &mut impl ConnectionLike, question: &str, about: &str) -> RedisResult<T> {
    let mut command = Cmd::new();
    command.arg("PUBSUB").arg(question).arg(about);
    let answer = time::timeout(ANSWER_PATIENCE, command.query_async(redis)).await;
    answer.unwrap_or_else(|_| Err(RedisError::from((ErrorKind::Io, "Redis does not answer in time"))))
}

fn is_unknown(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.to_ascii_lowercase().contains("unknown subcommand"))
}

fn conflict(adapter: Adapter, key: &str) -> String {
    format!(
        "{adapter} of a service is on the key {key:?} of this Redis: events are neither published nor delivered, so that no client \
         gets them twice; if it is the service behind this gate, leave [[mirror]] out and give redis.key another value; if it \
         is another one, give redis.key another value"
    )
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "the adapter @socket.io/redis-adapter",
            Self::Sharded => "the sharded adapter @socket.io/redis-adapter",
            Self::Streams => "the adapter @socket.io/redis-streams-adapter",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use redis::{Pipeline, RedisFuture, Value};

    use super::*;

    /// Answers questions in their order.
    struct Answers(VecDeque<RedisResult<Value>>);

    impl ConnectionLike for Answers {
        fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
            let answer = self.0.pop_front().unwrap();
            Box::pin(async { answer })
        }

        fn req_packed_commands<'a>(&'a mut self, _: &'a Pipeline, _: usize, _: usize) -> RedisFuture<'a, Vec<Value>> {
            unreachable!()
        }

        fn get_db(&self) -> i64 {
            0
        }
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn subscribers(count: i64) -> RedisResult<Value> {
        Ok(Value::Array(vec![text("socket.io#/#"), Value::Int(count)]))
    }

    /// As the nodes of a cluster answer together.
    fn joined(count: i64) -> RedisResult<Value> {
        Ok(Value::Map(vec![(text("socket.io#/#"), Value::Int(count))]))
    }

    fn no_channels() -> RedisResult<Value> {
        Ok(Value::Array(Vec::new()))
    }

    async fn found(answers: impl IntoIterator<Item = RedisResult<Value>>) -> RedisResult<Option<Adapter>> {
        adapter(&mut Answers(answers.into_iter().collect()), "socket.io").await
    }

    #[tokio::test]
    async fn each_adapter_is_known_by_its_channel() {
        let request = Ok(Value::Array(vec![text("socket.io-request#/chat#")]));
        assert_eq!(found([request]).await, Ok(Some(Adapter::Classic)));
        assert_eq!(found([no_channels(), subscribers(2)]).await, Ok(Some(Adapter::Streams)));
        assert_eq!(found([no_channels(), subscribers(0), subscribers(1)]).await, Ok(Some(Adapter::Sharded)));
        assert_eq!(found([no_channels(), joined(0), joined(1)]).await, Ok(Some(Adapter::Sharded)));
        assert_eq!(found([no_channels(), subscribers(0), subscribers(0)]).await, Ok(None));
    }

    #[tokio::test]
    async fn a_redis_without_sharded_channels_has_no_sharded_adapter() {
        let unknown = "-ERR unknown subcommand or wrong number of arguments for 'SHARDNUMSUB'. Try PUBSUB HELP.\r\n";
        let unknown = redis::parse_redis_value(unknown.as_bytes()).and_then(Value::extract_error);
        assert_eq!(found([no_channels(), subscribers(0), unknown]).await, Ok(None));
    }

    #[test]
    fn after_an_outage_an_adapter_is_gone_only_when_it_had_time_to_come_back() {
        let (standing, start) = (Standing::default(), Instant::now());
        let mut guard = Guard::new("socket.io".into(), Link::new().1, standing.clone(), Arc::default());
        let (adapter, early) = (Some(Adapter::Classic), start + RETURN_WITHIN - Duration::from_millis(1));
        for (connects, found, now, known, again) in [
            (true, None, start, Known::Alone, CHECK_EVERY),
            (false, adapter, start, Known::Adapter, CHECK_CONFLICT_EVERY),
            (false, None, start, Known::Alone, CHECK_EVERY),
            (false, adapter, start, Known::Adapter, CHECK_CONFLICT_EVERY),
            (true, None, early, Known::Adapter, CHECK_CONFLICT_EVERY),
            (false, None, start + RETURN_WITHIN, Known::Alone, CHECK_EVERY),
            (false, adapter, start, Known::Adapter, CHECK_CONFLICT_EVERY),
            (true, adapter, start, Known::Adapter, CHECK_CONFLICT_EVERY),
            (false, None, early, Known::Alone, CHECK_EVERY),
        ] {
            if connects {
                guard.waits_for_who_was_there(start);
            }
            assert_eq!((guard.found(found, now), standing.known()), (again, known), "{connects} {found:?}");
        }
    }

    #[tokio::test]
    async fn a_refused_question_is_no_answer() {
        let refused = "-NOPERM this user has no permissions to run the 'pubsub|channels' command\r\n";
        let refused = redis::parse_redis_value(refused.as_bytes()).and_then(Value::extract_error);
        assert!(found([refused]).await.is_err());
    }
}
