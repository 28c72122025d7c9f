//! The task of one session: one poll function for both directions.
//!
//! The path of a frame, each way: *fill, scan, judge, keep, send*. The session judges; this file moves bytes, obeys the
//! session's actions, and reports what happens to the legs.

mod deadlines;
mod lifecycle;
mod packets;

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::task::yield_now;

use crate::{
    policy::sid_owner::SidOwner,
    relay::{
        batch::Batch,
        broken_rule::BrokenRule,
        cell::SessionCell,
        client_leg::ClientLeg,
        client_side::ClientSide,
        closing::Closing,
        inflow::{self, Ahead},
        ledger::{SessionLedger, Volume},
        outlet::Offer,
        rules::RelayRules,
        scratch::Scratch,
        service_side::ServiceSide,
        worker::Worker,
    },
    session::{
        Session,
        action::{Action, Ready, Spoken},
        ended::Ended,
        event::Event,
        message::{Fate, Message, Side},
        now::Now,
        question::Answer,
    },
    wire::{socketio::packet::PEEK_BYTES, websocket::frame::OpCode},
};

/// So many times each side is received from before the other one: a second receive finds out that there is no more.
const RECEIVES: usize = 2;

/// So many rounds of that before other sessions of the thread get their turn.
const ROUNDS: usize = 4;

/// The same in messages, where they are small.
const MESSAGES: u64 = 512;

/// Drives one session until it ends.
#[derive(Debug)]
pub struct Driver {
    worker: Rc<Worker>,
    cell: Rc<SessionCell>,
    rules: Arc<RelayRules>,
    client: ClientSide,
    service: ServiceSide,
    ledger: SessionLedger,
    closing: Option<Box<Closing>>,
}

/// What one poll works with.
struct Turn<'a, 'b> {
    session: &'a mut Session,
    now: Now,
    cx: &'a mut Context<'b>,
    /// Something else has happened in this round than that messages passed: another round finds out what follows.
    acted: bool,
    /// The same in this poll: deadlines may be others than before.
    unsettled: bool,
}

impl Turn<'_, '_> {
    fn acts(&mut self) {
        (self.acted, self.unsettled) = (true, true);
    }
}

impl Driver {
    /// Opens a session after its client's handshake, and drives it as a task of this thread until it ends. `owner`: the
    /// client that its sid was given to, if requests will name it by the sid.
    pub fn spawn(
        worker: &Rc<Worker>,
        session: Session,
        owner: Option<SidOwner>,
        client: ClientSide,
        mut service: ServiceSide,
    ) {
        service.begin(worker);
        let cell = worker.open(session, client.leg.transport(), owner);
        let ledger = SessionLedger::new(Rc::clone(worker), Rc::clone(&cell));
        let (worker, rules) = (Rc::clone(worker), worker.rules());
        tokio::task::spawn_local(Self { worker, cell, rules, client, service, ledger, closing: None });
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let worker = Rc::clone(&self.worker);
        let cell = Rc::clone(&self.cell);
        let mut scratch = worker.scratch.borrow_mut();
        let mut session = cell.session.borrow_mut();
        cell.woken_by(cx);
        let mut turn = Turn { session: &mut session, now: worker.clock.now(), cx, acted: false, unsettled: false };
        if self.closing.is_none() {
            match self.relay(&mut turn, &mut scratch) {
                Poll::Pending => {
                    self.rest(&mut turn);
                    return Poll::Pending;
                }
                Poll::Ready(Ended::HandedOver) => return Poll::Ready(()),
                Poll::Ready(ended) => self.end(&mut turn, ended),
            }
        }
        self.take_mail(&mut turn);
        self.poll_last_upgrade(&mut turn, &mut scratch);
        let Some(closing) = &mut self.closing else { return Poll::Ready(()) };
        cell.deadline.set(closing.until());
        closing.poll(&mut self.client.leg, &mut self.service.leg, &mut scratch.read, turn.now.instant, turn.cx)
    }

    /// Both directions, until nothing more can be done now. Ready: the session has ended.
    fn relay(&mut self, turn: &mut Turn<'_, '_>, scratch: &mut Scratch) -> Poll<Ended> {
        self.keep_time(turn);
        // What comes after the end is for the closing to answer.
        if turn.session.ended().is_none() {
            self.take_mail(turn);
        }
        let before = self.ledger.messages();
        for _ in 0..ROUNDS {
            let more = turn.session.ended().is_none() && self.round(turn, scratch);
            if let Some(ended) = turn.session.ended() {
                // What came before a Close is answered before it, a ping for example (RFC 6455 §5.5.2).
                self.obey(turn);
                return Poll::Ready(ended);
            }
            if !more {
                return Poll::Pending;
            }
            if self.ledger.messages() - before >= MESSAGES {
                break;
            }
        }
        let_others(turn.cx);
        Poll::Pending
    }

