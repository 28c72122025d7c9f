//! A verified user; only `auth` can make one.

use std::{collections::BTreeMap, time::SystemTime};

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
    forward_headers: Box<[(HeaderName, HeaderValue)]>,
}

impl Identity {
    /// An anonymous client: `auth.required` is false, and no token was sent.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { user: None, expires_at: None, forward_headers: Box::default() }
    }

    /// The same identity. If the token names no user, the user of a verified certificate takes its place.
    #[must_use]
    pub fn or_certified(mut self, user: Option<&str>) -> Self {
        if self.user.is_none() {
            self.user = user.map(Into::into);
        }
        self
    }

    /// The user that a verified token names. Called by `auth` alone, after every check.
    pub(super) fn verified(
        user: Option<Box<str>>,
        expires_at: SystemTime,
        forward_headers: Box<[(HeaderName, HeaderValue)]>,
    ) -> Self {
        Self { user, expires_at: Some(expires_at), forward_headers }
    }

    /// An identity that was verified earlier, on this node or another one of the same cluster.
    #[must_use]
    pub fn continued(
        user: Option<Box<str>>,
        expires_at: Option<SystemTime>,
        forward_headers: Box<[(HeaderName, HeaderValue)]>,
    ) -> Self {
        Self { user, expires_at, forward_headers }
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

    /// The request headers for the service, filled from claims as `auth.forward_claims` says.
    #[must_use]
    pub fn forward_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.forward_headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small_because_every_session_has_one() {
        assert!(size_of::<Identity>() <= 48);
    }
}
