//! Restricts a sid to the client that it was given to.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::OnceLock,
};

use http::{HeaderMap, HeaderValue, header::ORIGIN};

use super::{token_source::Token, verdict::Refusal};

/// What a request with a sid shows of its sender.
#[derive(Debug, Clone)]
pub struct Requester {
    token: Result<Option<Token>, Refusal>,
    origin: Option<HeaderValue>,
    address: IpAddr,
}

/// The client that a sid was given to. It is kept as long as the session, so it holds a hash of the token and not the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidOwner {
    token: u64,
    origin: Option<HeaderValue>,
    address: IpAddr,
}

/// What is asked of a request beside its token and its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SidRules {
    /// It comes from the address that the sid was given to.
    pub same_address: bool,
    /// It may show no token where the handshake did: an upgrade, for which a browser can set no header. The address must be
    /// the same then.
    pub without_token: bool,
}

/// Whether a request with a sid comes from its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown<'a> {
    /// It does.
    Owner,
    /// It does if this token, another one than before, is valid and of the same user.
    AnotherToken(&'a Token),
    /// It does not.
    Stranger,
}

/// Seeded once per process, so that an outsider cannot compute a token with the same hash.
static HASHER: OnceLock<RandomState> = OnceLock::new();

impl Requester {
    /// Of a request with this token in its head, from this address.
    #[must_use]
    pub fn new(token: Result<Option<Token>, Refusal>, headers: &HeaderMap, address: IpAddr) -> Self {
        Self { token, origin: headers.get(ORIGIN).cloned(), address }
    }

    fn token_hash(&self) -> u64 {
        let shown = self.token.as_ref().map(|token| token.as_ref().map(Token::as_str)).map_err(|refusal| refusal.code);
        HASHER.get_or_init(RandomState::new).hash_one(shown)
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The page it comes from. `None` if there is no `Origin`, or it is not text.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_ref().and_then(|origin| origin.to_str().ok())
    }

    /// Whether it shows no token.
    #[must_use]
    pub const fn is_without_token(&self) -> bool {
        matches!(self.token, Ok(None))
    }
}

impl SidOwner {
    /// The sender of the handshake.
    #[must_use]
    pub fn of(sender: &Requester) -> Self {
        Self { token: sender.token_hash(), origin: sender.origin.clone(), address: sender.address }
    }

    /// Whether `sender` is the client that this sid was given to. The origin must be the same, the token as well or be
    /// another one of the same user, and the address as the rules say. A browser names its origin in some requests to its
    /// own site and not in others, so a missing origin matches; the first one that is sent is required from then on.
    pub fn judge<'a>(&mut self, sender: &'a Requester, rules: SidRules) -> Shown<'a> {
        let other_origin = match (&self.origin, &sender.origin) {
            (Some(known), Some(shown)) => known != shown,
            _ => false,
        };
        let other_address = self.address != sender.address;
        if other_origin || (rules.same_address && other_address) {
            return Shown::Stranger;
        }
        let is_same = self.token == sender.token_hash();
        match &sender.token {
            Ok(Some(token)) if !is_same => return Shown::AnotherToken(token),
            Ok(None) if rules.without_token && !other_address => {}
            _ if is_same => {}
            _ => return Shown::Stranger,
        }
        self.learns_origin(sender);
        Shown::Owner
    }

    /// The token of this sender is another one of the same user, and is shown from now on.
    pub fn renewed(&mut self, sender: &Requester) {
        self.token = sender.token_hash();
        self.learns_origin(sender);
    }

    fn learns_origin(&mut self, sender: &Requester) {
        if self.origin.is_none() {
            self.origin.clone_from(&sender.origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::auth::INVALID;

    const LAX: SidRules = SidRules { same_address: false, without_token: false };

    fn sender(token: &str, origin: Option<&'static str>, last: u8) -> Requester {
        let origin = origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin)));
        Requester::new(Token::read(token), &HeaderMap::from_iter(origin), [192, 0, 2, last].into())
    }

    /// 1: the owner, 0: a stranger, 2: another token.
    fn judged(owner: &mut SidOwner, sender: &Requester, rules: SidRules) -> u8 {
        match owner.judge(sender, rules) {
            Shown::Owner => 1,
            Shown::Stranger => 0,
            Shown::AnotherToken(_) => 2,
        }
    }

    #[test]
    fn another_origin_is_another_client_and_another_address_or_token_may_be() {
        let owner = || sender("t", Some("https://a.test"), 1);
        for (other, same_address, expected) in [
            (owner(), true, 1),
            (sender("t", Some("https://a.test"), 2), false, 1),
            (sender("t", Some("https://a.test"), 2), true, 0),
            (sender("u", Some("https://a.test"), 1), false, 2),
            (sender("u", Some("https://a.test"), 2), true, 0),
            (sender("", Some("https://a.test"), 1), false, 0),
            (sender("t", Some("https://b.test"), 1), false, 0),
            (sender("u", Some("https://b.test"), 1), false, 0),
            (sender("t", None, 1), false, 1),
        ] {
            let rules = SidRules { same_address, ..LAX };
            assert_eq!(judged(&mut SidOwner::of(&owner()), &other, rules), expected, "{other:?}");
        }
        let refused = Requester::new(Err(INVALID), &HeaderMap::new(), [192, 0, 2, 1].into());
        assert_eq!(judged(&mut SidOwner::of(&owner()), &refused, LAX), 0);
        assert_eq!(judged(&mut SidOwner::of(&refused), &refused, LAX), 1, "it is answered in the session");
    }

    #[test]
    fn an_upgrade_may_show_no_token_from_the_same_origin_and_address() {
        let rules = SidRules { without_token: true, ..LAX };
        for (other, expected) in [
            (sender("", Some("https://a.test"), 1), 1),
            (sender("", None, 1), 1),
            (sender("", Some("https://a.test"), 2), 0),
            (sender("", Some("https://b.test"), 1), 0),
            (sender("u", Some("https://a.test"), 1), 2),
        ] {
            let mut owner = SidOwner::of(&sender("t", Some("https://a.test"), 1));
            assert_eq!(judged(&mut owner, &other, rules), expected, "{other:?}");
            assert_eq!(judged(&mut owner, &sender("t", None, 1), LAX), 1, "the owner stays the owner");
        }
    }

    #[test]
    fn a_renewed_token_takes_the_place_of_the_one_before() {
        let mut owner = SidOwner::of(&sender("t", None, 1));
        owner.renewed(&sender("u", Some("https://a.test"), 1));
        assert_eq!(judged(&mut owner, &sender("u", None, 1), LAX), 1);
        assert_eq!(judged(&mut owner, &sender("t", None, 1), LAX), 2);
        assert_eq!(judged(&mut owner, &sender("u", Some("https://b.test"), 1), LAX), 0);
    }

    #[test]
    fn the_first_origin_that_is_named_is_required_from_then_on() {
        let mut owner = SidOwner::of(&sender("", None, 1));
        assert_eq!(judged(&mut owner, &sender("", Some("https://a.test"), 1), LAX), 1);
        assert_eq!(judged(&mut owner, &sender("", Some("https://b.test"), 1), LAX), 0);
        assert_eq!(judged(&mut owner, &sender("", None, 1), LAX), 1);
    }
}