    /// What has come from each side, and what follows from it. True: there may be more.
    fn round(&mut self, turn: &mut Turn<'_, '_>, scratch: &mut Scratch) -> bool {
        turn.acted = false;
        self.poll_others(turn, scratch);
        self.obey(turn);
        self.flush(turn);
        let before = self.ledger.messages();
        let more = self.receive(Side::Client, turn, scratch) | self.receive(Side::Service, turn, scratch);
        let (client_was_full, service_was_full) = (!self.client.leg.takes(), !self.service.leg.takes());
        if more || turn.acted || self.ledger.messages() > before {
            self.obey(turn);
            self.flush(turn);
            self.ledger.batch(turn.now.instant);
            self.ledger.turned(turn.session.view(), self.client.leg.transport());
        }
        // A side that took everything at once wakes this task no more, and the other side was left unread for it.
        let reopened = (client_was_full && self.client.leg.takes()) || (service_was_full && self.service.leg.takes());
        more || turn.acted || reopened || self.has_room_mail()
    }

    /// Receives from one side until nothing has come, at most [`RECEIVES`] times. True: there may be more.
    fn receive(&mut self, from: Side, turn: &mut Turn<'_, '_>, scratch: &mut Scratch) -> bool {
        for _ in 0..RECEIVES {
            let is_open = match from {
                Side::Client => !self.client.is_paused() && self.service.leg.takes(),
                Side::Service => self.client.leg.takes(),
            };
            if !is_open || turn.session.ended().is_some() || self.pump(from, turn, scratch).is_pending() {
                return false;
            }
        }
        true
    }

    /// What is under way beside the legs: events of other nodes, a dial, an upgrade, an answer.
    fn poll_others(&mut self, turn: &mut Turn<'_, '_>, scratch: &mut Scratch) {
        self.take_room_mail(turn);
        if let Poll::Ready(outcome) = self.service.poll_dial(turn.cx) {
            self.dialled(outcome, turn);
            turn.acts();
        }
        if let Some(upgraded) = self.client.poll_upgrade(scratch, turn.now.instant, turn.cx) {
            self.worker.tally.upgrade(upgraded);
            if upgraded {
                self.worker.tally.polling(-1);
                self.cell.upgraded();
            }
            turn.acts();
        }
        if let Some((ticket, answer)) = self.client.poll_answer(turn.cx) {
            if let Answer::Claim(granted) = answer {
                self.worker.tally.resume(granted);
            }
            turn.session.event(Event::Answer(ticket, answer), turn.now);
            turn.acts();
        }
    }

    /// One receive from one side, judged, and sent on to the other.
    fn pump(&mut self, from: Side, turn: &mut Turn<'_, '_>, scratch: &mut Scratch) -> Poll<()> {
        let filled = match from {
            Side::Client => self.client.leg.fill(&mut scratch.read, turn.cx),
            Side::Service => self.service.leg.fill(&mut scratch.read, turn.cx),
        };
        match ready!(filled) {
            Ok(filled) => {
                let mut batch = Batch::new(&mut scratch.read[..filled]);
                self.judge(from, &mut batch, turn, &mut scratch.peek);
                self.send(from.other(), &mut batch, turn);
            }
            Err(why) => self.lost(why, turn),
        }
        Poll::Ready(())
    }

