//! Identifies repeated packets: a repeat has the same bytes except for its ack id.

use std::hash::{BuildHasher, DefaultHasher, Hasher};

use foldhash::quality::FixedState;

use crate::{session::queue::WholePacket, wire::socketio::peek::peek_client};

/// So much of the JSON of a packet that passes is hashed. All of it is shown of every message.
const BEGIN_BYTES: usize = 256;

/// By what a repeat of a packet is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Digest {
    /// Repeats are not told from other packets.
    #[default]
    None,
    /// Of a packet that passed: the hash of the length and of the beginning of its JSON.
    Begin(u64),
    /// Of a packet that was taken: the hash of all of its JSON and of its attachments.
    Whole(u64),
}

/// Both hashes of a packet that is here as a whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digests {
    begin: u64,
    whole: u64,
}

impl Digest {
    /// Of a packet that passes: its JSON as far as it is shown, and the length of all of it.
    pub(super) fn of_begin(json: &[u8], len: usize) -> Self {
        Self::Begin(begin(json, len))
    }
}

impl Digests {
    /// Of a packet of the client. `None`: it is none.
    pub(super) fn of(packet: &WholePacket) -> Option<Self> {
        let text = packet.payload();
        let json = &text[peek_client(text, true).ok()?.data_at..];
        let mut hasher = DefaultHasher::new();
        for part in std::iter::once(json).chain(packet.attachments()) {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        Some(Self { begin: begin(json, json.len()), whole: hasher.finish() })
    }

    /// As it is remembered of a packet that was taken.
    pub(super) const fn whole(self) -> Digest {
        Digest::Whole(self.whole)
    }

    /// Whether an earlier packet may have been the same.
    pub(super) fn fits(self, earlier: Digest) -> bool {
        match earlier {
            Digest::None => false,
            Digest::Begin(begin) => begin == self.begin,
            Digest::Whole(whole) => whole == self.whole,
        }
    }
}

/// Done for every packet that asks for an ack, for which SipHash takes too long. It needs no secret, because a client can
/// deceive itself alone.
fn begin(json: &[u8], len: usize) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write_usize(len);
    hasher.write(&json[..json.len().min(BEGIN_BYTES)]);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn packet(text: &str, attached: &[&[u8]]) -> WholePacket {
        let mut packet = WholePacket::new(0, None, text.as_bytes().to_vec(), 0);
        attached.iter().for_each(|bytes| packet.attach(bytes.to_vec()));
        packet
    }

    #[test]
    fn a_repeat_differs_in_its_ack_id_alone() {
        let earlier = Digests::of(&packet(r#"427["order",{"item":1}]"#, &[])).unwrap();
        let passed = Digest::of_begin(br#"["order",{"item":1}]"#, 20);
        for (text, is_same) in [
            (r#"42123["order",{"item":1}]"#, true),
            (r#"42123["order",{"item":2}]"#, false),
            (r#"42123["order",{"item":1}, 1]"#, false),
        ] {
            let later = Digests::of(&packet(text, &[])).unwrap();
            assert_eq!((later.fits(earlier.whole()), later.fits(passed)), (is_same, is_same), "{text}");
            assert!(!later.fits(Digest::None));
        }
    }

    #[test]
    fn beginnings_that_differ_in_few_bytes_are_told_apart() {
        for before in 0..8 {
            // The digits lie at each place in the words of the hash, and words follow.
            let json = |number: u32| format!(r#"["order{}",{number:04},"and more text"]"#, "x".repeat(before));
            let hash = |number| begin(json(number).as_bytes(), json(number).len());
            assert_eq!((0..10_000).map(hash).collect::<HashSet<_>>().len(), 10_000, "{before}");
        }
        let long = [b' '; BEGIN_BYTES];
        assert_ne!(begin(&long, BEGIN_BYTES), begin(&long, BEGIN_BYTES + 1), "the length counts");
    }

    #[test]
    fn attachments_and_everything_behind_the_beginning_count_where_all_of_it_is_here() {
        let text = r#"451-1["file",{"_placeholder":true,"num":0}]"#;
        let [one, same, other] = [b"one", b"one", b"two"].map(|bytes| Digests::of(&packet(text, &[bytes])).unwrap());
        assert!(same.fits(one.whole()) && !other.fits(one.whole()));
        let long = |last: &str| packet(&format!(r#"42["long","{}{last}"]"#, "x".repeat(1000)), &[]);
        let [one, other] = ["1", "2"].map(|last| Digests::of(&long(last)).unwrap());
        assert!(!other.fits(one.whole()));
        assert!(other.fits(Digest::Begin(one.begin)), "of one that passed the beginning alone is known");
    }
}
