//! Parses a token before anything in it is trusted: RFC 7515 compact serialization.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::{key_set::Key, strict_json};
use crate::policy::token_fault::{HeaderMember, TokenFault};

/// The longest key ID (`kid`), in bytes.
const KID_MAX_BYTES: usize = 256;

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
    /// # Errors
    /// The text is not a signed token of a supported kind.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenFault> {
        let parts = || Some((token.rsplit_once('.')?, token.split_once('.')?.0));
        let ((signed, signature), header) = parts().ok_or(TokenFault::Parts)?;
        let claims = signed.strip_prefix(header).and_then(|rest| rest.strip_prefix('.')).ok_or(TokenFault::Parts)?;
        if claims.contains('.') {
            let is_encrypted = claims.bytes().filter(|&byte| byte == b'.').count() == 2;
            return Err(if is_encrypted { TokenFault::Encrypted } else { TokenFault::Parts });
        }
        if header.is_empty() || claims.is_empty() {
            return Err(TokenFault::Parts);
        }
        let (mut algorithm, mut kid) = (None, None);
        for (member, value) in object(header).ok_or(TokenFault::Header)? {
            match (&*member, value) {
                ("crit", _) => return Err(TokenFault::Unsupported(HeaderMember::Crit)),
                ("b64", _) => return Err(TokenFault::Unsupported(HeaderMember::B64)),
                ("zip", _) => return Err(TokenFault::Unsupported(HeaderMember::Zip)),
                ("alg", Value::String(name)) if name == "none" => return Err(TokenFault::Unsigned),
                ("alg", Value::String(name)) => algorithm = name.parse().ok(),
                ("kid", Value::String(name)) if name.len() <= KID_MAX_BYTES => kid = Some(name),
                ("kid", _) => return Err(TokenFault::KeyId),
                _ => {}
            }
        }
        // After the header: a token whose `alg` is `none` has an empty signature (RFC 7519 §6.1), and a reason of its own.
        if signature.is_empty() {
            return Err(TokenFault::Parts);
        }
        let algorithm = algorithm.ok_or(TokenFault::AlgorithmUnknown)?;
        Ok(Self { signed, claims, signature, algorithm, kid })
    }

    /// The claims, if `key` signed them with the token's algorithm.
    ///
    /// # Errors
    /// It did not, or they cannot be read.
    pub(super) fn verified(&self, key: &Key) -> Result<Map<String, Value>, TokenFault> {
        if !key.verifies(self.signature, self.signed, self.algorithm) {
            return Err(TokenFault::Signature);
        }
        object(self.claims).ok_or(TokenFault::Claims)
    }
}

/// Decodes one part of a token, which is a JSON object. Base64 in a form that is not canonical is refused.
fn object(part: &str) -> Option<Map<String, Value>> {
    strict_json::object(&URL_SAFE_NO_PAD.decode(part).ok()?)
}
