//! From the service to the client.

use std::task::{Context, Poll, ready};

use super::{NO_CLOSE, Seen, broken_rule, still_open};
use crate::{
    observe::tally::Direction,
    relay::{
        batch::Batch,
        driver::{Driver, Turn},
        inflow::{Fate, Found},
        leg::upstream::UpstreamLeg,
        scratch::Scratch,
    },
    session::{
        Dialect,
        ended::Ended,
        plain::MESSAGE,
        queue::WholePacket,
        socketio::{Heard, Pass},
    },
    wire::{
        engineio::{open::ServiceOpen, packet::EnginePacket},
        socketio::{
            encode,
            packet::{EventName, PEEK_BYTES},
            peek,
        },
        websocket::{
            close::{self, CloseCode},
            frame::{FrameError, OpCode},
        },
    },
};

/// What becomes of a message of the service.
enum Hears {
    /// It goes onward as it came.
    Keep,
    Cut,
    /// It must be seen whole first.
    Gather,
    /// It goes onward changed, or with what belongs to it.
    Say(Box<WholePacket>),
}

impl Driver {
    /// One receive from the service, counted, and sent on to the client.
    pub(in crate::relay) fn pump_service(
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
                    let here = batch.ahead().len() as u64 >= header.header_len as u64 + header.payload_len;
                    let heard = self.hear(Seen { opcode: header.opcode, text: &peek[..len], complete, here }, turn)?;
                    let fate = match heard {
                        Hears::Keep => Fate::Keep,
                        Hears::Cut | Hears::Say(_) => Fate::Cut,
                        Hears::Gather => Fate::Gather,
                    };
                    if fate == Fate::Keep {
                        self.count(Direction::ToClient, header.payload_len);
                    }
                    let UpstreamLeg::Open(leg) = &mut self.upstream else { return Ok(()) };
                    leg.inflow.decide(&header, batch, fate).map_err(service_broke)?;
                    if let Hears::Say(packet) = heard {
                        self.say_packet(&packet, batch, turn, cx)?;
                    }
                }
                Found::Message { opcode, payload } => {
                    let len = payload.len() as u64;
                    match self.hear(Seen { opcode, text: &payload, complete: true, here: true }, turn)? {
                        Hears::Keep => {
                            self.count(Direction::ToClient, len);
                            self.client.send(batch.kept(), turn.now, cx).map_err(|_| Ended::ClientLost)?;
                            batch.sent();
                            self.client.say(opcode, &payload, turn.now);
                        }
                        Hears::Say(packet) => self.say_packet(&packet, batch, turn, cx)?,
                        Hears::Cut | Hears::Gather => {}
                    }
                }
            }
        }
    }

    /// What was kept goes before it.
    fn say_packet(
        &mut self,
        packet: &WholePacket,
        batch: &mut Batch<'_>,
        turn: &Turn<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), Ended> {
        self.client.send(batch.kept(), turn.now, cx).map_err(|_| Ended::ClientLost)?;
        batch.sent();
        self.count(Direction::ToClient, packet.payload().len() as u64);
        self.client.say(OpCode::Text, packet.payload(), turn.now);
        for bytes in packet.attachments() {
            self.count(Direction::ToClient, bytes.len() as u64);
            self.client.say(OpCode::Binary, bytes, turn.now);
        }
        Ok(())
    }

    fn hear(&mut self, seen: Seen<'_>, turn: &mut Turn<'_>) -> Result<Hears, Ended> {
        let Seen { opcode, text, complete, here } = seen;
        let socketio = match &turn.session.dialect {
            Dialect::SocketIo(socketio) => socketio,
            Dialect::Plain(plain) => {
                if plain.holds() && !here {
                    return Ok(Hears::Gather);
                }
                let named = if complete && opcode == OpCode::Text { plain.event_of(text) } else { Ok(None) };
                let event = named.as_ref().ok().and_then(Option::as_ref).map_or(MESSAGE, EventName::as_str);
                self.worker.tally.sent(self.worker.names.slot(event));
                turn.session.used(turn.now);
                return Ok(Hears::Keep);
            }
        };
        // Onward goes only what is here to its end: the service may go away in the middle.
        if !here || (opcode == OpCode::Binary && !complete) {
            return Ok(Hears::Gather);
        }
        if opcode == OpCode::Binary {
            return self.attach(text, turn);
        }
        match text.first().copied().and_then(EnginePacket::from_digit) {
            Some(EnginePacket::Message) if !socketio.upstream.is_open() => Err(Ended::ServiceFault("engineio_open")),
            Some(EnginePacket::Message) if self.begun.is_some() => Err(Ended::ServiceFault("attachment_missing")),
            Some(EnginePacket::Message) => self.hear_packet(text, complete, turn),
            Some(EnginePacket::Open) => {
                let open = ServiceOpen::parse(text).map_err(|_| Ended::ServiceFault("engineio_open"))?;
                turn.session.service_opened(&open, turn.now);
                Ok(Hears::Cut)
            }
            Some(EnginePacket::Ping) => {
                turn.session.service_beat(turn.now);
                Ok(Hears::Cut)
            }
            Some(EnginePacket::Close) => Err(Ended::ServiceClosed(CloseCode::NO_STATUS)),
            Some(EnginePacket::Noop | EnginePacket::Pong | EnginePacket::Upgrade) => Ok(Hears::Cut),
            None => Err(Ended::ServiceFault("engineio_packet")),
        }
    }

    /// An attachment belongs to the packet that was begun.
    fn attach(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> Result<Hears, Ended> {
        let mut packet = self.begun.take().ok_or(Ended::ServiceFault("attachment_stray"))?;
        packet.attach(bytes.to_vec());
        if packet.is_whole() {
            turn.session.service_packet_whole(packet.namespace);
        }
        Ok(self.complete(packet, turn))
    }

    fn hear_packet(&mut self, text: &[u8], complete: bool, turn: &mut Turn<'_>) -> Result<Hears, Ended> {
        let Dialect::SocketIo(socketio) = &turn.session.dialect else { return Ok(Hears::Keep) };
        let head = peek::peek_service(text, complete).map_err(|error| Ended::ServiceFault(error.code()))?;
        if !complete && (head.attachments > 0 || socketio.reads_whole(&head)) {
            return Ok(Hears::Gather);
        }
        turn.session.used(turn.now);
        let json = if complete { &text[head.data_at..] } else { &[] };
        let Heard { latency, pass } = turn.session.service_packet(&head, json, turn.now);
        if head.kind.is_event() {
            self.worker.tally.sent(self.slot(&head));
        }
        if let Some((slot, took)) = latency {
            self.worker.tally.latency(slot, took);
        }
        let text = match pass {
            Pass::Not => return Ok(Hears::Cut),
            // Neither is anything of it to be kept for a client that comes back.
            Pass::AsItIs if head.attachments == 0 && turn.session.resume().is_none() => return Ok(Hears::Keep),
            Pass::AsItIs => turn.session.for_returning(&head, text).unwrap_or_else(|| text.to_vec()),
            Pass::WithAckId(id) => {
                let mut changed = Vec::with_capacity(text.len() + 4);
                encode::with_ack_id(text, head.data_at, head.ack_id.unwrap_or_default(), id, &mut changed);
                changed
            }
        };
        let namespace = turn.session.namespace_number(head.namespace);
        let packet = WholePacket::new(namespace, head.ack_id, text, head.attachments);
        Ok(self.complete(Box::new(packet), turn))
    }

    /// Goes onward once it has every attachment, unless the client is away and it is kept.
    fn complete(&mut self, packet: Box<WholePacket>, turn: &mut Turn<'_>) -> Hears {
        if !packet.is_whole() {
            self.begun = Some(packet);
            return Hears::Cut;
        }
        if turn.session.say_or_keep(&packet, &self.rules.terms) { Hears::Say(packet) } else { Hears::Cut }
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

fn service_broke(error: FrameError) -> Ended {
    let code = error.close_code();
    Ended::ServiceFrame(code, broken_rule(code))
}
