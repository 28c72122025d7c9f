//! `[redis]` and `[cluster]`: which Redis the nodes share, and what they call themselves there.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::SecretSource;

/// `[redis]`: the Redis server that the nodes share. Without the table a node is alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisTable {
    /// Where it is: `redis://host:port`, with `/number` for another database than 0. `redis+sentinel://host:port,host:port/master`
    /// asks Sentinel for the master of that name, `redis+cluster://host:port,host:port` is a Redis Cluster. With `rediss` in
    /// place of `redis` it is encrypted. User and password are keys of their own.
    pub url: String,
    /// The same with user and password in it, as `redis://user:password@host:port`, which makes it a secret: `{ env = "NAME" }` or
    /// `{ file = "PATH" }`. In place of `url`, `username` and `password`. Another password in it is used at the next connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = SecretSource::File("/run/secrets/redis-url".into()))]
    pub url_from: Option<SecretSource>,
    /// The user of the ACL. Without it, `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"tidegate")]
    pub username: Option<String>,
    /// The password: `{ env = "NAME" }` or `{ file = "PATH" }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = SecretSource::Env("REDIS_PASSWORD".to_owned()))]
    pub password: Option<SecretSource>,
    /// What the channels of the Socket.IO adapter begin with.
    pub key: String,
    /// How nodes publish to each other. They all need the same.
    pub backend: BackendKind,
    /// With `streams`, how many messages Redis keeps for nodes that do not reach it for a while, approximately.
    #[schemars(range(min = 100))]
    pub stream_length: u32,
    /// Whether the node is ready (`/readyz`) only while Redis is there.
    pub required: bool,
    /// TLS towards `rediss://`; all of it may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<RedisTlsTable>,
    /// User and password at Sentinel, where it asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<RedisSentinelTable>,
}

/// How nodes publish to each other. In every way each of them also hears the adapter and the emitter of Socket.IO.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackendKind {
    /// As the adapter of Socket.IO does, which then hears it too. A message reaches the nodes that are connected at that moment.
    #[default]
    Pubsub,
    /// Sharded pub/sub on a channel of our own: in a Redis Cluster a message does not go to every server. Needs Redis 7.
    Sharded,
    /// A stream of our own: nodes read later what they missed while Redis was unreachable.
    Streams,
}

/// `[redis.tls]`: TLS towards Redis, and towards Sentinel.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisTlsTable {
    /// A PEM file with the certificate authorities that may sign the certificate of Redis. Without it, those that this machine
    /// trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tidegate/redis-ca.crt")]
    pub ca: Option<PathBuf>,
    /// A PEM file with the certificate that Tidegate shows to Redis, where it asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tidegate/redis.crt")]
    pub certificate: Option<PathBuf>,
    /// A PEM file with its private key, not encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tidegate/redis.key")]
    pub private_key: Option<PathBuf>,
}

/// `[redis.sentinel]`: how Tidegate signs in at Sentinel.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSentinelTable {
    /// The user of the ACL of Sentinel. Without it, `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"tidegate")]
    pub username: Option<String>,
    /// The password: `{ env = "NAME" }` or `{ file = "PATH" }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = SecretSource::Env("SENTINEL_PASSWORD".to_owned()))]
    pub password: Option<SecretSource>,
}

impl Default for RedisTable {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            url_from: None,
            username: None,
            password: None,
            key: "socket.io".to_owned(),
            backend: BackendKind::Pubsub,
            stream_length: 10_000,
            required: false,
            tls: None,
            sentinel: None,
        }
    }
}

/// `[cluster]`: the nodes that serve one service.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterTable {
    /// What all keys and channels of our own in Redis contain. Without it, host and port of `upstream.url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"brain-orchestrator")]
    pub name: Option<String>,
    /// What nodes seal their secrets with in Redis, the same for all of them: `{ env = "NAME" }` or `{ file = "PATH" }`, of 32
    /// bytes at least. Needed by `tls.acme.cache = "redis"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = SecretSource::File("/run/secrets/cluster".into()))]
    pub secret: Option<SecretSource>,
}
