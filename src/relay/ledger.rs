//! What is counted and logged of one session.

use std::{net::IpAddr, rc::Rc, time::Instant};

use crate::{
    observe::{
        journal, refusals,
        tally::{Delivered, Direction, QualityPing},
    },
    policy::{token_fault::TokenFault, verdict::Refusal},
    relay::{cell::SessionCell, session_lines::SessionLines, worker::Worker},
    session::{
        Session,
        delivery::Delivery,
        ended::Ended,
        message::{Answered, Fate, Message, Note, PARSER_UNSUPPORTED, Pinged, Reached, Refused, Side},
        now::Now,
        table::Transport,
        view::View,
    },
    wire::websocket::frame::OpCode,
};

/// One batch in so many has its time in the gate measured.
const TRANSIT_SAMPLE: u32 = 64;

/// The counters of one session, and those of its worker.
#[derive(Debug)]
pub struct SessionLedger {
    worker: Rc<Worker>,
    cell: Rc<SessionCell>,
    lines: SessionLines,
    /// The client is one whose user is known, and is connected.
    authenticated: bool,
    /// Packets that are known not to reach the service, as far as they have been counted.
    dropped: u64,
    /// Events that the client missed, or may have, as far as they have been counted.
    lost: u64,
    /// A queue was full in this outage or absence, and has its line in the log.
    filled: bool,
    batches: u32,
    /// The last message that was refused.
    refused: Option<Box<Seen>>,
}

/// What the log shows of a message: so little of its beginning that it is no secret.
#[derive(Debug, Clone, Copy)]
struct Seen {
    is_text: bool,
    len: usize,
    begins: [u8; 4],
    shown: usize,
}

impl Seen {
    fn of(message: &Message<'_>) -> Self {
        let mut begins = [0; 4];
        let shown = message.bytes.len().min(begins.len());
        begins[..shown].copy_from_slice(&message.bytes[..shown]);
        Self { is_text: message.opcode == OpCode::Text, len: message.len, begins, shown }
    }

    fn show(&self) -> String {
        let kind = if self.is_text { "text" } else { "binary" };
        let beginning = self.begins[..self.shown].escape_ascii();
        format!("a message of {} bytes, {kind}, that begins with \"{beginning}\"", self.len)
    }
}

/// Messages, and their bytes together.
#[derive(Debug, Default, Clone, Copy)]
pub struct Volume {
    messages: u64,
    bytes: u64,
}

impl Volume {
    /// One message.
    #[must_use]
    pub const fn one(bytes: u64) -> Self {
        Self { messages: 1, bytes }
    }

    /// All messages of an event from another node.
    #[must_use]
    pub fn of(delivery: &Delivery) -> Self {
        let (messages, bytes) = delivery.volume();
        Self { messages, bytes }
    }

    /// One more, if it counts.
    pub const fn add_if(&mut self, counts: bool, bytes: u64) {
        if counts {
            self.add(bytes);
        }
    }

    /// One more.
    pub const fn add(&mut self, bytes: u64) {
        self.messages += 1;
        self.bytes += bytes;
    }
}

impl SessionLedger {
    /// Of a session that has just begun.
    #[must_use]
    pub fn new(worker: Rc<Worker>, cell: Rc<SessionCell>) -> Self {
        Self {
            worker,
            cell,
            lines: SessionLines::default(),
            authenticated: false,
            dropped: 0,
            lost: 0,
            filled: false,
            batches: 0,
            refused: None,
        }
    }

    /// Messages of both sides, so far.
    #[must_use]
    pub fn messages(&self) -> u64 {
        let (received, sent) = self.cell.packets.get();
        received + sent
    }

    /// Counts messages of one side.
    pub fn count(&self, from: Side, volume: Volume) {
        if volume.messages == 0 {
            return;
        }
        let (received, sent) = self.cell.packets.get();
        let (direction, packets) = match from {
            Side::Client => (Direction::FromClient, (received + volume.messages, sent)),
            Side::Service => (Direction::ToClient, (received, sent + volume.messages)),
        };
        self.worker.tally.packets(direction, volume.messages, volume.bytes);
        self.cell.packets.set(packets);
    }

