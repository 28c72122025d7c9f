//! The position of one leg in its sequence of frames, and which frame may come next.

use super::frame::{BYTES_PER_FRAGMENT, FRAGMENTS_FREE, FrameError, FrameHeader, OpCode, Sender};

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
    fragments: u32,
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
        // What counts is what has come: this header may lie about its length.
        if u64::from(self.fragments) >= FRAGMENTS_FREE + self.message_len / BYTES_PER_FRAGMENT {
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
        self.fragments = self.fragments.saturating_add(1);
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

    /// As many frames as `fragments`, each of `len` bytes, which are one message of the service.
    fn message_of(fragments: usize, len: u64) -> Vec<(u8, u64)> {
        let mut frames = vec![(0x02, len)];
        frames.resize(fragments - 1, (0x00, len));
        frames.push((0x80, len));
        frames
    }

    #[test]
    fn the_65th_fragment_is_refused_where_the_others_are_empty() {
        assert_eq!(scan(100, &message_of(64, 0)), None, "64 fragments are a message");
        assert_eq!(scan(100, &message_of(65, 0)), Some(FrameError::TooManyFragments));
        let again = [message_of(64, 0), message_of(64, 0)].concat();
        assert_eq!(scan(100, &again), None, "each message is counted for itself");
    }

    #[test]
    fn a_message_may_have_a_fragment_for_each_64_bytes() {
        // .NET and Unity, Chromium, the smallest of Autobahn 9.3 and 9.4.
        for (fragments, len) in [(16_384, 1 << 10), (2_048, 8 << 10), (128, 128 << 10), (262_144, 64)] {
            let max = u64::try_from(fragments).unwrap() * len;
            assert_eq!(scan(max, &message_of(fragments, len)), None, "{fragments} fragments of {len} bytes");
        }
    }

    #[test]
    fn a_flood_of_tiny_fragments_is_refused() {
        // One byte each: after 65 fragments there are 65 bytes, which allow one more than 64.
        assert_eq!(scan(1_000_000, &message_of(65, 1)), None);
        assert_eq!(scan(1_000_000, &message_of(66, 1)), Some(FrameError::TooManyFragments));
        // What a long fragment allows is used up by empty ones.
        let mut frames = vec![(0x02, 6_400)];
        frames.resize(164, (0x00, 0));
        assert_eq!(scan(1_000_000, &frames), None);
        frames.push((0x80, 0));
        assert_eq!(scan(1_000_000, &frames), Some(FrameError::TooManyFragments));
        // The length that a header promises allows nothing.
        let mut frames = message_of(65, 0);
        frames[64].1 = 6_400;
        assert_eq!(scan(1_000_000, &frames), Some(FrameError::TooManyFragments));
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
