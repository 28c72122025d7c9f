//! Why a token is refused, with the text for the client.

use std::time::Duration;

use crate::policy::{
    token_fault::TokenFault,
    verdict::{Refusal, RefusalKind},
};

/// No token was sent, and one is required.
pub const MISSING: Refusal = unauthenticated("auth.missing", "Authentication token required");
/// The token is invalid, is not in the one place it should be in, or there are two. The client is not told which.
pub const INVALID: Refusal = unauthenticated("auth.invalid", "Invalid authentication token");
/// The token is longer than any place for one can be made.
pub const TOO_LONG: Refusal = unauthenticated("auth.too_long", "Authentication token too long");
/// The token was valid and has expired.
pub const EXPIRED: Refusal = unauthenticated("auth.expired", "Invalid authentication token");
/// The token is valid, and it or all tokens of its user were revoked.
pub const REVOKED: Refusal = unauthenticated("auth.revoked", "Invalid authentication token");
/// The token is valid, and names another user than the one that the connection has already.
pub const OTHER_USER: Refusal = Refusal {
    kind: RefusalKind::Forbidden,
    code: "auth.other_user",
    message: "This connection belongs to another user",
    rule: None,
    fault: None,
};
/// No key is available to verify a token with, and none can be fetched now.
pub const KEYS_UNAVAILABLE: Refusal = Refusal {
    kind: RefusalKind::Unavailable,
    code: "auth.keys_unavailable",
    message: "Authentication is unavailable. Please try again later.",
    rule: None,
    fault: None,
};

const fn unauthenticated(code: &'static str, message: &'static str) -> Refusal {
    Refusal { kind: RefusalKind::Unauthenticated, code, message, rule: None, fault: None }
}

/// How long whoever shows a token waits for a key that is being fetched.
pub const KEYS_WITHIN: Duration = Duration::from_secs(5);

/// Why a token is refused, or not decided yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// It is refused, for this reason.
    Refused(Refusal),
    /// Its key is unknown and is being fetched. Ask again in a moment; the answer is known within seconds.
    KeysPending,
}

impl From<TokenFault> for Refusal {
    fn from(fault: TokenFault) -> Self {
        match fault {
            TokenFault::Missing => MISSING,
            TokenFault::Expired(_) | TokenFault::ExpiredSince => EXPIRED,
            TokenFault::Revoked => REVOKED,
            _ => INVALID,
        }
        .because(fault)
    }
}

impl From<TokenFault> for AuthError {
    fn from(fault: TokenFault) -> Self {
        Self::Refused(fault.into())
    }
}

impl From<Refusal> for AuthError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
