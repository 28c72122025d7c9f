//! Verifies tokens: key set, claims, expiry.

mod claims;
pub mod compile;
mod jws;
pub mod key_set;
pub mod refusals;
pub mod revoked;
pub mod shared_keys;
pub mod shared_revoked;
mod strict_json;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::SystemTime};

use http::HeaderName;
use jsonwebtoken::Algorithm;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::claims::USER_MAX_BYTES;
pub use self::refusals::{AuthError, EXPIRED, INVALID, KEYS_UNAVAILABLE, KEYS_WITHIN, MISSING, OTHER_USER, REVOKED};
use self::{
    claims::{Claims, Expected},
    jws::Jws,
    key_set::{Key, KeySet, Lookup},
    revoked::Revoked,
    shared_keys::SharedKeys,
    shared_revoked::SharedRevoked,
};
use super::{
    identity::{CertifiedUser, Identity},
    namespaces::Namespaces,
    token_fault::TokenFault,
    token_source::Token,
    verdict::Refusal,
};
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
    /// Bearer …`), `query:NAME`, `cookie:NAME`, `subprotocol` (after an entry `bearer`, or as `tidegate.bearer.TOKEN`). One of
    /// them is enough. Two different tokens in one request are refused; one in CONNECT may differ from that of the request if
    /// both are of one user. `Bearer ` may stand before a token. Without a key nothing is looked at, and the service judges
    /// alone.
    pub token_from: Vec<String>,
    /// Whether a token in the query is passed on to a service that reads it there. Otherwise it is removed from the URL,
    /// because URLs are logged.
    pub keep_query_token: bool,
    /// The namespaces for which no token is required: those with a login of their own, the admin UI of Socket.IO for example. A
    /// token that is sent must be valid there too. Names, or patterns with `*`.
    #[schemars(example = &["/admin"])]
    pub optional_namespaces: Vec<String>,
    /// Whether the namespaces of one connection may belong to several users, each by a token in its CONNECT: `"one"` or
    /// `"many"`. With `"one"` a guest, who has no token, may still become a user. Request headers name only the first one to
    /// the service.
    pub users_per_connection: UsersPerConnection,
    /// The claims that name the user; the first one present counts.
    pub user_claim: Vec<String>,
    /// Request headers for the service, each filled from a claim. The same headers are stripped from what clients send.
    #[schemars(example = BTreeMap::from([("x-user-id", "sub")]))]
    pub forward_claims: BTreeMap<String, String>,
    /// Whether tokens can be revoked before they expire: by `tidegate revoke`, by a POST to `/revoke` of `[admin]`, which both
    /// need `admin.token`, and with `[redis]` by every program that can write there.
    pub revoke: bool,
}

/// How many users the namespaces of one connection may belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsersPerConnection {
    /// One, who may have begun as a guest.
    One,
    /// Any number.
    Many,
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
            keep_query_token: false,
            optional_namespaces: Vec::new(),
            users_per_connection: UsersPerConnection::One,
            user_claim: vec!["userId".to_owned(), "sub".to_owned()],
            forward_claims: BTreeMap::new(),
            revoke: false,
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
    /// Claims that rules name.
    kept_claims: Vec<Arc<str>>,
    optional: Namespaces,
    users: UsersPerConnection,
    revocable: bool,
    revoked: Arc<SharedRevoked>,
}

