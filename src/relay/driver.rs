//! The task of one session: one poll function for both directions.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::task::yield_now;

use crate::{
    observe::{
        journal::{self, Opened},
        tally::Direction,
    },
    policy::connections::Permit,
    relay::{
        client_leg::ClientLeg,
        closing::Closing,
        dial::PackedRequest,
        leg::upstream::UpstreamLeg,
        pace::Place,
        resume::Claim,
        scratch::Scratch,
        worker::{Rules, SessionCell, Worker},
    },
    session::{Action, Dialect, Session, Transport, answer, ended::Ended, queue::WholePacket},
    wire::websocket::frame::OpCode,
};

/// So many receives from each side before other sessions of the thread get their turn.
const ROUNDS: usize = 8;

/// The same in messages, where they are small.
const MESSAGES: u64 = 512;

/// A side that takes nothing for so long is given up.
const STALL: Duration = Duration::from_secs(10);

/// One batch in so many has its time in the gate measured.
const TRANSIT_SAMPLE: u32 = 64;

/// Drives one session until it ends.
#[derive(Debug)]
pub struct Driver {
    pub(super) worker: Rc<Worker>,
    pub(super) cell: Rc<SessionCell>,
    pub(super) rules: Arc<Rules>,
    pub(super) client: ClientLeg,
    pub(super) upstream: UpstreamLeg,
    /// The client's next packet waits until then.
    pub(super) paused_until: Option<Instant>,
    /// What the service hears at its handshake; none on a route that is dialled before the session begins.
    pub(super) request: Option<PackedRequest>,
    /// Among the sessions that go back to the service.
    pub(super) place: Option<Place>,
    /// The packet of the service that still lacks attachments. It goes onward whole, for the service may go away.
    pub(super) begun: Option<Box<WholePacket>>,
    pub(super) closing: Option<Closing>,
    /// What the side that closed said of it.
    pub(super) close_reason: Box<str>,
    pub(super) authenticated: bool,
    /// Packets that are known not to reach the service, as far as they have been counted.
    pub(super) dropped: u64,
    batches: u32,
    pub(super) permit: Option<Permit>,
    /// The session that this client may have had before is asked whether it takes it back.
    pub(super) claim: Option<Claim>,
}

/// What one poll works with.
pub(super) struct Turn<'a> {
    pub(super) session: &'a mut Session,
    pub(super) now: Instant,
}

