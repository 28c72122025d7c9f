//! Compiles `[auth]`: reads the key, and refuses a configuration that would accept forged tokens.

use std::{fs, net::IpAddr, path::Path, sync::Arc, time::Duration};

use http::Uri;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use zeroize::Zeroizing;

use super::{
    Auth, AuthTable, Keys,
    claims::Expected,
    key_set::{Key, KeySet},
    shared_keys::SharedKeys,
};
use crate::{
    fault::{Fault, Faults},
    policy::{identity::client_headers, namespaces::Namespaces},
    units::{self, Period, Secret, SecretSource},
};

/// RFC 7518 §3.2: a shared secret is at least as long as the hash, which is 32 bytes for HS256.
const SECRET_MIN_BYTES: usize = 32;
/// Parts of secrets that documentation and project generators show, and that get copied: from Supabase, jwt.io and
/// countless files `.env.example`. In lower case, with a hyphen for each character that is no letter or digit.
const EXAMPLE_PHRASES: [&str; 8] = [
    "change-in-production",
    "change-this-in-production",
    "change-this-to-a",
    "replace-with-a",
    "your-super-secret",
    "string-secret-at-least-256-bits-long",
    "valid-string-secret-that-is-at-least",
    "jwt-token-with-at-least-32-characters",
];
/// The fix for a secret that can be guessed.
const BETTER_SECRET: &str =
    "for example with \"openssl rand -base64 48\" (or set auth.allow_weak_secret = true to try things)";
/// The largest difference between two clocks that a leeway may cover.
const LEEWAY_MAX: Duration = Duration::from_secs(60);

impl Auth {
    /// Reads the key that the table names. `published` holds the keys of `auth.jwks_url`, fetched or not yet.
    ///
    /// # Errors
    /// A key that is missing, unreadable, too weak or unfit for the algorithms; each value out of bounds.
    pub fn compile(table: &AuthTable, published: &Arc<SharedKeys>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let algorithms = faults.keep(algorithms(table));
        // Where they cannot be read, a key is checked without them.
        let usable = algorithms.as_deref().unwrap_or_default();
        let keys = keys(table, usable, published);
        let is_unread = keys.as_ref().is_err_and(|fault| fault.is_unread);
        let keys = faults.keep(keys);
        if is_unread {
            // What no key of its kind is for is told without it.
            faults.keep(match &table.secret {
                Some(_) => fit(usable, AlgorithmFamily::Hmac.algorithms(), "auth.secret"),
                None => fit(usable, &of_public_keys(), "auth.public_key"),
            });
        }
        bounds(table, &mut faults);
        let optional = faults.keep(Namespaces::compile("auth.optional_namespaces", &table.optional_namespaces));
        let forward_claims = faults.keep(client_headers("auth.forward_claims", &table.forward_claims));
        let auth = || {
            Some(Self {
                required: table.required,
                keys: keys?,
                algorithms: algorithms?,
                expected: Expected {
                    issuer: table.issuer.clone(),
                    audience: table.audience.clone(),
                    leeway: table.leeway.0,
                },
                user_claim: table.user_claim.clone(),
                forward_claims: forward_claims?,
                kept_claims: Vec::new(),
                optional: optional?,
                users: table.users_per_connection,
                revocable: table.revoke,
                revoked: Arc::default(),
            })
        };
        faults.finish(auth())
    }
}

/// Reads the secret that tokens are signed with, and refuses one that can be guessed unless `allow_weak`.
///
/// # Errors
/// The secret is missing, too short, or from public examples.
pub fn shared_secret(source: &SecretSource, allow_weak: bool) -> Result<Secret, Fault> {
    let fault = |message: String| Fault::new("auth.secret", message);
    let secret = source.read().map_err(|error| Fault::unread("auth.secret", error.to_string()))?;
    let length = secret.expose().len();
    if length < SECRET_MIN_BYTES && !allow_weak {
        return Err(fault(format!("has {length} bytes; make one of at least {SECRET_MIN_BYTES}, {BETTER_SECRET}")));
    }
    if is_from_an_example(secret.expose()) && !allow_weak {
        return Err(fault(format!("is a secret from public examples; make one of your own, {BETTER_SECRET}")));
    }
    Ok(secret)
}