    /// Every message of a batch, in order, as long as the session goes on with this leg.
    fn judge(&mut self, from: Side, batch: &mut Batch<'_>, turn: &mut Turn<'_, '_>, peek: &mut [u8; PEEK_BYTES]) {
        let mut passed = Volume::default();
        while turn.session.ended().is_none() {
            let inflow = match from {
                Side::Client => self.client.leg.inflow(),
                Side::Service => self.service.leg.inflow(),
            };
            let Some(inflow) = inflow else { break };
            let (fate, len) = match inflow.next(batch, peek) {
                Ok(None) => break,
                Ok(Some(Ahead::Control { opcode, len })) => {
                    turn.acts();
                    let note = turn.session.event(Event::Control(from, opcode, &peek[..len]), turn.now);
                    self.ledger.note(from, note, turn.session.view());
                    self.speak(from, batch, turn);
                    continue;
                }
                Ok(Some(Ahead::Head { header, len, complete })) => {
                    let here = batch.ahead().len() as u64 >= header.header_len as u64 + header.payload_len;
                    let bytes = inflow::shown(&header, len, batch, peek);
                    let message = Message::in_frame(&header, bytes, complete, here);
                    let fate = self.ledger.judged(from, &message, turn.session, turn.now);
                    if let Fate::Wait(_) = fate {
                        inflow.put_back(batch);
                    } else if let Err(error) = inflow.decide(&header, batch, fate) {
                        self.broke_frame(from, error, batch, turn);
                    }
                    (fate, header.payload_len)
                }
                Ok(Some(Ahead::Message { opcode, mut payload })) => {
                    let (to, message) = (from.other(), Message::whole(opcode, &payload));
                    let (fate, len) = (self.ledger.judged(from, &message, turn.session, turn.now), payload.len());
                    match fate {
                        Fate::Wait(_) => inflow.put_back_message(opcode, payload, batch),
                        fate if fate.passes() => self.send_message(to, opcode, fate.passed(&mut payload), batch, turn),
                        _ => {}
                    }
                    (fate, len as u64)
                }
                Err(error) => {
                    self.broke_frame(from, error, batch, turn);
                    break;
                }
            };
            if fate.passes() {
                passed.add(len);
                continue;
            }
            turn.acts();
            match fate {
                Fate::Pass | Fate::PassJson(_) | Fate::PassAs(..) | Fate::Gather => {}
                Fate::Wait(until) => {
                    self.client.paused = Some(until);
                    self.speak(from, batch, turn);
                    break;
                }
                Fate::Drop | Fate::HandOver => {
                    passed.add_if(from == Side::Client, len);
                    if fate == Fate::HandOver {
                        self.put_back_rest(batch);
                    }
                    self.speak(from, batch, turn);
                }
            }
        }
        self.ledger.count(from, passed);
        if from == Side::Client && self.client.leg.inflow().is_some_and(|inflow| inflow.in_message()) {
            turn.acts();
            turn.session.event(Event::Fragments, turn.now);
        }
    }

    /// What is behind a CONNECT that is handed over goes to the other session too.
    fn put_back_rest(&mut self, batch: &mut Batch<'_>) {
        if let Some(inflow) = self.client.leg.inflow().filter(|_| !batch.ahead().is_empty()) {
            inflow.put_back(batch);
        }
    }

    /// Does what the session wants done in place of a message, behind those that passed before it.
    fn speak(&mut self, from: Side, batch: &mut Batch<'_>, turn: &mut Turn<'_, '_>) {
        if !turn.session.has_actions() {
            return;
        }
        // First, for the other side may be lost by this, and then a packet is not to be taken out of the queue for it.
        self.send(from.other(), batch, turn);
        while let Some(action) = turn.session.poll(self.ready()) {
            self.act(action, turn);
        }
    }

    /// A side broke a rule of what it speaks. What passed before goes first, or what is said now could tear its last frame.
    fn broke_frame(&mut self, from: Side, error: BrokenRule, batch: &mut Batch<'_>, turn: &mut Turn<'_, '_>) {
        self.send(from.other(), batch, turn);
        self.lost(error.ended(from), turn);
    }

    /// Sends what has passed so far.
    fn send(&mut self, to: Side, batch: &mut Batch<'_>, turn: &mut Turn<'_, '_>) {
        if batch.kept().is_empty() {
            return;
        }
        let now = turn.now.instant;
        let sent = match to {
            Side::Client => {
                // The last part of a message may be all that comes now, and a poll waits for it.
                turn.acted |= matches!(self.client.leg, ClientLeg::Polling(_));
                self.client.leg.send(batch.kept(), now, turn.cx)
            }
            Side::Service => self.service.send(batch.kept(), now, turn.cx),
        };
        batch.sent();
        if sent.is_err() {
            self.lost(loss_of(to), turn);
        }
    }

    /// Sends a message that was put together, behind what has passed before it.
    fn send_message(
        &mut self,
        to: Side,
        opcode: OpCode,
        payload: &[u8],
        batch: &mut Batch<'_>,
        turn: &mut Turn<'_, '_>,
    ) {
        self.send(to, batch, turn);
        match to {
            Side::Client => self.client.leg.say(opcode, payload, turn.now.instant),
            Side::Service => {
                if self.service.send_message(opcode, payload, turn.now.instant, turn.cx).is_err() {
                    self.lost(Ended::ServiceLost, turn);
                }
            }
        }
    }

