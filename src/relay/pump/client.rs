//! From the client to the service.

use std::{
    task::{Context, Poll, ready},
    time::{Instant, SystemTime},
};

use super::{NO_CLOSE, Seen, broken_rule, still_open};
use crate::{
    observe::{
        journal::{self, RefusedHandshake},
        tally::Direction,
    },
    policy::verdict::{Refusal, Verdict},
    relay::{
        batch::Batch,
        client_leg::ClientLeg,
        driver::{Driver, Turn},
        inflow::{Fate, Found, Inflow},
        resume::Claimed,
        scratch::Scratch,
    },
    session::{Dialect, Session, ended::Ended, plain::MESSAGE, upstream::Onward},
    wire::{
        engineio::packet::EnginePacket,
        socketio::{
            packet::{EventName, PEEK_BYTES, PacketType},
            peek::{self, PacketHead},
        },
        websocket::{
            close::{self, CloseCode},
            frame::{FrameError, OpCode},
        },
    },
};

/// What becomes of a message of the client.
enum Judged {
    /// It goes onward as it came.
    Keep,
    Cut,
    /// The session has taken it, whole, and says when it goes onward.
    Taken,
    /// It must be seen whole first.
    Gather,
    /// It, and all behind it, waits.
    Wait(Instant),
    /// The connection belongs to a session that the client had before.
    HandOver,
    /// The session ends.
    End,
}

