//! Checks the claims of a verified token: presence, type and value.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

/// 2100-01-01. A later `exp` is a mistake or an attack: milliseconds for seconds, or "never".
const YEAR_2100_SECS: f64 = 4_102_444_800.0;
/// The longest user name, in bytes: it is stored with the session and in the map of limits per user.
const USER_MAX_BYTES: usize = 256;

/// What every token must have.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    /// How far the issuer's clock may be from ours.
    pub(super) leeway: Duration,
}

/// Why claims are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// A required claim is missing, of the wrong type, or has another value.
    Invalid,
    /// The token has expired; everything else is valid.
    Expired,
}

/// The claims of a token whose signature is valid.
#[derive(Debug)]
pub(super) struct Claims(pub(super) Map<String, Value>);

impl Claims {
    /// When the token expires, leeway included. Types are checked as RFC 7519 §4.1 defines them.
    pub(super) fn check(&self, expected: &Expected, now: SystemTime) -> Result<SystemTime, Unfit> {
        let leeway = expected.leeway;
        let expires_at = self.date("exp")?.ok_or(Unfit::Invalid)? + leeway;
        // A token dated in the future may have been stolen from a machine whose clock was set forward.
        for not_later in [self.date("nbf")?, self.date("iat")?].into_iter().flatten() {
            if not_later > now + leeway {
                return Err(Unfit::Invalid);
            }
        }
        let issuer_holds = expected.issuer.as_ref().is_none_or(|issuer| self.is_from(issuer));
        let audience_holds = expected.audience.as_ref().is_none_or(|audience| self.is_for(audience));
        if !issuer_holds || !audience_holds {
            return Err(Unfit::Invalid);
        }
        if now < expires_at { Ok(expires_at) } else { Err(Unfit::Expired) }
    }

    /// The first of `names` that is present; null counts as absent. A claim that is present and cannot be a name is an
    /// error: the next one may name another user.
    pub(super) fn user(&self, names: &[String]) -> Result<Option<Box<str>>, Unfit> {
        let present = |name: &String| self.0.get(name).filter(|value| !value.is_null());
        let Some(value) = names.iter().find_map(present) else { return Ok(None) };
        let user = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
            _ => return Err(Unfit::Invalid),
        };
        if (1..=USER_MAX_BYTES).contains(&user.len()) { Ok(Some(user.into())) } else { Err(Unfit::Invalid) }
    }

    /// The headers for the service. A claim that is missing, an object, an array or no valid header value is left out.
    pub(super) fn headers(&self, from_claims: &[(HeaderName, String)]) -> Box<[(HeaderName, HeaderValue)]> {
        let header = |(name, claim): &(HeaderName, String)| {
            let text = match self.0.get(claim)? {
                Value::String(text) => text.clone(),
                value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
                _ => return None,
            };
            Some((name.clone(), HeaderValue::from_str(&text).ok()?))
        };
        from_claims.iter().filter_map(header).collect()
    }

    /// RFC 7519 §2, NumericDate: seconds since 1970, with or without a fraction.
    fn date(&self, name: &str) -> Result<Option<SystemTime>, Unfit> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        match value.as_f64() {
            Some(secs) if (0.0..YEAR_2100_SECS).contains(&secs) => Ok(Some(UNIX_EPOCH + Duration::from_secs_f64(secs))),
            _ => Err(Unfit::Invalid),
        }
    }

    fn is_from(&self, issuer: &str) -> bool {
        self.0.get("iss").and_then(Value::as_str) == Some(issuer)
    }

    /// RFC 7519 §4.1.3: `aud` is one text, or an array of texts.
    fn is_for(&self, audience: &str) -> bool {
        match self.0.get("aud") {
            Some(Value::String(only)) => only == audience,
            Some(Value::Array(several)) => {
                several.iter().all(Value::is_string) && several.iter().any(|one| one.as_str() == Some(audience))
            }
            _ => false,
        }
    }
}
