//! What a Socket.IO client says: which packet may pass, and whose attachments these are.

use crate::{
    policy::verdict::{Refusal, RefusalKind, Verdict},
    session::{
        acks::ClientAck,
        answer, connect,
        conversation::Conversation,
        core::Core,
        ended::Ended,
        engineio::Attachments,
        membership::Membership,
        message::{Fate, JsonBegin, Message, Note, Side},
        now::Now,
        queue::{PACKET_TOO_BIG, WholePacket},
    },
    wire::{
        engineio::packet::EnginePacket,
        json::{check::JsonFault, placeholders::check_placeholders},
        socketio::{
            encode,
            packet::{EventName, PacketType},
            peek::{self, PacketHead},
        },
        websocket::{close::CloseCode, frame::OpCode},
    },
};

/// Judges a message of the client.
#[inline]
pub(super) fn judge(talk: &mut Conversation<'_>, message: &Message<'_>, now: Now) -> (Fate, Note) {
    if message.opcode == OpCode::Binary {
        return attachment(talk, message, now);
    }
    match message.bytes.first().copied().and_then(EnginePacket::from_digit) {
        Some(EnginePacket::Message) => {
            talk.core.used(now);
            packet(talk, message, now)
        }
        Some(EnginePacket::Pong) if message.bytes.len() == 1 => {
            let interval = talk.core.rules.ping_interval;
            match talk.core.heartbeat.answered(now.instant, interval) {
                Some(rtt) => {
                    if let Some(resume) = &mut talk.client.resume {
                        resume.ponged();
                    }
                    (Fate::Drop, Note::RoundTrip(rtt))
                }
                None => talk.core.meaningless(now),
            }
        }
        Some(EnginePacket::Close) if message.bytes.len() == 1 => {
            talk.core.end(Ended::ClientClosed(CloseCode::NO_STATUS));
            (Fate::Drop, Note::None)
        }
        _ => {
            talk.core.end(Ended::ClientPacket("engineio_packet"));
            (Fate::Drop, Note::None)
        }
    }
}

#[inline]
fn packet(talk: &mut Conversation<'_>, message: &Message<'_>, now: Now) -> (Fate, Note) {
    let head = match peek::peek_client(message.bytes, message.complete) {
        Ok(head) => head,
        Err(error) => {
            talk.core.end(Ended::ClientPacket(error.code()));
            return (Fate::Drop, Note::None);
        }
    };
    let json = &message.bytes[head.data_at..];
    if message.complete
        && !json.is_empty()
        && let Err(fault) = whole_json(talk.core, &head, json)
    {
        return talk.core.malformed(fault.code());
    }
    // What cannot simply pass: it comes in pieces, waits, has more to follow, is changed, or is kept to be sent again.
    let taken = !message.here
        || !talk.upstream.flows()
        || head.attachments > 0
        || (head.kind.is_ack() && talk.service.acks.are_renumbered())
        || talk.core.rules.hold.sends_again(&head);
    if head.kind == PacketType::Connect && message.len > talk.core.rules.max_connect {
        return connect::too_big(talk, &head, now);
    }
    if !message.complete && (taken || head.kind == PacketType::Connect) {
        return (Fate::Gather, Note::None);
    }
    if head.kind == PacketType::Connect {
        return connect::judge(talk, &head, json, now);
    }
    if talk.client.attachments.awaited > 0 {
        return talk.core.malformed("attachment_missing");
    }
    let Some((namespace, Membership::Joined)) = talk.service.namespaces.find(head.namespace) else {
        return talk.core.malformed("namespace_not_joined");
    };
    let mut answers = None;
    let (fate, note) = match head.kind {
        PacketType::Event | PacketType::BinaryEvent => event(talk, &head, namespace, now),
        PacketType::Ack | PacketType::BinaryAck => {
            let id = head.ack_id.unwrap_or_default();
            if let Some(resume) = &mut talk.client.resume {
                resume.answered(namespace, id);
            }
            let verdict = match talk.service.acks.client_answers(id) {
                ClientAck::Answers(id) => {
                    answers = Some(id);
                    Verdict::Forward
                }
                ClientAck::Stale => Verdict::Drop(ACK_STALE),
                ClientAck::Unknown => Verdict::Drop(ACK_UNKNOWN),
            };
            talk.core.obey(verdict, None, now)
        }
        PacketType::Disconnect => return disconnect(talk, &head),
        PacketType::Connect | PacketType::ConnectError => return talk.core.malformed("packet_direction"),
    };
    if !matches!(fate, Fate::Wait(_)) {
        let (passes, max) = (fate == Fate::Pass, talk.core.rules.max_payload);
        talk.client.attachments = Attachments::of(head.attachments, passes, message.len, max, now);
    }
    if fate == Fate::Pass && taken {
        talk.take(whole_packet(talk.core, &head, namespace, answers, message.bytes));
        return (Fate::Drop, note);
    }
    if fate == Fate::Pass && !message.complete {
        // No head is longer than what is shown of a message.
        let at = u16::try_from(head.data_at).unwrap_or_default();
        return (Fate::PassJson(JsonBegin { at, bounds: talk.core.rules.json }), note);
    }
    (fate, note)
}

