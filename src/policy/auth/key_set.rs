//! The keys that tokens are verified with. Each key says which algorithms it may be used for; a token never does.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, crypto,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// More keys than any issuer rotates through.
const PUBLISHED_KEYS_MAX: usize = 100;
/// Shorter RSA keys can be factored; longer ones cost too much to verify with.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key and what it may be used for.
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
    /// There is no other, so what a token calls its key does not matter.
    Configured(Arc<Key>),
    /// By `kid`.
    Published(Vec<(Option<String>, Arc<Key>)>),
}

/// The key for a token, as far as a set can tell.
#[derive(Debug)]
pub(super) enum Lookup {
    /// This one, for the algorithm asked for.
    Found(Arc<Key>),
    /// The key is there and not for that algorithm; or the token names none where there are several.
    Unfit,
    /// No key of that name; a newer set may have it.
    Unknown,
}

/// A published key that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredKey {
    /// Its name, where it has one.
    pub kid: Option<String>,
    /// Why.
    pub reason: IgnoredReason,
}

/// Why a published key is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IgnoredReason {
    /// Not one of RSA, EC and OKP with the members they need. Secrets (`oct`) have no place in public.
    #[error("it is no RSA, EC or Ed25519 public key")]
    UnknownType,
    /// It is meant for encryption, or for an algorithm of encryption.
    #[error("it is not for verifying signatures")]
    OtherUse,
    /// RSA with fewer than 2048 or more than 8192 bits.
    #[error("its RSA modulus has not 2048 to 8192 bits")]
    RsaSize,
    /// A curve we do not verify on, or coordinates of the wrong length.
    #[error("it is not on P-256, P-384 or Ed25519")]
    Curve,
    /// Whoever can read the set can sign with it.
    #[error("it is published with its private part")]
    PrivatePart,
}

/// Why a document is no key set.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not RFC 7517 §5.
    #[error("the key set is not a JSON object with an array \"keys\": {0}")]
    Malformed(#[from] serde_json::Error),
    /// More than a hundred.
    #[error("the key set has {0} keys; at most {PUBLISHED_KEYS_MAX} are read")]
    TooMany(usize),
    /// An empty set would refuse everybody.
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

    /// The public key in a PEM file (RFC 7468 §13, or PKCS#1). None for everything else, private keys and
    /// certificates included.
    pub(super) fn from_pem(pem: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(pem).ok()?;
        let public = ["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"];
        if !public.iter().any(|begin| text.contains(begin)) || text.matches("-----BEGIN").count() != 1 {
            return None;
        }
        // RSA last: its reader does not look whether a PKCS#1 file is one of RSA.
        let decoding = DecodingKey::from_ec_pem(pem)
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .or_else(|_| DecodingKey::from_rsa_pem(pem))
            .ok()?;
        // One way in for every public key: what holds for published ones holds for this one.
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

    /// What it may be used for.
    pub(super) fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Did this key make `signature`, in base64, of `signed` with this algorithm?
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

    /// Reads a JSON Web Key Set (RFC 7517 §5). Each key stands for itself: one we cannot use is left out and reported
    /// in [`KeySet::ignored`].
    ///
    /// # Errors
    /// [`KeySetError`] where that leaves no key, or the document is no key set.
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

    /// The published keys that are not used, for the log.
    #[must_use]
    pub fn ignored(&self) -> &[IgnoredKey] {
        &self.ignored
    }

    /// How many keys can be used.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a set without a key is never made")]
    pub fn len(&self) -> usize {
        match &self.keys {
            Keys::Configured(_) => 1,
            Keys::Published(keys) => keys.len(),
        }
    }

    /// The key a token was signed with, by what its header says: the name of the key and the algorithm.
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
