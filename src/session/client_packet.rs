//! Judges the packets of a Socket.IO client: which may pass, and to which packet an attachment belongs.

use crate::{
    event_names::EventSlot,
    policy::{
        auth,
        verdict::{Refusal, RefusalKind, Verdict},
    },
    session::{
        acks::ClientAck,
        answer, connect,
        conversation::Conversation,
        core::Core,
        digest::Digest,
        ended::Ended,
        engineio::Attachments,
        heartbeat::Pong,
        membership::Membership,
        message::{Fate, JsonBegin, Message, Note, Side},
        now::Now,
        other_parser,
        quality::ping,
        queue::{PACKET_TOO_BIG, WholePacket},
    },
    wire::{
        engineio::{packet::EnginePacket, payload},
        json::{check::JsonFault, placeholders::check_placeholders},
        socketio::{
            canonical::CanonicalHead,
            encode,
            packet::{EventName, PacketType},
            peek::{self, PacketHead, PeekError},
        },
        websocket::{close::CloseCode, frame::OpCode},
    },
};

/// Judges a message of the client.
#[inline]
pub(super) fn judge(talk: &mut Conversation<'_>, message: &Message<'_>, now: Now) -> (Fate, Note) {
    if message.opcode == OpCode::Binary || message.bytes.first() == Some(&payload::BINARY) {
        return attachment(talk, message, now);
    }
    match message.bytes.first().copied().and_then(EnginePacket::from_digit) {
        Some(EnginePacket::Message) => {
            let judged = packet(talk, message, now);
            // A ping of the client's own is no use of the session either.
            if !matches!(judged.1, Note::Pinged(_)) {
                talk.core.used(now);
            }
            judged
        }
        Some(EnginePacket::Pong) => {
            let interval = talk.core.pings().interval;
            match talk.core.heartbeat.answered(now.instant, interval) {
                Pong::Last(rtt) => {
                    if let Some(resume) = &mut talk.client.resume {
                        resume.ponged();
                    }
                    talk.echoed(now);
                    (Fate::Drop, Note::RoundTrip(rtt))
                }
                Pong::Earlier | Pong::OneOfSeveral => (Fate::Drop, Note::None),
                Pong::Unasked => talk.core.meaningless(now),
            }
        }
        Some(EnginePacket::Close) if message.bytes.len() == 1 => {
            talk.core.end(Ended::ClientClosed(CloseCode::NO_STATUS));
            (Fate::Drop, Note::None)
        }
        // Node passes over them. Device clients say an upgrade that nobody waits for.
        Some(EnginePacket::Open | EnginePacket::Upgrade | EnginePacket::Noop) => talk.core.meaningless(now),
        Some(EnginePacket::Ping | EnginePacket::Close) | None => {
            talk.core.end(Ended::ClientPacket("engineio_packet"));
            (Fate::Drop, Note::None)
        }
    }
}

