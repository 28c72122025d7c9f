//! Frames of one leg: cuts do not change them, tungstenite reads the same, and messages that pass are
//! complete.
#![no_main]

use std::{
    io::{self, Read, Write},
    iter,
};

use libfuzzer_sys::fuzz_target;
use tidegate::{
    relay::{
        batch::Batch,
        broken_rule::BrokenRule,
        inflow::{Ahead, Inflow, shown},
    },
    session::message::Fate,
    wire::{
        socketio::packet::PEEK_BYTES,
        websocket::frame::{HEADER_BYTES_MAX, OpCode, Sender},
    },
};
use tidegate_fuzz::Input;
use tungstenite::{
    Message,
    protocol::{Role, WebSocket, WebSocketConfig},
};

/// More than the peek, so that of some messages only the beginning is shown.
const MESSAGE_BYTES_MAX: usize = 2 * PEEK_BYTES;

type Messages = Vec<(OpCode, Vec<u8>)>;

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else { return };
    let sender = if input.options & 1 == 0 { Sender::Client } else { Sender::Service };
    let inflow = || Inflow::new(sender, MESSAGE_BYTES_MAX as u64, input.options & 2 != 0).checking_text();

    let at_once = read(inflow(), Fate::Gather, iter::once(input.bytes));
    let in_pieces = read(inflow(), Fate::Gather, input.pieces(input.bytes));
    assert_eq!(in_pieces.messages, at_once.messages);
    assert_eq!(in_pieces.refused, at_once.refused);
    assert!(at_once.kept.is_empty());

    let theirs = tungstenite_reads(sender, input.bytes);
    let ours = until_close(at_once.messages);
    assert!(theirs.starts_with(&ours), "{ours:?}\n{theirs:?}");
    if at_once.refused.is_none() {
        assert_eq!(theirs.len(), ours.len());
    }

    let at_once = read(inflow(), Fate::Pass, iter::once(input.bytes));
    let in_pieces = read(inflow(), Fate::Pass, input.pieces(input.bytes));
    assert_eq!(in_pieces.refused, at_once.refused);
    if at_once.refused.is_none() {
        assert_eq!(in_pieces.kept, at_once.kept);
        assert_eq!(in_pieces.messages, at_once.messages);
    }
    assert_kept_whole(sender, &in_pieces);
});

/// The result of reading bytes. A message that passes is complete as far as it was shown.
struct Reading {
    /// In the order they came, with control frames among them.
    messages: Messages,
    /// Those of them that pass.
    shown: Messages,
    /// The bytes that pass.
    kept: Vec<u8>,
    between_frames: bool,
    refused: Option<BrokenRule>,
}

fn read<'a>(mut inflow: Inflow, fate: Fate, pieces: impl Iterator<Item = &'a [u8]>) -> Reading {
    let mut reading = Reading { messages: vec![], shown: vec![], kept: vec![], between_frames: true, refused: None };
    for piece in pieces {
        let mut buffer = vec![0; inflow.carried() + piece.len()];
        let carried = inflow.take_carry(&mut buffer);
        buffer[carried..].copy_from_slice(piece);
        let mut batch = Batch::new(&mut buffer);
        reading.refused = reading.take(&mut inflow, fate, &mut batch).err();
        reading.kept.extend_from_slice(batch.kept());
        if reading.refused.is_some() {
            break;
        }
        assert!(inflow.carried() <= HEADER_BYTES_MAX + PEEK_BYTES, "no more than a head is held back");
    }
    reading.between_frames = inflow.between_frames();
    reading
}

impl Reading {
    fn take(&mut self, inflow: &mut Inflow, fate: Fate, batch: &mut Batch<'_>) -> Result<(), BrokenRule> {
        let mut peek = [0; PEEK_BYTES];
        while let Some(found) = inflow.next(batch, &mut peek)? {
            match found {
                Ahead::Control { opcode, len } => self.messages.push((opcode, peek[..len].to_vec())),
                Ahead::Message { opcode, payload } => {
                    assert!(payload.len() <= MESSAGE_BYTES_MAX);
                    self.messages.push((opcode, payload));
                }
                Ahead::Head { header, len, complete } => {
                    assert_eq!(complete, len as u64 == header.payload_len);
                    if fate == Fate::Pass {
                        let beginning = shown(&header, len, batch, &peek).to_vec();
                        self.messages.push((header.opcode, beginning.clone()));
                        self.shown.push((header.opcode, beginning));
                    }
                    inflow.decide(&header, batch, fate)?;
                }
            }
        }
        Ok(())
    }
}

/// The bytes that pass are the frames that were shown, to the last byte that came.
fn assert_kept_whole(sender: Sender, reading: &Reading) {
    let onward = tungstenite_reads(sender, &reading.kept);
    for ((opcode, payload), (shown_opcode, beginning)) in onward.iter().zip(&reading.shown) {
        assert!(opcode == shown_opcode && payload.starts_with(beginning));
    }
    if reading.refused.is_none() {
        let broken_off = usize::from(!reading.between_frames);
        assert_eq!(onward.len() + broken_off, reading.shown.len());
    }
}

/// Messages and control frames as tungstenite reads them, up to the first Close, where it stops reading.
fn tungstenite_reads(sender: Sender, bytes: &[u8]) -> Messages {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let role = if sender == Sender::Client { Role::Server } else { Role::Client };
    let mut socket = WebSocket::from_raw_socket(Recorded(bytes), role, Some(config));
    let messages = iter::from_fn(|| socket.read().ok()).map(|message| {
        let opcode = match &message {
            Message::Text(_) => OpCode::Text,
            Message::Binary(_) | Message::Frame(_) => OpCode::Binary,
            Message::Ping(_) => OpCode::Ping,
            Message::Pong(_) => OpCode::Pong,
            Message::Close(_) => OpCode::Close,
        };
        (opcode, message.into_data().to_vec())
    });
    until_close(messages)
}

fn until_close(messages: impl IntoIterator<Item = (OpCode, Vec<u8>)>) -> Messages {
    messages.into_iter().take_while(|(opcode, _)| *opcode != OpCode::Close).collect()
}

/// A socket of which only the receiving half is used.
struct Recorded<'a>(&'a [u8]);

impl Read for Recorded<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Recorded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
