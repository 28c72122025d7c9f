//! A bridged route: converts the client's JSON messages into packets of one namespace, and back.
//!
//! Towards everything else in a session such a client is one of Socket.IO: its packets are judged, held, counted and
//! acknowledged as those of official clients.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::{
    policy::identity::Identity,
    session::{
        action::{Action, Spoken},
        answer::{self, Close},
        client_packet,
        conversation::Conversation,
        core::Core,
        ended::Ended,
        engineio::EngineIo,
        message::{Fate, Message, Note, Side},
        now::Now,
        quality::ping,
        queue::WholePacket,
        route_answers::{Carries, RouteAnswers},
        rules::SessionRules,
    },
    wire::{
        bridge::{self, Untranslatable},
        engineio::{id::Sid, packet::EnginePacket},
        socketio::peek::{peek_client, peek_service},
        websocket::{close::CloseCode, frame::OpCode},
    },
};

/// The member that names the event, unless the route says another one.
pub const EVENT_FIELD: &str = "type";

/// Why a session ends whose client sends a binary message: no event is in it.
const BINARY: &str = "bridge_binary";

/// Why a session ends whose service says what cannot be told in JSON.
const UNTRANSLATABLE: &str = "bridge_packet";

/// The event by which a client hears of a refused message that asks for no ack.
const ERROR: &str = "error";

/// The rules for the sessions of a bridged route.
#[derive(Debug, Clone)]
pub struct BridgeRules {
    /// The path of the route, as it is configured. For the log.
    pub path: Box<str>,
    /// The namespace of the service.
    pub namespace: Box<str>,
    /// The member of a message that names the event.
    pub event_field: Box<str>,
    /// The path of the service's Socket.IO.
    pub service_path: Box<str>,
    /// With which codes a session is closed. They follow a reload, unlike the rest.
    pub answers: Arc<RouteAnswers>,
}

/// What a session on a bridged route begins with.
#[derive(Debug)]
pub struct Bridging {
    /// The rules of the route.
    pub rules: Arc<BridgeRules>,
    /// An id that the client does not know.
    pub sid: Sid,
    /// Who the client is.
    pub identity: Identity,
    /// The JSON of the CONNECT for the service.
    pub connect: Zeroizing<Vec<u8>>,
}

/// What the client speaks: JSON messages on a plain WebSocket.
#[derive(Debug)]
pub(super) struct Json {
    /// The client that it is to the service. It cannot come back.
    pub(super) client: EngineIo,
    pub(super) rules: Arc<BridgeRules>,
    /// Those of the route as it is now.
    answers: Arc<RouteAnswers>,
}

impl Json {
    pub(super) fn new(client: EngineIo, rules: Arc<BridgeRules>) -> Self {
        let answers = Arc::clone(&rules.answers);
        Self { client, rules, answers }
    }

    /// The route may be another one now.
    pub(super) fn adopt(&mut self, rules: &SessionRules) {
        if let Some(answers) = rules.answers_of(&self.rules.path, Carries::Bridged) {
            self.answers = Arc::clone(answers);
        }
    }

    /// The Close of this end, which is `close` elsewhere.
    pub(super) fn close<'a>(&self, ended: Ended, close: Close<'a>) -> Close<'a> {
        match ended {
            Ended::Disconnected => Close { code: Some(CloseCode::NORMAL), reason: "" },
            _ => self.answers.close(ended, close),
        }
    }
}

impl BridgeRules {
    /// What a packet or ping for the client is to one that speaks JSON. `None`: nothing.
    pub(super) fn say(&self, spoken: Spoken, core: &mut Core) -> Option<Action> {
        let told = self.tell(spoken).unwrap_or_else(|Untranslatable| {
            core.end(Ended::ServiceFault(UNTRANSLATABLE));
            None
        });
        told.map(|spoken| Action::Say(Side::Client, spoken))
    }

    fn tell(&self, spoken: Spoken) -> Result<Option<Spoken>, Untranslatable> {
        const PING: u8 = EnginePacket::Ping.digit();
        let message = |packet: &[u8]| bridge::message_of(packet, std::iter::empty(), &self.event_field);
        let passed_on = |text| Spoken::Packet(Box::new(WholePacket::message(OpCode::Text, text)));
        Ok(match spoken {
            Spoken::Own(OpCode::Text, text) if *text == [PING] => Some(Spoken::Own(OpCode::Ping, b"".into())),
            // Said in JSON already: no packet begins so.
            Spoken::Own(OpCode::Text, text) if text.starts_with(b"{") => Some(Spoken::Own(OpCode::Text, text)),
            Spoken::Own(OpCode::Text, text) if is_refusal(&text) => {
                Some(Spoken::text(bridge::event(&self.event_field, ERROR, answer::RATE_LIMITED)))
            }
            Spoken::Own(OpCode::Text, text) => message(&text)?.map(Spoken::text),
            Spoken::Own(opcode, payload) => Some(Spoken::Own(opcode, payload)),
            Spoken::Packet(packet) => {
                bridge::message_of(packet.payload(), packet.attachments(), &self.event_field)?.map(passed_on)
            }
            Spoken::Delivery(delivery) => {
                let attachments = delivery.attachments.iter().map(|bytes| &bytes[..]);
                bridge::message_of(delivery.text(), attachments, &self.event_field)?.map(passed_on)
            }
        })
    }
}

/// Whether the gate says by this packet that it has refused an event.
fn is_refusal(text: &[u8]) -> bool {
    let event = peek_service(text, true).ok().and_then(|head| head.event);
    event.is_some_and(|event| event.as_str() == answer::RATE_LIMITED_EVENT)
}

/// Judges a message of the client: the packet that it stands for.
pub(super) fn judge(rules: &BridgeRules, talk: &mut Conversation<'_>, message: &Message<'_>, now: Now) -> (Fate, Note) {
    if message.opcode == OpCode::Binary {
        talk.core.end(Ended::ClientFrame(CloseCode::UNSUPPORTED, BINARY));
        return (Fate::Drop, Note::None);
    }
    if !message.complete {
        return (Fate::Gather, Note::None);
    }
    let packet = match bridge::packet_of(message.bytes, &rules.event_field, &rules.namespace) {
        Ok(packet) => Zeroizing::new(packet),
        Err(fault) => return talk.core.malformed(fault.code()),
    };
    // Below, a ping is an event like any other, and its answer a packet.
    if let Some(name) = peek_client(&packet, true).ok().and_then(|head| head.event)
        && talk.core.rules.ping.name(talk.core.rules.names.slot(name.as_bytes()), name.as_bytes())
    {
        return ping::message(talk.core, message, &rules.event_field, &rules.answers, now);
    }
    // It did not come as it goes on, so the session says it.
    let packet = Message { here: false, ..Message::whole(OpCode::Text, &packet) };
    client_packet::judge(talk, &packet, now)
}
