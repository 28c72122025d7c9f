//! What is revoked: tokens, users and sockets, each until no token can be good any more.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::policy::identity::{Details, Identity};

/// So many tokens, users and sockets are known to be revoked at once. Of more, those that last longest.
pub const REVOKED_MAX: usize = 20_000;

/// The longest name of a token (`jti`), a user or a socket, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// 2100-01-01, in seconds since 1970. No token is good for longer.
const UNTIL_MAX: u64 = 4_102_444_800;

/// Whom a revocation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// The token with this `jti`.
    Token(Box<str>),
    /// A user.
    User {
        /// As `auth.user_claim` finds it.
        name: Box<str>,
        /// Tokens issued until then are revoked, in seconds since 1970.
        at: u64,
    },
    /// The Socket.IO socket with this id.
    Socket(Box<str>),
}

/// One thing that is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Whom it is about.
    pub whom: Whom,
    /// From then on it is forgotten, in seconds since 1970.
    pub until: u64,
}

/// Until when tokens of a user are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UserRevoked {
    /// Tokens issued until then are revoked.
    at: u64,
    until: u64,
}

/// Everything that is revoked. It only grows, until its entries end: of two that are about the same the later counts. So lists
/// of several nodes can be joined in any order, and none of them can be taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    tokens: HashMap<Box<str>, u64>,
    users: HashMap<Box<str>, UserRevoked>,
    sockets: HashMap<Box<str>, u64>,
}

/// Seconds since 1970.
#[must_use]
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Revocation {
    /// For so long from now on.
    #[must_use]
    pub fn lasting(whom: Whom, lasts: Duration, now: SystemTime) -> Self {
        Self { whom, until: unix_seconds(now).saturating_add(lasts.as_secs()) }
    }
}

