//! The header of one RFC 6455 frame, and every rule that a frame or a sequence of frames can break.

use thiserror::Error;

use super::close_code::CloseCode;

/// RFC 6455 §5.5: the longest payload of a control frame, in bytes.
pub const CONTROL_PAYLOAD_MAX: u64 = 125;

/// How many fragments a message may have, whatever is in them: an empty message ends after so many.
pub const FRAGMENTS_FREE: u64 = 64;

/// Each so many bytes of a message allow it one more fragment than [`FRAGMENTS_FREE`]. Clients of .NET and Unity send
/// fragments of 1 KiB and 8 KiB, Chromium of 128 KiB, and no known client less than 64 bytes. A smaller fragment costs more
/// to read than it carries.
pub const BYTES_PER_FRAGMENT: u64 = 64;

/// The longest frame header, in bytes: two, a 64-bit length, a mask.
pub const HEADER_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE_BITS: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH_BITS: u8 = 0x7f;
const LENGTH_IN_16_BITS: u8 = 126;
const LENGTH_IN_64_BITS: u8 = 127;

/// What a frame is (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpCode {
    /// More of the message in progress.
    Continuation,
    /// A message of UTF-8 text, or its first fragment.
    Text,
    /// A message of bytes, or its first fragment.
    Binary,
    /// The sender sends nothing after this.
    Close,
    /// Asks for a pong with the same payload.
    Ping,
    /// Answers a ping, or is sent unasked.
    Pong,
}

impl OpCode {
    /// Close, ping and pong: short, never fragmented, allowed in the middle of a fragmented message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }
}

/// Who sent a frame. RFC 6455 §5.1: a client masks every frame, a server none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Frames are masked.
    Client,
    /// Frames are not.
    Service,
}

/// The header of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The last frame of its message.
    pub fin: bool,
    /// What the frame is.
    pub opcode: OpCode,
    /// What its payload is masked with.
    pub mask: Option<[u8; 4]>,
    /// How many bytes follow the header.
    pub payload_len: u64,
    /// How many bytes the header itself takes: 2 to [`HEADER_BYTES_MAX`].
    pub header_len: usize,
}

impl FrameHeader {
    /// Reads the header at the start of `bytes`. `None`: the header is longer than `bytes`.
    ///
    /// A wrong byte is an error as soon as it has arrived, even if the rest is missing.
    ///
    /// # Errors
    /// The rule of RFC 6455 §5 that a single frame breaks. `FrameScan` checks the rules for sequences of frames.
    pub fn parse(bytes: &[u8], sender: Sender) -> Result<Option<Self>, FrameError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let fin = first & FIN != 0;
        let opcode = first & OPCODE_BITS;
        if first & RESERVED_BITS != 0 {
            return Err(FrameError::ReservedBits);
        }
        let opcode = OpCode::from_bits(opcode).ok_or(FrameError::ReservedOpCode(opcode))?;
        if opcode.is_control() && !fin {
            return Err(FrameError::FragmentedControl(opcode));
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = second & MASKED != 0;
        match sender {
            Sender::Client if !masked => return Err(FrameError::Unmasked),
            Sender::Service if masked => return Err(FrameError::Masked),
            Sender::Client | Sender::Service => {}
        }
        let length = second & LENGTH_BITS;
        if opcode.is_control() && u64::from(length) > CONTROL_PAYLOAD_MAX {
            return Err(FrameError::ControlTooLong(opcode));
        }
        let Some((payload_len, length_end)) = parse_length(length, &bytes[2..])? else { return Ok(None) };
        let length_end = 2 + length_end;
        if !masked {
            return Ok(Some(Self { fin, opcode, mask: None, payload_len, header_len: length_end }));
        }
        let Some(&mask) = bytes[length_end..].first_chunk::<4>() else { return Ok(None) };
        Ok(Some(Self { fin, opcode, mask: Some(mask), payload_len, header_len: length_end + 4 }))
    }

    /// Appends the header of a frame that is a whole message. The caller appends the payload, masked.
    pub fn encode(opcode: OpCode, payload_len: u64, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
        let (header, len) = Self::written(opcode, payload_len, mask);
        out.extend_from_slice(&header[..len]);
    }

    /// The header of a frame that is a whole message, and how many bytes of the array it takes.
    #[must_use]
    pub fn written(opcode: OpCode, payload_len: u64, mask: Option<[u8; 4]>) -> ([u8; HEADER_BYTES_MAX], usize) {
        debug_assert!(!opcode.is_control() || payload_len <= CONTROL_PAYLOAD_MAX, "RFC 6455 §5.5");
        let mut header = [0; HEADER_BYTES_MAX];
        let masked = if mask.is_some() { MASKED } else { 0 };
        header[0] = FIN | opcode.bits();
        let mut len = match (u8::try_from(payload_len), u16::try_from(payload_len)) {
            (Ok(short), _) if short < LENGTH_IN_16_BITS => {
                header[1] = masked | short;
                2
            }
            (_, Ok(short)) => {
                header[1] = masked | LENGTH_IN_16_BITS;
                header[2..4].copy_from_slice(&short.to_be_bytes());
                4
            }
            _ => {
                header[1] = masked | LENGTH_IN_64_BITS;
                header[2..10].copy_from_slice(&payload_len.to_be_bytes());
                10
            }
        };
        if let Some(key) = mask {
            header[len..len + key.len()].copy_from_slice(&key);
            len += key.len();
        }
        (header, len)
    }
}

