//! A session as plain data, for a hand-over to another node. Not in use yet: the simulation alone restores snapshots.
//!
//! Both legs are closed in it: the client is absent and the service down. Times are written as durations, because
//! clocks of two machines do not agree. The format is MessagePack with a version before it; an unknown version is no
//! error to the client, which gets a fresh session.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::{
    policy::identity::Details,
    session::{ended::Ended, membership::Membership, namespace_set::NamespaceSet, reach::Reach, room_reason::Reason},
    wire::websocket::close::CloseCode,
};

/// The version that is written. It changes with every change of the types below.
const VERSION: u16 = 6;

/// A Socket.IO session without its legs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The `pid` that the client sends to come back.
    pub pid: String,
    /// The handshake for the service, as the relay stores it.
    pub handshake: Blob,
    /// Each user of the session, by number.
    pub(super) users: Vec<UserData>,
    pub(super) certified: Option<Box<str>>,
    pub(super) idle_for: Duration,
    pub(super) told_for: Option<Duration>,
    pub(super) refused_connects: u8,
    pub(super) namespaces: Vec<NamespaceData>,
    pub(super) acks: AcksData,
    pub(super) rooms: Vec<RoomData>,
    pub(super) asked: Vec<AskedData>,
    pub(super) resume: ResumeData,
    pub(super) upstream: UpstreamData,
}

/// A user of the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UserData {
    pub(super) name: Option<Box<str>>,
    /// The time until the last token expires. `None`: there is no token.
    pub(super) lives: Option<Duration>,
    pub(super) token: TokenData,
    /// What is left of each `[[rate_limit]]` that counts this session alone. `None`: it counts a user or an address.
    pub(super) budgets: Vec<Option<u32>>,
}

/// What is kept of a verified token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenData {
    forward_headers: Vec<(String, Blob)>,
    jti: Option<Box<str>>,
    /// Since 1970, by the clock of the issuer.
    issued_at: Option<Duration>,
    claims: Vec<(Box<str>, Box<str>)>,
}

/// One slot for a namespace, by its number. `name` is empty if the slot is free.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NamespaceData {
    pub(super) name: Box<str>,
    pub(super) membership: Membership,
    pub(super) connect: Blob,
    pub(super) socket_id: Option<Box<str>>,
    pub(super) pid: Option<Box<str>>,
    pub(super) offset: Option<Box<str>>,
    pub(super) join: u32,
    /// The number of the user.
    pub(super) user: u8,
    /// The token by which the client is there. `None`: that of the user.
    pub(super) token: Option<TokenData>,
    /// The time until the token expires. `None`: there is no token.
    pub(super) lives: Option<Duration>,
}

/// A room that the client is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RoomData {
    /// The number of the namespace.
    pub(super) namespace: u8,
    pub(super) reason: Reason,
    pub(super) room: Box<str>,
}

/// A room that the client has asked for by an event that is not acknowledged yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AskedData {
    /// The number of the namespace.
    pub(super) namespace: u8,
    /// The ack id of the event.
    pub(super) id: u64,
    /// The number of the rule.
    pub(super) rule: u8,
    pub(super) room: Box<str>,
}

/// Acks in flight: the ack ids of the service, and the events that are not sent yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AcksData {
    pub(super) base: u64,
    pub(super) next: u64,
    pub(super) waiting: Vec<WaitingData>,
}

/// An event that waits for its ack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WaitingData {
    pub(super) id: u64,
    pub(super) namespace: u8,
    pub(super) event: String,
    pub(super) waits_for: Duration,
}

/// What the client may have missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ResumeData {
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) dropped: Option<u64>,
    pub(super) absent_for: Duration,
    pub(super) why: EndData,
    pub(super) unreturned: NamespaceSet,
    pub(super) joins: u32,
    pub(super) events: Vec<KeptData>,
}

/// An event that the client may have missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptData {
    pub(super) position: u64,
    pub(super) reach: Reach,
    pub(super) packet: PacketData,
}

/// The outage of the service, and what waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UpstreamData {
    pub(super) down_for: Duration,
    pub(super) why: EndData,
    pub(super) failures: u32,
    pub(super) dropped: u64,
    pub(super) queue: Vec<PacketData>,
}

