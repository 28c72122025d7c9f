//! What the authority is answered with while a certificate is ordered, whichever replica ordered it and whichever is
//! asked.

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

/// What a client names that wants the answer to a challenge and nothing else (RFC 8737 §4).
pub const ACME_TLS_1: &[u8] = b"acme-tls/1";

/// The cache is asked no more often, however many strangers knock.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// When every replica has seen what was shared: the authority may come from then on.
pub(super) const SHARED_AFTER: Duration = Duration::from_millis(500);

/// A token is shorter (RFC 8555 §8.1: at least 128 bits, in base64url).
const TOKEN_BYTES_MAX: usize = 256;

/// A challenge that the authority may come to see answered. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) challenge_type: ChallengeType,
    /// In lower case.
    pub(super) domain: String,
    pub(super) token: String,
    /// RFC 8555 §8.1.
    pub(super) key_authorization: String,
}

/// The answers to open challenges. Names that no certificate is ordered for cost a look into a table.
#[derive(Debug)]
pub struct Challenges {
    domains: HashSet<String>,
    entries: Arc<Entries>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Those of this replica, which stand also where the cache is broken.
    ours: Vec<Open>,
    /// Those in the cache when we last looked.
    shared: Vec<Open>,
    looked: Option<Instant>,
    /// By domain: made once for each challenge.
    handshakes: HashMap<String, Handshake>,
}

/// Why there is no handshake to answer with.
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

/// Does this client want the answer to a challenge?
#[must_use]
pub fn is_challenge(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == ACME_TLS_1))
}

impl Challenges {
    pub(super) fn new(domains: &[String], entries: Arc<Entries>) -> Self {
        Self { domains: domains.iter().cloned().collect(), entries, known: Mutex::default() }
    }

    /// How to make the handshake with a client that [`is_challenge`]; after it the connection is to be closed. None
    /// where no challenge is open for the name.
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

    /// The body that answers `/.well-known/acme-challenge/TOKEN`. None where no such challenge is open.
    pub async fn http_01(&self, token: &str) -> Option<String> {
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let open = self.find(|open| open.challenge_type == ChallengeType::Http01 && open.token == token).await;
        open.map(|open| open.key_authorization)
    }

    /// Is the certificate for this name, written in lower case?
    #[must_use]
    pub fn is_domain(&self, name: &str) -> bool {
        self.domains.contains(name)
    }

    /// These are open from now on, here at once and at the other replicas [`SHARED_AFTER`] later.
    pub(super) async fn open(&self, open: Vec<Open>) {
        if let Ok(content) = serde_json::to_vec(&open) {
            self.entries.store(Entry::Challenges, content).await;
        }
        self.known.lock().await.ours = open;
    }

    /// None is open any more.
    pub(super) async fn close(&self) {
        *self.known.lock().await = Known::default();
        self.entries.remove(Entry::Challenges).await;
    }

    async fn find(&self, is_it: impl Fn(&Open) -> bool) -> Option<Open> {
        // Whoever comes while somebody looks waits for what that one sees.
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

/// With a certificate for this name alone, self-signed, that carries the digest (RFC 8737 §3).
fn handshake(domain: &str, key_authorization: &str) -> Result<ServerConfig, HandshakeError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    let digest = digest(&SHA256, key_authorization.as_bytes());
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    let certificate = params.self_signed(&key)?.der().clone();

    let provider = provider::default_provider();
    let key = provider.key_provider.load_private_key(PrivatePkcs8KeyDer::from(key.serialize_der()).into())?;
    // Not through `with_single_cert`, which refuses extensions that it does not know.
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
