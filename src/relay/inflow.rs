//! What comes in on one leg: frames found in a batch, messages put together where they must be.

mod pass_as;

use crate::{
    relay::{batch::Batch, broken_rule::BrokenRule},
    session::{message::Fate, queue::STORED_MESSAGE_MAX},
    wire::{
        json::check::JsonCheck,
        socketio::packet::PEEK_BYTES,
        websocket::{
            frame::{FrameError, FrameHeader, OpCode, Sender},
            mask,
            reassembly::Reassembly,
            scan::FrameScan,
            utf8::Utf8Check,
        },
    },
};

/// The receiving half of a leg. Between two reads it keeps the state of the frame in progress and, of a frame whose
/// head is still incomplete, the few bytes that came.
#[derive(Debug)]
pub struct Inflow {
    scan: FrameScan,
    frame: FrameInProgress,
    gathering: Option<Box<Reassembly>>,
    gathered: Option<Box<(OpCode, Vec<u8>)>>,
    carry: Vec<u8>,
    utf8: Option<Utf8Check>,
    whole: Whole,
    /// Bytes were put back: judge them again before reading on.
    again: bool,
}

/// Which messages are judged only when they are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    None,
    Short,
    All,
}

impl Whole {
    const fn has(self, len: usize) -> bool {
        match self {
            Self::None => false,
            Self::Short => len <= STORED_MESSAGE_MAX,
            Self::All => true,
        }
    }
}

/// A frame whose head was judged and whose payload is still coming.
#[derive(Debug, Clone, Copy)]
struct FrameInProgress {
    remaining: u64,
    offset: usize,
    mask: Option<[u8; 4]>,
    handling: FrameHandling,
    text: bool,
    fin: bool,
    /// The JSON in it, and how far behind its beginning that begins.
    json: Option<(usize, JsonCheck)>,
}

impl FrameInProgress {
    /// Whether the next piece of it is what it has to be, and if it `ends` with this, all of it.
    fn check(&mut self, piece: &[u8], ends: bool, utf8: Option<&mut Utf8Check>) -> Result<(), BrokenRule> {
        if let Some(utf8) = utf8.filter(|_| self.text) {
            match self.mask {
                Some(mask) => utf8.feed_masked(piece, mask, self.offset)?,
                None => utf8.feed(piece)?,
            }
            if ends {
                utf8.finish()?;
            }
        }
        let Some((at, check)) = &mut self.json else { return Ok(()) };
        let before = at.saturating_sub(self.offset).min(piece.len());
        match self.mask {
            Some(mask) => check.feed_masked(&piece[before..], mask, self.offset + before)?,
            None => check.feed(&piece[before..])?,
        }
        if ends {
            check.finish()?;
        }
        Ok(())
    }
}

/// What is done with the bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FrameHandling {
    Keep,
    Cut,
    Gather,
}

impl From<Fate> for FrameHandling {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Pass | Fate::PassJson(_) | Fate::PassAs(..) => Self::Keep,
            Fate::Gather => Self::Gather,
            Fate::Drop | Fate::Wait(_) | Fate::HandOver => Self::Cut,
        }
    }
}

/// What the next bytes are.
#[derive(Debug)]
pub enum Ahead {
    /// A control frame, already cut; the first `len` bytes of the peek buffer are its payload.
    Control {
        /// Close, Ping or Pong.
        opcode: OpCode,
        /// Of the payload.
        len: usize,
    },
    /// A message in one frame, still ahead in the batch: [`Inflow::decide`] it. Its first `len` bytes are [`shown`].
    Head {
        /// To be handed back to [`Inflow::decide`].
        header: FrameHeader,
        /// Of what can be seen of it.
        len: usize,
        /// Is that the whole message?
        complete: bool,
    },
    /// A message that was put together; its frames are cut.
    Message {
        /// Text or Binary.
        opcode: OpCode,
        /// Unmasked.
        payload: Vec<u8>,
    },
}

