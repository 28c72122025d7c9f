//! The gate's own answers on a plain route: a text, and close codes. The route sets them, because it may carry any protocol.

use std::{borrow::Cow, sync::Arc};

use crate::{
    policy::{
        rate_limit::Instead,
        verdict::{Refusal, RefusalKind},
    },
    session::{
        answer::{self, Close},
        ended::{Ended, FLOOD},
    },
    wire::{json::scalar::top_level_scalar, websocket::close_code::CloseCode},
};

/// After this code a client comes back, with a new token if it has one: so do `graphql-ws`, mqtt.js, y-websocket and
/// SignalR, some of which take 1008 for final.
pub const EXPIRED_CLOSE: CloseCode = CloseCode::RESTART;

/// After this code a client comes back, if later.
pub const LIMIT_CLOSE: CloseCode = CloseCode::TRY_AGAIN;

/// The longest text of a refusal, in bytes.
const REFUSAL_MAX: usize = 4096;

/// A route in force. Sessions that it has already go by its answers too.
#[derive(Debug, Clone)]
pub struct RouteInForce {
    /// The path, as it is configured.
    pub path: Box<str>,
    /// For which messages the answers are made.
    pub carries: Carries,
    /// What is said in the gate's own name.
    pub answers: Arc<RouteAnswers>,
}

/// What the messages of a route are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// Of any protocol.
    Anything,
    /// JSON that names an event.
    Events,
    /// JSON for a Socket.IO service.
    Bridged,
}

/// The answers of one route.
#[derive(Debug, Clone)]
pub struct RouteAnswers {
    /// What happens to messages over a limit.
    pub instead: Instead,
    /// What answers one of them.
    pub refusal: RefusalText,
    /// The code when the token expires.
    pub expired: CloseCode,
    /// The code when a limit ends the connection.
    pub limit: CloseCode,
}

impl Default for RouteAnswers {
    fn default() -> Self {
        let (instead, refusal) = (Instead::AsRule, RefusalText::default());
        Self { instead, refusal, expired: EXPIRED_CLOSE, limit: LIMIT_CLOSE }
    }
}

impl RouteAnswers {
    /// Whether each refused message has an answer of its own.
    pub(super) const fn answers_each(&self) -> bool {
        self.refusal.has_fields()
    }

    /// The answer to this message. `None`: there is none.
    pub(super) fn refusal(&self, message: &[u8]) -> Option<Cow<'static, [u8]>> {
        self.refusal.of(message)
    }

    /// The Close of this end, which is `close` elsewhere.
    pub(super) fn close<'a>(&self, ended: Ended, close: Close<'a>) -> Close<'a> {
        let code = match ended {
            Ended::TokenExpired => self.expired,
            Ended::Refused(Refusal { kind: RefusalKind::TooMany, .. })
            | Ended::ClientPacket(FLOOD)
            | Ended::IdleTimeout
            | Ended::PingTimeout => self.limit,
            _ => return close,
        };
        Close { code: Some(code), ..close }
    }
}

/// The text that answers a refused message, with places for fields of that message.
#[derive(Debug, Clone)]
pub struct RefusalText(Written);

#[derive(Debug, Clone)]
enum Written {
    Nothing,
    /// The one that all routes have that say nothing else.
    Own,
    Text(Box<[u8]>),
    Pieces(Box<[Piece]>),
}

#[derive(Debug, Clone)]
enum Piece {
    Text(Box<str>),
    /// The field of this name.
    Field(Box<str>),
}

impl Default for RefusalText {
    fn default() -> Self {
        Self(Written::Own)
    }
}

