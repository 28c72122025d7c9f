//! Compiles single parts of a configuration, for tools that test them without starting a node.

use crate::{
    cluster::rules::RedisRules,
    config::Config,
    fault::Fault,
    gateway::listener,
    relay::dial::Dialler,
    start::{compile, descriptors::Found, memory, prepare, worker_count},
    units::Secret,
};

pub use crate::start::descriptors::FirstDescriptors;

/// How to reach the service, with the TLS rules of `[upstream.tls]`.
///
/// # Errors
/// What is wrong with `[upstream]`.
pub fn dialler(config: &Config) -> Result<Dialler, Vec<Fault>> {
    compile::dialler(config)
}

/// How to reach Redis. `None`: the node is alone.
///
/// # Errors
/// What is wrong with `[redis]`.
pub fn redis(config: &Config) -> Result<Option<RedisRules>, Vec<Fault>> {
    prepare::redis_rules(config)
}

/// `admin.token`. `None`: there is none.
///
/// # Errors
/// It cannot be read.
pub fn admin_token(config: &Config) -> Result<Option<Secret>, Fault> {
    prepare::admin_token(config)
}

/// The descriptors of this process, as a node finds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorRoom {
    /// The limit, raised as far as it goes.
    pub limit: u64,
    /// How many connections there can be: `limits.connections`, or fewer.
    pub connections: u64,
    /// Where that is fewer: what happens, and what to do.
    pub warning: Option<String>,
}

/// Raises the limit of descriptors, as a node does at its start, and splits it.
#[must_use]
pub fn descriptors(config: &Config, first: FirstDescriptors) -> DescriptorRoom {
    let found = Found::at_start(config, worker_count(config), first);
    let limit = listener::descriptor_limit().unwrap_or(u64::MAX);
    DescriptorRoom { limit, connections: found.connections(config), warning: found.warning(config) }
}

/// A limit of memory that holds for this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    /// What sets it.
    pub name: &'static str,
    /// It allows so many bytes.
    pub bytes: u64,
    /// So many are used by all that it is for. `None`: it is for single processes, of which this one is not the gate.
    pub used: Option<u64>,
}

/// The limits of memory that a node would heed, the tightest first.
#[must_use]
pub fn memory(config: &Config) -> Vec<MemoryLimit> {
    let mut limits = memory::limits(config);
    limits.sort_by_key(memory::Limit::bytes);
    limits
        .iter()
        .map(|limit| MemoryLimit { name: limit.name(), bytes: limit.bytes(), used: limit.used_by_group() })
        .collect()
}
