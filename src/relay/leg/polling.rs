//! Long-polling as a leg: payloads come in as the frames of a websocket would, frames for the client go out as
//! payloads.
//!
//! So the same bytes are scanned, judged and sent for every transport. Frames for the service are masked as a
//! client's frames are; frames of the service are unmasked, and are decoded again here.

use std::{
    io,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    relay::{
        inflow::Inflow,
        leg::{
            probe::{self, Probe, Probed},
            websocket::WebSocketLeg,
        },
        responder::{Polled, Responder},
        scratch::Scratch,
        stream::ClientStream,
    },
    session::{answer, ended::Ended},
    wire::{
        engineio::{
            error::EngineError,
            packet::EnginePacket,
            payload::{self, PayloadPacket, PayloadReader, PayloadWriter},
        },
        websocket::{
            frame::{FrameHeader, OpCode, Sender},
            mask,
        },
    },
};

/// Room for a header and for the smallest part of a payload: with less, the next buffer is used.
const ROOM_MIN: usize = 32;

/// A Noop: ends a poll.
const NOOP: &[u8] = &[EnginePacket::Noop.digit()];

/// A client that sends one HTTP request after another.
#[derive(Debug)]
pub struct PollingLeg {
    /// The incoming frames.
    pub inflow: Inflow,
    payload: Option<Payload>,
    poll: Option<Responder<Polled>>,
    /// When the last poll was answered. `None`: none has been.
    answered_at: Option<Instant>,
    /// What the next answer to a poll brings beside packets.
    headers: Option<Box<HeaderMap>>,
    /// The service is dialled, so there may be headers soon: a client that goes over to a websocket polls until then.
    awaits_headers: bool,
    outbox: PayloadWriter,
    /// The last packet. It has a payload of its own: official clients act on a Close before they have read the
    /// packets beside it, and would reconnect although a DISCONNECT among these forbids it.
    last: Option<EnginePacket>,
    /// The bytes that are missing of the service's frame that is being sent.
    frame_rest: u64,
    probe: Option<Box<Probe>>,
    /// How long a websocket that comes from another thread is waited for.
    probe_promised_until: Option<Instant>,
    payload_max: u64,
}

/// A POST that is being read.
#[derive(Debug)]
struct Payload {
    packets: PayloadReader,
    /// The packet whose frame is being written, and how much of it has been.
    packet: Option<(PayloadPacket, usize)>,
    /// Bytes of the frame's payload so far, for the mask.
    masked: usize,
    key: [u8; 4],
    header: Vec<u8>,
    reply: Responder<()>,
}

/// The result of an upgrade.
#[derive(Debug)]
pub enum Upgraded {
    /// None yet, or there is no upgrade.
    NotYet,
    /// It failed. The client polls on.
    Failed,
    /// This is the leg from now on.
    To(Box<WebSocketLeg<ClientStream>>),
}

impl PollingLeg {
    /// A client that has not polled yet. Packets have at most `payload_max` bytes.
    #[must_use]
    pub fn new(payload_max: u64) -> Self {
        Self {
            inflow: Inflow::new(Sender::Client, payload_max, false),
            payload: None,
            poll: None,
            answered_at: None,
            headers: None,
            awaits_headers: false,
            outbox: PayloadWriter::default(),
            last: None,
            frame_rest: 0,
            probe: None,
            probe_promised_until: None,
            payload_max,
        }
    }

    /// The leg is on another thread now; a probe moves there too, or is given up.
    pub fn rebind(&mut self) {
        self.probe = self.probe.take().and_then(|probe| probe.rebind().ok()).map(Box::new);
    }

    /// A GET came.
    ///
    /// # Errors
    /// A second GET ends the session, as in engine.io.
    pub fn poll(&mut self, reply: Responder<Polled>) -> Result<(), Ended> {
        if self.poll.is_some() {
            reply.refuse(EngineError::BadRequest);
            return Err(Ended::ClientPacket("poll_overlap"));
        }
        self.poll = Some(reply);
        Ok(())
    }

    /// The service is being dialled, or that is over.
    pub const fn awaits_headers(&mut self, awaits: bool) {
        self.awaits_headers = awaits;
    }