    /// Has the session judge a message, and counts what it has learned.
    #[inline]
    pub fn judged(&mut self, from: Side, message: &Message<'_>, session: &mut Session, now: Now) -> Fate {
        let (fate, note) = session.message(from, message, now);
        if matches!(note, Note::Refused(_)) || session.ended().is_some() {
            self.refused = Some(Box::new(Seen::of(message)));
        }
        self.note(from, note, session.view());
        fate
    }

    /// Counts what the session has learned.
    #[inline]
    pub fn note(&self, from: Side, note: Note, view: View<'_>) {
        let tally = &self.worker.tally;
        match (note, from) {
            (Note::None, _) => {}
            (Note::Event(slot), Side::Client) => tally.received(slot),
            (Note::Event(slot), Side::Service) => tally.sent(slot),
            (Note::Delivered(_, Reached::Dropped), _) => tally.delivered(Delivered::Absent),
            (Note::Delivered(slot, reached), _) => {
                tally.sent(slot);
                tally.delivered(if reached == Reached::Kept { Delivered::Kept } else { Delivered::Said });
            }
            (Note::Acknowledged(slot, took), _) => tally.latency(slot, took),
            (Note::RoundTrip(took), _) => {
                tally.rtt(took);
                self.cell.quality.set(view.quality());
            }
            (Note::Pinged(pinged), _) => self.pinged(pinged),
            (Note::Delayed(rule), _) => tally.verdict(rule, "delay"),
            (Note::Refused(refused), _) => self.refused(*refused, view.peer()),
        }
    }

    #[cold]
    fn pinged(&self, pinged: Pinged) {
        if pinged != Pinged::Answered {
            self.cell.refused.set(self.cell.refused.get() + 1);
        }
        self.worker.tally.quality_ping(match pinged {
            Pinged::Answered => QualityPing::Answered,
            Pinged::Limited => QualityPing::Limited,
            Pinged::WithoutId => QualityPing::WithoutId,
            Pinged::Binary => QualityPing::Binary,
        });
    }

    #[cold]
    fn refused(&self, refused: Refused, peer: IpAddr) {
        let Refused { refusal, answer, event, is_connect } = refused;
        let tally = &self.worker.tally;
        if let Some(slot) = event {
            tally.received(slot);
        }
        self.cell.refused.set(self.cell.refused.get() + 1);
        if refusal.code == PARSER_UNSUPPORTED {
            journal::custom_parser(peer);
        }
        if let Some(setting) = refused.setting().filter(|_| !is_connect) {
            journal::over_bound(peer, refusal.code, setting);
        }
        // An end is counted with its session.
        if answer != Answered::ByClosing {
            tally.error(refusal.code);
        }
        if let Some(rule) = refusal.rule {
            tally.verdict(rule, answer.name());
        }
        if is_connect {
            tally.refused("connect", refusal.code);
            // The client is not told what is wrong with its token.
            let fault = refusal.fault.map(|fault| fault.to_string());
            let why = fault.as_deref().unwrap_or(refusal.message);
            let setting = refused.setting().or_else(|| refusal.fault?.setting());
            self.tell("connect", refusal.code, Some(why), setting, peer);
        }
    }

    /// The client was put out of a namespace whose token is good no more.
    pub fn put_out(&self, why: TokenFault, peer: IpAddr) {
        let Refusal { code, .. } = why.into();
        self.worker.tally.refused("namespace", code);
        self.tell("namespace", code, Some(&why.to_string()), None, peer);
    }

    /// An event is not published, because the room of this `[[mirror]]` cannot be named for it.
    pub fn not_offered(&self, rule: usize, is_first: bool) {
        self.worker.tally.mirror_unresolved();
        if is_first {
            journal::nodes::not_mirrored(rule);
        }
    }

    /// The client does not get into a room, because it is in too many.
    pub fn rooms_full(&self, peer: IpAddr, is_first: bool) {
        self.worker.tally.room_refused("limits.rooms_per_session");
        if is_first {
            journal::nodes::rooms_full(peer);
        }
    }