impl Driver {
    /// For a client after its handshake. `upstream` is away where the session has yet to say that it may be dialled.
    #[must_use]
    pub fn new(
        worker: Rc<Worker>,
        cell: Rc<SessionCell>,
        client: ClientLeg,
        upstream: UpstreamLeg,
        request: Option<PackedRequest>,
        permit: Option<Permit>,
    ) -> Self {
        let rules = worker.rules();
        Self {
            worker,
            cell,
            rules,
            client,
            upstream,
            paused_until: None,
            request,
            place: None,
            begun: None,
            closing: None,
            close_reason: Box::default(),
            authenticated: false,
            dropped: 0,
            batches: 0,
            permit,
            claim: None,
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let worker = Rc::clone(&self.worker);
        let cell = Rc::clone(&self.cell);
        let mut scratch = worker.scratch.borrow_mut();
        let mut session = cell.session.borrow_mut();
        let mut turn = Turn { session: &mut session, now: Instant::now() };
        cell.woken_by(cx);
        if self.closing.is_none() {
            match self.relay(&mut turn, &mut scratch, cx) {
                Poll::Pending => {
                    if self.tell_queue(&turn) {
                        turn.session.end(Ended::QueueFull);
                        // So that no other session ends for what is no more.
                        worker.queued(&cell.queued, 0, 0);
                        cx.waker().wake_by_ref();
                    }
                    cell.deadline.set(self.next_deadline(&turn));
                    return Poll::Pending;
                }
                Poll::Ready(Ended::HandedOver) => {
                    self.hand_over(&mut turn);
                    return Poll::Ready(());
                }
                Poll::Ready(ended) if turn.session.may_return(ended, &self.rules.terms) => {
                    self.client_gone(&mut turn, ended);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(ended) => {
                    // What came before a Close is answered before it, a ping for example (RFC 6455 §5.5.2).
                    let _ = self.obey(&mut turn, cx);
                    self.end(&mut turn, ended);
                }
            }
        }
        self.take_letters(&mut turn);
        self.poll_last_upgrade(&turn, &mut scratch, cx);
        let Some(closing) = &mut self.closing else { return Poll::Ready(()) };
        cell.deadline.set(closing.until());
        closing.poll(&mut self.client, &mut self.upstream, &mut scratch.read, turn.now, cx)
    }

    /// Both directions, until nothing more can be done now.
    fn relay(&mut self, turn: &mut Turn<'_>, scratch: &mut Scratch, cx: &mut Context<'_>) -> Poll<Ended> {
        match self.keep_time(turn) {
            Ok(()) => {}
            Err(ended) if ended.is_service_gone() && turn.session.ended().is_none() => self.service_gone(turn, ended),
            Err(ended) => return Poll::Ready(ended),
        }
        // What comes after the end is for the closing to answer.
        if turn.session.ended().is_none() {
            self.take_letters(turn);
        }
        let before = self.messages();
        for _ in 0..ROUNDS {
            match self.round(turn, scratch, cx) {
                Ok(true) if self.messages() - before >= MESSAGES => break,
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(ended) if ended.is_service_gone() && turn.session.ended().is_none() => {
                    self.service_gone(turn, ended);
                }
                Err(ended) => return Poll::Ready(ended),
            }
        }
        let_others(cx);
        Poll::Pending
    }

    /// One receive from each side. True: there may be more.
    fn round(&mut self, turn: &mut Turn<'_>, scratch: &mut Scratch, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut more = false;
        if let Poll::Ready(outcome) = self.upstream.poll_dial(cx) {
            self.dialled(outcome, turn)?;
            more = true;
        }
        more |= self.poll_upgrade(turn, scratch, cx);
        self.poll_claim(cx);
        self.obey(turn, cx)?;
        self.flush(turn, cx)?;
        if self.paused_until.is_none()
            && self.upstream.takes()
            && let Poll::Ready(pumped) = self.pump_client(turn, scratch, cx)
        {
            pumped?;
            more = true;
        }
        if self.client.takes()
            && let Poll::Ready(pumped) = self.pump_service(turn, scratch, cx)
        {
            pumped?;
            more = true;
        }
        if more {
            self.obey(turn, cx)?;
            self.flush(turn, cx)?;
            self.sample_transit(turn);
        }
        Ok(more)
    }

    /// What time alone brings about: pings, limits, a drain, changed rules.
    fn keep_time(&mut self, turn: &mut Turn<'_>) -> Result<(), Ended> {
        if !self.worker.still_obeys(&self.rules) {
            self.rules = self.worker.rules();
            turn.session.adopt(&self.rules.policies, turn.now);
        }
        if turn.now < self.cell.deadline.get() && !self.cell.drains(turn.now) {
            return Ok(());
        }
        if self.cell.drains(turn.now) {
            turn.session.drain();
        }
        turn.session.handle_timeout(&self.rules.terms, turn.now);
        let silent = turn.session.upstream().is_silent(turn.now);
        self.paused_until = self.paused_until.filter(|until| turn.now < *until);
        if self.client.stalled_since().is_some_and(|since| turn.now >= since + STALL) {
            return Err(Ended::SlowReader);
        }
        let stalled = self.upstream.stalled_since().is_some_and(|since| turn.now >= since + STALL);
        if silent || stalled { Err(Ended::ServiceSlow) } else { Ok(()) }
    }

    fn next_deadline(&self, turn: &Turn<'_>) -> Instant {
        let stalls = [self.client.stalled_since(), self.upstream.stalled_since()]
            .into_iter()
            .flatten()
            .map(|since| since + STALL);
        let others = [self.paused_until, self.client.probe_until()].into_iter().flatten();
        stalls.chain(others).fold(turn.session.next_deadline(&self.rules.terms), Instant::min)
    }

    /// Does what the session wants done.
    fn obey(&mut self, turn: &mut Turn<'_>, cx: &mut Context<'_>) -> Result<(), Ended> {
        while self.may_be_obeyed(turn.session) {
            let Some(action) = turn.session.poll_action() else { break };
            match action {
                Action::Dial => {
                    self.ask_to_dial(turn);
                    // It begins when it is polled, which the next round does.
                    cx.waker().wake_by_ref();
                }
                Action::SendClient(text) => self.client.say(OpCode::Text, &text, turn.now),
                Action::SayPacket(packet) => {
                    self.client.say(OpCode::Text, packet.payload(), turn.now);
                    for bytes in packet.attachments() {
                        self.client.say(OpCode::Binary, bytes, turn.now);
                    }
                }
                Action::PingClient => self.client.say(OpCode::Ping, b"", turn.now),
                Action::PongClient(payload) => self.client.say(OpCode::Pong, &payload, turn.now),
                Action::SendService(text) => {
                    if let UpstreamLeg::Open(leg) = &mut self.upstream {
                        leg.say(OpCode::Text, &text, turn.now);
                    }
                }
                Action::RepeatToService(message) => {
                    if let UpstreamLeg::Open(leg) = &mut self.upstream {
                        leg.say(message.opcode(), message.payload(), turn.now);
                    }
                }
                Action::PongService(payload) => {
                    if let UpstreamLeg::Open(leg) = &mut self.upstream {
                        leg.say(OpCode::Pong, &payload, turn.now);
                    }
                }
                Action::Authenticated => self.authenticated(turn),
            }
        }
        if let Some(ended) = turn.session.ended() {
            return Err(ended);
        }
        self.send_packets(turn, cx)?;
        if self.client.backlog() > self.rules.send_buffer { Err(Ended::SlowReader) } else { Ok(()) }
    }

    /// What we say ourselves must not tear a frame that is passing.
    fn may_be_obeyed(&self, session: &Session) -> bool {
        match session.next_action() {
            Some(Action::SendClient(_) | Action::SayPacket(_) | Action::PingClient | Action::PongClient(_)) => {
                self.upstream.between_frames()
            }
            Some(Action::SendService(_) | Action::RepeatToService(_) | Action::PongService(_)) => {
                self.client.between_frames()
            }
            Some(Action::Dial | Action::Authenticated) => true,
            None => false,
        }
    }

    fn flush(&mut self, turn: &Turn<'_>, cx: &mut Context<'_>) -> Result<(), Ended> {
        if let Poll::Ready(Err(_)) = self.client.flush(turn.now, cx) {
            return Err(Ended::ClientLost);
        }
        if let UpstreamLeg::Open(leg) = &mut self.upstream
            && let Poll::Ready(Err(_)) = leg.flush(turn.now, cx)
        {
            return Err(Ended::ServiceLost);
        }
        Ok(())
    }

    fn authenticated(&mut self, turn: &Turn<'_>) {
        self.authenticated = true;
        self.worker.tally.authenticated();
        if journal::writes_sessions() {
            let sid = sid_of(turn.session);
            journal::session_opened(&self.opened(turn.session, sid.as_deref(), &[]));
        }
    }

    pub(super) fn opened<'a>(
        &self,
        session: &'a Session,
        sid: Option<&'a str>,
        namespaces: &'a [String],
    ) -> Opened<'a> {
        let user = session.identity().and_then(|identity| identity.user());
        let transport = self.client.transport().map_or("", Transport::name);
        Opened { id: self.cell.id, sid, user, peer: session.peer(), transport, namespaces }
    }