    /// The next answer to a poll brings these headers of the service.
    pub fn bring(&mut self, headers: HeaderMap) {
        if !headers.is_empty() {
            self.headers = Some(Box::new(headers));
        }
    }

    fn answer(&mut self, poll: Responder<Polled>, packets: Vec<u8>, now: Instant) {
        self.answered_at = Some(now);
        poll.answer(Polled { packets, headers: self.headers.take() });
    }

    /// A POST came.
    ///
    /// # Errors
    /// A second POST ends the session, as in engine.io.
    pub fn post(&mut self, body: Bytes, reply: Responder<()>) -> Result<(), Ended> {
        if self.payload.is_some() {
            reply.refuse(EngineError::BadRequest);
            return Err(Ended::ClientPacket("post_overlap"));
        }
        self.payload = Some(Payload {
            packets: PayloadReader::new(body),
            packet: None,
            masked: 0,
            key: rand::random(),
            header: Vec::new(),
            reply,
        });
        Ok(())
    }

    /// Whether a poll waits, or did within the time before `now`.
    #[must_use]
    pub fn polls_within(&self, time: Duration, now: Instant) -> bool {
        self.poll.is_some() || self.answered_at.is_some_and(|at| now < at + time)
    }

    /// Whether a websocket may come and be probed. If so, it is promised to the first that asks: no other may come
    /// before it.
    pub fn promise_probe(&mut self, now: Instant) -> bool {
        if self.probe.is_some() || self.probe_promised_until.is_some_and(|until| now < until) {
            return false;
        }
        self.probe_promised_until = Some(now + probe::PATIENCE);
        true
    }

    /// A websocket came that may become the leg; `base64`: its client wants binary messages as text. If another one is being
    /// probed, this one is closed.
    pub fn probe(&mut self, io: ClientStream, read_ahead: &[u8], base64: bool, now: Instant) {
        self.probe_promised_until = None;
        if self.probe.is_none() {
            let inflow = Inflow::new(Sender::Client, self.payload_max, false);
            let leg = WebSocketLeg::new(io, Sender::Service, inflow, read_ahead).saying_base64(base64);
            self.probe = Some(Box::new(Probe::new(leg, now)));
        }
    }

    /// When a probe must be finished. `None`: there is no probe.
    #[must_use]
    pub fn probe_until(&self) -> Option<Instant> {
        self.probe.as_ref().map(|probe| probe.until())
    }

    /// Advances a probe. The packets of polls and POSTs come before those of the websocket, and packets that no poll
    /// has fetched are sent on the websocket first.
    pub fn poll_probe(&mut self, scratch: &mut Scratch, now: Instant, cx: &mut Context<'_>) -> Upgraded {
        let Some(probe) = &mut self.probe else { return Upgraded::NotYet };
        let outcome = probe.poll(scratch, now, cx);
        match outcome {
            Probed::Confirmed if self.payload.is_none() && !self.outbox.in_packet() => {}
            Probed::Confirmed | Probed::Awaited | Probed::Answered => return Upgraded::NotYet,
            Probed::Failed => {
                self.probe = None;
                return Upgraded::Failed;
            }
        }
        let Some(probe) = self.probe.take() else { return Upgraded::NotYet };
        let mut leg = probe.into_leg();
        for packet in self.outbox.take().map(|payload| PayloadReader::new(payload.into())).into_iter().flatten() {
            match packet {
                PayloadPacket::Text(text) => leg.say(OpCode::Text, &text, now),
                PayloadPacket::Binary(base64) => {
                    let mut bytes = vec![0; base64.len()];
                    let (_, len) = payload::decode(&base64, &mut bytes).unwrap_or_default();
                    leg.say(OpCode::Binary, &bytes[..len], now);
                }
            }
        }
        if let Some(poll) = self.poll.take() {
            self.answer(poll, NOOP.to_vec(), now);
        }
        Upgraded::To(Box::new(leg))
    }

