//! Tracks which nodes are alive: each refreshes a key that otherwise expires.

use std::{fmt, sync::Arc, time::Duration};

use redis::{Pipeline, RedisResult, Script, aio::ConnectionLike, cmd};
use tokio::time::{sleep, timeout};

use crate::cluster::{connection::Connection, link::Link};

/// How long the key of a node lives. A node that is killed is counted for so long.
pub(super) const LIFE: Duration = Duration::from_secs(15);

/// How often it is written.
const REFRESH: Duration = Duration::from_secs(5);

/// After a failure.
const RETRY: Duration = Duration::from_millis(500);

/// How long Redis may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// Writes `node:<id>`, and its end into the set `nodes`, by Redis' clock. Returns the number of nodes.
const WRITE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3] * 1000), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', now))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return redis.call('ZCARD', KEYS[2])";

/// What a node is called among the others. Drawn anew at each start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberId(Arc<str>);

impl MemberId {
    /// A new one.
    #[must_use]
    pub fn draw() -> Self {
        Self(format!("{:016x}", rand::random::<u64>()).into())
    }

    /// As it stands in keys.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The set of the nodes that are alive, each with the end of its life in microseconds since 1970.
pub(super) fn nodes_key(prefix: &str) -> String {
    format!("{prefix}nodes")
}

fn node_key(prefix: &str, id: &MemberId) -> String {
    format!("{prefix}node:{id}")
}

/// Shows that this node is alive, for ever, and tells how many are.
pub async fn show(mut link: Link, prefix: Arc<str>, id: MemberId, counted: impl Fn(u32)) {
    let script = Script::new(WRITE);
    let keys = [node_key(&prefix, &id), nodes_key(&prefix)];
    loop {
        let Some(mut connection) = link.connection() else {
            if !link.changed().await {
                return;
            }
            continue;
        };
        let written = timeout(PATIENCE, write(&script, &keys, &id, &mut connection)).await;
        let pause = match written {
            Ok(Ok(nodes)) => {
                counted(nodes);
                REFRESH
            }
            Ok(Err(_)) | Err(_) => RETRY,
        };
        // A new connection may lead to a server that knows nothing of this node.
        if let Ok(false) = timeout(pause, link.changed()).await {
            sleep(pause).await;
        }
    }
}

/// Says that this node has ended, so that nobody counts it for the rest of its life there. If Redis does not hear it, that goes by.
pub(super) async fn leave(connection: &mut Connection, prefix: &str, id: &MemberId) {
    let mut commands = Pipeline::new();
    // Whose life has ended is removed by the next who counts.
    commands.add_command(cmd("ZADD").arg(nodes_key(prefix)).arg("XX").arg(0).arg(id.as_str()).take());
    commands.add_command(cmd("DEL").arg(node_key(prefix, id)).take());
    let _ = timeout(PATIENCE, connection.send_in_order(&commands, prefix)).await;
}

async fn write(
    script: &Script,
    keys: &[String; 2],
    id: &MemberId,
    connection: &mut impl ConnectionLike,
) -> RedisResult<u32> {
    let state = serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "state": "up" }).to_string();
    let mut invocation = script.prepare_invoke();
    for key in keys {
        invocation.key(key);
    }
    let life = u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX);
    invocation.arg(id.as_str()).arg(state).arg(life);
    invocation.invoke_async(connection).await
}
