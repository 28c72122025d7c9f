//! A ping by which a client measures its connection: the gate answers it, over Socket.IO and on a plain route.

use serde_json::Value;

use crate::{
    session::{
        action::Spoken,
        answer,
        core::Core,
        message::{Fate, Message, Note, Pinged, Side},
        now::Now,
        quality::{ping_rate::PING_INTERVAL, ping_rules::PING_ID},
        route_answers::RouteAnswers,
    },
    wire::{
        json::scalar::top_level_scalar,
        socketio::{
            encode,
            packet::{PacketHead, PacketType},
        },
        websocket::frame::OpCode,
    },
};

/// The longest text or number in it, in bytes, without the quotes of a text.
const ID_MAX: usize = 64;

/// The event that answers a ping on a plain route.
const PONG: &str = "quality_pong";

/// An event that is a ping: its ack is the answer.
#[cold]
pub(in crate::session) fn event(core: &mut Core, head: &PacketHead<'_>, now: Now) -> (Fate, Note) {
    let pinged = match head.ack_id {
        _ if head.kind == PacketType::BinaryEvent => Pinged::Binary,
        None => Pinged::WithoutId,
        Some(id) => {
            let pinged = core.ping_comes(now);
            let mut text = Vec::new();
            let argument = if pinged == Pinged::Answered { "" } else { answer::RATE_LIMITED };
            encode::ack(head.namespace, id, argument, &mut text);
            core.say(Side::Client, text);
            pinged
        }
    };
    (Fate::Drop, core.pinged(pinged, now))
}

/// A JSON message that is a ping. `field` names the event in it and in the answer; what is said of one too many is what the
/// route says of a message over a limit.
#[cold]
pub(in crate::session) fn message(
    core: &mut Core,
    message: &Message<'_>,
    field: &str,
    answers: &RouteAnswers,
    now: Now,
) -> (Fate, Note) {
    let pinged = match pong(message.bytes, field) {
        _ if message.opcode != OpCode::Text => Pinged::Binary,
        None => Pinged::WithoutId,
        Some(pong) => {
            let pinged = core.ping_comes(now);
            let text = match pinged {
                Pinged::Answered => Some(pong.into()),
                _ if answers.answers_each() || core.admit_telling(PING_INTERVAL, now) => answers.refusal(message.bytes),
                _ => None,
            };
            text.into_iter().for_each(|text| core.actions.say(Side::Client, Spoken::text(text)));
            pinged
        }
    };
    (Fate::Drop, core.pinged(pinged, now))
}

/// The answer to a JSON message, with its `pingId` as it was written. `None`: it has none that can be repeated.
fn pong(message: &[u8], field: &str) -> Option<Vec<u8>> {
    let id = top_level_scalar(message, PING_ID)?;
    let shown = id.strip_prefix('"').and_then(|id| id.strip_suffix('"')).unwrap_or(id);
    (shown.len() <= ID_MAX).then(|| format!(r#"{{{}:"{PONG}","{PING_ID}":{id}}}"#, Value::from(field)).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_repeats_the_id_as_it_was_written() {
        let longest = format!(r#"{{"pingId":"{}"}}"#, "x".repeat(ID_MAX));
        for (message, field, answer) in [
            (r#"{"type":"quality_ping","pingId":"a-1"}"#, "type", Some(r#"{"type":"quality_pong","pingId":"a-1"}"#)),
            (r#"{"pingId":1.50e3}"#, "event", Some(r#"{"event":"quality_pong","pingId":1.50e3}"#)),
            (r#"{"pingId":"\u00e9\""}"#, "a\"b", Some(r#"{"a\"b":"quality_pong","pingId":"\u00e9\""}"#)),
            (r#"{"pingId":""}"#, "t", Some(r#"{"t":"quality_pong","pingId":""}"#)),
            (r#"{"type":"quality_ping"}"#, "type", None),
            (r#"{"pingId":null}"#, "type", None),
            (r#"{"pingId":{"a":1}}"#, "type", None),
            (r#"{"pingId":1,"pingId":2}"#, "type", None),
        ] {
            let pong = pong(message.as_bytes(), field).map(|pong| String::from_utf8(pong).unwrap());
            assert_eq!(pong.as_deref(), answer, "{message}");
        }
        assert!(pong(longest.as_bytes(), "type").is_some());
        assert_eq!(pong(longest.replace("xx", "xxx").as_bytes(), "type"), None, "a longer one is not repeated");
    }
}
