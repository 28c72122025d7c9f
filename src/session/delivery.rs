//! An event from elsewhere for clients of this node: encoded once, shared by all that get it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::{
    event_names::{EventNames, EventSlot},
    wire::{
        socketio::{
            encode,
            peek::{PacketHead, peek_service},
        },
        websocket::frame::{FrameHeader, HEADER_BYTES_MAX, OpCode},
    },
};

/// The longest head of an event beside its namespace: `4`, its type, the number of attachments, a dash, a comma.
const HEAD_BYTES: usize = 24;

/// An event without an ack. It does not change; what follows from it is made when it is first needed.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The namespace.
    pub namespace: Box<str>,
    /// The JSON array of the event: its name, then its arguments, with a placeholder for each attachment.
    pub json: Bytes,
    /// Its attachments, in order.
    pub attachments: Vec<Bytes>,
    /// Whether it is dropped for a client that cannot take it at once.
    pub is_volatile: bool,
    frames: OnceLock<Frames>,
    shielded: OnceLock<Arc<Self>>,
    slot: OnceLock<EventSlot>,
}

/// The packet and its attachments as frames of a server, which are not masked and so the same for all clients.
#[derive(Debug, Clone)]
struct Frames {
    bytes: Box<[u8]>,
    /// Where the text of the packet begins and ends in them.
    text: (usize, usize),
}

impl Delivery {
    /// An event with this JSON array, as its fields say.
    #[must_use]
    pub fn new(namespace: impl Into<Box<str>>, json: Bytes, attachments: Vec<Bytes>, is_volatile: bool) -> Self {
        Self {
            namespace: namespace.into(),
            json,
            attachments,
            is_volatile,
            frames: OnceLock::new(),
            shielded: OnceLock::new(),
            slot: OnceLock::new(),
        }
    }

    /// The bytes of the event and its attachments.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// The packet and its attachments as WebSocket frames, one behind the other.
    #[must_use]
    pub fn frames(&self) -> &[u8] {
        &self.made().bytes
    }

    /// The text of the packet.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        let Frames { bytes, text: (begin, end) } = self.made();
        &bytes[*begin..*end]
    }

    /// The messages to send: the packet, then its attachments.
    pub fn messages(&self) -> impl Iterator<Item = (OpCode, &[u8])> {
        let attachments = self.attachments.iter().map(|bytes| (OpCode::Binary, &bytes[..]));
        std::iter::once((OpCode::Text, self.text())).chain(attachments)
    }

    /// How many messages that are, and their bytes together.
    #[must_use]
    pub fn volume(&self) -> (u64, u64) {
        let bytes = self.messages().map(|(_, payload)| payload.len() as u64).sum();
        (1 + self.attachments.len() as u64, bytes)
    }

    /// The head of the packet. `None`: it is no event that a client could read.
    #[must_use]
    pub fn head(&self) -> Option<PacketHead<'_>> {
        peek_service(self.text(), true).ok()
    }

    /// The number of the event's name, which is looked up once.
    #[must_use]
    pub fn slot(&self, names: &EventNames) -> EventSlot {
        *self.slot.get_or_init(|| {
            let event = self.head().and_then(|head| head.event);
            event.map_or(EventSlot::OTHER, |name| names.slot(name.as_bytes()))
        })
    }

    /// The event for a client that holds the `pid` of connection state recovery. Such a client takes a string at the end of
    /// any event for its offset, be it the event's name (`Socket.emitEvent` in socket.io-client), and shows that when it comes
    /// back. So `null` follows the string.
    #[must_use]
    pub fn shielded(self: &Arc<Self>) -> &Arc<Self> {
        let Some(arguments) = self.json.strip_suffix(b"\"]") else { return self };
        self.shielded.get_or_init(|| {
            let json = [arguments, b"\",null]"].concat();
            Arc::new(Self::new(self.namespace.clone(), json.into(), self.attachments.clone(), self.is_volatile))
        })
    }

    fn made(&self) -> &Frames {
        self.frames.get_or_init(|| {
            let mut text = Vec::with_capacity(self.json.len() + self.namespace.len() + HEAD_BYTES);
            encode::whole_event(&self.namespace, &self.json, self.attachments.len(), &mut text);
            let frames = 1 + self.attachments.len();
            let mut bytes = Vec::with_capacity(text.len() + self.bytes() + frames * HEADER_BYTES_MAX);
            FrameHeader::encode(OpCode::Text, text.len() as u64, None, &mut bytes);
            let begin = bytes.len();
            bytes.extend_from_slice(&text);
            let text = (begin, bytes.len());
            for attachment in &self.attachments {
                FrameHeader::encode(OpCode::Binary, attachment.len() as u64, None, &mut bytes);
                bytes.extend_from_slice(attachment);
            }
            Frames { bytes: bytes.into(), text }
        })
    }
}