/// What a client shows of who it is, beside its certificate.
#[derive(Debug, Clone, Copy)]
pub enum Credential<'a> {
    /// A token. `None`: it has none.
    Token(Option<&'a Token>),
    /// No token, where it asks for this namespace.
    NoneFor(&'a str),
}

/// Where the keys come from.
#[derive(Debug)]
enum Keys {
    /// No key is configured: tokens are not looked for.
    None,
    /// From the configuration.
    Configured(KeySet),
    /// From the issuer.
    Published(Arc<SharedKeys>),
}

impl Auth {
    /// The same, where identities keep these claims.
    #[must_use]
    pub fn keeping(self, claims: impl Iterator<Item = Arc<str>>) -> Self {
        Self { kept_claims: claims.collect(), ..self }
    }

    /// Who a client is: by its token, else by its certificate, else an anonymous one where that is admitted.
    ///
    /// # Errors
    /// [`MISSING`], [`INVALID`], [`EXPIRED`], [`REVOKED`], [`KEYS_UNAVAILABLE`], or [`AuthError::KeysPending`].
    pub fn identify(
        &self,
        credential: Credential<'_>,
        certified: Option<&CertifiedUser>,
        now: SystemTime,
    ) -> Result<Identity, AuthError> {
        let identity = match credential {
            Credential::Token(token) => self.authenticate(token, now)?,
            Credential::NoneFor(namespace) => self.without_token(namespace)?,
        };
        Ok(self.unless_revoked(identity.or_certified(certified), now)?)
    }

    fn authenticate(&self, token: Option<&Token>, now: SystemTime) -> Result<Identity, AuthError> {
        match (token, &self.keys) {
            (None, _) if self.required => Err(TokenFault::Missing.into()),
            (None, _) | (_, Keys::None) => Ok(Identity::anonymous()),
            (Some(token), _) => self.verify(token, now),
        }
    }

    fn without_token(&self, namespace: &str) -> Result<Identity, Refusal> {
        if self.required && !self.is_optional(namespace) {
            Err(TokenFault::Missing.into())
        } else {
            Ok(Identity::anonymous())
        }
    }

    /// Whether this namespace has a login of its own, so that it requires no token.
    #[must_use]
    pub fn is_optional(&self, namespace: &str) -> bool {
        self.optional.admits(namespace)
    }

    /// Whether the namespaces of one connection may belong to several users.
    #[must_use]
    pub const fn admits_many_users(&self) -> bool {
        matches!(self.users, UsersPerConnection::Many)
    }

    /// Whether there is a key to verify tokens with, or will be one.
    #[must_use]
    pub const fn has_key(&self) -> bool {
        !matches!(self.keys, Keys::None)
    }

    /// The same, with the tokens that are revoked.
    #[must_use]
    pub fn refusing(self, revoked: Arc<SharedRevoked>) -> Self {
        Self { revoked, ..self }
    }

    /// What is revoked.
    #[must_use]
    pub fn revoked(&self) -> Arc<Revoked> {
        self.revoked.current()
    }

    /// An identity of before, unless it has been revoked.
    ///
    /// # Errors
    /// [`REVOKED`].
    pub fn unless_revoked(&self, identity: Identity, now: SystemTime) -> Result<Identity, Refusal> {
        if self.revoked().has(&identity, now) { Err(TokenFault::Revoked.into()) } else { Ok(identity) }
    }

    /// The headers that claims are forwarded in, to be stripped from what clients send.
    pub fn forward_header_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.forward_claims.iter().map(|(name, _)| name)
    }

    fn verify(&self, token: &Token, now: SystemTime) -> Result<Identity, AuthError> {
        let jws = Jws::parse(token.as_str())?;
        if !self.algorithms.contains(&jws.algorithm) {
            return Err(TokenFault::Algorithm(jws.algorithm).into());
        }
        let key = self.key(&jws)?;
        let claims = Claims(jws.verified(&key)?);
        let expires_at = claims.check(&self.expected, now)?;
        let user = claims.user(&self.user_claim)?;
        if self.required && user.is_none() {
            return Err(TokenFault::NoUser.into());
        }
        let details = claims.details(&self.forward_claims, &self.kept_claims, self.revocable)?;
        Ok(Identity::verified(user, expires_at, details))
    }

    fn key(&self, jws: &Jws<'_>) -> Result<Arc<Key>, AuthError> {
        let kid = jws.kid.as_deref();
        match &self.keys {
            Keys::Published(shared) => shared.find(kid, jws.algorithm),
            Keys::Configured(set) => match set.find(kid, jws.algorithm) {
                Lookup::Found(key) => Ok(key),
                Lookup::Unfit | Lookup::Unknown => Err(TokenFault::Key(jws.algorithm).into()),
            },
            Keys::None => Err(TokenFault::Key(jws.algorithm).into()),
        }
    }
}

#[cfg(test)]
mod tests;