impl RefusalText {
    /// Reads `websocket.refusal`, in which `${NAME}` is a field.
    ///
    /// # Errors
    /// What is wrong with it, as the rest of a sentence.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.len() > REFUSAL_MAX {
            return Err(format!("has {} bytes; it may have {REFUSAL_MAX}", text.len()));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("${") {
            let (name, behind) = behind.split_once('}').ok_or("has a `${` without its `}`")?;
            if name.is_empty() {
                return Err("has `${}`; write the name of a field between the braces".to_owned());
            }
            pieces.extend([Piece::Text(before.into()), Piece::Field(name.into())]);
            rest = behind;
        }
        Ok(Self(match (pieces.is_empty(), rest.is_empty()) {
            (true, true) => Written::Nothing,
            (true, false) => Written::Text(rest.as_bytes().into()),
            (false, _) => {
                pieces.push(Piece::Text(rest.into()));
                Written::Pieces(pieces.into())
            }
        }))
    }

    const fn has_fields(&self) -> bool {
        matches!(self.0, Written::Pieces(_))
    }

    fn of(&self, message: &[u8]) -> Option<Cow<'static, [u8]>> {
        match &self.0 {
            Written::Nothing => None,
            Written::Own => Some(answer::RATE_LIMITED_TEXT.as_bytes().into()),
            Written::Text(text) => Some(text.to_vec().into()),
            Written::Pieces(pieces) => {
                let mut text = Vec::new();
                for piece in pieces {
                    let piece = match piece {
                        Piece::Text(piece) => piece,
                        Piece::Field(name) => top_level_scalar(message, name)?,
                    };
                    text.extend_from_slice(piece.as_bytes());
                }
                Some(text.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIBE: &str = r#"{"id":"a\u002d1","type":"subscribe","n":7}"#;

    fn answer(template: &str, message: &str) -> Option<String> {
        let text = RefusalText::compile(template).unwrap().of(message.as_bytes())?;
        Some(String::from_utf8(text.into_owned()).unwrap())
    }

    #[test]
    fn a_refusal_repeats_the_fields_that_it_names_as_they_were_written() {
        for (template, answered) in [
            ("", None),
            ("no", Some("no")),
            (r#"{"id":${id},"type":"error"}"#, Some(r#"{"id":"a\u002d1","type":"error"}"#)),
            ("${n}${n}", Some("77")),
            ("$ {id} $x", Some("$ {id} $x")),
            ("${id} ${other}", None),
        ] {
            assert_eq!(answer(template, SUBSCRIBE).as_deref(), answered, "{template}");
        }
        assert_eq!(answer("${id}", r#"{"type":"ping"}"#), None);
        assert_eq!(answer("${id}", "ping"), None);
    }

    #[test]
    fn templates_that_are_no_templates_are_refused() {
        for template in ["${", "a ${id", "${}"] {
            assert!(RefusalText::compile(template).is_err(), "{template}");
        }
        assert!(RefusalText::compile(&"x".repeat(REFUSAL_MAX + 1)).is_err());
    }

    #[test]
    fn the_codes_of_a_route_take_the_place_of_final_ones_alone() {
        let answers =
            RouteAnswers { expired: CloseCode::new(4403), limit: CloseCode::new(4429), ..RouteAnswers::default() };
        let too_many =
            Refusal { kind: RefusalKind::TooMany, code: "rate_limit", message: "", rule: Some(0), fault: None };
        for (ended, code, reason) in [
            (Ended::TokenExpired, 4403, "token expired"),
            (Ended::Refused(too_many), 4429, "rate_limit"),
            (Ended::ClientPacket(FLOOD), 4429, "rate"),
            (Ended::IdleTimeout, 4429, "idle_timeout"),
            (Ended::PingTimeout, 4429, "ping_timeout"),
            (Ended::ServiceLost, 1012, "service unavailable"),
            (Ended::ServiceClosed(CloseCode::new(4400)), 4400, "of the service"),
            (Ended::ClientPacket("event_unreadable"), 1008, "event_unreadable"),
        ] {
            let close = answers.close(ended, answer::to_client(ended, "of the service"));
            assert_eq!((close.code.map(CloseCode::get), close.reason), (Some(code), reason), "{ended:?}");
        }
    }
}