    /// Receives into `buffer`: the packets of a payload, each as one masked frame.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Poll<Result<usize, Ended>> {
        if self.inflow.has_put_back() {
            return Poll::Ready(Ok(self.inflow.take_carry(buffer)));
        }
        let Some(payload) = &mut self.payload else { return Poll::Pending };
        match payload.write_frames(&mut buffer[self.inflow.carried()..]) {
            Ok(0) => Poll::Pending,
            Ok(written) => Poll::Ready(Ok(self.inflow.take_carry(buffer) + written)),
            Err(payload::PayloadError) => Poll::Ready(Err(Ended::ClientPacket("engineio_base64"))),
        }
    }

    /// Takes frames of the service, or parts of one that follow each other.
    pub fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.frame_rest == 0 {
                // It was scanned before, and headers are always sent complete.
                let Ok(Some(header)) = FrameHeader::parse(bytes, Sender::Service) else { return };
                bytes = &bytes[header.header_len..];
                self.frame_rest = header.payload_len;
                self.outbox.begin(header.opcode == OpCode::Binary);
            }
            let (here, behind) =
                bytes.split_at(bytes.len().min(usize::try_from(self.frame_rest).unwrap_or(usize::MAX)));
            self.outbox.push(here);
            self.frame_rest -= here.len() as u64;
            if self.frame_rest == 0 {
                self.outbox.end();
            }
            bytes = behind;
        }
    }

    /// Queues one message of Tidegate.
    pub fn say(&mut self, opcode: OpCode, payload: &[u8]) {
        self.outbox.begin(opcode == OpCode::Binary);
        self.outbox.push(payload);
        self.outbox.end();
    }

    /// Queues the last packet. A packet that is incomplete stays incomplete.
    pub fn say_end(&mut self, ended: Ended) {
        self.outbox.abandon();
        if let Some(payload) = self.payload.take() {
            match answer::to_post(ended) {
                Ok(()) => payload.reply.answer(()),
                Err(error) => payload.reply.refuse(error),
            }
        }
        let last = answer::to_poll(ended);
        let fetched = self.poll.is_some() || answer::awaits_poll(ended);
        if last == EnginePacket::Noop || !fetched {
            // A client that has closed fetches nothing more.
            self.outbox = PayloadWriter::default();
        }
        self.last = fetched.then_some(last);
        // An answered client has stopped polling, and would wait for its heartbeat if the websocket were lost too.
        self.probe = self.probe.take().filter(|probe| probe.is_answered() && self.last == Some(EnginePacket::Close));
    }

    /// Answers the requests that can be answered.
    pub fn flush(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(payload) = self.payload.take_if(|payload| payload.is_read()) {
            if self.inflow.has_put_back() {
                self.payload = Some(payload);
            } else {
                payload.reply.answer(());
            }
        }
        if let Some(mut poll) = self.poll.take() {
            if poll.poll_abandoned(cx) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            if let Some(packets) = self.outbox.take() {
                self.answer(poll, packets, now);
            } else if let Some(last) = self.last.take() {
                self.answer(poll, vec![last.digit()], now);
            } else if !self.awaits_headers && self.probe.as_ref().is_some_and(|probe| probe.is_answered()) {
                // The client waits for its poll to end before it goes over.
                self.answer(poll, NOOP.to_vec(), now);
            } else {
                self.poll = Some(poll);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether a packet is incomplete.
    #[must_use]
    pub const fn in_packet(&self) -> bool {
        self.outbox.in_packet()
    }

    /// The bytes that wait for a poll.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.outbox.waiting()
    }

    /// What the leg keeps of either direction, in bytes of memory; without a payload, which counts until it is answered.
    #[must_use]
    pub fn memory(&self) -> usize {
        let headers = self.headers.iter().flat_map(|headers| headers.iter());
        let headers = headers.map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        self.outbox.memory() + self.inflow.memory() + headers
    }

    /// Whether a poll would fetch a packet.
    #[must_use]
    pub const fn has_packets(&self) -> bool {
        self.waiting() > 0 || self.last.is_some()
    }

    /// How many bytes waited when the last packet came.
    #[must_use]
    pub const fn backlog(&self) -> usize {
        self.outbox.waiting_before_last()
    }

    /// The end: Ready once the client has fetched everything.
    pub fn end(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let gone = matches!(self.flush(now, cx), Poll::Ready(Err(_)));
        if gone || !self.has_packets() {
            if let Some(poll) = self.poll.take() {
                self.answer(poll, NOOP.to_vec(), now);
            }
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Payload {
    /// Writes as many frames, or as much of one, as there is room for.
    fn write_frames(&mut self, buffer: &mut [u8]) -> Result<usize, payload::PayloadError> {
        let mut written = 0;
        while buffer.len() - written >= ROOM_MIN {
            let Some((packet, at)) = &mut self.packet else {
                let Some(packet) = self.packets.next() else { break };
                let (opcode, len) = match &packet {
                    PayloadPacket::Text(text) => (OpCode::Text, text.len()),
                    PayloadPacket::Binary(base64) => (OpCode::Binary, payload::decoded_len(base64)?),
                };
                self.header.clear();
                FrameHeader::encode(opcode, len as u64, Some(self.key), &mut self.header);
                buffer[written..written + self.header.len()].copy_from_slice(&self.header);
                written += self.header.len();
                (self.packet, self.masked) = (Some((packet, 0)), 0);
                continue;
            };
            let room = &mut buffer[written..];
            let (used, made, len) = match packet {
                PayloadPacket::Text(text) => {
                    let piece = text.len().min(*at + room.len()) - *at;
                    room[..piece].copy_from_slice(&text[*at..*at + piece]);
                    (piece, piece, text.len())
                }
                PayloadPacket::Binary(base64) => {
                    let (used, made) = payload::decode(&base64[*at..], room)?;
                    (used, made, base64.len())
                }
            };
            mask::apply(&mut room[..made], self.key, self.masked);
            self.masked += made;
            written += made;
            *at += used;
            if *at == len {
                self.packet = None;
            }
        }
        Ok(written)
    }

    fn is_read(&self) -> bool {
        self.packet.is_none() && self.packets.is_done()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::wire::websocket::close::CloseCode;

    #[test]
    fn one_websocket_at_a_time_is_promised() {
        let (mut leg, now) = (PollingLeg::new(100), Instant::now());
        assert!(leg.promise_probe(now));
        assert!(!leg.promise_probe(now + probe::PATIENCE / 2), "it is still on its way");
        assert!(leg.promise_probe(now + probe::PATIENCE), "it never came");
    }

    #[test]
    fn a_client_polls_while_a_poll_waits_and_for_some_time_after() {
        let (mut leg, start, second) = (PollingLeg::new(100), Instant::now(), Duration::from_secs(1));
        assert!(!leg.polls_within(second, start), "it has never polled");
        let (reply, _answer) = Responder::awaited();
        leg.poll(reply).unwrap();
        assert!(leg.polls_within(second, start + second * 60), "one waits");
        leg.say(OpCode::Text, b"2");
        let _ = leg.flush(start, &mut Context::from_waker(Waker::noop()));
        assert!(leg.polls_within(second, start + second / 2));
        assert!(!leg.polls_within(second, start + second));
    }

    #[test]
    fn packets_are_kept_if_the_connection_of_a_poll_is_lost() {
        let mut leg = PollingLeg::new(100);
        let (reply, answer) = Responder::awaited();
        leg.poll(reply).unwrap();
        leg.say(OpCode::Text, b"4ours");
        drop(answer);
        let flushed = leg.flush(Instant::now(), &mut Context::from_waker(Waker::noop()));
        assert!(matches!(flushed, Poll::Ready(Err(_))));
        assert!(leg.has_packets());
    }

    #[test]
    fn the_last_packets_wait_for_a_poll_unless_the_client_is_at_fault() {
        let (gone, ours): (&[&[u8]], &[&[u8]]) = (&[b"6"], &[b"4ours", b"1"]);
        let rows = [
            (Ended::ClientClosed(CloseCode::NORMAL), gone),
            (Ended::TokenExpired, ours),
            (Ended::Drained, ours),
            (Ended::ClientPacket("engineio_type"), &[]),
            (Ended::PingTimeout, &[]),
        ];
        let cx = &mut Context::from_waker(Waker::noop());
        for (ended, expected) in rows {
            let mut leg = PollingLeg::new(100);
            leg.say(OpCode::Text, b"4ours");
            leg.say_end(ended);
            let mut fetched = Vec::new();
            while leg.has_packets() {
                let (reply, mut answer) = Responder::awaited();
                leg.poll(reply).unwrap();
                let _ = leg.flush(Instant::now(), cx);
                fetched.push(answer.try_recv().unwrap().unwrap().packets);
            }
            assert_eq!(fetched, expected, "{ended:?}");
        }
    }
}