    /// A line for a client that is not let in.
    fn tell(
        &self,
        stage: &'static str,
        reason: &'static str,
        why: Option<&str>,
        setting: Option<&'static str>,
        peer: IpAddr,
    ) {
        let (received, _) = self.cell.packets.get();
        let seen =
            self.refused.as_ref().map_or_else(|| format!("{received} messages before it"), |refused| refused.show());
        let refused = refusals::Refused::of(peer, stage, reason);
        journal::refused(&refusals::Refused { why, seen: Some(&seen), setting, ..refused });
    }

    /// One batch in `TRANSIT_SAMPLE` is measured from the time at which it was received.
    pub fn batch(&mut self, received: Instant) {
        self.batches = self.batches.wrapping_add(1);
        if self.batches % TRANSIT_SAMPLE == 1 {
            self.worker.tally.transit(received.elapsed());
        }
    }

    /// The user of this connection is known: of the first one, or of one by which the client is back. It `stays` unless it
    /// may have missed something, which ends the session at once.
    pub fn known(&mut self, view: View<'_>, transport: Option<Transport>, stays: bool, now: Instant) {
        self.authenticated = true;
        self.worker.tally.authenticated();
        self.lines.known();
        self.lines.open(&self.cell, view, transport);
        if stays {
            self.lines.back(&self.cell, view, transport, now);
        }
    }

    /// After each turn: the first line of the session is written once a namespace is joined.
    pub fn turned(&mut self, view: View<'_>, transport: Option<Transport>) {
        if self.lines.is_unopened() {
            self.lines.open(&self.cell, view, transport);
        }
    }

    /// The client is lost, and the session goes on without it.
    pub fn client_lost(&mut self, view: View<'_>, transport: Option<Transport>, why: Ended, now: Instant) {
        self.client_ended(view, transport, why);
        self.lines.absent(&self.cell, view, transport, why, now);
    }

    /// The session is over. `transport`: none if its client is absent.
    pub fn session_ended(&mut self, view: View<'_>, transport: Option<Transport>, ended: Ended, now: Instant) {
        if transport.is_some() {
            self.client_ended(view, transport, ended);
        }
        self.lines.end(&self.cell, view, transport, ended, now);
    }

    /// The client's connection is over.
    pub fn client_ended(&mut self, view: View<'_>, transport: Option<Transport>, ended: Ended) {
        self.filled(view);
        let tally = &self.worker.tally;
        tally.ended(ended.cause());
        if ended.is_error() {
            tally.error(ended.cause());
        }
        if transport == Some(Transport::Polling) {
            tally.polling(-1);
        }
        // Of a client that was never let in, the refusals of its CONNECT were logged when they were said.
        if std::mem::take(&mut self.authenticated) {
            tally.left_authenticated();
        } else if ended.is_error() {
            self.tell("session", ended.cause(), None, ended.setting(), view.peer());
        }
    }

    /// What waits in the session now.
    pub fn queue(&mut self, view: View<'_>) {
        self.dropped(view.dropped());
        self.lost(view.lost());
        self.filled(view);
        self.cell.service_down_since.set(view.service_down_since());
        let (packets, bytes) = view.waiting();
        self.worker.queued(&self.cell.queued, packets, bytes);
    }

    /// Nothing waits any more. So many packets of the client never reached the service, and its client missed so many
    /// events, or may have.
    pub fn queue_ended(&mut self, unsent: u64, lost: u64) {
        self.dropped(unsent);
        self.lost(lost);
        self.worker.queued(&self.cell.queued, 0, 0);
        self.cell.service_down_since.set(None);
    }

    fn dropped(&mut self, dropped: u64) {
        if dropped != self.dropped {
            let known = std::mem::replace(&mut self.dropped, dropped);
            self.worker.tally.queue_dropped(dropped.saturating_sub(known));
        }
    }

    /// The log says once in each outage or absence which event has filled a queue.
    fn filled(&mut self, view: View<'_>) {
        let filled = view.filled();
        if let Some((queue, event)) = filled.filter(|_| !self.filled) {
            journal::queue_full(view.peer(), queue, event);
        }
        self.filled = filled.is_some();
    }

    fn lost(&mut self, lost: u64) {
        if lost > self.lost {
            self.worker.tally.events_lost(lost - self.lost);
            self.lost = lost;
        }
    }
}