impl PartialEq for Delivery {
    fn eq(&self, other: &Self) -> bool {
        let said = |delivery: &Self| (delivery.json.clone(), delivery.is_volatile);
        self.namespace == other.namespace && said(self) == said(other) && self.attachments == other.attachments
    }
}

impl Eq for Delivery {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::websocket::frame::Sender;

    fn delivery(namespace: &str, json: &'static str, attachments: &[&'static [u8]]) -> Arc<Delivery> {
        let attachments = attachments.iter().map(|bytes| Bytes::from_static(bytes)).collect();
        Arc::new(Delivery::new(namespace, Bytes::from_static(json.as_bytes()), attachments, false))
    }

    #[test]
    fn its_frames_are_the_packet_and_then_each_attachment() {
        let delivery = delivery("/chat", r#"["n",{"_placeholder":true,"num":0}]"#, &[&[7; 200]]);
        let text = br#"451-/chat,["n",{"_placeholder":true,"num":0}]"#;
        assert_eq!(delivery.text(), text);
        let mut frames = delivery.frames();
        for (opcode, payload) in delivery.messages() {
            let header = FrameHeader::parse(frames, Sender::Service).unwrap().unwrap();
            let (frame, behind) = frames.split_at(header.header_len + payload.len());
            assert_eq!((header.opcode, header.fin), (opcode, true));
            assert_eq!(&frame[header.header_len..], payload);
            frames = behind;
        }
        assert!(frames.is_empty());
        assert_eq!(delivery.volume(), (2, text.len() as u64 + 200));
    }

    #[test]
    fn it_is_encoded_once_for_all() {
        let delivery = delivery("/", r#"["n",1]"#, &[]);
        assert!(std::ptr::eq(delivery.frames(), Arc::clone(&delivery).frames()));
        assert!(Arc::ptr_eq(delivery.shielded(), &delivery), "without a string at its end it is its own shield");
    }

    #[test]
    fn a_string_at_the_end_is_shielded_from_clients_that_would_take_it_for_their_offset() {
        for (json, expected) in [
            (r#"["n","x"]"#, r#"42["n","x",null]"#),
            (r#"["n"]"#, r#"42["n",null]"#),
            (r#"["n",["x"]]"#, r#"42["n",["x"]]"#),
            (r#"["n",{"a":"x"}]"#, r#"42["n",{"a":"x"}]"#),
            (r#"["n",null]"#, r#"42["n",null]"#),
        ] {
            let delivery = delivery("/", json, &[]);
            assert_eq!(delivery.shielded().text(), expected.as_bytes());
            assert!(Arc::ptr_eq(delivery.shielded(), delivery.shielded()));
        }
    }

    #[test]
    fn its_name_is_looked_up_once() {
        let names = EventNames::new(10, []);
        let delivery = delivery("/", r#"["news",1]"#, &[]);
        let slot = delivery.slot(&names);
        assert_eq!((names.name(slot), delivery.slot(&EventNames::new(10, []))), ("news", slot));
    }
}