/// The JSON of a packet that has come to its end. The placeholders of one with attachments, which is always read whole, are
/// looked at too.
#[inline]
fn whole_json(core: &Core, head: &PacketHead<'_>, json: &[u8]) -> Result<(), JsonFault> {
    core.rules.json.check(json)?;
    if head.attachments > 0 { check_placeholders(json, head.attachments) } else { Ok(()) }
}

#[inline]
fn event(talk: &mut Conversation<'_>, head: &PacketHead<'_>, namespace: u8, now: Now) -> (Fate, Note) {
    let name = head.event.as_ref().map_or(&b""[..], EventName::as_bytes);
    let slot = talk.core.rules.names.slot(name);
    let verdict = talk.core.judge(head.namespace, Some(name), slot, now);
    match (verdict, head.ack_id) {
        (Verdict::Forward, Some(id)) => talk.service.acks.client_asks(namespace, id, slot, now.instant),
        (Verdict::Reply { once_per, .. }, _) => {
            let may_tell = head.ack_id.is_some() || talk.core.may_tell(once_per, now);
            tell(talk.core, head, may_tell);
        }
        _ => {}
    }
    talk.core.obey(verdict, Some(slot), now)
}

/// Tells the client of a refused event: by its ack, or by an event.
fn tell(core: &mut Core, head: &PacketHead<'_>, may_tell: bool) {
    let mut text = Vec::new();
    match head.ack_id {
        Some(id) => encode::ack(head.namespace, id, answer::RATE_LIMITED, &mut text),
        None if may_tell => encode::event(head.namespace, answer::RATE_LIMITED_EVENT, answer::RATE_LIMITED, &mut text),
        None => return,
    }
    core.say(Side::Client, text);
}

fn disconnect(talk: &mut Conversation<'_>, head: &PacketHead<'_>) -> (Fate, Note) {
    let flows = talk.upstream.flows();
    if talk.upstream.is_open() && !flows {
        talk.say_disconnect(Side::Service, head.namespace);
    }
    talk.leave(head.namespace);
    // While the service is down it is not asked for the namespace again, and that is all it needs to know.
    (if flows { Fate::Pass } else { Fate::Drop }, Note::None)
}

/// A packet that is taken: an ack under the number that the service knows.
fn whole_packet(core: &Core, head: &PacketHead<'_>, namespace: u8, answers: Option<u64>, text: &[u8]) -> WholePacket {
    let mut bytes = Vec::with_capacity(text.len());
    match head.ack_id.zip(answers) {
        Some((said, id)) if said != id => encode::with_ack_id(text, head.data_at, said, id, &mut bytes),
        _ => bytes.extend_from_slice(text),
    }
    let ack_id = head.ack_id.filter(|_| head.kind.is_event());
    let mut packet = WholePacket::new(namespace, ack_id, bytes, head.attachments);
    packet.may_be_sent_again = core.rules.hold.sends_again(head);
    packet
}

/// A binary message passes where its packet passed.
fn attachment(talk: &mut Conversation<'_>, message: &Message<'_>, now: Now) -> (Fate, Note) {
    let attachments = &mut talk.client.attachments;
    if attachments.awaited == 0 {
        return talk.core.malformed("attachment_stray");
    }
    if !attachments.admits(message.len) {
        talk.core.end(Ended::ClientFrame(CloseCode::TOO_BIG, PACKET_TOO_BIG));
        return (Fate::Drop, Note::None);
    }
    if !message.complete {
        return (Fate::Gather, Note::None);
    }
    talk.core.used(now);
    attachments.came(message.len);
    if !attachments.pass {
        return talk.core.obey(Verdict::Drop(WITH_ITS_PACKET), None, now);
    }
    if let Some(mut packet) = talk.upstream.backlog_mut().begun.take() {
        packet.attach(message.bytes.to_vec());
        talk.take(packet);
    }
    (Fate::Drop, Note::None)
}

const ACK_UNKNOWN: Refusal =
    Refusal { kind: RefusalKind::Malformed, code: "ack_unknown", message: "nobody asked for this ack", rule: None };

const ACK_STALE: Refusal =
    Refusal { kind: RefusalKind::Malformed, code: "ack_stale", message: "the service that asked is gone", rule: None };

const WITH_ITS_PACKET: Refusal =
    Refusal { kind: RefusalKind::TooMany, code: "with_its_packet", message: "its packet was refused", rule: None };
