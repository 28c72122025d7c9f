//! Checks the claims of a verified token: presence, type and value.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::policy::{
    identity::Details,
    token_fault::{DateClaim, Mismatch, Seconds, TokenFault},
};

/// 2100-01-01. A later `exp` is a mistake or an attack: milliseconds for seconds, or "never".
const YEAR_2100_SECS: f64 = 4_102_444_800.0;
/// The longest user name, in bytes: it is stored with the session and in the map of limits per user.
pub const USER_MAX_BYTES: usize = 256;
/// The longest other claim that is kept, in bytes: it is stored with the session too.
const CLAIM_MAX_BYTES: usize = 256;

/// What every token must have.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    /// How far the issuer's clock may be from ours.
    pub(super) leeway: Duration,
}

/// The claims of a token whose signature is valid.
#[derive(Debug)]
pub(super) struct Claims(pub(super) Map<String, Value>);

impl Claims {
    /// When the token expires, leeway included. Types are checked as RFC 7519 §4.1 defines them. It has expired only if
    /// everything else is valid.
    pub(super) fn check(&self, expected: &Expected, now: SystemTime) -> Result<SystemTime, TokenFault> {
        let leeway = expected.leeway;
        let expires_at = self.date(DateClaim::Exp)?.ok_or(TokenFault::NoExpiry)? + leeway;
        // A token dated in the future may have been stolen from a machine whose clock was set forward.
        for claim in [DateClaim::Nbf, DateClaim::Iat] {
            let ahead = self.date(claim)?.and_then(|date| date.duration_since(now + leeway).ok());
            if let Some(ahead) = ahead.filter(|ahead| !ahead.is_zero()) {
                return Err(TokenFault::Early(claim, Seconds::of(ahead)));
            }
        }
        if let Some(issuer) = &expected.issuer {
            self.from(issuer).map_err(TokenFault::Issuer)?;
        }
        if let Some(audience) = &expected.audience {
            self.is_for(audience).map_err(TokenFault::Audience)?;
        }
        match now.duration_since(expires_at) {
            Ok(ago) => Err(TokenFault::Expired(Seconds::of(ago))),
            Err(_) => Ok(expires_at),
        }
    }

    /// The first of `names` that is present; null counts as absent. A claim that is present and cannot be a name is an
    /// error: the next one may name another user.
    pub(super) fn user(&self, names: &[String]) -> Result<Option<Box<str>>, TokenFault> {
        let present = |name: &String| self.0.get(name).filter(|value| !value.is_null());
        let Some(value) = names.iter().find_map(present) else { return Ok(None) };
        let user = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
            _ => return Err(TokenFault::User),
        };
        if (1..=USER_MAX_BYTES).contains(&user.len()) { Ok(Some(user.into())) } else { Err(TokenFault::User) }
    }

    /// What is kept beside the user. `kept`: the claims that rules name. `revocable`: the token may be revoked, so that its name
    /// and its age are needed.
    pub(super) fn details(
        &self,
        headers: &[(HeaderName, String)],
        kept: &[Arc<str>],
        revocable: bool,
    ) -> Result<Details, TokenFault> {
        let claim = |name: &Arc<str>| Some((Arc::clone(name), self.text(name)?));
        let jti = self.0.get("jti").and_then(Value::as_str).filter(|jti| revocable && is_kept(jti));
        Ok(Details {
            forward_headers: self.headers(headers),
            jti: jti.map(Into::into),
            issued_at: self.date(DateClaim::Iat)?.filter(|_| revocable),
            claims: kept.iter().filter_map(claim).collect(),
        })
    }

    /// A claim that can stand in a name: a string, an integer or a boolean. Any other number has several spellings.
    fn text(&self, name: &str) -> Option<Box<str>> {
        let text = match self.0.get(name)? {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return None,
        };
        is_kept(&text).then(|| text.into())
    }

    /// The headers for the service. A claim that is missing, an object, an array or no valid header value is left out.
    fn headers(&self, from_claims: &[(HeaderName, String)]) -> Box<[(HeaderName, HeaderValue)]> {
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
    fn date(&self, claim: DateClaim) -> Result<Option<SystemTime>, TokenFault> {
        let Some(value) = self.0.get(claim.name()) else { return Ok(None) };
        match value.as_f64() {
            Some(secs) if (0.0..YEAR_2100_SECS).contains(&secs) => Ok(Some(UNIX_EPOCH + Duration::from_secs_f64(secs))),
            _ => Err(TokenFault::Date(claim)),
        }
    }

    fn from(&self, issuer: &str) -> Result<(), Mismatch> {
        let found = self.0.get("iss").ok_or(Mismatch::Missing)?.as_str().ok_or(Mismatch::Other)?;
        same(found, issuer)
    }

    /// RFC 7519 §4.1.3: `aud` is one text, or an array of texts.
    fn is_for(&self, audience: &str) -> Result<(), Mismatch> {
        match self.0.get("aud").ok_or(Mismatch::Missing)? {
            Value::String(only) => same(only, audience),
            Value::Array(several) => {
                let texts: Option<Vec<_>> = several.iter().map(Value::as_str).collect();
                let differences = texts.ok_or(Mismatch::Other)?.into_iter().map(|one| same(one, audience));
                differences.min_by_key(|one| *one != Ok(())).unwrap_or(Err(Mismatch::Other))
            }
            _ => Err(Mismatch::Other),
        }
    }
}

fn is_kept(text: &str) -> bool {
    (1..=CLAIM_MAX_BYTES).contains(&text.len())
}

fn same(found: &str, wanted: &str) -> Result<(), Mismatch> {
    let bare = |text: &'_ str| text.trim_end_matches('/').len();
    match found == wanted {
        true => Ok(()),
        false if found[..bare(found)] == wanted[..bare(wanted)] => Err(Mismatch::Slash),
        false => Err(Mismatch::Other),
    }
}
