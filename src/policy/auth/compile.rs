//! From the table to what verifies: reads the key, and refuses a configuration that would let the wrong ones in.

use std::{fs, net::IpAddr, sync::Arc, time::Duration};

use http::{HeaderName, Uri};
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use zeroize::Zeroizing;

use super::{
    Auth, AuthTable, Expected, Keys,
    key_set::{Key, KeySet},
    shared_keys::SharedKeys,
};
use crate::policy::{compile_error::CompileError, identity::can_name_client};

/// RFC 7518 §3.2: a shared secret is at least as long as the hash, which is 32 bytes for HS256.
pub const SECRET_MIN_BYTES: usize = 32;
/// Out of secrets that documentation and generators of projects show, and that are copied: Supabase's, those of jwt.io,
/// those of countless files `.env.example`. Lower case, with hyphens for what is no letter or digit.
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
/// The largest difference between two clocks that a leeway may cover.
const LEEWAY_MAX: Duration = Duration::from_secs(60);
impl Auth {
    /// Reads the key from where the table says. `published` are the keys of `auth.jwks_url`, fetched or not yet.
    ///
    /// # Errors
    /// [`CompileError`]: a key that is missing, unreadable, too weak or unfit for the algorithms; a value out of
    /// bounds.
    pub fn compile(table: &AuthTable, published: &Arc<SharedKeys>) -> Result<Self, CompileError> {
        let algorithms = algorithms(table)?;
        let keys = keys(table, &algorithms, published)?;
        if table.required && matches!(keys, Keys::None) {
            return Err(CompileError::NoKey);
        }
        if table.leeway.0 > LEEWAY_MAX {
            return Err(CompileError::Leeway(table.leeway.0.as_secs()));
        }
        if table.required && table.user_claim.is_empty() {
            return Err(CompileError::NoUserClaim);
        }
        Ok(Self {
            required: table.required,
            keys,
            algorithms,
            expected: Expected {
                issuer: table.issuer.clone(),
                audience: table.audience.clone(),
                leeway: table.leeway.0,
            },
            user_claim: table.user_claim.clone(),
            forward_claims: forward_claims(table)?,
        })
    }
}

/// The address of `auth.jwks_url`: `https`, or `http` where nobody else is on the way.
///
/// # Errors
/// [`CompileError::KeyServer`] for any other.
pub fn key_server(url: &str) -> Result<Uri, CompileError> {
    let wrong = || CompileError::KeyServer(url.to_owned());
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

fn algorithms(table: &AuthTable) -> Result<Vec<Algorithm>, CompileError> {
    if table.algorithms.is_empty() {
        return Err(CompileError::NoAlgorithm);
    }
    let known = |name: &String| name.parse().map_err(|_| CompileError::UnknownAlgorithm(name.clone()));
    table.algorithms.iter().map(known).collect()
}

fn keys(table: &AuthTable, algorithms: &[Algorithm], published: &Arc<SharedKeys>) -> Result<Keys, CompileError> {
    let configured = |key: Key, setting| {
        fit(algorithms, key.algorithms(), setting)?;
        Ok(Keys::Configured(KeySet::configured(key)))
    };
    match (&table.secret, &table.public_key, &table.jwks_url) {
        (None, None, None) => Ok(Keys::None),
        (Some(source), None, None) => {
            let secret = source.read().map_err(CompileError::Secret)?;
            let length = secret.expose().len();
            if length < SECRET_MIN_BYTES && !table.allow_weak_secret {
                return Err(CompileError::WeakSecret(length));
            }
            if is_from_an_example(secret.expose()) && !table.allow_weak_secret {
                return Err(CompileError::ExampleSecret);
            }
            configured(Key::secret(secret.expose()), "auth.secret")
        }
        (None, Some(path), None) => {
            let unreadable = |error| CompileError::PublicKeyUnreadable { path: path.clone(), error };
            let pem = fs::read(path).map_err(unreadable)?;
            let key = Key::from_pem(&pem).ok_or_else(|| CompileError::PublicKeyUnknown { path: path.clone() })?;
            configured(key, "auth.public_key")
        }
        (None, None, Some(url)) => {
            key_server(url)?;
            let public = [AlgorithmFamily::Rsa, AlgorithmFamily::Ec, AlgorithmFamily::Ed];
            let usable: Vec<_> = public.iter().flat_map(|family| family.algorithms()).copied().collect();
            fit(algorithms, &usable, "auth.jwks_url")?;
            Ok(Keys::Published(Arc::clone(published)))
        }
        _ => Err(CompileError::ManyKeys),
    }
}

fn is_from_an_example(secret: &[u8]) -> bool {
    let plain = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    let plain: Zeroizing<Vec<u8>> = Zeroizing::new(secret.iter().map(plain).collect());
    EXAMPLE_PHRASES.iter().any(|phrase| memchr::memmem::find(&plain, phrase.as_bytes()).is_some())
}

/// An algorithm the key has no use for is a misunderstanding, and HS beside a public key is an open door.
fn fit(configured: &[Algorithm], usable: &[Algorithm], key: &'static str) -> Result<(), CompileError> {
    match configured.iter().find(|algorithm| !usable.contains(algorithm)) {
        None => Ok(()),
        Some(&algorithm) => Err(CompileError::WrongAlgorithm { algorithm, key, usable: usable.to_vec() }),
    }
}

fn forward_claims(table: &AuthTable) -> Result<Vec<(HeaderName, String)>, CompileError> {
    let mut headers = Vec::<(HeaderName, String)>::new();
    for (text, claim) in &table.forward_claims {
        let wrong = || CompileError::ForwardHeader(text.clone());
        let name: HeaderName = text.parse().map_err(|_| wrong())?;
        if !can_name_client(&name) || headers.iter().any(|(earlier, _)| *earlier == name) {
            return Err(wrong());
        }
        headers.push((name, claim.clone()));
    }
    Ok(headers)
}
