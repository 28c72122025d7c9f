//! One connection to Redis, of one server or of a cluster, as those who send commands see it.

use std::fmt;

use redis::{
    Cmd, Pipeline, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr},
};

/// A connection. Cheap to clone, and every clone uses the same one. Every command on it is bounded in time.
#[derive(Clone)]
pub enum Connection {
    /// To one server, possibly found through Sentinel.
    Server(MultiplexedConnection),
    /// To all servers of a cluster.
    Cluster(ClusterConnection),
}

impl Connection {
    /// Sends all commands to one server: of a cluster, to the one that has `key`. Each gets its own answer, and they take effect
    /// in their order.
    pub(super) async fn send_in_order(
        &mut self,
        commands: &Pipeline,
        key: &str,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        let count = commands.len();
        let answers = match self {
            Self::Server(connection) => connection.req_packed_commands(commands, 0, count).await?,
            Self::Cluster(connection) => {
                let route = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
                connection.route_pipeline(commands.clone(), 0, count, route).await?
            }
        };
        Ok(answers.into_iter().map(Value::extract_error).collect())
    }

    /// Names the connection at the server that has `key`, so that an operator sees whose it is. All works without it.
    pub(super) async fn set_name(&mut self, node: u64, key: &str) {
        let mut name = Pipeline::new();
        name.add_command(redis::cmd("CLIENT").arg("SETNAME").arg(format!("tidegate:{node:016x}")).take());
        let _ = self.send_in_order(&name, key).await;
    }

    /// Hears the channels of these patterns. Returns when Redis has confirmed each.
    pub(super) async fn psubscribe(&mut self, patterns: &[String]) -> RedisResult<()> {
        match self {
            Self::Server(connection) => connection.psubscribe(patterns).await,
            Self::Cluster(connection) => connection.psubscribe(patterns).await,
        }
    }

    /// Hears one channel.
    pub(super) async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::Server(connection) => connection.subscribe(channel).await,
            Self::Cluster(connection) => connection.subscribe(channel).await,
        }
    }

    /// Hears these sharded channels, which are of one slot.
    pub(super) async fn ssubscribe(&mut self, channels: &[String]) -> RedisResult<()> {
        match self {
            Self::Server(connection) => {
                // One command each: the library takes one answer to a command.
                for channel in channels {
                    redis::cmd("SSUBSCRIBE").arg(channel).exec_async(connection).await?;
                }
                Ok(())
            }
            Self::Cluster(connection) => connection.ssubscribe(channels).await,
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Cluster(_) => "Cluster",
        })
    }
}
