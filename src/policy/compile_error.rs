//! What can be wrong with the policies of a configuration that reads well.

use std::{io, path::PathBuf};

use jsonwebtoken::Algorithm;

use super::pattern::PatternError;
use crate::units::SecretError;

/// Why tables are no policy. Its text names the key and says how to mend it, and shows no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// Nobody could ever be let in.
    #[error(
        "auth.required is true, and there is no key; set auth.secret, auth.public_key or auth.jwks_url, or auth.required = false to let everyone in"
    )]
    NoKey,
    /// Which of them counts?
    #[error("auth has more than one key; keep one of secret, public_key and jwks_url")]
    ManyKeys,
    /// The secret cannot be had.
    #[error("auth.secret: {0}")]
    Secret(#[source] SecretError),
    /// A secret that can be guessed.
    #[error(
        "auth.secret has {0} bytes; it needs at least {min}, for example from \"openssl rand -base64 48\" (or set auth.allow_weak_secret = true to try things)",
        min = super::auth::SECRET_MIN_BYTES
    )]
    WeakSecret(usize),
    /// Anybody can look it up.
    #[error(
        "auth.secret is one that stands in public examples; make one of your own, for example with \"openssl rand -base64 48\" (or set auth.allow_weak_secret = true to try things)"
    )]
    ExampleSecret,
    /// The file cannot be read.
    #[error("auth.public_key: {} cannot be read: {error}", path.display())]
    PublicKeyUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The file has no key that we know.
    #[error(
        "auth.public_key: {} is not a public key in PEM form (\"-----BEGIN PUBLIC KEY-----\") of RSA with 2048 to 8192 bits, P-256, P-384 or Ed25519; make one with \"openssl pkey -in KEY -pubout\" or \"openssl x509 -in CERTIFICATE -pubkey -noout\"",
        path.display()
    )]
    PublicKeyUnknown {
        /// The file.
        path: PathBuf,
    },
    /// Keys must not be fetched where others can write on the way.
    #[error("auth.jwks_url is \"{0}\"; it has to be https://, or http:// on loopback, with a host")]
    KeyServer(String),
    /// No algorithm at all.
    #[error("auth.algorithms is empty; name one, for example \"HS256\"")]
    NoAlgorithm,
    /// A name that is no algorithm we know, `none` among them.
    #[error(
        "auth.algorithms has \"{0}\", which is not one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA"
    )]
    UnknownAlgorithm(String),
    /// The key cannot be used so.
    #[error("auth.algorithms has {algorithm:?}, but {key} can only be used for {usable:?}")]
    WrongAlgorithm {
        /// What is configured.
        algorithm: Algorithm,
        /// Which setting the key comes from.
        key: &'static str,
        /// What the key can be used for.
        usable: Vec<Algorithm>,
    },
    /// More would accept tokens long dead.
    #[error("auth.leeway is {0} s; it is at most 60 s")]
    Leeway(u64),
    /// With `auth.required` somebody has to be named.
    #[error("auth.user_claim is empty; name the claims that hold the user, for example [\"sub\"]")]
    NoUserClaim,
    /// No place we know.
    #[error(
        "auth.token_from[{at}] is \"{text}\"; write \"connect:FIELD\", \"header\", \"query:NAME\", \"cookie:NAME\" or \"subprotocol\", names of letters, digits, '_', '-' and '.'"
    )]
    TokenSource {
        /// Its place in the list.
        at: usize,
        /// What stands there.
        text: String,
    },
    /// Not a header, or one that claims must not fill.
    #[error("auth.forward_claims has \"{0}\"; it has to be a header name of its own, for example \"x-user-id\"")]
    ForwardHeader(String),
    /// Not what browsers send.
    #[error("origins.allow[{at}] is \"{text}\"; write scheme://host or scheme://host:port without a path, or \"*\"")]
    Origin {
        /// Its place in the list.
        at: usize,
        /// What stands there.
        text: String,
    },
    /// Namespaces begin with a slash.
    #[error("socketio.namespaces[{at}] is \"{text}\"; a namespace begins with \"/\", or write \"*\"")]
    Namespace {
        /// Its place in the list.
        at: usize,
        /// What stands there.
        text: String,
    },
    /// A pattern is none.
    #[error("{key} {error}")]
    Pattern {
        /// The key, with its place in the list.
        key: String,
        /// Why.
        #[source]
        error: PatternError,
    },
    /// More rules than a packet is judged by.
    #[error("there are {count} [[rate_limit]] tables; at most {max} are allowed")]
    TooManyRules {
        /// So many.
        count: usize,
        /// So many would do.
        max: usize,
    },
    /// The rule counts nothing.
    #[error("rate_limit[{0}].events is empty; name events, or write [\"*\"], or remove the table")]
    RuleWithoutEvents(usize),
    /// The rule admits nothing, or everything.
    #[error("rate_limit[{rule}].messages is {messages}; it is 1 to {max}", max = super::rate_limit::MESSAGES_MAX)]
    RuleMessages {
        /// Which table.
        rule: usize,
        /// What it says.
        messages: u32,
    },
    /// The rule's window is no window.
    #[error("rate_limit[{0}].per has to be between 1ms and 1d")]
    RulePer(usize),
}

impl CompileError {
    /// The key that is wrong, as a path into the configuration: `rate_limit[0].per`. A file's line is found by it.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::NoKey => "auth.required".to_owned(),
            Self::ManyKeys => "auth".to_owned(),
            Self::Secret(_) | Self::WeakSecret(_) | Self::ExampleSecret => "auth.secret".to_owned(),
            Self::PublicKeyUnreadable { .. } | Self::PublicKeyUnknown { .. } => "auth.public_key".to_owned(),
            Self::KeyServer(_) => "auth.jwks_url".to_owned(),
            Self::NoAlgorithm | Self::UnknownAlgorithm(_) | Self::WrongAlgorithm { .. } => "auth.algorithms".to_owned(),
            Self::Leeway(_) => "auth.leeway".to_owned(),
            Self::NoUserClaim => "auth.user_claim".to_owned(),
            Self::TokenSource { at, .. } => format!("auth.token_from[{at}]"),
            Self::ForwardHeader(_) => "auth.forward_claims".to_owned(),
            Self::Origin { at, .. } => format!("origins.allow[{at}]"),
            Self::Namespace { at, .. } => format!("socketio.namespaces[{at}]"),
            Self::Pattern { key, .. } => key.clone(),
            Self::TooManyRules { .. } => "rate_limit".to_owned(),
            Self::RuleWithoutEvents(rule) => format!("rate_limit[{rule}].events"),
            Self::RuleMessages { rule, .. } => format!("rate_limit[{rule}].messages"),
            Self::RulePer(rule) => format!("rate_limit[{rule}].per"),
        }
    }
}
