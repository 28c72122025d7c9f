//! The answers to open challenges. Each replica answers, also for an order of another replica.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs as provider,
    pki_types::PrivatePkcs8KeyDer,
    server::{ClientHello, NoServerSessionStorage},
    sign::{CertifiedKey, SingleCertAndKey},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, time::Instant};

use super::{
    entries::{Entries, Entry},
    table::ChallengeType,
};
use crate::observe::journal::{self, LogLevel};

/// The ALPN protocol of a TLS-ALPN-01 challenge (RFC 8737 §4).
pub const ACME_TLS_1: &[u8] = b"acme-tls/1";

/// The shortest interval between two looks into the cache, however many clients ask.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// After this time every replica has seen a stored challenge, and the authority may verify it.
pub(super) const SHARED_AFTER: Duration = Duration::from_millis(500);

/// A token is shorter (RFC 8555 §8.1: at least 128 bits, in base64url).
const TOKEN_BYTES_MAX: usize = 256;

/// A challenge that the authority may verify. It contains no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) challenge_type: ChallengeType,
    /// In lower case.
    pub(super) domain: String,
    pub(super) token: String,
    /// RFC 8555 §8.1.
    pub(super) key_authorization: String,
}

/// The answers to open challenges. A name that is not ordered costs one table look-up.
#[derive(Debug)]
pub struct Challenges {
    domains: HashSet<String>,
    entries: Arc<Entries>,
    known: Mutex<KnownChallenges>,
}

#[derive(Debug, Default)]
struct KnownChallenges {
    /// Those of this replica. They work also without the cache.
    ours: Vec<Open>,
    /// Those in the cache, as of `looked`.
    shared: Vec<Open>,
    looked: Option<Instant>,
    /// By domain: made once for each challenge.
    handshakes: HashMap<String, Handshake>,
}

/// Why the handshake for a challenge cannot be made.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

#[derive(Debug)]
struct Handshake {
    key_authorization: String,
    config: Arc<ServerConfig>,
}

/// Whether this client verifies a challenge.
#[must_use]
pub fn is_challenge(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == ACME_TLS_1))
}

impl Challenges {
    pub(super) fn new(domains: &[String], entries: Arc<Entries>) -> Self {
        Self { domains: domains.iter().cloned().collect(), entries, known: Mutex::default() }
    }

    /// The TLS configuration for a client that [`is_challenge`]; close the connection after the handshake. `None` where
    /// no challenge is open for the name.
    pub async fn tls_alpn_01(&self, server_name: &str) -> Option<Arc<ServerConfig>> {
        let domain = server_name.to_ascii_lowercase();
        if !self.is_domain(&domain) {
            return None;
        }
        let open = self.find(|open| open.challenge_type == ChallengeType::TlsAlpn01 && open.domain == domain).await?;
        let mut known = self.known.lock().await;
        if let Some(made) = known.handshakes.get(&domain)
            && made.key_authorization == open.key_authorization
        {
            return Some(Arc::clone(&made.config));
        }
        let made = handshake(&domain, &open.key_authorization).inspect_err(|error| {
            journal::line(LogLevel::Error, &format!("the ACME challenge for {domain} cannot be answered: {error}"));
        });
        let config = Arc::new(made.ok()?);
        let made = Handshake { key_authorization: open.key_authorization, config: Arc::clone(&config) };
        known.handshakes.insert(domain, made);
        Some(config)
    }

    /// The body of `/.well-known/acme-challenge/TOKEN`. `None` where no such challenge is open.
    pub async fn http_01(&self, token: &str) -> Option<String> {
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let open = self.find(|open| open.challenge_type == ChallengeType::Http01 && open.token == token).await;
        open.map(|open| open.key_authorization)
    }

    /// Whether the certificate is for this name, which is in lower case.
    #[must_use]
    pub fn is_domain(&self, name: &str) -> bool {
        self.domains.contains(name)
    }

    /// Opens challenges: here at once, at other replicas [`SHARED_AFTER`] later.
    pub(super) async fn open(&self, open: Vec<Open>) {
        if let Ok(content) = serde_json::to_vec(&open) {
            self.entries.store(Entry::Challenges, content).await;
        }
        self.known.lock().await.ours = open;
    }

    /// Closes all challenges.
    pub(super) async fn close(&self) {
        *self.known.lock().await = KnownChallenges::default();
        self.entries.remove(Entry::Challenges).await;
    }

    async fn find(&self, is_it: impl Fn(&Open) -> bool) -> Option<Open> {
        // Concurrent requests wait here for one look into the cache.
        let mut known = self.known.lock().await;
        if let Some(ours) = known.ours.iter().find(|open| is_it(open)) {
            return Some(ours.clone());
        }
        if known.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            let content = self.entries.load(Entry::Challenges).await;
            known.shared = content.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default();
            known.looked = Some(Instant::now());
        }
        known.shared.iter().find(|open| is_it(open)).cloned()
    }
}

/// A self-signed certificate for this name only, with the digest in it (RFC 8737 §3).
fn handshake(domain: &str, key_authorization: &str) -> Result<ServerConfig, HandshakeError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    let digest = digest(&SHA256, key_authorization.as_bytes());
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    let certificate = params.self_signed(&key)?.der().clone();

    let provider = provider::default_provider();
    let key = provider.key_provider.load_private_key(PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
    // `with_single_cert` would refuse the unknown extension.
    let resolver = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![ACME_TLS_1.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[cfg(test)]
pub(super) mod tests;