    /// Does everything that the session wants done now.
    fn obey(&mut self, turn: &mut Turn<'_, '_>) {
        while let Some(action) = turn.session.poll(self.ready()) {
            self.act(action, turn);
        }
        if self.client.leg.backlog() > self.rules.send_buffer {
            self.lost(Ended::SlowReader, turn);
        }
    }

    /// What we say ourselves must not tear a frame that passes.
    const fn ready(&self) -> Ready {
        Ready { client: self.service.leg.between_frames(), service: self.client.leg.between_frames() }
    }

    fn act(&mut self, action: Action, turn: &mut Turn<'_, '_>) {
        if let Action::Say(Side::Client, Spoken::Delivery(delivery)) = action {
            return self.deliver(&delivery, turn);
        }
        turn.acts();
        let now = turn.now.instant;
        match action {
            Action::Say(Side::Client, Spoken::Own(opcode, payload)) => self.client.leg.say(opcode, &payload, now),
            Action::Say(Side::Client, Spoken::Packet(packet)) => self.say_packet(&packet, turn),
            Action::Say(Side::Service, Spoken::Own(opcode, payload)) => self.service.leg.say(opcode, &payload, now),
            Action::Say(Side::Service, Spoken::Packet(packet)) => self.send_packet(packet, turn),
            Action::JoinRoom(room) => self.worker.join_room(&self.cell, &room),
            Action::LeaveRoom(room) => self.worker.leave_room(&self.cell, &room),
            // No service understands an event of another node.
            Action::Say(_, Spoken::Delivery(_)) => {}
            Action::Offer(event) => {
                self.cell.has_offered.set(true);
                self.worker.outlet.offer(Offer { session: self.cell.id, event: *event, at: now });
            }
            Action::NotOffered { rule, is_first } => self.ledger.not_offered(rule, is_first),
            Action::RoomsFull { is_first } => self.ledger.rooms_full(turn.session.view().peer(), is_first),
            Action::Dial { again } => self.dial(again, turn),
            Action::Ask(ticket, question) => self.ask(ticket, question),
            Action::PutOut(why) => self.ledger.put_out(why, turn.session.view().peer()),
            Action::Opened => {
                let stays = turn.session.ended().is_none();
                self.ledger.known(turn.session.view(), self.client.leg.transport(), stays, now);
            }
            Action::Detach(Side::Client, why) => self.detach_client(why, turn),
            Action::Detach(Side::Service, why) => self.detach_service(why, turn),
            Action::HandOver(returning) => self.hand_over(*returning, turn),
        }
    }

    /// A side is lost, or has broken a rule.
    fn lost(&mut self, why: Ended, turn: &mut Turn<'_, '_>) {
        turn.acts();
        if self.service.leg.between_frames() {
            turn.session.event(Event::Passed, turn.now);
        }
        turn.session.event(Event::Lost(why), turn.now);
        while let Some(action) = turn.session.poll(self.ready()) {
            self.act(action, turn);
        }
    }

    /// Sends what the sockets would not take before. After the end that is for the closing.
    fn flush(&mut self, turn: &mut Turn<'_, '_>) {
        let now = turn.now.instant;
        if turn.session.ended().is_some() {
            return;
        }
        if self.client.leg.has_unsent()
            && let Poll::Ready(Err(_)) = self.client.leg.flush(now, turn.cx)
        {
            self.lost(Ended::ClientLost, turn);
        }
        if self.service.leg.has_unsent()
            && let Poll::Ready(Err(_)) = self.service.leg.flush(now, turn.cx)
        {
            self.lost(Ended::ServiceLost, turn);
        }
    }
}

/// What the loss of a side's connection is called.
const fn loss_of(side: Side) -> Ended {
    match side {
        Side::Client => Ended::ClientLost,
        Side::Service => Ended::ServiceLost,
    }
}

/// Wakes this session when all others that are ready have had their turn, and sockets and timers have been looked at. A
/// waker called now would bring it back before those.
fn let_others(cx: &mut Context<'_>) {
    let _ = pin!(yield_now()).poll(cx);
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
        let now = this.worker.clock.now();
        this.end(&mut Turn { session: &mut session, now, cx, acted: false, unsettled: false }, Ended::Panicked);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.worker.forget(&self.cell);
    }
}

#[cfg(test)]
mod tests;
