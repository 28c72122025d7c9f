//! Session ids that say where a session lives: the node, the worker thread, and random bits, so that none can be guessed.

use std::{fmt, marker::PhantomData};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Random bytes of a [`NodeId`].
pub const NODE_RANDOM_BYTES: usize = 6;

/// Random bytes of a [`Sid`] or [`Pid`] behind its node and worker: 104 bits.
pub const ID_RANDOM_BYTES: usize = 13;

/// Characters of a [`NodeId`] in base64url.
const NODE_CHARS: usize = 8;

/// Characters of an id in base64url: the node, then two bytes of worker and the random ones.
const ID_CHARS: usize = 28;

/// Bytes of an [`IdHash`].
const HASH_BYTES: usize = 4;

/// One running Tidegate. It draws a new id at each start, so an id of an earlier run is recognised as foreign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId([u8; NODE_CHARS]);

impl NodeId {
    /// The node id made of these random bytes.
    #[must_use]
    pub fn new(random: [u8; NODE_RANDOM_BYTES]) -> Self {
        let mut chars = [0; NODE_CHARS];
        URL_SAFE_NO_PAD.encode_slice(random, &mut chars).expect("6 bytes are 8 characters of base64");
        Self(chars)
    }
}

/// Where a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Home {
    /// The node that has the session's upstream leg.
    pub node: NodeId,
    /// The worker thread of that node, counted from 0.
    pub worker: u16,
}

/// The id of an Engine.IO session at the gate (`sid`). Whoever knows it can speak for the session.
pub type Sid = Id<SidKind>;

/// What a client shows to get its session back (`pid` of Socket.IO's connection state recovery). A secret like the sid.
pub type Pid = Id<PidKind>;

/// Marks a [`Sid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SidKind {}

/// Marks a [`Pid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PidKind {}

/// An id as text: 28 characters of base64url, of which the first 8 are the node. `K` keeps a [`Sid`] and a [`Pid`]
/// apart. It is a secret, so nothing shows it that is asked to show a value: `{}` does not compile, and `{:?}` gives its
/// [hash](Self::hash).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id<K> {
    chars: [u8; ID_CHARS],
    kind: PhantomData<K>,
}

impl<K> Id<K> {
    /// The id of a session at `home`. `random` must come from a source that cannot be predicted.
    #[must_use]
    pub fn new(home: Home, random: [u8; ID_RANDOM_BYTES]) -> Self {
        let mut bytes = [0; 2 + ID_RANDOM_BYTES];
        bytes[..2].copy_from_slice(&home.worker.to_be_bytes());
        bytes[2..].copy_from_slice(&random);
        let mut chars = [0; ID_CHARS];
        chars[..NODE_CHARS].copy_from_slice(&home.node.0);
        let encoded = URL_SAFE_NO_PAD.encode_slice(bytes, &mut chars[NODE_CHARS..]);
        encoded.expect("15 bytes are 20 characters of base64");
        Self { chars, kind: PhantomData }
    }

    /// The id that a client gives. `None` where the text cannot be an id of any Tidegate node.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let chars: [u8; ID_CHARS] = text.as_bytes().try_into().ok()?;
        let is_base64 = chars.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
        is_base64.then_some(Self { chars, kind: PhantomData })
    }

    /// Where the session lives.
    #[must_use]
    pub fn home(&self) -> Home {
        let (node, rest) = self.chars.split_first_chunk().expect("an id is longer than its node");
        let mut bytes = [0; 3];
        URL_SAFE_NO_PAD.decode_slice(&rest[..4], &mut bytes).expect("every id is base64");
        Home { node: NodeId(*node), worker: u16::from_be_bytes([bytes[0], bytes[1]]) }
    }

    /// What may be shown of it.
    #[must_use]
    pub fn hash(&self) -> IdHash {
        let digest = digest::digest(&digest::SHA256, &self.chars);
        let mut bytes = [0; HASH_BYTES];
        bytes.copy_from_slice(&digest.as_ref()[..HASH_BYTES]);
        IdHash(bytes)
    }

    /// The id as text, for the client that it belongs to.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.chars).expect("base64 is ASCII")
    }
}

/// The first eight hexadecimal digits of the SHA-256 of an id, by which an operator who knows the id finds it in the log and
/// whoever reads the log does not find the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdHash([u8; HASH_BYTES]);

impl fmt::Display for IdHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id(#{})", self.hash())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(node: u8, worker: u16) -> Home {
        Home { node: NodeId::new([node; NODE_RANDOM_BYTES]), worker }
    }

    #[test]
    fn an_id_says_where_its_session_lives() {
        for home in [home(0, 0), home(1, 1), home(255, 63), home(7, u16::MAX)] {
            for random in [[0; ID_RANDOM_BYTES], [255; ID_RANDOM_BYTES]] {
                let sid = Sid::new(home, random);
                assert_eq!(Sid::parse(sid.as_str()).map(|sid| sid.home()), Some(home));
                assert_eq!(Pid::new(home, random).as_str(), sid.as_str());
            }
        }
    }

    #[test]
    fn ids_are_url_safe_and_differ_where_their_bytes_do() {
        let sid = Sid::new(home(0xff, 0xfbff), *b"\xfe\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e");
        assert_eq!(sid.as_str(), "________-__-AwQFBgcICQoLDA0O");
        assert_ne!(sid, Sid::new(home(0xff, 0xfbff), [0; ID_RANDOM_BYTES]));
        assert_ne!(sid.home().node, home(0xfe, 0).node);
    }

    #[test]
    fn an_id_shows_eight_digits_of_its_hash_and_nothing_else() {
        let sid = Sid::new(home(0, 0), [0; ID_RANDOM_BYTES]);
        // printf AAAAAAAAAAAAAAAAAAAAAAAAAAAA | sha256sum
        assert_eq!(format!("{sid:?} {}", sid.hash()), "Id(#c84f7630) c84f7630");
    }

    #[test]
    fn other_texts_are_no_ids() {
        let texts =
            ["", "short", "AAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAAAAAAé"];
        for text in texts.into_iter().chain(["AAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]) {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
    }
}