    fn sample_transit(&mut self, turn: &Turn<'_>) {
        self.batches = self.batches.wrapping_add(1);
        if self.batches % TRANSIT_SAMPLE == 1 {
            self.worker.tally.transit(turn.now.elapsed());
        }
    }

    /// Both sides are told, where a frame of ours does not tear one of theirs.
    fn end(&mut self, turn: &mut Turn<'_>, ended: Ended) {
        self.client.say_end(ended, &self.close_reason, self.upstream.between_frames(), turn.now);
        if let UpstreamLeg::Open(leg) = &mut self.upstream
            && self.client.between_frames()
        {
            leg.say_close(answer::to_service(ended, &self.close_reason), turn.now);
        }
        self.closing = Some(Closing::new(ended, turn.now));
        if !matches!(self.client, ClientLeg::Away) {
            self.record_client_end(turn, ended);
        }
        self.record_service_end(turn);
    }

    /// Of both sides, so far.
    fn messages(&self) -> u64 {
        let (received, sent) = self.cell.packets.get();
        received + sent
    }

    pub(super) fn count(&self, direction: Direction, bytes: u64) {
        self.worker.tally.packets(direction, bytes);
        let (received, sent) = self.cell.packets.get();
        self.cell.packets.set(match direction {
            Direction::FromClient => (received + 1, sent),
            Direction::ToClient => (received, sent + 1),
        });
    }
}

/// Wakes this session when all others that are ready have had their turn, and sockets and timers have been looked at. A
/// waker called now would bring it back before those.
fn let_others(cx: &mut Context<'_>) {
    let _ = pin!(yield_now()).poll(cx);
}

pub(super) fn sid_of(session: &Session) -> Option<String> {
    match &session.dialect {
        Dialect::SocketIo(socketio) => Some(socketio.sid.to_string()),
        Dialect::Plain(_) => None,
    }
}

impl Future for Driver {
    type Output = ();

    /// A panic ends this session and touches no other.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if let Ok(poll) = catch_unwind(AssertUnwindSafe(|| this.drive(cx))) {
            return poll;
        }
        if this.closing.is_some() {
            return Poll::Ready(());
        }
        let cell = Rc::clone(&this.cell);
        let Ok(mut session) = cell.session.try_borrow_mut() else { return Poll::Ready(()) };
        let mut turn = Turn { session: &mut session, now: Instant::now() };
        this.end(&mut turn, Ended::Panicked);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.worker.forget(self.cell.id);
    }
}

#[cfg(test)]
mod tests;
