//! Restricts a sid to the client that it was given to.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::OnceLock,
};

use http::{HeaderMap, HeaderValue, header::ORIGIN};

use super::{token_source::Token, verdict::Refusal};

/// What a request with a sid shows of its sender. That of the handshake is kept as long as the session, so it holds a
/// hash of the token and not the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidOwner {
    token: u64,
    origin: Option<HeaderValue>,
    address: IpAddr,
}

/// Seeded once per process, so that an outsider cannot compute a token with the same hash.
static HASHER: OnceLock<RandomState> = OnceLock::new();

impl SidOwner {
    /// The sender of a request with this token in its head, from this address.
    #[must_use]
    pub fn new(token: &Result<Option<Token>, Refusal>, headers: &HeaderMap, address: IpAddr) -> Self {
        let shown = token.as_ref().map(|token| token.as_ref().map(Token::as_str)).map_err(|refusal| refusal.code);
        let token = HASHER.get_or_init(RandomState::new).hash_one(shown);
        Self { token, origin: headers.get(ORIGIN).cloned(), address }
    }

    /// The client's address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The page it comes from. `None` if there is no `Origin`, or it is not text.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_ref().and_then(|origin| origin.to_str().ok())
    }

    /// Whether `other` is the client that this sid was given to. The token must be the same, the origin and, with
    /// `same_address`, the address. A browser names its origin in some requests to its own site and not in others, so a
    /// missing origin matches; the first one that is sent is required from then on.
    pub fn admits(&mut self, other: &Self, same_address: bool) -> bool {
        let other_origin = match (&self.origin, &other.origin) {
            (Some(known), Some(shown)) => known != shown,
            _ => false,
        };
        if self.token != other.token || other_origin || (same_address && self.address != other.address) {
            return false;
        }
        if self.origin.is_none() {
            self.origin.clone_from(&other.origin);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::auth::INVALID;

    fn shown(token: &str, origin: Option<&'static str>, last: u8) -> SidOwner {
        let origin = origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin)));
        SidOwner::new(&Token::read(token), &HeaderMap::from_iter(origin), [192, 0, 2, last].into())
    }

    #[test]
    fn another_token_or_origin_is_another_client_and_another_address_may_be() {
        let owner = || shown("t", Some("https://a.test"), 1);
        for (other, same_address, admitted) in [
            (owner(), true, true),
            (shown("t", Some("https://a.test"), 2), false, true),
            (shown("t", Some("https://a.test"), 2), true, false),
            (shown("u", Some("https://a.test"), 1), false, false),
            (shown("", Some("https://a.test"), 1), false, false),
            (shown("t", Some("https://b.test"), 1), false, false),
            (shown("t", None, 1), false, true),
        ] {
            assert_eq!(owner().admits(&other, same_address), admitted, "{other:?}");
        }
        let refused = SidOwner::new(&Err(INVALID), &HeaderMap::new(), [192, 0, 2, 1].into());
        assert!(!owner().admits(&refused, false));
        assert!(refused.clone().admits(&refused, false), "a client with a refused token is answered in the session");
    }

    #[test]
    fn the_first_origin_that_is_named_is_required_from_then_on() {
        let mut owner = shown("", None, 1);
        assert!(owner.admits(&shown("", Some("https://a.test"), 1), false));
        assert!(!owner.admits(&shown("", Some("https://b.test"), 1), false));
        assert!(owner.admits(&shown("", None, 1), false));
    }
}
