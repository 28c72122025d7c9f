//! Why a token opens no session, in the words a client hears.

use crate::policy::verdict::{Refusal, RefusalKind};

/// No token came, and one is needed.
pub const MISSING: Refusal = unauthenticated("auth.missing", "Authentication token required");
/// The token is not good, was not found in the one place it should be in, or there are two. Why is not told.
pub const INVALID: Refusal = unauthenticated("auth.invalid", "Invalid authentication token");
/// The token was good.
pub const EXPIRED: Refusal = unauthenticated("auth.expired", "Invalid authentication token");
/// There are no keys to verify a token with, and none can be fetched now.
pub const KEYS_UNAVAILABLE: Refusal = Refusal {
    kind: RefusalKind::Unavailable,
    code: "auth.keys_unavailable",
    message: "Authentication is unavailable. Please try again later.",
    rule: None,
};

const fn unauthenticated(code: &'static str, message: &'static str) -> Refusal {
    Refusal { kind: RefusalKind::Unauthenticated, code, message, rule: None }
}

/// Why a token opens no session, or not yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// It does not, for this reason.
    Refused(Refusal),
    /// Its key is unknown, and the issuer is being asked. Ask again in a moment; the answer is there within seconds.
    KeysPending,
}

impl From<Refusal> for AuthError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
