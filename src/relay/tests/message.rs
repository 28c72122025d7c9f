//! What passes between a client and a service, as frames and as payloads.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::wire::{
    engineio::payload::{self, PayloadPacket, PayloadReader},
    websocket::{
        frame::{FrameHeader, OpCode, Sender},
        mask,
    },
};

/// What passes between the two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Message {
    Text(String),
    Binary(Vec<u8>),
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Message {
    pub(super) fn frame(&self, key: Option<[u8; 4]>) -> Vec<u8> {
        let (opcode, bytes) = match self {
            Self::Text(text) => (OpCode::Text, text.as_bytes()),
            Self::Binary(bytes) => (OpCode::Binary, &bytes[..]),
        };
        let mut frame = Vec::new();
        FrameHeader::encode(opcode, bytes.len() as u64, key, &mut frame);
        let at = frame.len();
        frame.extend_from_slice(bytes);
        if let Some(key) = key {
            mask::apply(&mut frame[at..], key, 0);
        }
        frame
    }

    pub(super) fn payload(messages: &[Self]) -> Vec<u8> {
        let packet = |message: &Self| match message {
            Self::Text(text) => text.clone(),
            Self::Binary(bytes) => format!("b{}", STANDARD.encode(bytes)),
        };
        messages.iter().map(packet).collect::<Vec<_>>().join("\x1e").into_bytes()
    }

    pub(super) fn of_payload(payload: Vec<u8>) -> Vec<Self> {
        let text = |bytes: &[u8]| Self::Text(String::from_utf8(bytes.to_vec()).unwrap());
        let read = |packet| match packet {
            PayloadPacket::Text(bytes) => text(&bytes),
            PayloadPacket::Binary(base64) => {
                let mut bytes = vec![0; base64.len()];
                let (_, len) = payload::decode(&base64, &mut bytes).unwrap();
                Self::Binary(bytes[..len].to_vec())
            }
        };
        PayloadReader::new(payload.into()).map(read).collect()
    }
}

/// The next message; none at a Close or the end.
pub(super) async fn read_message(io: &mut (impl AsyncRead + Unpin), sender: Sender) -> Option<Message> {
    let mut head = Vec::new();
    let header = loop {
        head.push(io.read_u8().await.ok()?);
        if let Some(header) = FrameHeader::parse(&head, sender).unwrap() {
            break header;
        }
    };
    let mut bytes = vec![0; usize::try_from(header.payload_len).unwrap()];
    io.read_exact(&mut bytes).await.ok()?;
    if let Some(key) = header.mask {
        mask::apply(&mut bytes, key, 0);
    }
    match header.opcode {
        OpCode::Text => Some(Message::Text(String::from_utf8(bytes).unwrap())),
        OpCode::Binary => Some(Message::Binary(bytes)),
        _ => None,
    }
}