impl Driver {
    /// One receive from the client, judged, and sent on to the service.
    pub(in crate::relay) fn pump_client(
        &mut self,
        turn: &mut Turn<'_>,
        scratch: &mut Scratch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Ended>> {
        let filled = match ready!(self.client.fill(&mut scratch.read, cx)) {
            Ok(filled) => filled,
            Err(ended) => return Poll::Ready(Err(ended)),
        };
        let mut batch = Batch::new(&mut scratch.read[..filled]);
        let judged = self.judge_batch(&mut batch, turn, &mut scratch.peek, cx);
        if judged.is_err_and(Ended::is_service_gone)
            && let Some(inflow) = self.client.inflow()
            && !batch.ahead().is_empty()
        {
            // The client goes on, and so does what it has said.
            inflow.put_back(&mut batch);
        }
        let in_message = self.client.inflow().is_some_and(|inflow| inflow.in_message());
        turn.session.client_fragments(in_message, turn.now);
        let sent = self.upstream.send(batch.kept(), turn.now, cx);
        Poll::Ready(judged.and(sent.map_err(|_| Ended::ServiceLost)))
    }

    fn judge_batch(
        &mut self,
        batch: &mut Batch<'_>,
        turn: &mut Turn<'_>,
        peek: &mut [u8; PEEK_BYTES],
        cx: &mut Context<'_>,
    ) -> Result<(), Ended> {
        while let Some(found) = inflow_of(&mut self.client)?.next(batch, peek).map_err(client_broke)? {
            match found {
                Found::Control { opcode, len } => self.client_control(opcode, &peek[..len], turn)?,
                Found::Head { header, len, complete } => {
                    let here = batch.ahead().len() as u64 >= header.header_len as u64 + header.payload_len;
                    let seen = Seen { opcode: header.opcode, text: &peek[..len], complete, here };
                    let judged = self.judge(seen, turn);
                    let taken = matches!(judged, Judged::Taken);
                    let fate = match judged {
                        Judged::Keep => Fate::Keep,
                        Judged::Cut | Judged::Taken => Fate::Cut,
                        Judged::Gather => Fate::Gather,
                        Judged::Wait(until) => {
                            self.paused_until = Some(until);
                            inflow_of(&mut self.client)?.put_back(batch);
                            return Ok(());
                        }
                        Judged::HandOver => {
                            let inflow = inflow_of(&mut self.client)?;
                            inflow.decide(&header, batch, Fate::Cut).map_err(client_broke)?;
                            return Err(handed_over(inflow, batch));
                        }
                        Judged::End => return Ok(()),
                    };
                    if fate != Fate::Gather {
                        self.count(Direction::FromClient, header.payload_len);
                    }
                    inflow_of(&mut self.client)?.decide(&header, batch, fate).map_err(client_broke)?;
                    if taken {
                        self.send_kept(batch, turn, cx)?;
                    }
                }
                Found::Message { opcode, payload } => {
                    let len = payload.len() as u64;
                    match self.judge(Seen { opcode, text: &payload, complete: true, here: true }, turn) {
                        Judged::Keep => {
                            self.count(Direction::FromClient, len);
                            self.send_kept(batch, turn, cx)?;
                            let sent = self.upstream.send_message(opcode, &payload, turn.now, cx);
                            sent.map_err(|_| Ended::ServiceLost)?;
                        }
                        Judged::Taken => {
                            self.count(Direction::FromClient, len);
                            self.send_kept(batch, turn, cx)?;
                        }
                        Judged::Cut | Judged::Gather => self.count(Direction::FromClient, len),
                        Judged::Wait(until) => {
                            self.paused_until = Some(until);
                            inflow_of(&mut self.client)?.put_back_message(opcode, payload, batch);
                            return Ok(());
                        }
                        Judged::HandOver => return Err(handed_over(inflow_of(&mut self.client)?, batch)),
                        Judged::End => return Ok(()),
                    }
                }
            }
        }
        Ok(())
    }

    /// What was kept goes before what the session has taken since.
    fn send_kept(&mut self, batch: &mut Batch<'_>, turn: &mut Turn<'_>, cx: &mut Context<'_>) -> Result<(), Ended> {
        self.upstream.send(batch.kept(), turn.now, cx).map_err(|_| Ended::ServiceLost)?;
        batch.sent();
        self.send_packets(turn, cx)
    }

    fn judge(&mut self, seen: Seen<'_>, turn: &mut Turn<'_>) -> Judged {
        let Seen { opcode, text, complete, .. } = seen;
        turn.session.client_heard(&self.rules.terms, turn.now);
        if let Some(until) = turn.session.client_pauses(turn.now) {
            return Judged::Wait(until);
        }
        match (&turn.session.dialect, opcode) {
            (Dialect::Plain(_), _) => {
                turn.session.used(turn.now);
                self.judge_plain(seen, turn)
            }
            (Dialect::SocketIo(_), OpCode::Binary) if !complete => Judged::Gather,
            (Dialect::SocketIo(_), OpCode::Binary) => {
                turn.session.used(turn.now);
                let verdict = turn.session.client_attachment();
                match self.obeyed(verdict, turn) {
                    Judged::Keep => {
                        turn.session.take_packet(Onward::Attachment(text.to_vec()), &self.rules.terms);
                        Judged::Taken
                    }
                    judged => judged,
                }
            }
            (Dialect::SocketIo(_), _) => match text.first().copied().and_then(EnginePacket::from_digit) {
                Some(EnginePacket::Message) => {
                    turn.session.used(turn.now);
                    self.judge_packet(seen, turn)
                }
                Some(EnginePacket::Pong) if complete && text.len() == 1 => {
                    match turn.session.client_pong(&self.rules.terms, turn.now) {
                        Some(rtt) => self.worker.tally.rtt(rtt),
                        None => turn.session.client_refused(turn.now),
                    }
                    Judged::Cut
                }
                Some(EnginePacket::Close) if complete && text.len() == 1 => {
                    turn.session.end(Ended::ClientClosed(CloseCode::NO_STATUS));
                    Judged::End
                }
                _ => {
                    turn.session.end(Ended::ClientPacket("engineio_packet"));
                    Judged::End
                }
            },
        }
    }

    fn judge_packet(&mut self, seen: Seen<'_>, turn: &mut Turn<'_>) -> Judged {
        let Seen { text, complete, here, .. } = seen;
        let head = match peek::peek_client(text, complete) {
            Ok(head) => head,
            Err(error) => {
                turn.session.end(Ended::ClientPacket(error.code()));
                return Judged::End;
            }
        };
        let Dialect::SocketIo(socketio) = &turn.session.dialect else { return Judged::Cut };
        let hold = &self.rules.terms.hold;
        let takes_whole = socketio.takes_whole(&head, here, hold);
        if !complete && (takes_whole || head.kind == PacketType::Connect) {
            return Judged::Gather;
        }
        if head.kind == PacketType::Connect {
            return self.judge_connect(&head, &text[head.data_at..], turn);
        }
        let slot = self.slot(&head);
        let verdict = turn.session.client_packet(&head, slot, &self.rules.policies, turn.now);
        if head.event.is_some() && !matches!(verdict, Verdict::Delay { .. }) {
            self.worker.tally.received(slot);
        }
        match (self.obeyed(verdict, turn), &turn.session.dialect) {
            (Judged::Keep, Dialect::SocketIo(socketio)) if takes_whole => {
                // None: with this packet the namespace was left, of which the service is told when it is there.
                if let Some(packet) = socketio.whole_packet(&head, text, &self.rules.terms.hold) {
                    turn.session.take_packet(Onward::Packet(packet), &self.rules.terms);
                } else if socketio.upstream.flows() {
                    return Judged::Keep;
                }
                Judged::Taken
            }
            (judged, _) => judged,
        }
    }

    fn judge_connect(&mut self, head: &PacketHead<'_>, payload: &[u8], turn: &mut Turn<'_>) -> Judged {
        match self.claims(head, payload, turn) {
            Claimed::No => {}
            Claimed::Wait(until) => return Judged::Wait(until),
            Claimed::Yes => return Judged::HandOver,
        }
        let wall = SystemTime::now();
        if turn.session.is_absent_from(head.namespace)
            && turn.session.comes_back_to(head, payload, &self.rules.policies, wall)
        {
            return Judged::Cut;
        }
        let flows = turn.session.upstream().flows();
        let verdict = turn.session.client_connect(head, payload, &self.rules.policies, wall, turn.now);
        if !matches!(verdict, Verdict::Delay { .. }) {
            turn.session.client_joins(turn.now);
        }
        if let Verdict::Reply { refusal, .. } | Verdict::Close(refusal) = verdict {
            self.refused_connect(turn.session, refusal);
        }
        match self.obeyed(verdict, turn) {
            // While the service is not there, the session says it when it is.
            Judged::Keep if !flows => Judged::Cut,
            judged => judged,
        }
    }

    fn judge_plain(&mut self, seen: Seen<'_>, turn: &mut Turn<'_>) -> Judged {
        let Seen { opcode, text, complete, here } = seen;
        let Dialect::Plain(plain) = &turn.session.dialect else { return Judged::Cut };
        let named = if opcode == OpCode::Text { plain.event_of(text) } else { Ok(None) };
        let Ok(named) = named else {
            turn.session.end(Ended::ClientPacket("event_field_repeated"));
            return Judged::End;
        };
        let event = named.as_ref().map_or(MESSAGE, EventName::as_str);
        let takes_whole = plain.takes_whole(event, here);
        if takes_whole && !complete {
            return Judged::Gather;
        }
        let slot = self.worker.names.slot(event);
        let verdict = turn.session.client_message(event, slot, &self.rules.policies, turn.now);
        if !matches!(verdict, Verdict::Delay { .. }) {
            self.worker.tally.received(slot);
        }
        match (self.obeyed(verdict, turn), &turn.session.dialect) {
            (Judged::Keep, Dialect::Plain(plain)) if takes_whole => {
                let message = plain.whole_message(event, opcode, text);
                turn.session.take_packet(Onward::Packet(message), &self.rules.terms);
                Judged::Taken
            }
            (judged, _) => judged,
        }
    }

    /// Counts a verdict and says what it does to the message.
    fn obeyed(&self, verdict: Verdict, turn: &mut Turn<'_>) -> Judged {
        let (refusal, action, judged) = match verdict {
            Verdict::Forward => return Judged::Keep,
            Verdict::Delay { until } => return Judged::Wait(until),
            Verdict::Drop(refusal) => (refusal, "drop", Judged::Cut),
            Verdict::Reply { refusal, .. } => (refusal, "reply", Judged::Cut),
            // The end itself is counted with the session.
            Verdict::Close(refusal) => (refusal, "close", Judged::End),
        };
        self.cell.refused.set(self.cell.refused.get() + 1);
        turn.session.client_refused(turn.now);
        if !matches!(judged, Judged::End) {
            self.worker.tally.error(refusal.code);
        }
        if let Some(rule) = refusal.rule {
            self.worker.tally.verdict(rule, action);
        }
        judged
    }

    fn refused_connect(&self, session: &Session, refusal: Refusal) {
        self.worker.tally.refused("connect", refusal.code);
        journal::refused_handshake(&RefusedHandshake {
            peer: session.peer(),
            stage: "connect",
            reason: refusal.code,
            origin: None,
        });
    }

    fn client_control(&mut self, opcode: OpCode, payload: &[u8], turn: &mut Turn<'_>) -> Result<(), Ended> {
        match opcode {
            OpCode::Close => {
                let (code, reason) = close::parse_close(payload).map_err(client_broke)?.unwrap_or(NO_CLOSE);
                self.close_reason = reason.into();
                Err(Ended::ClientClosed(code))
            }
            OpCode::Ping => {
                turn.session.client_pinged(payload, turn.now);
                still_open(turn.session)
            }
            OpCode::Pong => {
                turn.session.client_control(turn.now);
                if matches!(turn.session.dialect, Dialect::Plain(_))
                    && let Some(rtt) = turn.session.client_pong(&self.rules.terms, turn.now)
                {
                    self.worker.tally.rtt(rtt);
                }
                still_open(turn.session)
            }
            OpCode::Continuation | OpCode::Text | OpCode::Binary => Ok(()),
        }
    }
}

/// Of a client that is away nothing comes in.
fn inflow_of(client: &mut ClientLeg) -> Result<&mut Inflow, Ended> {
    client.inflow().ok_or(Ended::ClientLost)
}

/// What came behind the CONNECT goes over too.
fn handed_over(inflow: &mut Inflow, batch: &mut Batch<'_>) -> Ended {
    if !batch.ahead().is_empty() {
        inflow.put_back(batch);
    }
    Ended::HandedOver
}

fn client_broke(error: FrameError) -> Ended {
    let code = error.close_code();
    Ended::ClientFrame(code, broken_rule(code))
}
