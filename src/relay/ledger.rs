//! What is counted and logged of one session.

use std::{net::IpAddr, rc::Rc, time::Instant};

use crate::{
    observe::{
        journal::{self, Ended as EndedLine, Opened, RefusedHandshake},
        tally::Direction,
    },
    relay::{cell::SessionCell, worker::Worker},
    session::{
        Session,
        ended::Ended,
        message::{Answered, Fate, Message, Note, Refused, Side},
        now::Now,
        table::Transport,
        view::View,
    },
};

/// One batch in so many has its time in the gate measured.
const TRANSIT_SAMPLE: u32 = 64;

/// The counters of one session, and those of its worker.
#[derive(Debug)]
pub struct Ledger {
    worker: Rc<Worker>,
    cell: Rc<SessionCell>,
    /// The session has a line in the log that says that it opened, and none that says that it ended.
    opened: bool,
    /// Packets that are known not to reach the service, as far as they have been counted.
    dropped: u64,
    /// Events that the client missed, or may have, as far as they have been counted.
    lost: u64,
    batches: u32,
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

impl Ledger {
    /// Of a session that has just begun.
    #[must_use]
    pub const fn new(worker: Rc<Worker>, cell: Rc<SessionCell>) -> Self {
        Self { worker, cell, opened: false, dropped: 0, lost: 0, batches: 0 }
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
    pub fn judged(&self, from: Side, message: &Message<'_>, session: &mut Session, now: Now) -> Fate {
        let (fate, note) = session.message(from, message, now);
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
            (Note::Acknowledged(slot, took), _) => tally.latency(slot, took),
            (Note::RoundTrip(took), _) => tally.rtt(took),
            (Note::Refused(refused), _) => self.refused(*refused, view.peer()),
        }
    }

    #[cold]
    fn refused(&self, refused: Refused, peer: IpAddr) {
        let Refused { refusal, answer, event, is_connect } = refused;
        let tally = &self.worker.tally;
        if let Some(slot) = event {
            tally.received(slot);
        }
        self.cell.refused.set(self.cell.refused.get() + 1);
        if let Some(setting) = refused.setting() {
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
            let (stage, reason, origin) = ("connect", refusal.code, None);
            journal::refused_handshake(&RefusedHandshake { peer, stage, reason, origin });
        }
    }

    /// One batch in `TRANSIT_SAMPLE` is measured from the time at which it was received.
    pub fn batch(&mut self, received: Instant) {
        self.batches = self.batches.wrapping_add(1);
        if self.batches % TRANSIT_SAMPLE == 1 {
            self.worker.tally.transit(received.elapsed());
        }
    }

    /// The user is known.
    pub fn session_opened(&mut self, view: View<'_>, transport: Option<Transport>) {
        self.opened = true;
        self.worker.tally.authenticated();
        if !journal::writes_sessions() {
            return;
        }
        self.with_line(view, transport, &[], |line| journal::session_opened(&line));
    }

    /// The client's connection is over. The session may go on without it.
    pub fn client_ended(&mut self, view: View<'_>, transport: Option<Transport>, ended: Ended, now: Instant) {
        let tally = &self.worker.tally;
        tally.ended(ended.cause());
        if ended.is_error() {
            tally.error(ended.cause());
        }
        if transport == Some(Transport::Polling) {
            tally.polling(-1);
        }
        // Of a client that was never let in, the refusals were logged when they were said.
        if !std::mem::take(&mut self.opened) {
            if let Some(setting) = ended.setting() {
                journal::over_bound(view.peer(), ended.cause(), setting);
            }
            return;
        }
        tally.left_authenticated();
        if !journal::writes_sessions() {
            return;
        }
        let (packets_received, packets_sent) = self.cell.packets.get();
        self.with_line(view, transport, &view.namespaces(), |session| {
            journal::session_ended(&EndedLine {
                session,
                duration: now.saturating_duration_since(self.cell.opened),
                packets_received,
                packets_sent,
                packets_refused: self.cell.refused.get(),
                packets_unsent: view.unsent(),
                cause: ended.cause(),
                fault: ended.fault().name(),
                setting: ended.setting(),
            });
        });
    }

    fn with_line(
        &self,
        view: View<'_>,
        transport: Option<Transport>,
        namespaces: &[String],
        write: impl FnOnce(Opened<'_>),
    ) {
        let sid_hash = view.sid().map(|sid| sid.hash().to_string());
        write(Opened {
            id: self.cell.id,
            sid_hash: sid_hash.as_deref(),
            user: view.identity().and_then(|identity| identity.user()),
            peer: view.peer(),
            transport: transport.map_or("", Transport::name),
            namespaces,
        });
    }

    /// What waits in the session now.
    pub fn queue(&mut self, view: View<'_>) {
        self.dropped(view.dropped());
        self.lost(view.lost());
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
    fn lost(&mut self, lost: u64) {
        if lost > self.lost {
            self.worker.tally.events_lost(lost - self.lost);
            self.lost = lost;
        }
    }
}