/// The payload length, and how many bytes after the second it takes. RFC 6455 §5.2: as few as possible.
fn parse_length(length: u8, after: &[u8]) -> Result<Option<(u64, usize)>, FrameError> {
    let (len, end, least) = match length {
        LENGTH_IN_16_BITS => {
            let Some(&len) = after.first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(len)), 2, u64::from(LENGTH_IN_16_BITS))
        }
        LENGTH_IN_64_BITS => {
            let Some(&len) = after.first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(len), 8, 1 << 16)
        }
        _ => (u64::from(length), 0, 0),
    };
    if len >> 63 != 0 {
        return Err(FrameError::LengthTopBit);
    }
    if len < least {
        return Err(FrameError::NonMinimalLength(len));
    }
    Ok(Some((len, end)))
}

/// The rule that a frame, a sequence of frames, or what they carry broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// RFC 6455 §5.2: reserved bits are zero unless an extension gives them a meaning; none is ever agreed here.
    #[error("a frame has a reserved bit set, though no extension was agreed")]
    ReservedBits,
    /// RFC 6455 §5.2: opcodes 3 to 7 and 11 to 15 have no meaning.
    #[error("a frame has the reserved opcode {0:#x}")]
    ReservedOpCode(u8),
    /// RFC 6455 §5.5: a control frame is never fragmented.
    #[error("a {0:?} frame is fragmented; control frames must not be")]
    FragmentedControl(OpCode),
    /// RFC 6455 §5.5: a control frame carries at most 125 bytes.
    #[error("a {0:?} frame is longer than 125 bytes")]
    ControlTooLong(OpCode),
    /// RFC 6455 §5.1: a client masks every frame.
    #[error("a frame from the client is not masked")]
    Unmasked,
    /// RFC 6455 §5.1: a server masks no frame.
    #[error("a frame from the service is masked")]
    Masked,
    /// RFC 6455 §5.2: the length is written in as few bytes as can hold it.
    #[error("the frame length {0} is written in more bytes than it needs")]
    NonMinimalLength(u64),
    /// RFC 6455 §5.2: the top bit of a 64-bit length is zero.
    #[error("a frame length has its top bit set")]
    LengthTopBit,
    /// RFC 6455 §5.4: a continuation continues something.
    #[error("a continuation frame came while no message was in progress")]
    ContinuationWithoutStart,
    /// RFC 6455 §5.4: fragments of two messages are not mixed.
    #[error("a new message began before the fragmented one ended")]
    MessageInterrupted,
    /// RFC 6455 §10.4 leaves the bound to us: [`FRAGMENTS_FREE`], and one more for each [`BYTES_PER_FRAGMENT`].
    #[error(
        "a message has more than {FRAGMENTS_FREE} fragments, and more than one for each {BYTES_PER_FRAGMENT} bytes"
    )]
    TooManyFragments,
    /// RFC 6455 §10.4 leaves the bound to the implementation: the message is longer than the route allows.
    #[error("a message is longer than {max} bytes")]
    TooBig {
        /// The bound it broke, in bytes.
        max: u64,
    },
    /// RFC 6455 §8.1: text, and the reason in a close frame, is UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// RFC 6455 §5.5.1: a close frame is empty or begins with a two-byte code.
    #[error("a close frame has a body of one byte")]
    CloseTruncated,
    /// RFC 6455 §7.4: this close code must not be sent.
    #[error("a close frame carries the code {0}, which must not be sent")]
    CloseCodeReserved(u16),
    /// Too many control frames in a short time. Only a caller with a clock reports this.
    #[error("control frames come faster than allowed")]
    ControlRate,
}

impl FrameError {
    /// The close code for the peer that broke the rule (RFC 6455 §7.4.1).
    #[must_use]
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::NotUtf8 => CloseCode::INVALID_PAYLOAD,
            Self::TooBig { .. } => CloseCode::TOO_BIG,
            Self::TooManyFragments | Self::ControlRate => CloseCode::POLICY,
            Self::ReservedBits
            | Self::ReservedOpCode(_)
            | Self::FragmentedControl(_)
            | Self::ControlTooLong(_)
            | Self::Unmasked
            | Self::Masked
            | Self::NonMinimalLength(_)
            | Self::LengthTopBit
            | Self::ContinuationWithoutStart
            | Self::MessageInterrupted
            | Self::CloseTruncated
            | Self::CloseCodeReserved(_) => CloseCode::PROTOCOL,
        }
    }
}

#[cfg(test)]
mod tests;
