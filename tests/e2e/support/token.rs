//! Tokens of the first service's kind: HS256, signed with the secret it shares with its front end.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

/// `NEXTAUTH_SECRET` of gate and service in every scenario.
pub(crate) const SECRET: &str = "zG7r2mXw9Qe4Tb6Yh1Uj8Kp3Ls5Nv0Cd";

/// Seconds since 1970, now.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Good for an hour, with `user` as its `sub`.
pub(crate) fn token(user: &str) -> String {
    token_for(user, 3600)
}

/// Expires in so many seconds; below zero, it has.
pub(crate) fn token_for(user: &str, seconds: i64) -> String {
    signed(&json!({ "sub": user, "exp": now().saturating_add_signed(seconds) }), SECRET)
}

/// Any claims under any secret.
pub(crate) fn signed(claims: &Value, secret: &str) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// Any header, any claims and any third part.
pub(crate) fn assembled(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}
