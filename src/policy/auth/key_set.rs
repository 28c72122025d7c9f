//! The keys that tokens are verified with. Each key states its algorithms; a token never does.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, crypto,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// More keys than an issuer needs for rotation.
const PUBLISHED_KEYS_MAX: usize = 100;
/// Shorter RSA keys can be factored; longer ones cost too much to verify with.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key and the algorithms it may be used for.
#[derive(Debug)]
pub(super) struct Key {
    material: Material,
    algorithms: Vec<Algorithm>,
}

#[derive(Debug)]
enum Material {
    /// Prepared for each algorithm: for a short token that is half of the work.
    Secret(Box<[(Algorithm, hmac::Key)]>),
    Public(DecodingKey),
}

/// The keys of one source: the one from the configuration, or all that an issuer publishes.
#[derive(Debug)]
pub struct KeySet {
    keys: Keys,
    ignored: Vec<IgnoredKey>,
}

#[derive(Debug)]
enum Keys {
    /// The only key, so the token's `kid` is ignored.
    Configured(Arc<Key>),
    /// By `kid`.
    Published(Vec<(Option<String>, Arc<Key>)>),
}

/// What one set has for a token.
#[derive(Debug)]
pub(super) enum Lookup {
    /// This key, for the algorithm of the token.
    Found(Arc<Key>),
    /// The key exists but not for that algorithm; or the token has no `kid` and the set has several keys.
    Unfit,
    /// No key has this `kid`; a newer set may have it.
    Unknown,
}

/// A published key that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredKey {
    /// Its `kid`. `None` if it has none.
    pub kid: Option<String>,
    /// Why.
    pub reason: IgnoredReason,
}

/// Why a published key is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IgnoredReason {
    /// Not RSA, EC or OKP with the members they need. Secret keys (`oct`) must never be published.
    #[error("it is not an RSA, EC or Ed25519 public key")]
    UnknownType,
    /// It is for encryption, or for an encryption algorithm.
    #[error("it is not a key for verifying signatures")]
    OtherUse,
    /// RSA with fewer than 2048 or more than 8192 bits.
    #[error("its RSA modulus does not have 2048 to 8192 bits")]
    RsaSize,
    /// A curve that is not supported, or coordinates of the wrong length.
    #[error("it is not on P-256, P-384 or Ed25519")]
    Curve,
    /// Every reader of the set could sign tokens with it.
    #[error("it is published together with its private key")]
    PrivatePart,
}

/// Why a document is not a key set.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not RFC 7517 §5.
    #[error("the key set is not a JSON object with an array \"keys\": {0}")]
    Malformed(#[from] serde_json::Error),
    /// More than a hundred.
    #[error("the key set has {0} keys; at most {PUBLISHED_KEYS_MAX} are read")]
    TooMany(usize),
    /// An empty set would refuse every token.
    #[error("the key set has no key that can be used ({ignored} ignored)", ignored = .0.len())]
    NoUsableKey(Vec<IgnoredKey>),
}

impl Key {
    /// The shared secret of HS tokens.
    pub(super) fn secret(secret: &[u8]) -> Self {
        let prepared = [
            (Algorithm::HS256, hmac::HMAC_SHA256),
            (Algorithm::HS384, hmac::HMAC_SHA384),
            (Algorithm::HS512, hmac::HMAC_SHA512),
        ]
        .map(|(algorithm, hash)| (algorithm, hmac::Key::new(hash, secret)));
        Self { material: Material::Secret(prepared.into()), algorithms: AlgorithmFamily::Hmac.algorithms().to_vec() }
    }

    /// The public key in a PEM file (RFC 7468 §13, or PKCS#1). `None` for everything else, private keys and
    /// certificates included.
    pub(super) fn from_pem(pem: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(pem).ok()?;
        let public = ["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"];
        if !public.iter().any(|begin| text.contains(begin)) || text.matches("-----BEGIN").count() != 1 {
            return None;
        }
        // RSA last: its parser does not check that a PKCS#1 file holds an RSA key.
        let decoding = DecodingKey::from_ec_pem(pem)
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .or_else(|_| DecodingKey::from_rsa_pem(pem))
            .ok()?;
        // Every public key goes through the parser of published keys, so the same checks apply.
        Self::from_jwk(&Jwk::from_decoding_key(&decoding, None).ok()?).ok()
    }

