//! Opens a connection: to the server, to the master that Sentinel names, or to a cluster.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ProtocolVersion, RedisError, RedisResult, TlsMode,
    aio::AsyncPushSender,
    cluster::{ClusterClient, ClusterClientBuilder},
    sentinel::{SentinelClientBuilder, SentinelServerType},
};
use tokio::time::timeout;

use crate::{
    cluster::{
        address::{Host, Place},
        connection::Connection,
        rules::{Credentials, RedisRules},
    },
    fault::Fault,
};

/// For one connection, with its handshakes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// For the answer to one command.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);

/// For a command in a cluster, where servers may have to be found first.
const CLUSTER_RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// For all of it: several Sentinels may have to be asked, and several servers of a cluster.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the library sends a command again in a cluster. It cannot know whether the first one took effect; who sends it can
/// say whether that matters.
const CLUSTER_RETRIES: u32 = 0;

/// Takes the messages that no command asked for.
pub(super) type PushSender = Arc<dyn AsyncPushSender>;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum OpenError {
    /// A secret or a file cannot be read.
    Settings(Fault),
    /// Redis cannot be reached, or refuses.
    Redis(RedisError),
    /// It took too long.
    TimedOut,
}

impl From<RedisError> for OpenError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        Self::Settings(fault)
    }
}

/// Opens a connection whose commands are answered `within` that time. Passwords and files are read anew.
pub(super) async fn open(
    rules: &RedisRules,
    pushes: Option<PushSender>,
    within: Duration,
) -> Result<Connection, OpenError> {
    let credentials = rules.credentials()?;
    let opened = async {
        match &rules.address.place {
            Place::Server(host) => to_server(rules, host, credentials, config(pushes, within)).await,
            Place::Sentinel { sentinels, master } => {
                to_master(rules, sentinels, master, credentials, config(pushes, within)).await
            }
            Place::Cluster(hosts) => to_cluster(rules, hosts, credentials, pushes, within).await,
        }
    };
    Ok(timeout(OPEN_TIMEOUT, opened).await.map_err(|_| OpenError::TimedOut)??)
}

fn config(pushes: Option<PushSender>, within: Duration) -> AsyncConnectionConfig {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT)).set_response_timeout(Some(within));
    match pushes {
        Some(pushes) => config.set_push_sender(pushes),
        None => config,
    }
}

async fn to_server(
    rules: &RedisRules,
    host: &Host,
    credentials: Credentials,
    config: AsyncConnectionConfig,
) -> RedisResult<Connection> {
    let Credentials { redis, tls, .. } = credentials;
    let server = rules.server(host, redis)?;
    let client = match tls {
        Some(certificates) => Client::build_with_tls(server, certificates)?,
        None => Client::open(server)?,
    };
    client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Server)
}

/// Sentinel is asked each time: after a failover the master is another.
async fn to_master(
    rules: &RedisRules,
    sentinels: &[Host],
    master: &str,
    credentials: Credentials,
    config: AsyncConnectionConfig,
) -> RedisResult<Connection> {
    let Credentials { redis, sentinel, tls } = credentials;
    let addresses: Vec<ConnectionAddr> = sentinels.iter().map(|host| rules.host(host)).collect();
    let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
        .set_client_to_redis_db(redis.db())
        .set_client_to_redis_protocol(ProtocolVersion::RESP3);
    if let Some(user) = redis.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = redis.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(user) = sentinel.username() {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = sentinel.password() {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if let Some(certificates) = tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    let client = builder.build()?.async_get_client().await?;
    client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Server)
}

async fn to_cluster(
    rules: &RedisRules,
    hosts: &[Host],
    credentials: Credentials,
    pushes: Option<PushSender>,
    within: Duration,
) -> RedisResult<Connection> {
    let Credentials { redis, tls, .. } = credentials;
    let servers: Vec<_> = hosts.iter().map(|host| rules.server(host, redis.clone())).collect::<RedisResult<_>>()?;
    let mut builder: ClusterClientBuilder = ClusterClient::builder(servers)
        .use_protocol(ProtocolVersion::RESP3)
        .retries(CLUSTER_RETRIES)
        .connection_timeout(CONNECT_TIMEOUT)
        .response_timeout(within)
        .overall_response_timeout(Some(within.max(CLUSTER_RESPONSE_TIMEOUT)));
    if let Some(certificates) = tls {
        builder = builder.certs(certificates);
    }
    if let Some(pushes) = pushes {
        builder = builder.push_sender(pushes);
    }
    builder.build()?.get_async_connection().await.map(Connection::Cluster)
}

/// The library takes the cryptography of the process.
pub(super) fn install_cryptography() {
    // There is one already where a test or another part of the process has set it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
