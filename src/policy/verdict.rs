//! The verdict on a packet, and the refusal of a packet or a handshake.

use std::time::{Duration, Instant};

use super::token_fault::TokenFault;

/// What a policy decides for one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it unchanged.
    Forward,
    /// Drop it without an answer.
    Drop(Refusal),
    /// Drop it and answer the sender: in the packet's ack if it asks for one, otherwise from time to time.
    Reply {
        /// The content of the answer.
        refusal: Refusal,
        /// The least time between two answers to packets without an ack.
        once_per: Duration,
    },
    /// Read neither it nor what follows it until then.
    Delay {
        /// When to judge it again.
        until: Instant,
        /// Which `[[rate_limit]]`, counted from 0. `None` if another policy delays it.
        rule: Option<u8>,
    },
    /// Drop it and end the session.
    Close(Refusal),
}

/// Why something was refused. `code` is the text for the client, the metric label and the log field. Two are equal if the
/// client is told the same.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// The class of refusal, from which every transport makes its answer.
    pub kind: RefusalKind,
    /// Machine-readable and stable, `auth.expired` for example.
    pub code: &'static str,
    /// One sentence for a human reader.
    pub message: &'static str,
    /// Which `[[rate_limit]]`, counted from 0. `None` if another policy refused.
    pub rule: Option<u8>,
    /// What is wrong with the token, if one is refused. For the log.
    pub fault: Option<TokenFault>,
}

impl Refusal {
    /// The same, because of this.
    #[must_use]
    pub const fn because(self, fault: TokenFault) -> Self {
        Self { fault: Some(fault), ..self }
    }
}

impl PartialEq for Refusal {
    fn eq(&self, other: &Self) -> bool {
        let told = |refusal: &Self| (refusal.kind, refusal.code, refusal.message, refusal.rule);
        told(self) == told(other)
    }
}

impl Eq for Refusal {}

/// The classes of refusal. Few and closed, so that the compiler checks that the table of answers is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// No token, or no valid one.
    Unauthenticated,
    /// Authenticated, but not allowed.
    Forbidden,
    /// Over a limit.
    TooMany,
    /// Not what the protocol allows.
    Malformed,
    /// Not decidable now; the client may try again.
    Unavailable,
}