    fn from_jwk(jwk: &Jwk) -> Result<Self, IgnoredReason> {
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        let usable: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) if RSA_BITS.contains(&bits(&decoded(&rsa.n))) => {
                AlgorithmFamily::Rsa.algorithms()
            }
            AlgorithmParameters::RSA(_) => return Err(IgnoredReason::RsaSize),
            AlgorithmParameters::EllipticCurve(ec) => match (&ec.curve, decoded(&ec.x).len(), decoded(&ec.y).len()) {
                (EllipticCurve::P256, 32, 32) => &[Algorithm::ES256],
                (EllipticCurve::P384, 48, 48) => &[Algorithm::ES384],
                _ => return Err(IgnoredReason::Curve),
            },
            AlgorithmParameters::OctetKeyPair(okp) => match (&okp.curve, decoded(&okp.x).len()) {
                (EllipticCurve::Ed25519, 32) => &[Algorithm::EdDSA],
                _ => return Err(IgnoredReason::Curve),
            },
            _ => return Err(IgnoredReason::UnknownType),
        };
        let for_other_use =
            jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature);
        let operations = jwk.common.key_operations.as_ref();
        if for_other_use || operations.is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
            return Err(IgnoredReason::OtherUse);
        }
        let named = |algorithm: &&Algorithm| {
            jwk.common.key_algorithm.is_none_or(|only| only == KeyAlgorithm::from(**algorithm))
        };
        let algorithms: Vec<_> = usable.iter().filter(named).copied().collect();
        if algorithms.is_empty() {
            return Err(IgnoredReason::OtherUse);
        }
        let decoding = DecodingKey::from_jwk(jwk).map_err(|_| IgnoredReason::UnknownType)?;
        Ok(Self { material: Material::Public(decoding), algorithms })
    }

    /// The algorithms it may be used for.
    pub(super) fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Whether this key made `signature`, in base64, of `signed` with this algorithm.
    pub(super) fn verifies(&self, signature: &str, signed: &str, algorithm: Algorithm) -> bool {
        if !self.algorithms.contains(&algorithm) {
            return false;
        }
        match &self.material {
            Material::Secret(prepared) => {
                let key = prepared.iter().find(|(of, _)| *of == algorithm).map(|(_, key)| key);
                let tag = URL_SAFE_NO_PAD.decode(signature);
                key.zip(tag.ok()).is_some_and(|(key, tag)| hmac::verify(key, signed.as_bytes(), &tag).is_ok())
            }
            Material::Public(key) => crypto::verify(signature, signed.as_bytes(), key, algorithm).unwrap_or(false),
        }
    }
}

impl KeySet {
    pub(super) fn configured(key: Key) -> Self {
        Self { keys: Keys::Configured(Arc::new(key)), ignored: Vec::new() }
    }

    /// Reads a JSON Web Key Set (RFC 7517 §5). An unusable key does not affect the others: it is skipped and reported
    /// in [`KeySet::ignored`].
    ///
    /// # Errors
    /// [`KeySetError`] if no key is left, or the document is not a key set.
    pub fn from_jwks(document: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let Document { keys: documents } = serde_json::from_slice(document)?;
        if documents.len() > PUBLISHED_KEYS_MAX {
            return Err(KeySetError::TooMany(documents.len()));
        }
        let (mut keys, mut ignored) = (Vec::new(), Vec::new());
        for document in documents {
            let kid = document.get("kid").and_then(Value::as_str).map(str::to_owned);
            match published(document) {
                Ok(key) => keys.push((kid, Arc::new(key))),
                Err(reason) => ignored.push(IgnoredKey { kid, reason }),
            }
        }
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey(ignored));
        }
        Ok(Self { keys: Keys::Published(keys), ignored })
    }

    /// The published keys that are skipped, for the log.
    #[must_use]
    pub fn ignored(&self) -> &[IgnoredKey] {
        &self.ignored
    }

    /// The number of usable keys.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a set without a key is never made")]
    pub fn len(&self) -> usize {
        match &self.keys {
            Keys::Configured(_) => 1,
            Keys::Published(keys) => keys.len(),
        }
    }

    /// How many of the keys can verify tokens of this algorithm, by its name.
    #[must_use]
    pub fn usable_for(&self, algorithm: &str) -> usize {
        let Ok(algorithm) = algorithm.parse() else { return 0 };
        let fits = |key: &Key| usize::from(key.algorithms.contains(&algorithm));
        match &self.keys {
            Keys::Configured(key) => fits(key),
            Keys::Published(keys) => keys.iter().map(|(_, key)| fits(key)).sum(),
        }
    }

    /// The key that a token was signed with, by the key ID and the algorithm in its header.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Lookup {
        let fit = |key: &Arc<Key>| key.algorithms.contains(&algorithm).then(|| Lookup::Found(Arc::clone(key)));
        match (&self.keys, kid) {
            (Keys::Configured(key), _) => fit(key).unwrap_or(Lookup::Unfit),
            (Keys::Published(keys), None) => match &keys[..] {
                [(_, only)] => fit(only).unwrap_or(Lookup::Unfit),
                _ => Lookup::Unfit,
            },
            (Keys::Published(keys), Some(kid)) => {
                let mut of_that_name = keys.iter().filter(|(name, _)| name.as_deref() == Some(kid)).peekable();
                match of_that_name.peek() {
                    None => Lookup::Unknown,
                    Some(_) => of_that_name.find_map(|(_, key)| fit(key)).unwrap_or(Lookup::Unfit),
                }
            }
        }
    }
}

fn published(document: Value) -> Result<Key, IgnoredReason> {
    let has_private_part = document.get("d").is_some();
    let jwk: Jwk = serde_json::from_value(document).map_err(|_| IgnoredReason::UnknownType)?;
    let key = Key::from_jwk(&jwk)?;
    if has_private_part { Err(IgnoredReason::PrivatePart) } else { Ok(key) }
}

/// The length of a number without its leading zero bits.
fn bits(big_endian: &[u8]) -> usize {
    let Some(first) = big_endian.iter().position(|&byte| byte != 0) else { return 0 };
    (big_endian.len() - first) * 8 - big_endian[first].leading_zeros() as usize
}

#[cfg(test)]
mod tests;
