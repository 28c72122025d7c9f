//! What is wrong with a token that is refused: for the log alone. The client is told no more than that it is invalid.
//!
//! Nothing of the token is in it. What a stranger wrote is named by its kind, numbers and registered names apart.

use std::{fmt, time::Duration};

use jsonwebtoken::Algorithm;

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// No token is in any place that is looked at.
    Missing,
    /// A place has two, or holds something that is no text.
    Place,
    /// Two places have different ones.
    TwoTokens,
    /// It has not three parts with dots between them.
    Parts,
    /// It has five parts: it is encrypted (RFC 7516).
    Encrypted,
    /// Its header is not a JSON object in base64url, or has a member twice.
    Header,
    /// Its header has a member that changes what the token means, and is not supported.
    Unsupported(HeaderMember),
    /// Its `kid` is no text, or too long.
    KeyId,
    /// Its `alg` is missing or not one that is known.
    AlgorithmUnknown,
    /// Its `alg` is `none`: nobody has signed it.
    Unsigned,
    /// Its algorithm is not in `auth.algorithms`.
    Algorithm(Algorithm),
    /// No key has the `kid` of the token, or the one that has it is of another algorithm.
    Key(Algorithm),
    /// Its signature is not that of the key.
    Signature,
    /// Its claims are not a JSON object in base64url, or have a member twice.
    Claims,
    /// It has no `exp`.
    NoExpiry,
    /// A date is not a number of seconds between 1970 and 2100.
    Date(DateClaim),
    /// A date is this much later than now, leeway included.
    Early(DateClaim, Seconds),
    /// Its `iss` is another one than `auth.issuer`.
    Issuer(Mismatch),
    /// Its `aud` does not name `auth.audience`.
    Audience(Mismatch),
    /// It expired so long ago, leeway included.
    Expired(Seconds),
    /// It was valid, and has expired since.
    ExpiredSince,
    /// It was revoked, or all that its user had.
    Revoked,
    /// None of the claims in `auth.user_claim` is there.
    NoUser,
    /// The first claim of `auth.user_claim` that is there cannot be a name.
    User,
    /// It is good, but of another user than the token beside it.
    OtherUser,
}

/// A member of a token's header that is not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderMember {
    /// Critical extensions (RFC 7515 §4.1.11).
    Crit,
    /// A payload that is not encoded (RFC 7797).
    B64,
    /// A compressed payload (RFC 7516 §4.1.3).
    Zip,
}

/// A claim that is a date (RFC 7519 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateClaim {
    /// When it expires.
    Exp,
    /// Before which it must not be used.
    Nbf,
    /// When it was issued.
    Iat,
}

/// How a claim differs from what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It is not there.
    Missing,
    /// One of the two has a slash at its end.
    Slash,
    /// It is another one.
    Other,
}

/// A time, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(u32);

impl Seconds {
    pub(crate) fn of(time: Duration) -> Self {
        Self(u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds @ ..120 => write!(formatter, "{seconds} s"),
            seconds @ ..7_200 => write!(formatter, "{} minutes", seconds / 60),
            seconds @ ..172_800 => write!(formatter, "{} hours", seconds / 3600),
            seconds => write!(formatter, "{} days", seconds / 86_400),
        }
    }
}

impl TokenFault {
    /// The key of the configuration that governs it. `None`: nothing makes such a token a good one.
    #[must_use]
    pub const fn setting(self) -> Option<&'static str> {
        Some(match self {
            Self::Missing => "auth.required, auth.token_from",
            Self::Place | Self::TwoTokens => "auth.token_from",
            Self::Algorithm(_) => "auth.algorithms",
            Self::Key(_) => "auth.jwks_url, auth.public_key, auth.secret",
            Self::Signature => "auth.secret, auth.public_key, auth.jwks_url",
            Self::Early(..) | Self::Expired(_) => "auth.leeway",
            Self::Issuer(_) => "auth.issuer",
            Self::Audience(_) => "auth.audience",
            Self::NoUser | Self::User => "auth.user_claim",
            Self::OtherUser => "auth.users_per_connection",
            Self::Revoked => "auth.revoke",
            _ => return None,
        })
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("no token is in any of the places of auth.token_from"),
            Self::Place => formatter.write_str("a place of auth.token_from holds two tokens, or something that is no text"),
            Self::TwoTokens => formatter.write_str("two places of auth.token_from hold different tokens"),
            Self::Parts => formatter.write_str("it is no JWT: a JWT is three parts of base64url with dots between them"),
            Self::Encrypted => formatter.write_str(
                "it has five parts: it is encrypted, as NextAuth's own session tokens are; sign a token for the gate instead",
            ),
            Self::Header => formatter.write_str("its header is no JSON object in base64url, or has a member twice"),
            Self::Unsupported(member) => write!(formatter, "its header has {member}, which is not supported"),
            Self::KeyId => formatter.write_str("its kid is no text, or longer than 256 bytes"),
            Self::AlgorithmUnknown => formatter.write_str("its alg is missing, or none that is known"),
            Self::Unsigned => formatter.write_str("its alg is none: nobody has signed it"),
            Self::Algorithm(algorithm) => write!(formatter, "its alg is {algorithm:?}, which auth.algorithms does not list"),
            Self::Key(algorithm) => write!(formatter, "no key is for {algorithm:?} and has its kid"),
            Self::Signature => formatter.write_str("its signature is not of the configured key: another secret has signed it"),
            Self::Claims => formatter.write_str("its claims are no JSON object in base64url, or have a member twice"),
            Self::NoExpiry => formatter.write_str("it has no exp, so it would never expire"),
            Self::Date(claim) => write!(formatter, "its {claim} is not a number of seconds between 1970 and 2100"),
            Self::Early(claim, ahead) => write!(formatter, "its {claim} is {ahead} ahead of the clock of this machine"),
            Self::Issuer(Mismatch::Missing) => formatter.write_str("it has no iss, and auth.issuer wants one"),
            Self::Issuer(Mismatch::Slash) => {
                formatter.write_str("its iss and auth.issuer differ in a slash at the end")
            }
            Self::Issuer(Mismatch::Other) => formatter.write_str("its iss is another one than auth.issuer"),
            Self::Audience(Mismatch::Missing) => formatter.write_str("it has no aud, and auth.audience wants one"),
            Self::Audience(Mismatch::Slash) => {
                formatter.write_str("its aud and auth.audience differ in a slash at the end")
            }
            Self::Audience(Mismatch::Other) => formatter.write_str("its aud does not name auth.audience"),
            Self::Expired(ago) => write!(formatter, "it expired {ago} ago"),
            Self::ExpiredSince => formatter.write_str("it has expired since it was shown, and no other was"),
            Self::Revoked => formatter.write_str("it was revoked, or all tokens that its user had then"),
            Self::NoUser => formatter.write_str("it has none of the claims in auth.user_claim, so it names no user"),
            Self::User => {
                formatter.write_str("its claim of auth.user_claim is no text of 1 to 256 bytes and no whole number")
            }
            Self::OtherUser => formatter.write_str("it is of another user than the token of the request"),
        }
    }
}

impl fmt::Display for HeaderMember {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Crit => "crit",
            Self::B64 => "b64",
            Self::Zip => "zip",
        })
    }
}

impl DateClaim {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Exp => "exp",
            Self::Nbf => "nbf",
            Self::Iat => "iat",
        }
    }
}

impl fmt::Display for DateClaim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
