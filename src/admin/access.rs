//! Who may read what at the operator's address. Pure: headers in, a refusal out.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::{Arc, PoisonError, RwLock},
};

use hyper::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, HOST, HeaderValue, WWW_AUTHENTICATE},
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::answer::{self, Answer};

/// The bearer token of operators, which a reload replaces. `None` inside: none is configured.
#[derive(Clone, Default)]
pub struct OperatorToken(Arc<RwLock<InForce>>);

#[derive(Default)]
struct InForce {
    token: Option<Zeroizing<Vec<u8>>>,
    /// How often it was replaced by another one.
    generation: u64,
}

impl OperatorToken {
    /// Puts this token in force. Another one than before is a new generation.
    pub fn set(&self, token: Option<Zeroizing<Vec<u8>>>) {
        let mut in_force = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if in_force.token != token {
            in_force.generation += 1;
        }
        in_force.token = token;
    }

    /// What was admitted with an earlier generation is not to go on.
    pub(super) fn generation(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).generation
    }

    fn is_set(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).token.is_some()
    }

    fn is(&self, presented: &[u8]) -> bool {
        let in_force = self.0.read().unwrap_or_else(PoisonError::into_inner);
        in_force.token.as_ref().is_some_and(|token| bool::from(token.as_slice().ct_eq(presented)))
    }
}

impl From<Option<Zeroizing<Vec<u8>>>> for OperatorToken {
    fn from(token: Option<Zeroizing<Vec<u8>>>) -> Self {
        Self(Arc::new(RwLock::new(InForce { token, generation: 0 })))
    }
}

/// The rules of one operator's address.
pub(super) struct Access {
    /// The bearer token of operators.
    pub(super) token: OperatorToken,
    /// Only this machine can reach the address.
    pub(super) loopback: bool,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denial {
    /// The `Host` header is a name that an attacker may control.
    Host,
    /// A page of another site asks.
    Page,
    /// The token of operators is missing.
    Token,
    /// No token is configured, and the address can be reached from other machines.
    Off,
    /// No token is configured, and the request would change something.
    ChangesOff,
}

impl Access {
    /// Whether the request is answered at all.
    ///
    /// A web page can point its own DNS name at this machine (DNS rebinding), and a browser on it then reads these
    /// pages. The browser sends that name as `Host`, but it does not know the token. An address that other machines can
    /// reach is used by name, as Prometheus and probes do, and shows no users without a token.
    pub(super) fn host(&self, headers: &HeaderMap) -> Result<(), Denial> {
        if !self.loopback {
            return Ok(());
        }
        let mut hosts = headers.get_all(HOST).iter();
        let known = match (hosts.next(), hosts.next()) {
            // HTTP/1.0, which browsers do not speak.
            (None, _) => true,
            (Some(host), None) => is_literal(host),
            _ => false,
        };
        if known || self.token_presented(headers) { Ok(()) } else { Err(Denial::Host) }
    }

    /// Whether the request may read about users. A page of another site cannot read the answer without the token, but its
    /// visitor's browser would ask: for lists that the workers make, and for streams until all places are taken. Browsers say
    /// so themselves (Fetch Metadata); programs do not.
    pub(super) fn users(&self, headers: &HeaderMap) -> Result<(), Denial> {
        let site = headers.get("sec-fetch-site").map_or(&b"none"[..], HeaderValue::as_bytes);
        if !matches!(site, b"same-origin" | b"none") && !self.token_presented(headers) {
            return Err(Denial::Page);
        }
        match self.token.is_set() {
            true if self.token_presented(headers) => Ok(()),
            true => Err(Denial::Token),
            false if self.loopback => Ok(()),
            false => Err(Denial::Off),
        }
    }

    /// Whether the request may change something. Without a token nobody may, not even on this machine: every user and every web
    /// page can send a request from there.
    pub(super) fn changes(&self, headers: &HeaderMap) -> Result<(), Denial> {
        match self.token.is_set() {
            true if self.token_presented(headers) => Ok(()),
            true => Err(Denial::Token),
            false => Err(Denial::ChangesOff),
        }
    }

