//! What may become of a packet or a handshake.

use std::time::{Duration, Instant};

/// What a policy says of one packet. The relay obeys; it decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it onward as it came.
    Forward,
    /// Cut it out and say nothing.
    Drop(Refusal),
    /// Cut it out and tell the sender: by the packet's ack where it asks for one, else once in a while.
    Reply {
        /// What to tell.
        refusal: Refusal,
        /// A sender who asked for no ack is told no more often than this.
        once_per: Duration,
    },
    /// Leave it, and all behind it, unread until then.
    Delay {
        /// When to judge it again.
        until: Instant,
    },
    /// Cut it out and end the session.
    Close(Refusal),
}

/// Why something was refused. `code` is at once what the client reads, the metric label and the log field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The class of refusal, from which every transport makes its answer.
    pub kind: RefusalKind,
    /// Machine-readable and stable, `auth.expired` for example.
    pub code: &'static str,
    /// One sentence for the person who reads the answer.
    pub message: &'static str,
    /// Which `[[rate_limit]]`, counted from 0, where it was one.
    pub rule: Option<u8>,
}

/// The classes of refusal. Closed and small, so that the table of answers is complete by the compiler's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// No token, or none that holds.
    Unauthenticated,
    /// Known, and not allowed.
    Forbidden,
    /// Over a limit.
    TooMany,
    /// Not what the protocol allows.
    Malformed,
    /// We cannot tell now; the client may try again.
    Unavailable,
}
