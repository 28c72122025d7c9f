//! A verified user. Made by `auth` from a token or a client certificate, or continued from a snapshot.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use http::{HeaderName, HeaderValue, header};

use crate::fault::{Fault, Faults};

/// Headers that have a meaning of their own between Tidegate and the service.
const HAS_OTHER_MEANING: [HeaderName; 13] = [
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::COOKIE,
    header::ORIGIN,
    header::EXPECT,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
];

/// The request headers of a table that tells the service who the client is, each with what fills it. `key` is what the
/// configuration calls the table.
///
/// # Errors
/// Each name that is not a header name, has a meaning of its own, or is repeated.
pub fn client_headers<T: Clone>(key: &str, table: &BTreeMap<String, T>) -> Result<Vec<(HeaderName, T)>, Vec<Fault>> {
    let (mut headers, mut faults) = (Vec::new(), Faults::default());
    for (text, filling) in table {
        let header = client_header(text, &headers);
        if let Some(header) = faults.keep(header.map_err(|message| Fault::new(format!("{key}.{text}"), message))) {
            headers.push((header, filling.clone()));
        }
    }
    faults.finish(Some(headers))
}

fn client_header<T>(text: &str, earlier: &[(HeaderName, T)]) -> Result<HeaderName, &'static str> {
    const NO_NAME: &str = "is not a header name; use letters, digits and hyphens, for example x-user-id";
    let header = text.parse::<HeaderName>().map_err(|_| NO_NAME)?;
    // Servers that turn headers into variables use the same variable for `-` and `_`.
    if text.contains('_') {
        return Err(NO_NAME);
    }
    if HAS_OTHER_MEANING.contains(&header) || header.as_str().starts_with("sec-") {
        return Err("is a header with a meaning of its own; use another one, for example x-user-id");
    }
    if earlier.iter().any(|(name, _)| *name == header) {
        return Err("is repeated: upper and lower case are the same in header names; keep one of them");
    }
    Ok(header)
}

/// The owner of a session, by the verified token. A function that needs a verified user takes one of these.
///
/// It lives as long as the session, so it stores what is needed of the token and not the token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    user: Option<Box<str>>,
    expires_at: Option<SystemTime>,
    /// `None` where there are none: nearly every session has one of these. The namespaces that the token has opened share it.
    details: Option<Arc<Details>>,
}

/// What is kept of a verified token beside its user and its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// See [`Identity::forward_headers`].
    pub forward_headers: Box<[(HeaderName, HeaderValue)]>,
    /// See [`Identity::jti`].
    pub jti: Option<Box<str>>,
    /// See [`Identity::issued_at`].
    pub issued_at: Option<SystemTime>,
    /// Claims by name, as text. Only those that a rule names.
    pub claims: Box<[(Arc<str>, Box<str>)]>,
}

impl Details {
    /// `None`: there are none.
    #[must_use]
    pub fn shared(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }

    /// See [`Identity::claim`].
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.iter().find(|(of, _)| **of == *name).map(|(_, text)| &**text)
    }

    /// What it keeps beside itself, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let headers =
            self.forward_headers.iter().map(|(_, value)| size_of::<(HeaderName, HeaderValue)>() + value.len());
        let claims = self.claims.iter().map(|(_, text)| size_of::<(Arc<str>, Box<str>)>() + text.len());
        headers.chain(claims).sum::<usize>() + self.jti.as_deref().map_or(0, str::len)
    }
}

/// The user whom a verified client certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedUser(Box<str>);

impl CertifiedUser {
    /// Named by `tls` once the certificate is verified, or earlier, in a snapshot.
    #[must_use]
    pub fn named(user: impl Into<Box<str>>) -> Self {
        Self(user.into())
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Identity {
    /// An anonymous client: `auth.required` is false, and no token was sent.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self { user: None, expires_at: None, details: None }
    }

    /// The same identity. If the token names no user, the user of a verified certificate takes its place. Called by `auth`
    /// alone, which then asks whether that user is revoked.
    pub(super) fn or_certified(mut self, user: Option<&CertifiedUser>) -> Self {
        if self.user.is_none() {
            self.user = user.map(|user| user.0.clone());
        }
        self
    }

    /// The user that a verified token names. Called by `auth` alone, after every check.
    pub(super) fn verified(user: Option<Box<str>>, expires_at: SystemTime, details: Details) -> Self {
        Self { user, expires_at: Some(expires_at), details: details.shared() }
    }

    /// An identity that was verified earlier, on this node or another one of the same cluster.
    #[must_use]
    pub fn continued(user: Option<Box<str>>, expires_at: Option<SystemTime>, details: Details) -> Self {
        Self { user, expires_at, details: details.shared() }
    }

    /// The user, from the first of `auth.user_claim` that the token has, or from a client certificate. `None` if
    /// neither names one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// When the session has to end: the token's `exp` and the leeway. `None` for an anonymous session.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// What is kept of the token beside its user and its end. `None`: nothing.
    #[must_use]
    pub const fn details(&self) -> Option<&Arc<Details>> {
        self.details.as_ref()
    }

    /// The same, with the details that a namespace keeps already, where those are equal.
    pub fn share(&mut self, kept: &Arc<Details>) {
        if let Some(details) = self.details.as_mut().filter(|details| **details == *kept) {
            *details = Arc::clone(kept);
        }
    }

    /// The request headers for the service, filled from claims as `auth.forward_claims` says.
    #[must_use]
    pub fn forward_headers(&self) -> &[(HeaderName, HeaderValue)] {
        self.details.as_ref().map_or(&[], |details| &details.forward_headers)
    }

    /// The token's `jti`, which names this one token (RFC 7519 §4.1.7). `None` where it has none that is a text of at most 256
    /// bytes, or tokens cannot be revoked.
    #[must_use]
    pub fn jti(&self) -> Option<&str> {
        self.details.as_ref().and_then(|details| details.jti.as_deref())
    }

    /// The token's `iat` (RFC 7519 §4.1.6). `None` where it has none, or tokens cannot be revoked.
    #[must_use]
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.details.as_ref().and_then(|details| details.issued_at)
    }

    /// A claim as text: a string, an integer or a boolean. `None`: no rule names it, or the token has none of at most 256 bytes.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.details.as_ref().and_then(|details| details.claim(name))
    }

    /// All [claims](Self::claim) that are kept, by name.
    pub fn claims(&self) -> impl Iterator<Item = (&str, &str)> {
        let claims = self.details.as_ref().map_or(&[][..], |details| &details.claims);
        claims.iter().map(|(name, text)| (&**name, &**text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small_because_every_session_has_one() {
        assert!(size_of::<Identity>() <= 40);
    }
}
