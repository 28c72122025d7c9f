//! Verifies tokens: key set, claims, expiry.

mod claims;
pub mod compile;
mod jws;
pub mod key_set;
pub mod refusals;
pub mod shared_keys;
mod strict_json;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::SystemTime};

use http::HeaderName;
use jsonwebtoken::Algorithm;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::refusals::{AuthError, EXPIRED, INVALID, KEYS_UNAVAILABLE, MISSING};
use self::{
    claims::{Claims, Expected, Unfit},
    jws::Jws,
    key_set::{Key, KeySet, Lookup},
    shared_keys::SharedKeys,
};
use super::{identity::Identity, token_source::Token};
use crate::units::{Period, SecretSource};

/// `[auth]`: who may open a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthTable {
    /// Refuse sessions without a valid token. With `true` and no key (one of `secret`, `public_key` and `jwks_url`)
    /// Tidegate does not start.
    pub required: bool,
    /// The shared secret of HS256, HS384 or HS512 tokens: `{ env = "NAME" }` or `{ file = "PATH" }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = SecretSource::Env("NEXTAUTH_SECRET".to_owned()))]
    pub secret: Option<SecretSource>,
    /// Accept a secret shorter than 32 bytes, or one from public examples. For trying things only.
    pub allow_weak_secret: bool,
    /// A PEM file with the public key of RS, PS, ES or EdDSA tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tidegate/public.pem")]
    pub public_key: Option<PathBuf>,
    /// Where the public keys are published as a JSON Web Key Set. `https`, or `http` on loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"https://id.example.com/.well-known/jwks.json")]
    pub jwks_url: Option<String>,
    /// The algorithms accepted, of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA. The
    /// key decides which of them a token may use, never the token.
    pub algorithms: Vec<String>,
    /// The `iss` a token must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"https://id.example.com")]
    pub issuer: Option<String>,
    /// The `aud` a token must have, alone or among others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"tutor")]
    pub audience: Option<String>,
    /// How far the clocks of the issuer and this machine may differ. At most 60s.
    pub leeway: Period,
    /// Where a token may be: `connect:FIELD` (of the `auth` object of a Socket.IO client), `header` (`Authorization:
    /// Bearer …`), `query:NAME`, `cookie:NAME`, `subprotocol` (after an entry `bearer`). One of
    /// them is enough; two different tokens are refused.
    pub token_from: Vec<String>,
    /// The claims that name the user; the first one present counts.
    pub user_claim: Vec<String>,
    /// Request headers for the service, each filled from a claim. The same headers are stripped from what clients send.
    #[schemars(example = BTreeMap::from([("x-user-id", "sub")]))]
    pub forward_claims: BTreeMap<String, String>,
}

impl Default for AuthTable {
    fn default() -> Self {
        Self {
            required: true,
            secret: None,
            allow_weak_secret: false,
            public_key: None,
            jwks_url: None,
            algorithms: vec!["HS256".to_owned()],
            issuer: None,
            audience: None,
            leeway: Period::from_secs(30),
            token_from: vec!["connect:token".to_owned(), "header".to_owned()],
            user_claim: vec!["userId".to_owned(), "sub".to_owned()],
            forward_claims: BTreeMap::new(),
        }
    }
}

/// Verifies tokens as the table says.
#[derive(Debug)]
pub struct Auth {
    required: bool,
    keys: Keys,
    algorithms: Vec<Algorithm>,
    expected: Expected,
    user_claim: Vec<String>,
    forward_claims: Vec<(HeaderName, String)>,
}

/// Where the keys come from.
#[derive(Debug)]
enum Keys {
    /// No key is configured: tokens are not read.
    None,
    /// From the configuration.
    Configured(KeySet),
    /// From the issuer.
    Published(Arc<SharedKeys>),
}

impl Auth {
    /// The identity that a token proves, or the anonymous one where no token is required.
    ///
    /// # Errors
    /// [`MISSING`], [`INVALID`], [`EXPIRED`], [`KEYS_UNAVAILABLE`], or [`AuthError::KeysPending`].
    pub fn authenticate(&self, token: Option<&Token>, now: SystemTime) -> Result<Identity, AuthError> {
        match (token, &self.keys) {
            (None, _) if self.required => Err(MISSING.into()),
            (None, _) | (_, Keys::None) => Ok(Identity::anonymous()),
            (Some(token), _) => self.verify(token, now),
        }
    }

    /// The headers that claims are forwarded in, to be stripped from what clients send.
    pub fn forward_header_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.forward_claims.iter().map(|(name, _)| name)
    }

    fn verify(&self, token: &Token, now: SystemTime) -> Result<Identity, AuthError> {
        let jws = Jws::parse(token.as_str()).ok_or(INVALID)?;
        if !self.algorithms.contains(&jws.algorithm) {
            return Err(INVALID.into());
        }
        let key = self.key(&jws)?;
        let claims = Claims(jws.verified(&key).ok_or(INVALID)?);
        let expires_at = claims.check(&self.expected, now)?;
        let user = claims.user(&self.user_claim)?;
        if self.required && user.is_none() {
            return Err(INVALID.into());
        }
        Ok(Identity::verified(user, expires_at, claims.headers(&self.forward_claims)))
    }

    fn key(&self, jws: &Jws<'_>) -> Result<Arc<Key>, AuthError> {
        let kid = jws.kid.as_deref();
        match &self.keys {
            Keys::Published(shared) => shared.find(kid, jws.algorithm),
            Keys::Configured(set) => match set.find(kid, jws.algorithm) {
                Lookup::Found(key) => Ok(key),
                Lookup::Unfit | Lookup::Unknown => Err(INVALID.into()),
            },
            Keys::None => Err(INVALID.into()),
        }
    }
}

impl From<Unfit> for AuthError {
    fn from(unfit: Unfit) -> Self {
        Self::Refused(match unfit {
            Unfit::Invalid => INVALID,
            Unfit::Expired => EXPIRED,
        })
    }
}

#[cfg(test)]
mod tests;