#[inline]
fn packet(talk: &mut Conversation<'_>, message: &Message<'_>, now: Now) -> (Fate, Note) {
    let head = match peek::peek_client(message.bytes, message.complete) {
        Ok(head) => head,
        Err(PeekError::CutShort) if !message.complete => return (Fate::Gather, Note::None),
        Err(error) => return unreadable(talk, message, error, now),
    };
    // Blanks behind it say nothing, to any reader of JSON.
    let json = message.bytes[head.data_at..].trim_ascii_end();
    if message.complete
        && !json.is_empty()
        && let Err(fault) = whole_json(talk.core, &head, json)
    {
        return talk.core.malformed(fault.code());
    }
    // What cannot simply pass: it comes in pieces, waits, has more to follow, is changed, or is kept to be sent again.
    let repeats = head.kind.is_event() && head.ack_id.is_some() && talk.service.acks.awaits_repeats();
    let taken = !message.here
        || repeats
        || !talk.upstream.flows()
        || head.attachments > 0
        || (head.kind.is_ack() && talk.service.acks.are_renumbered())
        || talk.core.rules.hold.sends_again(&head);
    if head.kind == PacketType::Connect && message.len > talk.core.rules.max_connect {
        return connect::too_big(talk, &head, now);
    }
    if !message.complete && (taken || head.kind == PacketType::Connect || talk.concerns_rooms(&head)) {
        return (Fate::Gather, Note::None);
    }
    if head.kind == PacketType::Connect {
        return connect::judge(talk, &head, json, now);
    }
    if talk.client.attachments.awaited > 0 {
        return talk.core.malformed("attachment_missing");
    }
    let is_in = |membership| membership == Membership::Joined || talk.client.is_bridged;
    let Some((namespace, _)) =
        talk.service.namespaces.find(head.namespace).filter(|(_, membership)| is_in(*membership))
    else {
        return outside(talk, &head, message, now);
    };
    let mut answers = None;
    let (fate, note) = match head.kind {
        PacketType::Event | PacketType::BinaryEvent => event(talk, &head, namespace, message, now),
        PacketType::Ack | PacketType::BinaryAck => {
            answers = head.ack_id;
            let verdict = ack(talk, namespace, &mut answers);
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
        talk.take(whole_packet(talk.core, &head, namespace, answers, message.bytes), now);
        return (Fate::Drop, note);
    }
    if fate == Fate::Pass && !head.is_canonical {
        let json = (!message.complete).then_some(talk.core.rules.json);
        return (Fate::PassAs(CanonicalHead::of(&head), json), note);
    }
    if fate == Fate::Pass && !message.complete {
        // No head is longer than what is shown of a message.
        let at = u16::try_from(head.data_at).unwrap_or_default();
        return (Fate::PassJson(JsonBegin { at, bounds: talk.core.rules.json }), note);
    }
    (fate, note)
}

/// No packet of the usual parser.
#[cold]
fn unreadable(talk: &mut Conversation<'_>, message: &Message<'_>, error: PeekError, now: Now) -> (Fate, Note) {
    other_parser::refuse(talk, message, now).unwrap_or_else(|| connect::misread(talk, message, error, now))
}

/// A packet for a namespace that the client is not in. If it was put out, it may have said it before it knew.
#[cold]
fn outside(talk: &mut Conversation<'_>, head: &PacketHead<'_>, message: &Message<'_>, now: Now) -> (Fate, Note) {
    if !talk.service.expired.iter().any(|expired| **expired == *head.namespace) {
        return talk.core.malformed("namespace_not_joined");
    }
    talk.client.attachments = Attachments::of(head.attachments, false, message.len, talk.core.rules.max_payload, now);
    talk.core.obey(Verdict::Drop(auth::EXPIRED), None, now)
}

/// The JSON of a packet that has come to its end. The placeholders of one with attachments, which is always read whole, are
/// looked at too.
#[inline]
fn whole_json(core: &Core, head: &PacketHead<'_>, json: &[u8]) -> Result<(), JsonFault> {
    core.rules.json.check(json)?;
    if head.attachments > 0 { check_placeholders(json, head.attachments) } else { Ok(()) }
}

/// Whether the service waits for the ack of this id, and under which id.
fn ack(talk: &mut Conversation<'_>, namespace: u8, id: &mut Option<u64>) -> Verdict {
    // Without an id it answers nothing, to Node as well.
    let Some(said) = *id else { return Verdict::Drop(ACK_UNKNOWN) };
    if let Some(resume) = &mut talk.client.resume {
        resume.answered(namespace, said);
    }
    match talk.service.acks.client_answers(said) {
        ClientAck::Answers(asked) => {
            *id = Some(asked);
            Verdict::Forward
        }
        ClientAck::Stale => Verdict::Drop(ACK_STALE),
        ClientAck::Unknown => Verdict::Drop(ACK_UNKNOWN),
    }
}

#[inline]
fn event(
    talk: &mut Conversation<'_>,
    head: &PacketHead<'_>,
    namespace: u8,
    message: &Message<'_>,
    now: Now,
) -> (Fate, Note) {
    let name = head.event.as_ref().map_or(&b""[..], EventName::as_bytes);
    let slot = talk.core.rules.names.slot(name);
    if talk.core.rules.ping.name(slot, name) {
        return ping::event(talk.core, head, now);
    }
    let user = if talk.core.users.are_several() { talk.service.namespaces.login(namespace).user } else { 0 };
    let verdict = talk.core.judge(user, head.namespace, Some(name), slot, now);
    match (verdict, head.ack_id) {
        (Verdict::Forward, Some(id)) => {
            let digest = if talk.core.rules.hold.knows_repeats() {
                Digest::of_begin(&message.bytes[head.data_at..], message.len - head.data_at)
            } else {
                Digest::None
            };
            talk.service.acks.client_asks(namespace, id, slot, digest, now.instant);
            talk.asks_for_ack((namespace, id));
        }
        (Verdict::Reply { once_per, .. }, _) => {
            let may_tell = head.ack_id.is_some() || talk.core.admit_telling(once_per, now);
            tell(talk.core, head, may_tell);
        }
        _ => {}
    }
    if verdict == Verdict::Forward && talk.core.rules.mirror.name_client_event(slot, name) {
        talk.asks_for_rooms(namespace, head, message.bytes[head.data_at..].trim_ascii_end());
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
    let flows = talk.upstream.flows() && head.is_canonical;
    if flows {
        talk.service.parting.count_disconnect();
    } else if talk.upstream.is_open() {
        talk.part_from(head.namespace);
    }
    talk.leave(head.namespace);
    // While the service is down it is not asked for the namespace again, and that is all it needs to know.
    (if flows { Fate::Pass } else { Fate::Drop }, Note::None)
}

/// A packet that is taken, in its one spelling: an ack under the number that the service knows.
fn whole_packet(core: &Core, head: &PacketHead<'_>, namespace: u8, answers: Option<u64>, text: &[u8]) -> WholePacket {
    let bytes = if head.is_canonical && answers.is_none_or(|id| Some(id) == head.ack_id) {
        text.to_vec()
    } else {
        let written = CanonicalHead::of(head).with_ack_id(answers.or(head.ack_id)).written(text);
        [written.as_bytes(), &text[head.data_at..]].concat()
    };
    let ack_id = head.ack_id.filter(|_| head.kind.is_event());
    let mut packet = WholePacket::new(namespace, ack_id, bytes, head.attachments);
    packet.may_be_sent_again = core.rules.hold.sends_again(head);
    packet.is_volatile = core.rules.hold.is_volatile(head);
    packet.event = head.event.as_ref().map_or(EventSlot::OTHER, |name| core.rules.names.slot(name.as_bytes()));
    packet
}

/// How many bytes an attachment has: a binary message, or base64 in a text message. Of base64 that has not come to its end at
/// least so many. `None`: it is none.
fn attachment_len(message: &Message<'_>) -> Option<usize> {
    if message.opcode == OpCode::Binary {
        return Some(message.len);
    }
    if message.complete {
        return payload::decoded_len(message.bytes.get(1..)?).ok();
    }
    Some((message.len / 4 * 3).saturating_sub(2))
}

/// A binary message, or one in base64, passes where its packet passed: as binary.
fn attachment(talk: &mut Conversation<'_>, message: &Message<'_>, now: Now) -> (Fate, Note) {
    if talk.client.attachments.awaited == 0 {
        let refused = other_parser::refuse(talk, message, now);
        return refused.unwrap_or_else(|| talk.core.malformed("attachment_stray"));
    }
    let attachments = &mut talk.client.attachments;
    let Some(len) = attachment_len(message) else { return talk.core.malformed(BASE64) };
    if !attachments.admits(len) {
        talk.core.end(Ended::ClientFrame(CloseCode::TOO_BIG, PACKET_TOO_BIG));
        return (Fate::Drop, Note::None);
    }
    if !message.complete {
        return (Fate::Gather, Note::None);
    }
    talk.core.used(now);
    attachments.came(len);
    if !attachments.pass {
        return talk.core.obey(Verdict::Drop(WITH_ITS_PACKET), None, now);
    }
    if let Some(mut packet) = talk.upstream.backlog_mut().begun.take() {
        let bytes = match message.opcode {
            OpCode::Binary => Ok(message.bytes.to_vec()),
            _ => payload::decoded(&message.bytes[1..]),
        };
        let Ok(bytes) = bytes else { return talk.core.malformed(BASE64) };
        packet.attach(bytes);
        talk.take(packet, now);
    }
    (Fate::Drop, Note::None)
}

/// An attachment is not canonical base64.
const BASE64: &str = "engineio_base64";

const ACK_UNKNOWN: Refusal = Refusal {
    kind: RefusalKind::Malformed,
    code: "ack_unknown",
    message: "nobody asked for this ack",
    rule: None,
    fault: None,
};

const ACK_STALE: Refusal = Refusal {
    kind: RefusalKind::Malformed,
    code: "ack_stale",
    message: "the service that asked is gone",
    rule: None,
    fault: None,
};

const WITH_ITS_PACKET: Refusal = Refusal {
    kind: RefusalKind::TooMany,
    code: "with_its_packet",
    message: "its packet was refused",
    rule: None,
    fault: None,
};
