//! Seals what is secret before it goes to Redis: AES-256-GCM under a key of `cluster.secret`.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Salt},
};

use crate::{
    fault::Fault,
    units::{Secret, SecretSource},
};

/// As `auth.secret`: no shorter than the hash.
const SECRET_MIN_BYTES: usize = 32;

/// What stands before everything that is sealed: other versions have other keys.
const VERSION: u8 = 1;

/// Tells these keys from others that are made of the same secret.
const SALT: &[u8] = b"tidegate cluster";

/// Makes keys, each for one purpose.
#[derive(Clone)]
pub struct ClusterSecret(Secret);

/// Seals and opens for one purpose.
pub struct Seal(RandomizedNonceKey);

/// What was to be opened is not ours, was changed, or stands under another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was sealed with another cluster.secret, or changed since")]
pub struct Broken;

struct KeyLen;

impl KeyType for KeyLen {
    fn len(&self) -> usize {
        AES_256_GCM.key_len()
    }
}

impl ClusterSecret {
    /// Reads `cluster.secret`.
    ///
    /// # Errors
    /// It cannot be read, or is too short.
    pub fn read(source: &SecretSource) -> Result<Self, Fault> {
        let fault = |message: String| Fault::new("cluster.secret", message);
        let secret = source.read().map_err(|error| Fault::unread("cluster.secret", error.to_string()))?;
        let length = secret.expose().len();
        if length < SECRET_MIN_BYTES {
            let message = format!(
                "has {length} bytes; make one of at least {SECRET_MIN_BYTES}, for example with \"openssl rand -base64 48\", \
                 the same for all nodes"
            );
            return Err(fault(message));
        }
        Ok(Self(secret))
    }

    /// For what is sealed in this place, `acme` of a cluster's keys for example.
    ///
    /// # Errors
    /// The library has no key, which does not happen.
    pub fn seal(&self, purpose: &str) -> Result<Seal, Broken> {
        let derived = Salt::new(HKDF_SHA256, SALT).extract(self.0.expose());
        let mut key = [0; 32];
        let made = derived.expand(&[purpose.as_bytes()], KeyLen).and_then(|derived| derived.fill(&mut key));
        let sealing = made.and_then(|()| RandomizedNonceKey::new(&AES_256_GCM, &key));
        zeroize::Zeroize::zeroize(&mut key);
        Ok(Seal(sealing?))
    }
}

impl Seal {
    /// Version, nonce, and the content with its tag. `name` is what it can be opened under.
    ///
    /// # Errors
    /// There is no randomness, or too much content.
    pub fn close(&self, name: &str, content: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut sealed = content.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed)?;
        let mut all = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        all.push(VERSION);
        all.extend_from_slice(nonce.as_ref());
        all.append(&mut sealed);
        Ok(all)
    }

    /// What was [closed](Self::close) under this name.
    ///
    /// # Errors
    /// It was not.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, Broken> {
        let (version, rest) = sealed.split_first().ok_or(Broken)?;
        let (nonce, content) = rest.split_at_checked(NONCE_LEN).filter(|_| *version == VERSION).ok_or(Broken)?;
        let mut content = content.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce)?;
        let length = self.0.open_in_place(nonce, Aad::from(name.as_bytes()), &mut content)?.len();
        content.truncate(length);
        Ok(content)
    }
}

impl From<Unspecified> for Broken {
    fn from(Unspecified: Unspecified) -> Self {
        Self
    }
}

/// A secret is not shown.
impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSecret").finish_non_exhaustive()
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::NamedTempFile;

    use super::*;

    fn secret(text: &str) -> Result<ClusterSecret, Fault> {
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        ClusterSecret::read(&SecretSource::File(file.path().to_owned()))
    }

    #[test]
    fn what_is_sealed_is_opened_under_its_name_with_the_same_secret_alone() {
        let ours = secret(&"s".repeat(32)).unwrap();
        let (seal, again) = (ours.seal("acme").unwrap(), ours.seal("acme").unwrap());
        let sealed = seal.close("a.pem", b"a private key").unwrap();
        assert_eq!(again.open("a.pem", &sealed).unwrap(), b"a private key");
        assert!(!sealed.windows(7).any(|part| part == b"private"));
        assert_ne!(seal.close("a.pem", b"a private key").unwrap(), sealed, "no nonce is used twice");
        let other = secret(&"t".repeat(32)).unwrap().seal("acme").unwrap();
        for (seal, name) in [(&again, "b.pem"), (&other, "a.pem"), (&ours.seal("snapshots").unwrap(), "a.pem")] {
            assert_eq!(seal.open(name, &sealed), Err(Broken), "{name}");
        }
        for cut in 0..sealed.len() {
            assert_eq!(again.open("a.pem", &sealed[..cut]), Err(Broken));
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(again.open("a.pem", &changed), Err(Broken), "byte {at}");
        }
        assert_eq!(seal.open("e", &seal.close("e", b"").unwrap()).unwrap(), b"");
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        let fault = secret(&"s".repeat(31)).unwrap_err();
        assert!(fault.message.contains("has 31 bytes") && fault.message.contains("openssl"), "{fault}");
    }
}
