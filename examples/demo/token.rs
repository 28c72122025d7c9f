//! The secret the service and Tidegate share, and the tokens signed with it.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use tempfile::NamedTempFile;

/// How long a token of the demo is valid.
pub(crate) const VALID_FOR: Duration = Duration::from_secs(60 * 60);
/// As long as the output of SHA-256, as RFC 7518 §3.2 asks for HS256.
const SECRET_BYTES: usize = 32;

/// A random HS256 secret. It exists as long as this process.
#[derive(Clone)]
pub(crate) struct Secret(String);

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
}

impl Secret {
    /// A new secret from the operating system's random numbers.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// A token for this learner, valid for an hour from now.
    pub(crate) fn token_for(&self, learner: &str) -> Result<String, jsonwebtoken::errors::Error> {
        let until = SystemTime::now() + VALID_FOR;
        let exp = until.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let key = EncodingKey::from_secret(self.0.as_bytes());
        jsonwebtoken::encode(&Header::default(), &Claims { sub: learner, exp }, &key)
    }

    /// A file that only this user can read, for `[auth] secret = { file = "…" }`. It is removed when dropped.
    pub(crate) fn to_file(&self) -> std::io::Result<NamedTempFile> {
        let mut file = NamedTempFile::with_prefix("tidegate-demo-")?;
        file.write_all(self.0.as_bytes())?;
        Ok(file)
    }
}
