//! Tries Redis once, as a node would use it, to say what it finds.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::{Cmd, FromRedisValue, RedisResult, Value, aio::ConnectionLike as _, cmd};

use crate::cluster::{
    advice::Advice,
    backend::Backend,
    conflict,
    connection::Connection,
    open::{RESPONSE_TIMEOUT, install_cryptography, open},
    rules::RedisRules,
};

/// Of so many the shortest counts.
const PINGS: u32 = 5;

/// What was found.
#[derive(Debug)]
pub struct Probed {
    /// How long the connection took, with its handshakes.
    pub connected_in: Duration,
    /// From a PING to its answer, the shortest of a few.
    pub ping: Duration,
    /// As the server says. `None`: it does not tell this user.
    pub version: Option<String>,
    /// `master` or `slave`. `None`: it does not tell this user.
    pub role: Option<String>,
    /// Whether it is a cluster.
    pub is_cluster: bool,
    /// The time by the clock of the server. `None`: it does not tell this user.
    pub time: Option<Sighted>,
    /// Whether a node can subscribe and publish; why not, and what to do.
    pub hears: Result<(), String>,
    /// The adapter of a service on the same key, if there is one; or why that is not known.
    pub adapter: Result<Option<String>, String>,
}

/// The clock of the server, seen between two moments of this machine's.
#[derive(Debug, Clone, Copy)]
pub struct Sighted {
    /// Before it was asked.
    pub before: SystemTime,
    /// What it said.
    pub said: SystemTime,
    /// After it had answered.
    pub after: SystemTime,
}

/// Connects as `rules` say, and asks.
///
/// # Errors
/// Why there is no connection, and what to do.
pub async fn probe(rules: &RedisRules) -> Result<Probed, String> {
    install_cryptography();
    let began = Instant::now();
    let opened = open(rules, None, RESPONSE_TIMEOUT).await;
    let mut redis = opened.map_err(|error| Advice::of_open(&error, rules).sentence)?;
    let connected_in = began.elapsed();
    let ping = ping(&mut redis, rules).await.map_err(|error| Advice::of(&error, rules).sentence)?;
    let info: Option<String> = ask(&mut redis, rules, cmd("INFO").arg("server").take()).await.ok();
    let role = ask(&mut redis, rules, cmd("ROLE")).await.ok().and_then(first_of);
    let before = SystemTime::now();
    let time: Option<(u64, u64)> = ask(&mut redis, rules, cmd("TIME")).await.ok();
    let after = SystemTime::now();
    let said = time.map(|(seconds, micros)| UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros));
    let hears = hears(&mut redis, rules).await.map_err(|error| Advice::of(&error, rules).sentence);
    let adapter = conflict::adapter(&mut redis, &rules.key).await;
    Ok(Probed {
        connected_in,
        ping,
        version: info.as_deref().and_then(version),
        role,
        is_cluster: matches!(redis, Connection::Cluster(_)),
        time: said.map(|said| Sighted { before, said, after }),
        hears,
        adapter: match adapter {
            Ok(found) => Ok(found.map(|adapter| adapter.to_string())),
            Err(error) => Err(Advice::of(&error, rules).sentence),
        },
    })
}

/// How far away it is: one answer may be late because this machine has other work.
async fn ping(redis: &mut Connection, rules: &RedisRules) -> RedisResult<Duration> {
    let mut shortest = Duration::MAX;
    for _ in 0..PINGS {
        let asked = Instant::now();
        ask::<String>(redis, rules, cmd("PING")).await?;
        shortest = shortest.min(asked.elapsed());
    }
    Ok(shortest)
}

/// Asks one server: of a cluster, that of our own keys.
async fn ask<T: FromRedisValue>(redis: &mut Connection, rules: &RedisRules, command: Cmd) -> RedisResult<T> {
    let mut pipeline = redis::pipe();
    pipeline.add_command(command);
    let mut answers = redis.send_in_order(&pipeline, &rules.prefix).await?.into_iter();
    let answer = answers.next().unwrap_or(Ok(Value::Nil))?;
    Ok(redis::from_redis_value(answer)?)
}

/// The first part of what `ROLE` answers, whose others depend on it.
fn first_of(parts: Vec<Value>) -> Option<String> {
    redis::from_redis_value(parts.into_iter().next()?).ok()
}

/// Subscribes to all that a node hears, and publishes to itself on every kind of channel.
async fn hears(redis: &mut Connection, rules: &RedisRules) -> RedisResult<()> {
    let backend = Backend::new(rules, rand::random());
    backend.subscribe(redis).await?;
    for echo in backend.echoes(0) {
        redis.req_packed_command(&echo).await?;
    }
    Ok(())
}

/// The line `redis_version:7.0.15`.
fn version(info: &str) -> Option<String> {
    let line = info.lines().find_map(|line| line.strip_prefix("redis_version:"))?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_a_line_of_the_answer() {
        assert_eq!(version("# Server\r\nredis_version:7.0.15\r\nos:Linux\r\n").as_deref(), Some("7.0.15"));
        assert_eq!(version("# Server\r\nos:Linux\r\n"), None);
    }
}