impl Inflow {
    /// What `sender` sends, with messages of at most `payload_max` bytes. `whole`: show only whole messages. The
    /// client's text is checked to be UTF-8; the service's where [`checking_text`](Self::checking_text) says so.
    #[must_use]
    pub fn new(sender: Sender, payload_max: u64, whole: bool) -> Self {
        let nothing = FrameInProgress {
            remaining: 0,
            offset: 0,
            mask: None,
            handling: FrameHandling::Cut,
            text: false,
            fin: true,
            json: None,
        };
        Self {
            scan: FrameScan::new(sender, payload_max),
            frame: nothing,
            gathering: None,
            gathered: None,
            carry: Vec::new(),
            utf8: (sender == Sender::Client).then(Utf8Check::default),
            whole: if whole { Whole::All } else { Whole::None },
            again: false,
        }
    }

    /// A message in one frame that is longer than [`STORED_MESSAGE_MAX`] is never shown whole.
    #[must_use]
    pub const fn passing_long(mut self) -> Self {
        if let Whole::All = self.whole {
            self.whole = Whole::Short;
        }
        self
    }

    /// Text that is not UTF-8 is refused from both sides (RFC 6455 §8.1).
    #[must_use]
    pub fn checking_text(mut self) -> Self {
        self.utf8.get_or_insert_default();
        self
    }

    /// Has a fragmented message begun and not ended?
    #[must_use]
    pub const fn in_message(&self) -> bool {
        self.scan.in_message()
    }

    /// May something else be said to the other side now, without tearing a frame that goes onward?
    #[must_use]
    pub const fn between_frames(&self) -> bool {
        self.frame.remaining == 0 || !matches!(self.frame.handling, FrameHandling::Keep)
    }

    /// Whether a message is being put together.
    #[must_use]
    #[inline]
    pub const fn is_gathering(&self) -> bool {
        self.gathering.is_some()
    }

