//! Account, certificate and challenges of ACME in Redis, for replicas that share no folder.
//!
//! An entry is `tidegate:{name}:acme:ENTRY`, sealed. The lock is `tidegate:{name}:acme:lock`, a random word that lives for
//! `LOCK_LASTS` and is prolonged by its holder. A Redis that fails over may forget it: then two replicas order at once, which
//! costs one of the orders of that week and nothing else.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use redis::{FromRedisValue, RedisError, Script, aio::ConnectionLike};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    cluster::{link::Link, seal::Seal},
    tls::acme::cache::{Answer, Cache, CacheError, Lock},
};

/// The largest entry, sealed. A larger one is not ours.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// A holder that dies keeps the lock for so long.
const LOCK_LASTS: Duration = Duration::from_secs(30);

/// How often a holder prolongs the lock.
const LOCK_RENEWED: Duration = Duration::from_secs(10);

/// How long to wait for a connection, at the start for example.
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);

/// Prolongs the lock where it is ours.
const RENEW: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0";

/// Releases the lock where it is ours.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// The entries of one cluster.
#[derive(Debug, Clone)]
pub struct RedisCache {
    prefix: Arc<str>,
    link: Link,
    seal: Arc<Seal>,
}

/// Tells the task that keeps the lock to release it, when it is dropped.
#[derive(Debug)]
struct Held {
    _released: oneshot::Sender<()>,
}

impl RedisCache {
    /// Of a cluster whose keys begin with `prefix`.
    #[must_use]
    pub fn new(prefix: &str, link: Link, seal: Seal) -> Self {
        Self { prefix: format!("{prefix}acme:").into(), link, seal: Arc::new(seal) }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A connection, where there is one soon.
    async fn connection(&self) -> Result<impl ConnectionLike + Send + use<>, io::Error> {
        let mut link = self.link.clone();
        let until = Instant::now() + CONNECTED_WITHIN;
        loop {
            if let Some(connection) = link.connection() {
                return Ok(connection);
            }
            let unconnected = || io::Error::new(io::ErrorKind::NotConnected, "Redis is not connected");
            if !timeout_at(until, link.changed()).await.map_err(|_| unconnected())? {
                return Err(unconnected());
            }
        }
    }

    async fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, io::Error> {
        command.query_async(&mut self.connection().await?).await.map_err(of_redis)
    }

    async fn load_sealed(&self, name: &str) -> Result<Option<Vec<u8>>, io::Error> {
        let mut command = redis::cmd("GETRANGE");
        command.arg(self.key(name)).arg(0).arg(ENTRY_BYTES_MAX);
        let sealed: Vec<u8> = self.ask(&command).await?;
        match sealed.len() {
            0 => Ok(None),
            length if length > ENTRY_BYTES_MAX => {
                Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for an entry of Tidegate"))
            }
            _ => Ok(Some(self.seal.open(name, &sealed).map_err(io::Error::other)?)),
        }
    }

    async fn store_sealed(&self, name: &str, content: &[u8]) -> Result<(), io::Error> {
        let sealed = self.seal.close(name, content).map_err(io::Error::other)?;
        self.ask(redis::cmd("SET").arg(self.key(name)).arg(sealed)).await
    }

    /// Takes the lock. `None`: another replica has it.
    async fn lock(&self) -> Result<Option<Lock>, io::Error> {
        let (key, word) = (self.key("lock"), format!("{:032x}", rand::random::<u128>()));
        let mut command = redis::cmd("SET");
        command.arg(&key).arg(&word).arg("NX").arg("PX").arg(millis(LOCK_LASTS));
        let taken: Option<String> = self.ask(&command).await?;
        if taken.is_none() {
            return Ok(None);
        }
        let (released, mut wants_release) = oneshot::channel();
        let cache = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = &mut wants_release => break,
                    () = sleep(LOCK_RENEWED) => {
                        // What fails is tried again in time, and what is lost is lost.
                        let _ = cache.run(&Script::new(RENEW), &key, &word).await;
                    }
                }
            }
            // Otherwise it ends by itself.
            let _ = cache.run(&Script::new(RELEASE), &key, &word).await;
        });
        Ok(Some(Lock::over(Held { _released: released })))
    }

    async fn run(&self, script: &Script, key: &str, word: &str) -> Result<i64, io::Error> {
        let mut connection = self.connection().await?;
        script.key(key).arg(word).arg(millis(LOCK_LASTS)).invoke_async(&mut connection).await.map_err(of_redis)
    }

    fn failed(&self, verb: &'static str, name: &str) -> impl FnOnce(io::Error) -> CacheError {
        let path = PathBuf::from(self.key(name));
        move |source| CacheError { verb, path, source }
    }
}

impl Cache for RedisCache {
    fn load(&self, name: &str) -> Answer<'_, Option<Vec<u8>>> {
        let name = name.to_owned();
        Box::pin(async move { self.load_sealed(&name).await.map_err(self.failed("read", &name)) })
    }

    fn store(&self, name: &str, content: Vec<u8>) -> Answer<'_, ()> {
        let name = name.to_owned();
        Box::pin(async move {
            let content = zeroize::Zeroizing::new(content);
            self.store_sealed(&name, &content).await.map_err(self.failed("written", &name))
        })
    }

    fn remove(&self, name: &str) -> Answer<'_, ()> {
        let name = name.to_owned();
        Box::pin(async move {
            let removed = self.ask(redis::cmd("DEL").arg(self.key(&name))).await;
            removed.map_err(self.failed("removed", &name))
        })
    }

    fn try_lock(&self) -> Answer<'_, Option<Lock>> {
        Box::pin(async move { self.lock().await.map_err(self.failed("locked", "lock")) })
    }

    /// All replicas share one Redis, so all of them would order at once when it is unreachable.
    fn orders_without_lock(&self) -> bool {
        false
    }
}

fn of_redis(error: RedisError) -> io::Error {
    io::Error::other(error)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
