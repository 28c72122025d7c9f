//! Fetches a key set once, to say what it has.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{causes, fetch::Fetcher};
use crate::{
    fault::Fault,
    policy::auth::{compile::key_server, key_set::KeySet},
};

/// What a fetch came to.
#[derive(Debug)]
pub struct Probed {
    /// The URL without its query, which may be confidential.
    pub address: String,
    /// How long it took.
    pub took: Duration,
    /// The keys, or why there are none.
    pub keys: Result<KeySet, String>,
    /// The time by the clock of the server. `None`: it does not say, or a cache has answered.
    pub date: Option<SystemTime>,
}

/// Fetches the key set at `url`, with the bounds of a node.
///
/// # Errors
/// An address that is neither `https` nor loopback, or no trust anchors on this machine.
pub async fn probe(url: &str) -> Result<Probed, Fault> {
    let fetcher = Fetcher::new(key_server(url)?);
    let fetcher = fetcher.map_err(|error| Fault::new("auth.jwks_url", format!("cannot be asked: {error}")))?;
    let began = Instant::now();
    let fetched = fetcher.fetch().await;
    let (address, took) = (fetcher.address(), began.elapsed());
    Ok(match fetched {
        Ok(fetched) => Probed { address, took, keys: Ok(fetched.set), date: fetched.date },
        Err(error) => Probed { address, took, keys: Err(causes(&error)), date: None },
    })
}
