//! The position of one leg in its sequence of frames, and which frame may come next.

use super::frame::{FRAGMENTS_MAX, FrameError, FrameHeader, OpCode, Sender};

/// The position of one leg between frames. It sees headers only; the caller has the bytes.
///
/// For each frame: [`FrameScan::header`], as often as bytes run out, then [`FrameScan::accept`] once.
#[derive(Debug, Clone)]
pub struct FrameScan {
    payload_max: u64,
    /// Payload bytes of the message in progress.
    message_len: u64,
    sender: Sender,
    /// What the message in progress is.
    message: Option<OpCode>,
    fragments: u8,
}

impl FrameScan {
    /// The start of a connection. `payload_max` bounds a message with all its fragments, in bytes.
    #[must_use]
    pub const fn new(sender: Sender, payload_max: u64) -> Self {
        Self { payload_max, message_len: 0, sender, message: None, fragments: 0 }
    }

    /// Reads the header at the start of `bytes` and checks that this frame may come now. `None`: bytes are missing.
    ///
    /// # Errors
    /// What [`FrameHeader::parse`] refuses; a continuation of nothing; a new message inside a fragmented one; a message
    /// beyond its bounds. The length is refused before any of the payload has been read or stored.
    pub fn header(&self, bytes: &[u8]) -> Result<Option<FrameHeader>, FrameError> {
        let Some(header) = FrameHeader::parse(bytes, self.sender)? else { return Ok(None) };
        if header.opcode.is_control() {
            return Ok(Some(header));
        }
        match (header.opcode, self.message) {
            (OpCode::Continuation, None) => return Err(FrameError::ContinuationWithoutStart),
            (OpCode::Text | OpCode::Binary, Some(_)) => return Err(FrameError::MessageInterrupted),
            _ => {}
        }
        if self.fragments >= FRAGMENTS_MAX {
            return Err(FrameError::TooManyFragments);
        }
        if header.payload_len > self.payload_max.saturating_sub(self.message_len) {
            return Err(FrameError::TooBig { max: self.payload_max });
        }
        Ok(Some(header))
    }

    /// Moves behind a frame that [`FrameScan::header`] has accepted.
    #[inline]
    pub fn accept(&mut self, header: &FrameHeader) {
        if header.opcode.is_control() {
            return;
        }
        if header.fin {
            self.message = None;
            self.message_len = 0;
            self.fragments = 0;
            return;
        }
        if header.opcode != OpCode::Continuation {
            self.message = Some(header.opcode);
        }
        self.message_len += header.payload_len;
        self.fragments += 1;
    }

    /// Who sends these frames.
    #[must_use]
    pub const fn sender(&self) -> Sender {
        self.sender
    }

    /// The longest message, in bytes.
    #[must_use]
    pub const fn payload_max(&self) -> u64 {
        self.payload_max
    }

    /// A fragmented message has begun and not ended.
    #[must_use]
    pub const fn in_message(&self) -> bool {
        self.message.is_some()
    }

    /// What the fragmented message in progress is: text or binary.
    #[must_use]
    pub const fn message(&self) -> Option<OpCode> {
        self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame header of the service: the first byte as it is, the length as it needs.
    fn frame(first: u8, len: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        FrameHeader::encode(OpCode::Binary, len, None, &mut bytes);
        bytes[0] = first;
        bytes
    }

    /// Takes the frames in turn; the first refusal, or None.
    fn scan(payload_max: u64, frames: &[(u8, u64)]) -> Option<FrameError> {
        let mut scan = FrameScan::new(Sender::Service, payload_max);
        for (first, len) in frames {
            match scan.header(&frame(*first, *len)) {
                Ok(header) => scan.accept(&header.expect("a whole header was given")),
                Err(rule) => return Some(rule),
            }
        }
        None
    }

    #[test]
    fn a_leg_stays_small() {
        assert!(size_of::<FrameScan>() <= 24);
    }

    #[test]
    fn sequences_of_frames_and_the_rule_they_break() {
        type Row = (&'static str, &'static [(u8, u64)], Option<FrameError>);
        let rows: &[Row] = &[
            // RFC 6455 §5.4: whole messages, a fragmented one, control frames in between.
            ("two messages", &[(0x81, 5), (0x82, 5)], None),
            ("three fragments", &[(0x01, 3), (0x00, 3), (0x80, 3), (0x81, 1)], None),
            ("a ping between fragments", &[(0x01, 3), (0x89, 5), (0x80, 3)], None),
            // Autobahn 5.*.
            ("a continuation first", &[(0x80, 0)], Some(FrameError::ContinuationWithoutStart)),
            ("one after the end", &[(0x01, 1), (0x80, 1), (0x00, 1)], Some(FrameError::ContinuationWithoutStart)),
            ("a message in a message", &[(0x01, 1), (0x81, 1)], Some(FrameError::MessageInterrupted)),
            ("also a binary one", &[(0x01, 1), (0x89, 0), (0x02, 1)], Some(FrameError::MessageInterrupted)),
            // Refused by the header alone, before any payload is read.
            ("just short enough", &[(0x82, 100)], None),
            ("too long at once", &[(0x82, 101)], Some(FrameError::TooBig { max: 100 })),
            ("a lie about the length", &[(0x02, 1), (0x80, u64::MAX >> 1)], Some(FrameError::TooBig { max: 100 })),
            ("just short enough together", &[(0x02, 50), (0x00, 0), (0x80, 50), (0x82, 100)], None),
            ("too long together", &[(0x02, 50), (0x80, 51)], Some(FrameError::TooBig { max: 100 })),
        ];
        for (name, frames, rule) in rows {
            assert_eq!(scan(100, frames), *rule, "{name}");
        }
    }

    #[test]
    fn the_65th_fragment_is_refused_even_when_all_are_empty() {
        let mut frames = vec![(0x02, 0)];
        frames.resize(63, (0x00, 0));
        frames.push((0x80, 0));
        assert_eq!(scan(100, &frames), None, "64 fragments are a message");
        frames[63] = (0x00, 0);
        assert_eq!(scan(100, &frames), None);
        frames.push((0x80, 0));
        assert_eq!(scan(100, &frames), Some(FrameError::TooManyFragments));
    }

    #[test]
    fn it_knows_what_is_in_progress() {
        let mut scan = FrameScan::new(Sender::Service, 100);
        for (first, message) in
            [(0x02, Some(OpCode::Binary)), (0x89, Some(OpCode::Binary)), (0x00, Some(OpCode::Binary)), (0x80, None)]
        {
            let header = scan.header(&frame(first, 1)).unwrap().unwrap();
            scan.accept(&header);
            assert_eq!((scan.message(), scan.in_message()), (message, message.is_some()));
        }
    }
}
