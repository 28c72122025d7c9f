//! The path of a frame, each way: *fill, scan, peek, judge, keep, send*.

mod client;
mod service;

use crate::{
    event_names::EventSlot,
    relay::driver::Driver,
    session::{Session, ended::Ended},
    wire::{
        socketio::peek::PacketHead,
        websocket::{close::CloseCode, frame::OpCode},
    },
};

/// What a Close without a body says (RFC 6455 §7.1.5).
const NO_CLOSE: (CloseCode, &str) = (CloseCode::NO_STATUS, "");

/// A message as far as it is here.
#[derive(Clone, Copy)]
struct Seen<'a> {
    opcode: OpCode,
    /// The whole message or, where it is not `complete`, its beginning.
    text: &'a [u8],
    complete: bool,
    /// Has all of it come, seen or not?
    here: bool,
}

impl Driver {
    fn slot(&self, head: &PacketHead<'_>) -> EventSlot {
        head.event.as_ref().map_or(EventSlot::OTHER, |event| self.worker.names.slot(event.as_str()))
    }
}

/// After a control frame: nothing that follows one too many is read.
fn still_open(session: &Session) -> Result<(), Ended> {
    session.ended().map_or(Ok(()), Err)
}

/// The label of a broken rule of RFC 6455: as coarse as the close code, for what a peer sends is no label.
const fn broken_rule(code: CloseCode) -> &'static str {
    match code {
        CloseCode::INVALID_PAYLOAD => "frame_utf8",
        CloseCode::TOO_BIG => "frame_too_big",
        CloseCode::POLICY => "frame_fragments",
        _ => "frame_protocol",
    }
}
