//! A message with its topic as one piece of bytes: for a channel or a stream that carries all topics.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cluster::envelope::{Envelope, Topic};

/// MessagePack: an array of kind, namespace, room, payload.
#[derive(Debug, Serialize, Deserialize)]
struct Frame(Kind, Box<str>, Option<Box<str>>, Bytes);

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
enum Kind {
    Broadcast,
    Request,
}

impl From<Kind> for u8 {
    fn from(kind: Kind) -> Self {
        kind as Self
    }
}

impl TryFrom<u8> for Kind {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::Broadcast),
            1 => Ok(Self::Request),
            _ => Err("unknown kind"),
        }
    }
}

/// Writes a message.
pub(super) fn encode(envelope: Envelope) -> Vec<u8> {
    let frame = match envelope.topic {
        Topic::Broadcast { namespace, room } => Frame(Kind::Broadcast, namespace, room, envelope.payload),
        Topic::Request { namespace } => Frame(Kind::Request, namespace, None, envelope.payload),
    };
    // Fails only where memory does: it is written to a vector, and every part has a form.
    rmp_serde::to_vec(&frame).unwrap_or_default()
}

/// Reads a message. `None`: it is none, or of a newer version.
pub(super) fn decode(bytes: &[u8]) -> Option<Envelope> {
    let Frame(kind, namespace, room, payload) = rmp_serde::from_slice(bytes).ok()?;
    let topic = match kind {
        Kind::Broadcast => Topic::Broadcast { namespace, room },
        Kind::Request => Topic::Request { namespace },
    };
    Some(Envelope { topic, payload })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope() -> impl Strategy<Value = Envelope> {
        let topic = prop_oneof![
            (".*", proptest::option::of(".*")).prop_map(|(namespace, room)| Topic::Broadcast {
                namespace: namespace.into(),
                room: room.map(Into::into)
            }),
            ".*".prop_map(|namespace| Topic::Request { namespace: namespace.into() }),
        ];
        (topic, proptest::collection::vec(any::<u8>(), 0..600))
            .prop_map(|(topic, payload)| Envelope { topic, payload: payload.into() })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(envelope in envelope()) {
            prop_assert_eq!(decode(&encode(envelope.clone())), Some(envelope));
        }

        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn a_message_of_a_newer_version_is_left_alone() {
        assert_eq!(decode(b"\x94\x02\xa1/\xc0\xc4\x00"), None);
        assert_eq!(decode(b""), None);
    }
}
