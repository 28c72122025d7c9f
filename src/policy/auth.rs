//! Is this token good, whose is it, and until when: key set, claims, expiry.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Period, SecretSource};

/// `[auth]`: who may open a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthTable {
    /// Refuse sessions without a valid token. With `true` and no key Tidegate does not start.
    pub required: bool,
    /// The shared secret of HS256, HS384 or HS512 tokens: `{ env = "NAME" }` or `{ file = "PATH" }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSource>,
    /// Accept a secret shorter than 32 bytes. For trying things only.
    pub allow_weak_secret: bool,
    /// A PEM file with the public key of RS256, ES256 or EdDSA tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PathBuf>,
    /// Where the public keys are published as a JSON Web Key Set. `https`, or `http` on loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// The algorithms accepted. The key decides which of them a token may use, never the token.
    pub algorithms: Vec<String>,
    /// The `iss` a token must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The `aud` a token must have, alone or among others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// How far the clocks of the issuer and this machine may differ. At most 60s.
    pub leeway: Period,
    /// Where a token may stand: `connect:FIELD`, `header`, `query:NAME`, `cookie:NAME`, `subprotocol`.
    pub token_from: Vec<String>,
    /// The claims that name the user; the first one present counts.
    pub user_claim: Vec<String>,
    /// Request headers for the service, each filled from a claim. The same headers are stripped from what clients send.
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
