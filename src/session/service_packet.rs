//! Judges the packets of a Socket.IO service: notes acks and answers, and may change or keep what goes to the client.

use crate::{
    event_names::EventSlot,
    session::{
        conversation::Conversation,
        ended::Ended,
        membership::Membership,
        message::{Fate, Message, Note, Side},
        namespaces::Answered,
        now::Now,
        offset::{offset_of, without_offset},
        queue::{PACKET_TOO_BIG, STORED_MESSAGE_MAX, WholePacket},
        rules::NAMESPACES,
    },
    wire::{
        engineio::{open::ServiceOpen, packet::EnginePacket},
        socketio::{
            encode,
            packet::{EventName, PacketType},
            peek::{self, PacketHead},
        },
        websocket::{close::CloseCode, frame::OpCode},
    },
};

/// Stands for a namespace that the session is apart from, as it is after a DISCONNECT. No namespace has this number, so
/// none that the client has yet to come back to.
const APART: u8 = u8::MAX;
const _: () = assert!(*NAMESPACES.end() <= APART as u32);

/// In which form a packet goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    AsItIs,
    WithAckId(u64),
    Not,
}

/// Judges a message of the service.
///
/// # Errors
/// Why the service is lost: it closes, or breaks a rule of Engine.IO or Socket.IO.
#[inline]
pub(super) fn judge(talk: &mut Conversation<'_>, message: &Message<'_>, now: Now) -> Result<(Fate, Note), Ended> {
    // Only a message that is here to its end goes on, for the service may be lost in the middle; or one that is too long
    // to be stored.
    let passes_in_parts = !message.here && message.len > STORED_MESSAGE_MAX && !talk.client.is_bridged;
    if (!message.here && !passes_in_parts) || (message.opcode == OpCode::Binary && !message.complete) {
        return Ok((Fate::Gather, Note::None));
    }
    talk.upstream.passes_in_parts(passes_in_parts);
    if message.opcode == OpCode::Binary {
        return attachment(talk, message.bytes);
    }
    match message.bytes.first().copied().and_then(EnginePacket::from_digit) {
        Some(EnginePacket::Message) if !talk.upstream.is_open() => return Err(Ended::ServiceFault("engineio_open")),
        Some(EnginePacket::Message) => return packet(talk, message, now),
        Some(EnginePacket::Open) => {
            let open = ServiceOpen::parse(message.bytes).map_err(|_| Ended::ServiceFault("engineio_open"))?;
            talk.upstream.rejoin(open.ping_interval_ms.saturating_add(open.ping_timeout_ms), now.instant);
            talk.service.rejoin(talk.core, talk.upstream);
        }
        Some(EnginePacket::Ping) => {
            talk.upstream.pinged(now.instant);
            talk.core.say(Side::Service, b"3".to_vec());
        }
        Some(EnginePacket::Close) => return Err(Ended::ServiceClosed(CloseCode::NO_STATUS)),
        Some(EnginePacket::Noop | EnginePacket::Pong | EnginePacket::Upgrade) => {}
        None => return Err(Ended::ServiceFault("engineio_packet")),
    }
    Ok((Fate::Drop, Note::None))
}

/// An attachment belongs to the packet that was begun.
fn attachment(talk: &mut Conversation<'_>, bytes: &[u8]) -> Result<(Fate, Note), Ended> {
    let mut packet = talk.service.begun.take().ok_or(Ended::ServiceFault("attachment_stray"))?;
    if packet.bytes().saturating_add(bytes.len()) > talk.core.rules.max_message {
        return Err(Ended::ServiceFault(PACKET_TOO_BIG));
    }
    packet.attach(bytes.to_vec());
    if packet.is_whole() {
        talk.service.namespaces.commit_offset(packet.namespace);
        talk.offer_begun(&packet);
    }
    send(talk, packet);
    Ok((Fate::Drop, Note::None))
}