    fn token_presented(&self, headers: &HeaderMap) -> bool {
        let Some(credentials) = headers.get(AUTHORIZATION) else { return false };
        // RFC 6750 §2.1; RFC 9110 §11.1: the scheme's case does not matter.
        let Some((scheme, presented)) = credentials.as_bytes().split_at_checked("Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && self.token.is(presented)
    }
}

impl From<Denial> for Answer {
    fn from(denial: Denial) -> Self {
        let (status, code, message) = match denial {
            Denial::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "host",
                "Use an IP address or localhost, or set admin.token and send it as a bearer token.",
            ),
            Denial::Page => (StatusCode::FORBIDDEN, "page", "Of web pages, only that of this address may ask."),
            Denial::Token => {
                (StatusCode::UNAUTHORIZED, "token", "Send the token of admin.token: `Authorization: Bearer TOKEN`.")
            }
            Denial::ChangesOff => {
                (StatusCode::FORBIDDEN, "off", "Nothing is changed without a token: set admin.token, and send it.")
            }
            Denial::Off => (
                StatusCode::NOT_FOUND,
                "off",
                "Sessions are shown beyond this machine only with a token: set admin.token.",
            ),
        };
        let mut answer = answer::refusal(status, code, message);
        if denial == Denial::Token {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

/// An IP address or `localhost`, with or without a port.
fn is_literal(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(token: Option<&str>, loopback: bool) -> Access {
        Access { token: token.map(|token| Zeroizing::new(token.into())).into(), loopback }
    }

    fn headers(pairs: &[(hyper::header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_host_is_an_address_or_localhost() {
        for (host, known) in [
            ("127.0.0.1:9464", true),
            ("10.1.2.3", true),
            ("[::1]:9464", true),
            ("[::1]", true),
            ("localhost:9464", true),
            ("LOCALHOST", true),
            ("rebind.example:9464", false),
            ("127.0.0.1.rebind.example", false),
            ("localhost.rebind.example", false),
            ("evil@127.0.0.1", false),
            ("", false),
        ] {
            let admitted = access(None, true).host(&headers(&[(HOST, host)])).is_ok();
            assert_eq!(admitted, known, "{host}");
        }
    }

    #[test]
    fn another_token_is_a_new_generation_and_the_same_again_is_none() {
        let token = |token: &str| Some(Zeroizing::new(token.as_bytes().to_vec()));
        let in_force = OperatorToken::from(token("first"));
        let generations = [token("first"), token("other"), token("other"), None, None, token("first")].map(|token| {
            in_force.set(token);
            in_force.generation()
        });
        assert_eq!(generations, [0, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn two_hosts_are_none() {
        let mut headers = headers(&[(HOST, "127.0.0.1")]);
        headers.append(HOST, HeaderValue::from_static("localhost"));
        assert!(access(None, true).host(&headers).is_err());
    }

    #[test]
    fn a_name_is_good_with_the_token() {
        let headers = headers(&[(HOST, "gate.example"), (AUTHORIZATION, "bearer s3cret")]);
        assert!(access(Some("s3cret"), true).host(&headers).is_ok());
        assert!(access(Some("another"), true).host(&headers).is_err());
        assert!(access(None, true).host(&headers).is_err());
        assert!(access(None, false).host(&headers).is_ok(), "a Service of Kubernetes has a name");
    }

    #[test]
    fn a_page_of_another_site_has_the_node_do_nothing() {
        for (site, expected) in [
            (Some("same-origin"), Ok(())),
            (Some("none"), Ok(())),
            (None, Ok(())),
            (Some("cross-site"), Err(Denial::Page)),
            (Some("same-site"), Err(Denial::Page)),
        ] {
            let site = site.map(|site| (hyper::header::HeaderName::from_static("sec-fetch-site"), site));
            let headers = headers(site.as_slice());
            assert_eq!(access(None, true).users(&headers), expected, "{site:?}");
            let refused = if expected.is_ok() { Denial::Token } else { Denial::Page };
            assert_eq!(access(Some("s3cret"), true).users(&headers), Err(refused), "{site:?}");
        }
        let from_a_tool = headers(&[
            (hyper::header::HeaderName::from_static("sec-fetch-site"), "cross-site"),
            (AUTHORIZATION, "Bearer s3cret"),
        ]);
        assert_eq!(access(Some("s3cret"), true).users(&from_a_tool), Ok(()));
    }

    #[test]
    fn nothing_is_changed_without_the_token() {
        let right = headers(&[(AUTHORIZATION, "Bearer s3cret")]);
        for loopback in [true, false] {
            assert_eq!(access(Some("s3cret"), loopback).changes(&right), Ok(()));
            assert_eq!(access(Some("other"), loopback).changes(&right), Err(Denial::Token));
            assert_eq!(access(Some("s3cret"), loopback).changes(&headers(&[])), Err(Denial::Token));
            assert_eq!(access(None, loopback).changes(&right), Err(Denial::ChangesOff));
        }
    }

    #[test]
    fn users_are_shown_to_operators_alone() {
        let none = headers(&[]);
        let right = headers(&[(AUTHORIZATION, "Bearer s3cret")]);
        for (access, headers, expected) in [
            (access(Some("s3cret"), true), &right, Ok(())),
            (access(Some("s3cret"), true), &none, Err(Denial::Token)),
            (access(Some("s3cre"), true), &right, Err(Denial::Token)),
            (access(Some("s3cret"), false), &headers(&[(AUTHORIZATION, "Basic s3cret")]), Err(Denial::Token)),
            (access(Some("s3cret"), false), &headers(&[(AUTHORIZATION, "Be")]), Err(Denial::Token)),
            (access(None, true), &none, Ok(())),
            (access(None, false), &none, Err(Denial::Off)),
            (access(None, false), &right, Err(Denial::Off)),
        ] {
            assert_eq!(access.users(headers), expected);
        }
    }
}
