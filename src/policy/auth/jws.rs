//! Parses a token before anything in it is trusted: RFC 7515 compact serialization.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::{key_set::Key, strict_json};

/// The longest key ID (`kid`), in bytes.
const KID_MAX_BYTES: usize = 256;
/// Header members that change the meaning of a token and are not supported: critical extensions
/// (RFC 7515 §4.1.11), a payload that is not encoded (RFC 7797), a compressed one (RFC 7516 §4.1.3).
const UNSUPPORTED: [&str; 3] = ["crit", "b64", "zip"];

/// The three parts of a token. Keys and addresses of keys in the header (`jwk`, `jku`, `x5u`, `x5c`) are ignored.
#[derive(Debug)]
pub(super) struct Jws<'a> {
    signed: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// The algorithm that the token names. The key decides whether it is allowed.
    pub(super) algorithm: Algorithm,
    /// The key ID. `None` if the token has none.
    pub(super) kid: Option<String>,
}

impl<'a> Jws<'a> {
    /// `None` for text that is not a signed token of a supported kind.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        if header.is_empty() || claims.is_empty() || signature.is_empty() || claims.contains('.') {
            return None;
        }
        let (mut algorithm, mut kid) = (None, None);
        for (member, value) in object(header)? {
            match (&*member, value) {
                (unsupported, _) if UNSUPPORTED.contains(&unsupported) => return None,
                // `none` does not parse as an algorithm.
                ("alg", Value::String(name)) => algorithm = Some(name.parse().ok()?),
                ("kid", Value::String(name)) if name.len() <= KID_MAX_BYTES => kid = Some(name),
                ("alg" | "kid", _) => return None,
                _ => {}
            }
        }
        Some(Self { signed, claims, signature, algorithm: algorithm?, kid })
    }

    /// The claims, if `key` signed them with the token's algorithm.
    pub(super) fn verified(&self, key: &Key) -> Option<Map<String, Value>> {
        key.verifies(self.signature, self.signed, self.algorithm).then(|| object(self.claims))?
    }
}

/// Decodes one part of a token, which is a JSON object. Base64 in a form that is not canonical is refused.
fn object(part: &str) -> Option<Map<String, Value>> {
    strict_json::object(&URL_SAFE_NO_PAD.decode(part).ok()?)
}
