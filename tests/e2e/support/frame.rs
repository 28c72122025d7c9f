//! RFC 6455 frames, right or wrong, for a speaker that may send any bytes.

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn text(&self) -> &str {
        assert_eq!(self.opcode, TEXT, "{self:?}");
        std::str::from_utf8(&self.payload).unwrap()
    }

    /// The status code of a close frame; 1005 when it has none.
    pub(crate) fn close_code(&self) -> u16 {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        self.payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]))
    }
}

/// A client's frame as it should be.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(FIN | opcode, payload)
}

/// A client's frame that is not the last of its message.
pub(crate) fn fragment(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(opcode, payload)
}

/// A client's frame with any first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(MASKED | short as u8),
        medium @ 126..=0xFFFF => {
            bytes.push(MASKED | 126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(MASKED | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(mask(payload));
    bytes
}

/// A client's text frame whose length is written as `length`, with nothing or too little behind it.
pub(crate) fn claiming(length: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![FIN | TEXT];
    bytes.extend(length);
    bytes[1] |= MASKED;
    bytes.extend(MASK);
    bytes.extend(mask(payload));
    bytes
}

/// A frame as only a server may send it.
pub(crate) fn unmasked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).ok().filter(|length| *length <= 125).expect("a short payload");
    let mut bytes = vec![FIN | opcode, length];
    bytes.extend(payload);
    bytes
}

/// The whole frames in what a gate has sent to a service: each masked, unfragmented and short.
pub(crate) fn of_client(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let [first, length, m0, m1, m2, m3, rest @ ..] = bytes {
        let len = usize::from(length & 0x7F);
        assert!(first & 0xF0 == FIN && length & MASKED == MASKED && len <= 125, "{bytes:02x?}");
        let Some(payload) = rest.get(..len) else { break };
        let payload = payload.iter().zip([m0, m1, m2, m3].into_iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        frames.push(Frame { opcode: first & 0x0F, payload });
        bytes = &rest[len..];
    }
    frames
}

fn mask(payload: &[u8]) -> impl Iterator<Item = u8> {
    payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key)
}