    /// What has come and could not be passed on yet, in bytes of memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        let gathering = self.gathering.as_ref().map_or(0, |message| message.memory());
        let gathered = self.gathered.as_ref().map_or(0, |message| message.1.capacity());
        self.carry.capacity() + gathering + gathered
    }

    /// The connection is over: drops what has come.
    pub fn forget(&mut self) {
        (self.gathering, self.gathered, self.carry) = (None, None, Vec::new());
    }

    /// How many bytes of an earlier read precede the next one.
    #[must_use]
    pub const fn carried(&self) -> usize {
        self.carry.len()
    }

    /// Puts the carried bytes at the front of `buffer`, as many as there is room for; how many that are.
    pub fn take_carry(&mut self, buffer: &mut [u8]) -> usize {
        if self.carry.is_empty() {
            self.again = false;
            return 0;
        }
        let taken = self.carry.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.carry[..taken]);
        // Read with the handshake, there may be more than one buffer takes.
        self.carry = self.carry.split_off(taken);
        self.again = !self.carry.is_empty();
        taken
    }

    /// Are there bytes to be judged again before anything is read?
    #[must_use]
    pub const fn has_put_back(&self) -> bool {
        self.again
    }

    /// Bytes that were read with the handshake come before everything.
    pub fn put_in_front(&mut self, bytes: &[u8]) {
        self.carry = bytes.to_vec();
        self.again = true;
    }

    /// What is ahead in the batch is to be judged again, later.
    pub fn put_back(&mut self, batch: &mut Batch<'_>) {
        self.carry_rest(batch);
        self.again = true;
    }

    /// A message that was put together is to be judged again, later, and with it what is ahead in the batch.
    pub fn put_back_message(&mut self, opcode: OpCode, payload: Vec<u8>, batch: &mut Batch<'_>) {
        self.gathered = Some(Box::new((opcode, payload)));
        self.put_back(batch);
    }

    /// The next thing in the batch. None: it is used up, and what is incomplete is carried to the next one.
    ///
    /// # Errors
    /// The rule of RFC 6455 that the sender broke.
    #[inline]
    pub fn next(&mut self, batch: &mut Batch<'_>, peek: &mut [u8; PEEK_BYTES]) -> Result<Option<Ahead>, BrokenRule> {
        match self.small_text(batch.ahead(), peek) {
            Some(found) => Ok(Some(found)),
            None => self.next_of_any_kind(batch, peek),
        }
    }

    /// Nearly every frame: text of at most 125 bytes in ASCII, not fragmented, here to its end, between two others.
    /// `None` for every other frame, right or wrong.
    #[inline]
    fn small_text(&self, bytes: &[u8], peek: &mut [u8; PEEK_BYTES]) -> Option<Ahead> {
        const FINAL_TEXT: u8 = 0x81;
        const MASKED: u8 = 0x80;
        let [FINAL_TEXT, length, rest @ ..] = bytes else { return None };
        if self.gathered.is_some() || self.frame.remaining > 0 || self.scan.in_message() {
            return None;
        }
        let len = usize::from(length & !MASKED);
        let (mask, payload) = match self.scan.sender() {
            Sender::Client => {
                let (key, rest) = rest.split_first_chunk::<4>()?;
                (Some(*key), rest)
            }
            Sender::Service => (None, rest),
        };
        if len > 125 || (length & MASKED != 0) != mask.is_some() || len as u64 > self.scan.payload_max() {
            return None;
        }
        let mut payload = payload.get(..len)?;
        if let Some(key) = mask {
            mask::copy_unmasked(payload, key, 0, &mut peek[..len]);
            payload = &peek[..len];
        }
        if self.utf8.is_some() && !payload.is_ascii() {
            return None;
        }
        let header_len = bytes.len() - rest.len() + mask.map_or(0, |key| key.len());
        let header = FrameHeader { fin: true, opcode: OpCode::Text, payload_len: len as u64, mask, header_len };
        Some(Ahead::Head { header, len, complete: true })
    }

    fn next_of_any_kind(
        &mut self,
        batch: &mut Batch<'_>,
        peek: &mut [u8; PEEK_BYTES],
    ) -> Result<Option<Ahead>, BrokenRule> {
        loop {
            if let Some(message) = self.gathered.take() {
                let (opcode, payload) = *message;
                return Ok(Some(Ahead::Message { opcode, payload }));
            }
            if self.frame.remaining > 0 {
                self.pass_on(batch)?;
                if self.frame.remaining > 0 {
                    return Ok(None);
                }
                continue;
            }
            let Some(header) = self.scan.header(batch.ahead())? else {
                self.carry_rest(batch);
                return Ok(None);
            };
            let payload = &batch.ahead()[header.header_len..];
            let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
            let needed = payload_len.min(PEEK_BYTES);
            let gather = !header.fin || self.scan.in_message();
            let peeked_at = header.opcode.is_control() || !gather;
            if peeked_at && payload.len() < needed {
                self.check_beginning(&header, payload)?;
                self.carry_rest(batch);
                return Ok(None);
            }
            if header.opcode.is_control() {
                unmask(&payload[..needed], &header, &mut peek[..needed]);
                self.scan.accept(&header);
                batch.cut(header.header_len + payload_len);
                return Ok(Some(Ahead::Control { opcode: header.opcode, len: needed }));
            }
            if gather || (payload_len > PEEK_BYTES && self.whole.has(payload_len)) {
                self.take(&header, batch, Fate::Gather, false)?;
                continue;
            }
            if let Some(key) = header.mask {
                mask::copy_unmasked(&payload[..needed], key, 0, &mut peek[..needed]);
            }
            let complete = payload_len == needed;
            if complete
                && header.opcode == OpCode::Text
                && let Some(utf8) = &mut self.utf8
            {
                utf8.feed(shown(&header, needed, batch, peek))?;
                utf8.finish()?;
            }
            return Ok(Some(Ahead::Head { header, len: needed, complete }));
        }
    }

    /// Decides the frame that [`next`](Self::next) showed.
    ///
    /// # Errors
    /// The rule that the sender broke.
    #[inline]
    pub fn decide(&mut self, header: &FrameHeader, batch: &mut Batch<'_>, fate: Fate) -> Result<(), BrokenRule> {
        if let Fate::PassAs(head, json) = fate {
            return self.pass_as(header, batch, head, json);
        }
        let handling = FrameHandling::from(fate);
        let shown_whole = header.payload_len <= PEEK_BYTES as u64;
        if !shown_whole || handling == FrameHandling::Gather {
            return self.take(header, batch, fate, shown_whole);
        }
        // All of it was shown, so all of it is here and checked: there is nothing to remember.
        let len = header.header_len + usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        if handling == FrameHandling::Keep {
            batch.keep(len);
        } else {
            batch.cut(len);
        }
        self.scan.accept(header);
        Ok(())
    }

    /// Text that can no longer become UTF-8 is refused before the rest of it is there.
    fn check_beginning(&self, header: &FrameHeader, payload: &[u8]) -> Result<(), FrameError> {
        let mut utf8 = Utf8Check::default();
        match header.mask {
            _ if header.opcode != OpCode::Text || self.utf8.is_none() => Ok(()),
            Some(mask) => utf8.feed_masked(payload, mask, 0),
            None => utf8.feed(payload),
        }
    }

    fn take(
        &mut self,
        header: &FrameHeader,
        batch: &mut Batch<'_>,
        fate: Fate,
        utf8_checked: bool,
    ) -> Result<(), BrokenRule> {
        let handling = FrameHandling::from(fate);
        if handling == FrameHandling::Keep {
            batch.keep(header.header_len);
        } else {
            batch.cut(header.header_len);
        }
        let text = self.scan.message().unwrap_or(header.opcode) == OpCode::Text;
        if handling == FrameHandling::Gather && self.gathering.is_none() {
            self.gathering = Some(Box::new(Reassembly::new(header.opcode)));
        }
        self.frame = FrameInProgress {
            remaining: header.payload_len,
            offset: 0,
            mask: header.mask,
            handling,
            text: text && !utf8_checked,
            fin: header.fin,
            json: match fate {
                Fate::PassJson(begin) => Some((begin.at.into(), JsonCheck::new(begin.bounds))),
                _ => None,
            },
        };
        self.scan.accept(header);
        self.pass_on(batch)
    }

    /// The payload of the frame in progress, as far as it is here.
    fn pass_on(&mut self, batch: &mut Batch<'_>) -> Result<(), BrokenRule> {
        let frame = &mut self.frame;
        let here = batch.ahead().len().min(usize::try_from(frame.remaining).unwrap_or(usize::MAX));
        let payload = &batch.ahead()[..here];
        let ends = frame.fin && here as u64 == frame.remaining;
        // Before anything is kept: the last piece of a message that is wrong must not follow the others.
        frame.check(payload, ends, self.utf8.as_mut())?;
        if let (FrameHandling::Gather, Some(message)) = (frame.handling, &mut self.gathering) {
            message.push(payload, frame.mask, frame.offset);
        }
        if frame.handling == FrameHandling::Keep {
            batch.keep(here);
        } else {
            batch.cut(here);
        }
        frame.remaining -= here as u64;
        frame.offset = frame.offset.wrapping_add(here);
        if ends && let (FrameHandling::Gather, Some(message)) = (frame.handling, self.gathering.take()) {
            self.gathered = Some(Box::new(message.finish()));
        }
        Ok(())
    }

    fn carry_rest(&mut self, batch: &mut Batch<'_>) {
        let ahead = batch.ahead();
        if !ahead.is_empty() {
            let len = ahead.len();
            self.carry = [ahead, &self.carry].concat();
            batch.cut(len);
        }
    }
}

/// The first `len` bytes of the message that [`Inflow::next`] has found: unmasked in `peek`, or in the batch where they came
/// without a mask.
#[inline]
#[must_use]
pub fn shown<'a>(header: &FrameHeader, len: usize, batch: &'a Batch<'_>, peek: &'a [u8; PEEK_BYTES]) -> &'a [u8] {
    match header.mask {
        Some(_) => &peek[..len],
        None => &batch.ahead()[header.header_len..][..len],
    }
}

fn unmask(payload: &[u8], header: &FrameHeader, into: &mut [u8]) {
    match header.mask {
        Some(key) => mask::copy_unmasked(payload, key, 0, into),
        None => into.copy_from_slice(payload),
    }
}

#[cfg(test)]
mod tests;
