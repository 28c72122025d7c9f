//! The one spelling in which a client's packet goes on.
//!
//! Clients of small devices write some heads in another way than official encoders do: `42/,["q"]`, `42007["q"]`. Where that
//! has [one meaning](super::peek), the packet goes on with the head that official encoders write for it. The JSON behind the
//! head is never touched.

use super::packet::{NAMESPACE_BYTES_MAX, PacketHead, PacketType};

/// The longest head: `45`, a count and its hyphen, a namespace and its comma, an ack id.
pub const HEAD_BYTES_MAX: usize = 2 + 3 + NAMESPACE_BYTES_MAX + 1 + 16;

/// The head of an event or ack as official encoders write it, in place of the longer one that the client wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanonicalHead {
    kind: PacketType,
    attachments: u8,
    /// The bytes of the namespace in the packet, with the comma behind them. 0: it is `/`, which is not written.
    namespace: u16,
    ack_id: Option<u64>,
    replaces: u32,
}

/// A head that was written.
#[derive(Debug, Clone, Copy)]
pub struct WrittenHead {
    bytes: [u8; HEAD_BYTES_MAX],
    len: usize,
}

impl CanonicalHead {
    /// Of the packet with this `head`.
    #[must_use]
    pub fn of(head: &PacketHead<'_>) -> Self {
        let namespace = if head.namespace == "/" { 0 } else { head.namespace.len() + 1 };
        Self {
            kind: head.kind,
            attachments: head.attachments,
            // A namespace has at most `NAMESPACE_BYTES_MAX`; a message is far shorter than 4 GB.
            namespace: u16::try_from(namespace).unwrap_or_default(),
            ack_id: head.ack_id,
            replaces: u32::try_from(head.data_at).unwrap_or(u32::MAX),
        }
    }

    /// The same with another ack id.
    #[must_use]
    pub const fn with_ack_id(self, ack_id: Option<u64>) -> Self {
        Self { ack_id, ..self }
    }

    /// So many bytes of the packet it stands for.
    #[must_use]
    pub const fn replaces(&self) -> usize {
        self.replaces as usize
    }

    /// Writes it. `packet` is the packet, or at least [so much](Self::replaces) of it.
    #[must_use]
    pub fn written(&self, packet: &[u8]) -> WrittenHead {
        let mut head = WrittenHead { bytes: [0; HEAD_BYTES_MAX], len: 0 };
        head.push(&[b'4', self.kind.digit()]);
        if self.kind.has_attachments() {
            head.push_number(self.attachments.into());
            head.push(b"-");
        }
        if self.namespace > 0 {
            // Before it stand digits and a hyphen.
            let at = memchr::memchr(b'/', packet).unwrap_or_default();
            let name = packet.get(at..at + usize::from(self.namespace) - 1).unwrap_or_default();
            head.push(name);
            head.push(b",");
        }
        if let Some(id) = self.ack_id {
            head.push_number(id);
        }
        head
    }

    /// Writes it into a packet that is here as a whole, directly before the JSON, and returns the packet that begins with it.
    #[must_use]
    pub fn put_into<'a>(&self, packet: &'a mut [u8]) -> &'a [u8] {
        let head = self.written(packet);
        let head = head.as_bytes();
        let Some(begin) = self.replaces().checked_sub(head.len()) else { return packet };
        packet[begin..begin + head.len()].copy_from_slice(head);
        &packet[begin..]
    }
}

impl WrittenHead {
    /// The head.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = (self.len + bytes.len()).min(HEAD_BYTES_MAX);
        self.bytes[self.len..end].copy_from_slice(&bytes[..end - self.len]);
        self.len = end;
    }

    fn push_number(&mut self, number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.push(&digits[at..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::socketio::peek::peek_client;

    /// The packet as it goes on.
    fn canonical(text: &str) -> Option<String> {
        let head = peek_client(text.as_bytes(), true).ok()?;
        if head.is_canonical {
            return Some(text.to_owned());
        }
        let head = CanonicalHead::of(&head);
        let written = head.written(&text.as_bytes()[..head.replaces()]);
        let built = [written.as_bytes(), &text.as_bytes()[head.replaces()..]].concat();
        let mut packet = text.as_bytes().to_vec();
        assert_eq!(head.put_into(&mut packet), built, "{text}");
        Some(String::from_utf8(built).unwrap())
    }

    #[test]
    fn other_spellings_go_on_in_the_official_one() {
        let rows = [
            (r#"42/,["q"]"#, r#"42["q"]"#),
            (r#"42/,7["q"]"#, r#"427["q"]"#),
            (r#"42007["q"]"#, r#"427["q"]"#),
            (r#"4200["q"]"#, r#"420["q"]"#),
            (r#"427 ["q"]"#, r#"427["q"]"#),
            ("42 \t7\n[\"q\"]", r#"427["q"]"#),
            (r#"42/chat,07["q"]"#, r#"42/chat,7["q"]"#),
            (r#"4501-["q"]"#, r#"451-["q"]"#),
            (r#"45010-/,00009["q"]"#, r#"4510-9["q"]"#),
            (r#"4501-/a-1/b,12 ["q"]"#, r#"451-/a-1/b,12["q"]"#),
            ("43/,1[]", "431[]"),
            (r#"461-/,1[{"_placeholder":true,"num":0}]"#, r#"461-1[{"_placeholder":true,"num":0}]"#),
            // Blanks in the JSON are part of it.
            ("42[ \"q\" , 1 ] \n", "42[ \"q\" , 1 ] \n"),
            ("42/,[ \"q\"]", "42[ \"q\"]"),
            (r#"429007199254740991["q"]"#, r#"429007199254740991["q"]"#),
        ];
        for (written, expected) in rows {
            assert_eq!(canonical(written).as_deref(), Some(expected), "{written}");
        }
    }

    #[test]
    fn the_longest_head_fits() {
        let name = "n".repeat(NAMESPACE_BYTES_MAX - 1);
        let text = format!("4500010-/{name},0009007199254740991[\"q\"]");
        assert_eq!(canonical(&text).unwrap(), format!("4510-/{name},9007199254740991[\"q\"]"));
    }

    /// Packets in many spellings.
    fn nearly_a_packet() -> impl Strategy<Value = String> {
        r#"4(2|3|5[0-9]{1,4}-|60?1-)(/[a-z/0-9-]{0,4},)?[ \t]?[0-9]{0,18}[ \n]?\[[ ]?("[a-z]{0,8}"|-?[0-9]{1,3})?[ ]?[,\]]?[ -~]{0,8}\]?[ ]?"#
    }

    proptest! {
        #[test]
        fn a_canonical_packet_means_the_same_and_is_canonical(text in nearly_a_packet()) {
            let Some(once) = canonical(&text) else { return Ok(()) };
            prop_assert!(once.len() <= text.len());
            let (said, says) = (peek_client(text.as_bytes(), true).unwrap(), peek_client(once.as_bytes(), true).unwrap());
            prop_assert!(says.is_canonical);
            prop_assert_eq!(
                (said.kind, said.attachments, said.namespace, said.ack_id, &said.event),
                (says.kind, says.attachments, says.namespace, says.ack_id, &says.event)
            );
            prop_assert_eq!(&text[said.data_at..], &once[says.data_at..]);
            prop_assert_eq!(canonical(&once), Some(once));
        }
    }
}