#[inline]
fn packet(talk: &mut Conversation<'_>, message: &Message<'_>, now: Now) -> Result<(Fate, Note), Ended> {
    if talk.service.begun.is_some() {
        return Err(Ended::ServiceFault("attachment_missing"));
    }
    let head = peek::peek_service(message.bytes, message.complete);
    let head = head.map_err(|error| Ended::ServiceFault(error.code()))?;
    let resumable = talk.client.resume.is_some();
    let reads_whole = |talk: &Conversation<'_>| {
        head.attachments > 0
            || talk.client.is_bridged
            || talk.service.reads_whole(&head, resumable)
            || talk.may_offer(&head)
    };
    if !message.complete && reads_whole(talk) {
        return Ok((Fate::Gather, Note::None));
    }
    talk.core.used(now);
    let is_answer = matches!(head.kind, PacketType::Connect | PacketType::ConnectError | PacketType::Disconnect);
    if !is_answer && head.attachments == 0 && talk.service.parting.holds(head.namespace) {
        return Ok((Fate::Drop, Note::None));
    }
    let json = if message.complete { &message.bytes[head.data_at..] } else { &[] };
    let was_joined = head.kind == PacketType::Connect
        && talk.service.namespaces.find(head.namespace).is_some_and(|(_, membership)| membership == Membership::Joined);
    let (form, note) = heard(talk, &head, json, now);
    talk.service.settle(talk.upstream);
    let connects = was_joined && form != Form::Not;
    let mut ack_id = head.ack_id;
    let text = match form {
        Form::Not => return Ok((Fate::Drop, note)),
        // None of it is to be kept for a client that comes back either.
        Form::AsItIs if head.attachments == 0 && talk.client.resume.is_none() && !talk.client.is_bridged => {
            if connects {
                talk.tells_connected(head.namespace, now);
            }
            return Ok((Fate::Pass, note));
        }
        Form::AsItIs => {
            let changed = unnumbered(talk, &head, message.bytes, now).or_else(|| numbered(talk, &head, message.bytes));
            changed.unwrap_or_else(|| message.bytes.to_vec())
        }
        Form::WithAckId(id) => {
            ack_id = Some(id);
            let mut changed = Vec::with_capacity(message.bytes.len() + 4);
            encode::with_ack_id(message.bytes, head.data_at, head.ack_id.unwrap_or_default(), id, &mut changed);
            changed
        }
    };
    let namespace = talk.service.namespaces.find(head.namespace).map_or(APART, |(number, _)| number);
    let mut packet = Box::new(WholePacket::new(namespace, ack_id, text, head.attachments));
    if talk.client.resume.is_some() && packet.is_event() {
        packet.is_volatile = !talk.core.rules.hold.is_kept(&head);
        packet.event = head.event.as_ref().map_or(EventSlot::OTHER, |name| talk.core.rules.names.slot(name.as_bytes()));
    }
    send(talk, packet);
    if connects {
        talk.tells_connected(head.namespace, now);
    }
    Ok((Fate::Drop, note))
}

/// What the packet means. `json` is its JSON, as far as that [is read](crate::session::socketio::SocketIo::reads_whole).
#[inline]
fn heard(talk: &mut Conversation<'_>, head: &PacketHead<'_>, json: &[u8], now: Now) -> (Form, Note) {
    match head.kind {
        PacketType::Event | PacketType::BinaryEvent => {
            let slot = |name: &EventName<'_>| talk.core.rules.names.slot(name.as_bytes());
            let slot = head.event.as_ref().map_or(EventSlot::OTHER, slot);
            let note = Note::Event(slot);
            if let Some(id) = head.ack_id {
                return (talk.service.acks.service_asks(id).map_or(Form::AsItIs, Form::WithAckId), note);
            }
            let name = head.event.as_ref().map_or(&b""[..], EventName::as_bytes);
            if talk.core.rules.mirror.name_service_event(slot, name) {
                talk.offer(head, json, now);
            }
            if let Some(offset) = offset_of(json) {
                match head.attachments {
                    0 => talk.service.namespaces.set_offset(head.namespace, offset),
                    _ => talk.service.namespaces.stage_offset(head.namespace, offset),
                }
            }
            (Form::AsItIs, note)
        }
        PacketType::Ack | PacketType::BinaryAck => {
            let of = head.ack_id.zip(talk.service.namespaces.find(head.namespace));
            let Some((id, (number, _))) = of else { return (Form::AsItIs, Note::None) };
            if talk.take_late_ack((number, id), head.namespace) {
                return (Form::AsItIs, Note::None);
            }
            talk.upstream.acknowledged(number, id);
            let answered = talk.service.acks.service_answers(number, id, now.instant);
            talk.answers_for_rooms((number, id), json);
            let form = match talk.service.acks.late() {
                Some(late) => Form::WithAckId(late.answered((number, id))),
                None => Form::AsItIs,
            };
            (form, answered.map_or(Note::None, |(slot, took)| Note::Acknowledged(slot, took)))
        }
        PacketType::Connect | PacketType::ConnectError
            if talk.answers_one_that_left(head.namespace, head.kind == PacketType::Connect) =>
        {
            talk.ask_held(now);
            (Form::Not, Note::None)
        }
        PacketType::Connect => (connected(talk, head, json), Note::None),
        PacketType::ConnectError => {
            let tells = talk.refused(head.namespace);
            (if tells { Form::AsItIs } else { Form::Not }, Note::None)
        }
        // Of the socket that the client has left: it has asked for another one.
        PacketType::Disconnect if talk.service.parting.holds(head.namespace) => (Form::Not, Note::None),
        PacketType::Disconnect => {
            talk.leave(head.namespace);
            (Form::AsItIs, Note::None)
        }
    }
}

