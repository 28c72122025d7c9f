//! What is made of a configuration before it takes effect: the same for a start, for `check` and for a reload.

use std::sync::Arc;

use crate::{
    cluster::link::RedisRules,
    config::Config,
    fault::{Fault, Faults},
    observe::gauges::Gauges,
    policy::auth::shared_keys::SharedKeys,
    start::{
        acme,
        compile::{self, Keys, Lasting, NodeRules},
    },
    tls::{OrderedHere, TlsRules},
    units::{Secret, SecretSource},
};

/// All that is made of a configuration and of the files it names.
pub(super) struct Prepared {
    pub(super) keys: Keys,
    pub(super) node_rules: NodeRules,
    /// `None`: clients use plain HTTP.
    pub(super) tls: Option<TlsRules>,
    pub(super) admin_token: Option<Secret>,
    /// `None`: the node is alone.
    pub(super) redis: Option<RedisRules>,
}

impl Prepared {
    /// Fetches the key set of a server that was not asked before: what is in force verifies tokens until it is there.
    pub(super) async fn with_keys(mut self) -> Result<Self, Fault> {
        if let Some(server) = &mut self.keys.server {
            server.fetch_first().await?;
        }
        Ok(self)
    }
}

/// What the node has of its own that goes into it.
pub(super) struct Beside<'a> {
    pub(super) gauges: &'a Arc<Gauges>,
    pub(super) lasting: &'a Lasting,
    pub(super) generation: u64,
    /// The keys of `auth.jwks_url` where they were fetched from there before.
    pub(super) published: Option<&'a Arc<SharedKeys>>,
    pub(super) ordered: Option<&'a OrderedHere>,
    /// The TLS rules in force.
    pub(super) earlier: Option<&'a TlsRules>,
    /// This is the process that runs: what it may not write, the next start may not.
    pub(super) runs: bool,
}

impl<'a> Beside<'a> {
    /// Nothing is in force.
    pub(super) const fn at_start(gauges: &'a Arc<Gauges>, lasting: &'a Lasting) -> Self {
        Self { gauges, lasting, generation: 1, published: None, ordered: None, earlier: None, runs: false }
    }
}

/// Checks a configuration, reads its keys and secrets, and compiles it. Opens no address, makes no file, changes nothing.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn prepare(config: &Config, beside: &Beside<'_>) -> Result<Prepared, Vec<Fault>> {
    let mut faults = Faults::default();
    faults.keep(acme::verify(config, beside.runs));
    let keys = faults.keep(match beside.published {
        Some(published) => Ok(Keys::kept(published)),
        None => Keys::of(config, beside.gauges),
    });
    let compiled = |keys| compile::compile(config, keys, beside.lasting, beside.generation);
    // Without them the rest is checked all the same.
    let none = Keys { published: Arc::default(), server: None };
    let node_rules = faults.keep(compiled(keys.as_ref().unwrap_or(&none)));
    let tls = faults.keep(compile::tls_rules(config, beside.ordered, beside.earlier));
    let admin_token = faults.keep(admin_token(config));
    let redis = faults.keep(redis_rules(config));
    let prepared = || {
        let (keys, node_rules, tls) = (keys?, node_rules?, tls?);
        Some(Prepared { keys, node_rules, tls, admin_token: admin_token?, redis: redis? })
    };
    faults.finish(prepared())
}

/// Compiles `[redis]` and `[cluster]`. `None`: the node is alone.
pub(super) fn redis_rules(config: &Config) -> Result<Option<RedisRules>, Vec<Fault>> {
    let service = config.upstream.url.split("://").last().unwrap_or_default();
    config.redis.as_ref().map(|redis| RedisRules::compile(redis, &config.cluster, service)).transpose()
}

/// Nothing bounds how many tokens somebody may try.
const ADMIN_TOKEN_MIN_BYTES: usize = 16;

/// Reads `admin.token`, and refuses one that can be guessed. `None` where there is none.
pub(super) fn admin_token(config: &Config) -> Result<Option<Secret>, Fault> {
    let token = config.admin.token.as_ref().map(SecretSource::read).transpose();
    let token = token.map_err(|error| Fault::unread("admin.token", error.to_string()))?;
    match token.as_ref().map(|token| token.expose().len()) {
        Some(length) if length < ADMIN_TOKEN_MIN_BYTES => {
            let message = format!(
                "has {length} bytes, and can be guessed; make one of at least {ADMIN_TOKEN_MIN_BYTES}, for example with \
                 \"openssl rand -base64 48\""
            );
            Err(Fault::new("admin.token", message))
        }
        _ => Ok(token),
    }
}
