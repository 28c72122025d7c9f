//! What a session asks others, and what they answer.

use std::{fmt, net::IpAddr};

use zeroize::Zeroizing;

use crate::{
    policy::identity::Identity,
    wire::engineio::id::{Pid, Sid},
};

/// What somebody else knows.
#[derive(Debug, PartialEq, Eq)]
pub enum Question {
    /// Have the published keys changed, or has a fetch of them failed?
    Keys,
    /// Does the session with this `pid` take this client back?
    Claim(Pid, Claim),
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The keys are others now, or are known not to come.
    KeysChanged,
    /// The session takes the client back, or there is none that does.
    Claim(bool),
}

/// A client's claim to a session that it had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The user, from a verified token. `None`: an anonymous client.
    pub user: Option<Box<str>>,
    /// The namespace that it asks for first.
    pub namespace: Box<str>,
    /// The number of the last event that it got there. `None`: it got none.
    pub offset: Option<u64>,
}

/// A client that goes on with the session that it had.
#[derive(Clone, PartialEq, Eq)]
pub struct Returning {
    /// The session.
    pub pid: Pid,
    /// What the client claims there.
    pub claim: Claim,
    /// The sid of its new connection.
    pub sid: Sid,
    /// Its address.
    pub peer: IpAddr,
    /// Who it is, by the token that it shows now.
    pub identity: Identity,
    /// The JSON of its CONNECT, without what names the session. It may hold the token.
    pub connect: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Returning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claim, peer, .. } = self;
        f.debug_struct("Returning").field("claim", claim).field("peer", peer).finish_non_exhaustive()
    }
}
