//! The path of a frame, each way: *fill, scan, peek, judge, keep, send*.

use std::{
    task::{Context, Poll, ready},
    time::{Instant, SystemTime},
};

use crate::{
    event_names::EventSlot,
    observe::{
        journal::{self, RefusedHandshake},
        tally::Direction,
    },
    policy::verdict::{Refusal, Verdict},
    relay::{
        batch::Batch,
        driver::{Driver, Turn},
        inflow::{Fate, Found},
        leg::upstream::UpstreamLeg,
        scratch::Scratch,
    },
    session::{Dialect, Session, ended::Ended, plain::MESSAGE, socketio::Heard},
    wire::{
        engineio::{open::ServiceOpen, packet::EnginePacket},
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

/// What a Close without a body says (RFC 6455 §7.1.5).
const NO_CLOSE: (CloseCode, &str) = (CloseCode::NO_STATUS, "");

/// What becomes of a message of the client.
enum Judged {
    Keep,
    Cut,
    /// It must be seen whole first.
    Gather,
    /// It, and all behind it, waits.
    Wait(Instant),
    /// The session ends.
    End,
}

impl Driver {
    /// One receive from the client, judged, and sent on to the service.
    pub(super) fn pump_client(
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
        while let Some(found) = self.client.inflow().next(batch, peek).map_err(client_broke)? {
            match found {
                Found::Control { opcode, len } => self.client_control(opcode, &peek[..len], turn)?,
                Found::Head { header, len, complete } => {
                    let fate = match self.judge(header.opcode, &peek[..len], complete, turn) {
                        Judged::Keep => Fate::Keep,
                        Judged::Cut => Fate::Cut,
                        Judged::Gather => Fate::Gather,
                        Judged::Wait(until) => {
                            self.paused_until = Some(until);
                            self.client.inflow().put_back(batch);
                            return Ok(());
                        }
                        Judged::End => return Ok(()),
                    };
                    if fate != Fate::Gather {
                        self.count(Direction::FromClient, header.payload_len);
                    }
                    self.client.inflow().decide(&header, batch, fate).map_err(client_broke)?;
                }
                Found::Message { opcode, payload } => match self.judge(opcode, &payload, true, turn) {
                    Judged::Keep => {
                        self.count(Direction::FromClient, payload.len() as u64);
                        self.upstream.send(batch.kept(), turn.now, cx).map_err(|_| Ended::ServiceLost)?;
                        batch.sent();
                        self.upstream.send_message(opcode, payload, turn.now, cx).map_err(|_| Ended::ServiceLost)?;
                    }
                    Judged::Cut | Judged::Gather => self.count(Direction::FromClient, payload.len() as u64),
                    Judged::Wait(until) => {
                        self.paused_until = Some(until);
                        self.client.inflow().put_back_message(opcode, payload, batch);
                        return Ok(());
                    }
                    Judged::End => return Ok(()),
                },
            }
        }
        Ok(())
    }

    /// `text` is the whole message or, where it is not `complete`, its beginning.
    fn judge(&mut self, opcode: OpCode, text: &[u8], complete: bool, turn: &mut Turn<'_>) -> Judged {
        turn.session.client_heard(&self.rules.terms, turn.now);
        match (&turn.session.dialect, opcode) {
            (Dialect::Plain(_), _) => {
                turn.session.used(turn.now);
                self.judge_plain(opcode, text, turn)
            }
            (Dialect::SocketIo(_), OpCode::Binary) => {
                turn.session.used(turn.now);
                let verdict = turn.session.client_attachment();
                self.obeyed(verdict)
            }
            (Dialect::SocketIo(_), _) => match text.first().copied().and_then(EnginePacket::from_digit) {
                Some(EnginePacket::Message) => {
                    turn.session.used(turn.now);
                    self.judge_packet(text, complete, turn)
                }
                Some(EnginePacket::Pong) if complete && text.len() == 1 => {
                    if let Some(rtt) = turn.session.client_pong(&self.rules.terms, turn.now) {
                        self.worker.tally.rtt(rtt);
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

    fn judge_packet(&mut self, text: &[u8], complete: bool, turn: &mut Turn<'_>) -> Judged {
        let head = match peek::peek_client(text, complete) {
            Ok(head) => head,
            Err(error) => {
                turn.session.end(Ended::ClientPacket(error.code()));
                return Judged::End;
            }
        };
        if head.kind == PacketType::Connect {
            if !complete {
                return Judged::Gather;
            }
            let payload = &text[head.data_at..];
            let wall = SystemTime::now();
            let verdict = turn.session.client_connect(&head, payload, &self.rules.policies, wall, turn.now);
            if let Verdict::Reply { refusal, .. } | Verdict::Close(refusal) = verdict {
                self.refused_connect(turn.session, refusal);
            }
            return self.obeyed(verdict);
        }
        let slot = self.slot(&head);
        let verdict = turn.session.client_packet(&head, slot, &self.rules.policies, turn.now);
        if head.event.is_some() && !matches!(verdict, Verdict::Delay { .. }) {
            self.worker.tally.received(slot);
        }
        self.obeyed(verdict)
    }

    fn judge_plain(&mut self, opcode: OpCode, text: &[u8], turn: &mut Turn<'_>) -> Judged {
        let Dialect::Plain(plain) = &turn.session.dialect else { return Judged::Cut };
        let named = if opcode == OpCode::Text { plain.event_of(text) } else { Ok(None) };
        let Ok(named) = named else {
            turn.session.end(Ended::ClientPacket("event_field_repeated"));
            return Judged::End;
        };
        let event = named.as_ref().map_or(MESSAGE, EventName::as_str);
        let slot = self.worker.names.slot(event);
        let verdict = turn.session.client_message(event, slot, &self.rules.policies, turn.now);
        if !matches!(verdict, Verdict::Delay { .. }) {
            self.worker.tally.received(slot);
        }
        self.obeyed(verdict)
    }

    fn slot(&self, head: &PacketHead<'_>) -> EventSlot {
        head.event.as_ref().map_or(EventSlot::OTHER, |event| self.worker.names.slot(event.as_str()))
    }

    /// Counts a verdict and says what it does to the message.
    fn obeyed(&self, verdict: Verdict) -> Judged {
        let (refusal, action, judged) = match verdict {
            Verdict::Forward => return Judged::Keep,
            Verdict::Delay { until } => return Judged::Wait(until),
            Verdict::Drop(refusal) => (refusal, "drop", Judged::Cut),
            Verdict::Reply { refusal, .. } => (refusal, "reply", Judged::Cut),
            // The end itself is counted with the session.
            Verdict::Close(refusal) => (refusal, "close", Judged::End),
        };
        self.cell.refused.set(self.cell.refused.get() + 1);
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

    /// One receive from the service, counted, and sent on to the client.
    pub(super) fn pump_service(
        &mut self,
        turn: &mut Turn<'_>,
        scratch: &mut Scratch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Ended>> {
        let UpstreamLeg::Open(leg) = &mut self.upstream else { return Poll::Pending };
        let filled = match ready!(leg.fill(&mut scratch.read, cx)) {
            Ok(0) | Err(_) => return Poll::Ready(Err(Ended::ServiceLost)),
            Ok(filled) => filled,
        };
        let mut batch = Batch::new(&mut scratch.read[..filled]);
        let heard = self.hear_batch(&mut batch, turn, &mut scratch.peek, cx);
        let sent = self.client.send(batch.kept(), turn.now, cx);
        Poll::Ready(heard.and(sent.map_err(|_| Ended::ClientLost)))
    }

    fn hear_batch(
        &mut self,
        batch: &mut Batch<'_>,
        turn: &mut Turn<'_>,
        peek: &mut [u8; PEEK_BYTES],
        cx: &mut Context<'_>,
    ) -> Result<(), Ended> {
        loop {
            let UpstreamLeg::Open(leg) = &mut self.upstream else { return Ok(()) };
            let Some(found) = leg.inflow.next(batch, peek).map_err(service_broke)? else {
                return Ok(());
            };
            match found {
                Found::Control { opcode, len } => self.service_control(opcode, &peek[..len], turn)?,
                Found::Head { header, len, complete } => {
                    let fate = self.hear(header.opcode, &peek[..len], complete, turn)?;
                    if fate == Fate::Keep {
                        self.count(Direction::ToClient, header.payload_len);
                    }
                    let UpstreamLeg::Open(leg) = &mut self.upstream else { return Ok(()) };
                    leg.inflow.decide(&header, batch, fate).map_err(service_broke)?;
                }
                Found::Message { opcode, payload } => {
                    if self.hear(opcode, &payload, true, turn)? == Fate::Keep {
                        self.count(Direction::ToClient, payload.len() as u64);
                        self.client.send(batch.kept(), turn.now, cx).map_err(|_| Ended::ClientLost)?;
                        batch.sent();
                        self.client.say(opcode, &payload, turn.now);
                    }
                }
            }
        }
    }

    fn hear(&mut self, opcode: OpCode, text: &[u8], complete: bool, turn: &mut Turn<'_>) -> Result<Fate, Ended> {
        if let Dialect::Plain(plain) = &turn.session.dialect {
            let named = if complete && opcode == OpCode::Text { plain.event_of(text) } else { Ok(None) };
            let event = named.as_ref().ok().and_then(Option::as_ref).map_or(MESSAGE, EventName::as_str);
            self.worker.tally.sent(self.worker.names.slot(event));
            turn.session.used(turn.now);
            return Ok(Fate::Keep);
        }
        if opcode == OpCode::Binary {
            turn.session.service_attachment();
            return Ok(Fate::Keep);
        }
        match text.first().copied().and_then(EnginePacket::from_digit) {
            Some(EnginePacket::Message) => self.hear_packet(text, complete, turn),
            Some(EnginePacket::Open) => {
                ServiceOpen::parse(text).map_err(|_| Ended::ServiceFault("engineio_open"))?;
                if let UpstreamLeg::Open(leg) = &mut self.upstream {
                    leg.uncork();
                }
                Ok(Fate::Cut)
            }
            Some(EnginePacket::Ping) => {
                turn.session.service_beat();
                Ok(Fate::Cut)
            }
            Some(EnginePacket::Close) => Err(Ended::ServiceClosed(CloseCode::NO_STATUS)),
            Some(EnginePacket::Noop | EnginePacket::Pong | EnginePacket::Upgrade) => Ok(Fate::Cut),
            None => Err(Ended::ServiceFault("engineio_packet")),
        }
    }

    fn hear_packet(&mut self, text: &[u8], complete: bool, turn: &mut Turn<'_>) -> Result<Fate, Ended> {
        turn.session.used(turn.now);
        let head = peek::peek_service(text, complete).map_err(|error| Ended::ServiceFault(error.code()))?;
        let Heard { latency } = turn.session.service_packet(&head, turn.now);
        match head.kind {
            PacketType::Event | PacketType::BinaryEvent => self.worker.tally.sent(self.slot(&head)),
            _ => {}
        }
        if let Some((slot, took)) = latency {
            self.worker.tally.latency(slot, took);
        }
        Ok(Fate::Keep)
    }

    fn service_control(&mut self, opcode: OpCode, payload: &[u8], turn: &mut Turn<'_>) -> Result<(), Ended> {
        match opcode {
            OpCode::Close => {
                let (code, reason) = close::parse_close(payload).map_err(service_broke)?.unwrap_or(NO_CLOSE);
                self.close_reason = reason.into();
                Err(Ended::ServiceClosed(code))
            }
            OpCode::Ping => {
                turn.session.service_pinged(payload, turn.now);
                still_open(turn.session)
            }
            OpCode::Pong | OpCode::Continuation | OpCode::Text | OpCode::Binary => Ok(()),
        }
    }
}

/// After a control frame: nothing that follows one too many is read.
fn still_open(session: &Session) -> Result<(), Ended> {
    session.ended().map_or(Ok(()), Err)
}

fn client_broke(error: FrameError) -> Ended {
    let code = error.close_code();
    Ended::ClientFrame(code, broken_rule(code))
}

fn service_broke(error: FrameError) -> Ended {
    let code = error.close_code();
    Ended::ServiceFrame(code, broken_rule(code))
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