/// The service lets the client into a namespace.
fn connected(talk: &mut Conversation<'_>, head: &PacketHead<'_>, json: &[u8]) -> Form {
    match talk.service.namespaces.joined(head.namespace, json) {
        Some(Answered::News) => {
            talk.client.joined();
            talk.enter_rooms(head.namespace);
            if talk.service.namespaces.numbers_events(head.namespace) {
                // The service has connection state recovery of its own.
                talk.client.resume = None;
            }
            if let Some(resume) = &mut talk.client.resume {
                talk.service.namespaces.set_join(head.namespace, resume.next_join());
                resume.has_joined_root |= head.namespace == "/";
            }
            Form::AsItIs
        }
        // A client that repeats packets does so when it is told that it is connected.
        Some(Answered::Recovered) => {
            let number = talk.service.namespaces.find(head.namespace).map(|(number, _)| number);
            let has_lost = number.is_some_and(|number| talk.service.acks.has_lost(number));
            if has_lost && talk.core.rules.hold.knows_repeats() { Form::AsItIs } else { Form::Not }
        }
        // The client has left, and takes this for the answer to the CONNECT that it says next.
        None if talk.service.namespaces.find(head.namespace).is_none() => Form::Not,
        None => Form::AsItIs,
    }
}

/// What a packet becomes on its way to a client that may come back. `None`: it stays as it is.
fn numbered(talk: &Conversation<'_>, head: &PacketHead<'_>, text: &[u8]) -> Option<Vec<u8>> {
    let resume = talk.client.resume.as_ref()?;
    let mut changed = Vec::with_capacity(text.len() + 24);
    match head.kind {
        PacketType::Event | PacketType::BinaryEvent if !talk.core.rules.hold.is_kept(head) => return None,
        PacketType::Event | PacketType::BinaryEvent if head.ack_id.is_none() => {
            encode::with_argument(text, resume.next_number(), &mut changed);
        }
        PacketType::Connect => {
            let namespaces = &talk.service.namespaces;
            let pid = (resume.pid, namespaces.join_of(head.namespace));
            encode::connected(head.namespace, namespaces.socket_id(head.namespace), pid, &mut changed);
        }
        _ => return None,
    }
    Some(changed)
}

/// What an event of a service that numbers its events becomes for a client that speaks JSON, which would take the offset for an
/// argument. The gate has kept it, and shows it when it asks the service again. `None`: it stays as it is.
fn unnumbered(talk: &Conversation<'_>, head: &PacketHead<'_>, text: &[u8], now: Now) -> Option<Vec<u8>> {
    let may_have_offset = talk.client.is_bridged && head.kind.is_event() && head.ack_id.is_none();
    if !may_have_offset || !talk.service.namespaces.numbers_events(head.namespace) {
        return None;
    }
    let (begin, json) = text.split_at(head.data_at);
    without_offset(json, now.wall()).map(|(json, _)| [begin, &json].concat())
}

/// Sends a packet to the client once it has every attachment.
fn send(talk: &mut Conversation<'_>, packet: Box<WholePacket>) {
    if packet.is_whole() {
        let name = talk.service.namespaces.name(packet.namespace);
        if name.is_some_and(|name| talk.service.parting.holds(name)) {
            return;
        }
        talk.say_or_keep(packet);
        if talk.service.acks.has_late() {
            let failed = talk.service.acks.released();
            talk.service.fail_acks(failed, talk.core);
        }
    } else {
        talk.service.begun = Some(packet);
    }
}
