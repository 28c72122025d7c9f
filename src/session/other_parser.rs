//! Refuses a client with a custom parser, in the format of that parser if it is known.

use crate::{
    policy::verdict::{Refusal, RefusalKind},
    session::{
        action::Spoken,
        connect,
        conversation::Conversation,
        message::{Fate, Message, Note, PARSER_UNSUPPORTED},
        now::Now,
    },
    wire::{socketio::other_parsers::Parser, websocket::frame::OpCode},
};

/// The refusal of its first packet.
const UNSUPPORTED: Refusal = Refusal {
    kind: RefusalKind::Malformed,
    code: PARSER_UNSUPPORTED,
    message: "A custom parser is not supported",
    rule: None,
    fault: None,
};

/// Refuses a message that the packets of the usual parser do not begin with, of a client that is in no namespace. `None`: it
/// may be a mistake like any other.
pub(super) fn refuse(talk: &mut Conversation<'_>, message: &Message<'_>, now: Now) -> Option<(Fate, Note)> {
    let parser = match message.opcode {
        OpCode::Binary => Parser::MessagePack,
        _ if message.bytes.starts_with(b"4{") => Parser::Json,
        _ => return None,
    };
    if !talk.service.namespaces.is_empty() {
        return None;
    }
    // Where it cannot be read, it is not known what the client would understand.
    let is_foreign = parser == Parser::MessagePack;
    if message.len > talk.core.rules.max_connect {
        return is_foreign.then(|| connect::malformed(talk, PARSER_UNSUPPORTED));
    }
    if !message.complete {
        return Some((Fate::Gather, Note::None));
    }
    let Some(namespace) = parser.connects(message.bytes) else {
        return is_foreign.then(|| connect::malformed(talk, PARSER_UNSUPPORTED));
    };
    let error = parser.connect_error(namespace, UNSUPPORTED.message, UNSUPPORTED.code);
    Some(connect::refuse_saying(talk, Spoken::Own(message.opcode, error.into()), UNSUPPORTED, now))
}