impl Revoked {
    /// How many tokens, users and sockets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len() + self.users.len() + self.sockets.len()
    }

    /// Is nothing revoked?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one. A name that is empty or longer than [`NAME_BYTES_MAX`] is that of nobody.
    pub fn add(&mut self, revocation: &Revocation) {
        let until = revocation.until.min(UNTIL_MAX);
        let later = |known: &mut u64| *known = until.max(*known);
        match &revocation.whom {
            Whom::Token(name) | Whom::Socket(name) | Whom::User { name, .. } if !is_name(name) => {}
            Whom::Token(jti) => later(self.tokens.entry(jti.clone()).or_default()),
            Whom::Socket(id) => later(self.sockets.entry(id.clone()).or_default()),
            Whom::User { name, at } => {
                let known = self.users.entry(name.clone()).or_insert(UserRevoked { at: *at, until });
                *known = UserRevoked { at: known.at.max(*at), until: known.until.max(until) };
            }
        }
    }

    /// Whether it says what this revocation does.
    #[must_use]
    pub fn says(&self, revocation: &Revocation) -> bool {
        let until = revocation.until.min(UNTIL_MAX);
        let lasts = |known: Option<&u64>| known.is_some_and(|known| *known >= until);
        match &revocation.whom {
            Whom::Token(jti) => lasts(self.tokens.get(jti)),
            Whom::Socket(id) => lasts(self.sockets.get(id)),
            Whom::User { name, at } => {
                self.users.get(name).is_some_and(|known| known.at >= *at && known.until >= until)
            }
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Revocation> {
        let token = |jti: &str, until| Revocation { whom: Whom::Token(jti.into()), until };
        let socket = |id: &str, until| Revocation { whom: Whom::Socket(id.into()), until };
        let user = |name: &str, user: UserRevoked| Revocation {
            whom: Whom::User { name: name.into(), at: user.at },
            until: user.until,
        };
        let tokens = self.tokens.iter().map(move |(jti, until)| token(jti, *until));
        let users = self.users.iter().map(move |(name, revoked)| user(name, *revoked));
        tokens.chain(users).chain(self.sockets.iter().map(move |(id, until)| socket(id, *until)))
    }

    /// What `other` does not say.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Vec<Revocation> {
        self.iter().filter(|revocation| !other.says(revocation)).collect()
    }

    /// Forgets what has ended, and of more than `max` those that end first. It returns how many of these there were.
    pub fn tidy(&mut self, max: usize, now: SystemTime) -> usize {
        let now = unix_seconds(now);
        self.retain(|until| until > now);
        let Some(over) = self.len().checked_sub(max).filter(|over| *over > 0) else { return 0 };
        let mut ends: Vec<u64> = self.iter().map(|revocation| revocation.until).collect();
        let (earlier, last, _) = ends.select_nth_unstable(over - 1);
        // Many may end in the same second, and of these only so many go.
        let (last, mut same) = (*last, over - earlier.iter().filter(|end| **end < *last).count());
        self.retain(|until| {
            let goes = until < last || (until == last && same > 0);
            same -= usize::from(goes && until == last);
            !goes
        });
        over
    }

    /// What ends no later than this is not kept, where `max` are. 0: there are fewer.
    #[must_use]
    pub fn floor(&self, max: usize) -> u64 {
        let first = || self.iter().map(|revocation| revocation.until).min();
        if self.len() < max { 0 } else { first().unwrap_or_default() }
    }

    fn retain(&mut self, mut stays: impl FnMut(u64) -> bool) {
        self.tokens.retain(|_, until| stays(*until));
        self.users.retain(|_, user| stays(user.until));
        self.sockets.retain(|_, until| stays(*until));
    }

    /// Whether the token that proves this identity is revoked, or all tokens that its user had then. A token that does not say
    /// when it was issued counts as one of them.
    #[must_use]
    pub fn has(&self, identity: &Identity, now: SystemTime) -> bool {
        self.has_token(identity.user(), identity.details().map(|details| &**details), now)
    }

    /// The same of a token of this user, of which this is known.
    #[must_use]
    pub fn has_token(&self, user: Option<&str>, token: Option<&Details>, now: SystemTime) -> bool {
        if self.tokens.is_empty() && self.users.is_empty() {
            return false;
        }
        let now = unix_seconds(now);
        let issued_at = token.and_then(|token| token.issued_at);
        let token = token.and_then(|token| self.tokens.get(token.jti.as_deref()?));
        let user = user.and_then(|name| self.users.get(name));
        let was_issued = |at: u64| issued_at.is_none_or(|issued| unix_seconds(issued) <= at);
        token.is_some_and(|until| now < *until) || user.is_some_and(|user| now < user.until && was_issued(user.at))
    }

    /// Whether the socket with this id is revoked.
    #[must_use]
    pub fn has_socket(&self, id: &str, now: SystemTime) -> bool {
        self.sockets.get(id).is_some_and(|until| unix_seconds(now) < *until)
    }
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use crate::policy::auth::{
        AuthTable,
        tests::support::{HMAC, NOW_SECS as NOW, auth, header, verify},
    };

    fn identity_of(user: Option<&str>, jti: Option<&str>, issued: Option<u64>) -> Identity {
        let claims = serde_json::json!({ "sub": user, "jti": jti, "exp": NOW + 60 });
        let mut claims = claims.as_object().unwrap().clone();
        claims.extend(issued.map(|issued| ("iat".to_owned(), issued.into())));
        let table = AuthTable { required: false, revoke: true, ..HMAC.table() };
        let token = HMAC.mint(&header("HS256"), &serde_json::Value::Object(claims).to_string());
        verify(&auth(&table), &token).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn token(jti: &str, until: u64) -> Revocation {
        Revocation { whom: Whom::Token(jti.into()), until }
    }

    fn user(name: &str, at: u64, until: u64) -> Revocation {
        Revocation { whom: Whom::User { name: name.into(), at }, until }
    }

    fn list(revocations: &[Revocation]) -> Revoked {
        let mut list = Revoked::default();
        revocations.iter().for_each(|revocation| list.add(revocation));
        list
    }

    #[test]
    fn a_token_is_revoked_by_its_jti_until_the_end() {
        let list = list(&[token("a", NOW + 10)]);
        for (jti, now, expected) in
            [(Some("a"), NOW, true), (Some("a"), NOW + 10, false), (Some("b"), NOW, false), (None, NOW, false)]
        {
            assert_eq!(list.has(&identity_of(Some("ada"), jti, None), at(now)), expected, "{jti:?} {now}");
        }
    }

    #[test]
    fn of_a_user_the_tokens_that_were_issued_until_then_are_revoked() {
        let list = list(&[user("ada", NOW, NOW + 10)]);
        for (name, issued, expected) in [
            (Some("ada"), Some(NOW - 1), true),
            (Some("ada"), Some(NOW), true),
            (Some("ada"), Some(NOW + 1), false),
            (Some("ada"), None, true),
            (Some("bob"), Some(NOW), false),
            (None, None, false),
        ] {
            let identity = identity_of(name, None, issued);
            assert_eq!(list.has(&identity, at(NOW)), expected, "{name:?} {issued:?}");
        }
        assert!(!list.has(&identity_of(Some("ada"), None, None), at(NOW + 10)), "it has ended");
    }

    #[test]
    fn of_more_than_fit_those_stay_that_last_longest_and_the_others_are_counted() {
        let all: Vec<_> = (0..10).map(|number| token(&number.to_string(), NOW + number)).collect();
        let mut list = list(&all);
        assert_eq!(list.tidy(4, at(NOW)), 5, "one has ended, and is no loss");
        let mut ends: Vec<_> = list.iter().map(|revocation| revocation.until - NOW).collect();
        ends.sort_unstable();
        assert_eq!(ends, [6, 7, 8, 9]);
        assert_eq!(list.tidy(4, at(NOW)), 0);
        let mut together: Revoked =
            self::list(&(0..9).map(|name| token(&name.to_string(), NOW + 9)).collect::<Vec<_>>());
        assert_eq!((together.tidy(8, at(NOW)), together.len()), (1, 8), "the others that end then stay");
    }

    #[test]
    fn a_name_that_no_token_can_have_is_not_kept() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert!(list(&[token("", NOW), token(&long, NOW), user(&long, NOW, NOW)]).is_empty());
        assert_eq!(list(&[token(&long[1..], u64::MAX)]).iter().next().unwrap().until, UNTIL_MAX);
    }

    fn any_revocation() -> impl Strategy<Value = Revocation> {
        (0..3_u8, "[ab]", NOW..NOW + 4, NOW..NOW + 4).prop_map(|(kind, name, at, until)| match kind {
            0 => token(&name, until),
            1 => user(&name, at, until),
            _ => Revocation { whom: Whom::Socket(name.into()), until },
        })
    }

    proptest! {
        /// Nodes hear of revocations in different orders, and some of them twice.
        #[test]
        fn the_order_makes_no_difference_and_nothing_is_taken_back(
            revocations in proptest::collection::vec(any_revocation(), 0..12)
        ) {
            let forwards = list(&revocations);
            let backwards: Vec<_> = revocations.iter().rev().chain(&revocations).cloned().collect();
            prop_assert_eq!(&list(&backwards), &forwards);
            prop_assert!(revocations.iter().all(|revocation| forwards.says(revocation)));
            let mut joined = Revoked::default();
            forwards.beyond(&joined).iter().for_each(|revocation| joined.add(revocation));
            prop_assert_eq!(&joined, &forwards);
            prop_assert!(forwards.beyond(&joined).is_empty());
        }
    }
}