/// A packet with its attachments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PacketData {
    pub(super) namespace: u8,
    pub(super) ack_id: Option<u64>,
    pub(super) sent: u8,
    pub(super) may_be_sent_again: bool,
    pub(super) text: Blob,
    pub(super) attachments: Vec<Blob>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EndData {
    ClientClosed(u16),
    ClientLost,
    PingTimeout,
    Replaced,
    ServiceLost,
    ServiceUnreachable,
    ServiceSlow,
    ClientStalled,
}

/// Bytes, written as such, and wiped when dropped: they may hold secrets of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Zeroizing<Vec<u8>>);

/// Why a snapshot cannot be continued.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Another version of Tidegate wrote it.
    #[error("the snapshot has version {0}, and {VERSION} is expected")]
    Version(u16),
    /// It is not a snapshot, or was cut off.
    #[error("the snapshot cannot be read: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// A value in it is not valid.
    #[error("the snapshot's {0} is not valid")]
    Invalid(&'static str),
}

impl Snapshot {
    /// The snapshot as bytes.
    ///
    /// # Errors
    /// A value that MessagePack cannot hold, for example a text of more than 4 GiB.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, rmp_serde::encode::Error> {
        rmp_serde::to_vec(&(VERSION, self)).map(Zeroizing::new)
    }

    /// Reads a snapshot from these bytes.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (version, _): (u16, de::IgnoredAny) = rmp_serde::from_slice(bytes)?;
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let (_, snapshot): (u16, Self) = rmp_serde::from_slice(bytes)?;
        Ok(snapshot)
    }
}

impl TokenData {
    /// What is kept of a token, which may be nothing.
    pub(super) fn of(details: Option<&Details>) -> Self {
        let Some(Details { forward_headers, jti, issued_at, claims }) = details else { return Self::default() };
        let header = |(name, value): &(HeaderName, HeaderValue)| (name.as_str().to_owned(), value.as_bytes().into());
        Self {
            forward_headers: forward_headers.iter().map(header).collect(),
            jti: jti.clone(),
            issued_at: issued_at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()),
            claims: claims.iter().map(|(name, text)| ((&**name).into(), text.clone())).collect(),
        }
    }

    /// What was [kept](Self::of). `None`: a header in it is none.
    pub(super) fn details(self) -> Option<Details> {
        let header = |(name, value): (String, Blob)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(&value.0).ok()?))
        };
        Some(Details {
            forward_headers: self.forward_headers.into_iter().map(header).collect::<Option<_>>()?,
            jti: self.jti,
            issued_at: self.issued_at.and_then(|since| UNIX_EPOCH.checked_add(since)),
            claims: self.claims.into_iter().map(|(name, text)| (name.into(), text)).collect(),
        })
    }
}

impl EndData {
    /// `None`: a session that ended this way is not continued.
    pub(super) const fn of(ended: Ended) -> Option<Self> {
        Some(match ended {
            Ended::ClientClosed(code) => Self::ClientClosed(code.get()),
            Ended::ClientLost => Self::ClientLost,
            Ended::PingTimeout => Self::PingTimeout,
            Ended::Replaced => Self::Replaced,
            Ended::ServiceLost => Self::ServiceLost,
            Ended::ServiceUnreachable => Self::ServiceUnreachable,
            Ended::ServiceSlow => Self::ServiceSlow,
            Ended::ClientStalled => Self::ClientStalled,
            _ => return None,
        })
    }

    pub(super) const fn ended(self) -> Ended {
        match self {
            Self::ClientClosed(code) => Ended::ClientClosed(CloseCode::new(code)),
            Self::ClientLost => Ended::ClientLost,
            Self::PingTimeout => Ended::PingTimeout,
            Self::Replaced => Ended::Replaced,
            Self::ServiceLost => Ended::ServiceLost,
            Self::ServiceUnreachable => Ended::ServiceUnreachable,
            Self::ServiceSlow => Ended::ServiceSlow,
            Self::ClientStalled => Ended::ClientStalled,
        }
    }
}

/// It holds secrets of a client.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// The `pid` is a secret of the client.
impl fmt::Debug for NamespaceData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, membership, .. } = self;
        f.debug_struct("NamespaceData").field("name", name).field("membership", membership).finish_non_exhaustive()
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(bytes.into())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
