//! Why a token is refused, with the text for the client.

use crate::policy::verdict::{Refusal, RefusalKind};

/// No token was sent, and one is required.
pub const MISSING: Refusal = unauthenticated("auth.missing", "Authentication token required");
/// The token is invalid, is not in the one place it should be in, or there are two. The client is not told which.
pub const INVALID: Refusal = unauthenticated("auth.invalid", "Invalid authentication token");
/// The token was valid and has expired.
pub const EXPIRED: Refusal = unauthenticated("auth.expired", "Invalid authentication token");
/// No key is available to verify a token with, and none can be fetched now.
pub const KEYS_UNAVAILABLE: Refusal = Refusal {
    kind: RefusalKind::Unavailable,
    code: "auth.keys_unavailable",
    message: "Authentication is unavailable. Please try again later.",
    rule: None,
};

const fn unauthenticated(code: &'static str, message: &'static str) -> Refusal {
    Refusal { kind: RefusalKind::Unauthenticated, code, message, rule: None }
}

/// Why a token is refused, or not decided yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// It is refused, for this reason.
    Refused(Refusal),
    /// Its key is unknown and is being fetched. Ask again in a moment; the answer is known within seconds.
    KeysPending,
}

impl From<Refusal> for AuthError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