/// The address of `auth.jwks_url`: `https`, or `http` on loopback.
///
/// # Errors
/// Any other URL.
pub fn key_server(url: &str) -> Result<Uri, Fault> {
    let wrong = || {
        let message = format!("is {url:?}; it must be https://, or http:// on loopback, with a host");
        Fault::new("auth.jwks_url", message)
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    let credentials = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    match uri.scheme_str() {
        _ if host.is_empty() || credentials => Err(wrong()),
        Some("https") => Ok(uri),
        Some("http") if loopback => Ok(uri),
        _ => Err(wrong()),
    }
}

fn bounds(table: &AuthTable, faults: &mut Faults) {
    if table.leeway.0 > LEEWAY_MAX {
        let message = format!("is {:?}; it must be at most {}", table.leeway.to_string(), Period(LEEWAY_MAX));
        faults.add("auth.leeway", message);
    }
    if table.revoke && !has_key(table) {
        let message =
            "has no effect: no key verifies tokens; give one of secret, public_key and jwks_url, or remove this key";
        faults.add("auth.revoke", message);
    }
    if table.required && table.user_claim.is_empty() {
        let message = "is empty; name the claims that hold the user, for example [\"sub\"]";
        faults.add("auth.user_claim", message);
    }
    if table.required && table.token_from.is_empty() {
        let message = "is empty; name where a token is, for example [\"connect:token\"]";
        faults.add("auth.token_from", message);
    }
}

const fn has_key(table: &AuthTable) -> bool {
    table.secret.is_some() || table.public_key.is_some() || table.jwks_url.is_some()
}

fn algorithms(table: &AuthTable) -> Result<Vec<Algorithm>, Vec<Fault>> {
    if table.algorithms.is_empty() {
        return Err(Fault::new("auth.algorithms", "is empty; name one, for example \"HS256\"").into());
    }
    let known = |(at, name): (usize, &String)| {
        name.parse().map_err(|_| {
            let message = format!(
                "is {name:?}; it must be one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, \
                 ES384, EdDSA"
            );
            Fault::new(format!("auth.algorithms[{at}]"), message)
        })
    };
    let mut faults = Faults::default();
    let known = faults.keep_all(table.algorithms.iter().enumerate().map(known));
    faults.finish(known)
}

fn keys(table: &AuthTable, algorithms: &[Algorithm], published: &Arc<SharedKeys>) -> Result<Keys, Fault> {
    let configured = |key: Key, setting| {
        fit(algorithms, key.algorithms(), setting)?;
        Ok(Keys::Configured(KeySet::configured(key)))
    };
    let two = |second: &str, first: &str| {
        Err(Fault::new(second, format!("is given together with {first}; give one of them")))
    };
    match (&table.secret, &table.public_key, &table.jwks_url) {
        (None, None, None) if table.required => {
            let message = "is true, but there is no key that verifies tokens; below [auth] write secret = { env = \"NAME\" }, \
                           public_key = \"FILE\" or jwks_url = \"URL\", or write required = false to accept every client";
            Err(Fault::new("auth.required", message))
        }
        (None, None, None) => Ok(Keys::None),
        (Some(source), None, None) => {
            configured(Key::secret(shared_secret(source, table.allow_weak_secret)?.expose()), "auth.secret")
        }
        (None, Some(path), None) => configured(public_key(path)?, "auth.public_key"),
        (None, None, Some(url)) => {
            key_server(url)?;
            fit(algorithms, &of_public_keys(), "auth.jwks_url")?;
            Ok(Keys::Published(Arc::clone(published)))
        }
        (Some(_), Some(_), _) => two("auth.public_key", "auth.secret"),
        (Some(_), None, Some(_)) => two("auth.jwks_url", "auth.secret"),
        (None, Some(_), Some(_)) => two("auth.jwks_url", "auth.public_key"),
    }
}

fn of_public_keys() -> Vec<Algorithm> {
    let families = [AlgorithmFamily::Rsa, AlgorithmFamily::Ec, AlgorithmFamily::Ed];
    families.iter().flat_map(|family| family.algorithms()).copied().collect()
}

/// Reads the public key that tokens are verified with.
fn public_key(path: &Path) -> Result<Key, Fault> {
    if units::is_pem(path) {
        return Err(Fault::new("auth.public_key", "is the key itself; write it to a file, and name that file"));
    }
    let fault = |what: String| Fault::new("auth.public_key", format!("{} {what}", path.display()));
    let unread = |error| Fault { is_unread: true, ..fault(format!("cannot be read: {error}")) };
    let pem = fs::read(path).map_err(unread)?;
    let no_key = || {
        fault(
            "is not a public key in PEM form (\"-----BEGIN PUBLIC KEY-----\") of RSA with 2048 to 8192 bits, P-256, P-384 or \
             Ed25519; make one with \"openssl pkey -in KEY -pubout\" or \"openssl x509 -in CERTIFICATE -pubkey -noout\""
                .to_owned(),
        )
    };
    Key::from_pem(&pem).ok_or_else(no_key)
}

/// The algorithms that a public key in a file can be used for, by name.
///
/// # Errors
/// There is none in it.
pub fn public_key_algorithms(path: &Path) -> Result<Vec<String>, Fault> {
    Ok(public_key(path)?.algorithms().iter().map(|algorithm| format!("{algorithm:?}")).collect())
}

fn is_from_an_example(secret: &[u8]) -> bool {
    let plain = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    let plain: Zeroizing<Vec<u8>> = Zeroizing::new(secret.iter().map(plain).collect());
    EXAMPLE_PHRASES.iter().any(|phrase| memchr::memmem::find(&plain, phrase.as_bytes()).is_some())
}

/// An algorithm that the key cannot be used for is a mistake; with HS and a public key, any client could sign tokens.
fn fit(configured: &[Algorithm], usable: &[Algorithm], key: &str) -> Result<(), Fault> {
    match configured.iter().enumerate().find(|(_, algorithm)| !usable.contains(algorithm)) {
        None => Ok(()),
        Some((at, algorithm)) => {
            let message = format!("is {:?}, but {key} can only be used for {usable:?}", format!("{algorithm:?}"));
            Err(Fault::new(format!("auth.algorithms[{at}]"), message))
        }
    }
}
