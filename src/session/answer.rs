//! What each side gets for a refusal or an end: one table.

use crate::{
    policy::verdict::{Refusal, RefusalKind},
    session::ended::Ended,
    wire::{
        engineio::{error::EngineError, packet::EnginePacket},
        websocket::close::CloseCode,
    },
};

/// A WebSocket Close: its code and reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'a> {
    /// RFC 6455 §7.4. `None`: a Close without a body, which the peer reads as 1005.
    pub code: Option<CloseCode>,
    /// At most 123 bytes.
    pub reason: &'a str,
}

impl<'a> Close<'a> {
    const fn new(code: CloseCode, reason: &'a str) -> Self {
        Self { code: Some(code), reason }
    }

    /// The Close of one side, as the other side gets it.
    const fn passed_on(code: CloseCode, reason: &'a str) -> Self {
        if code.may_be_sent() { Self::new(code, reason) } else { Self { code: None, reason: "" } }
    }
}

/// The Close for the client; `reason` is the text of the side that closed.
#[must_use]
pub const fn to_client(ended: Ended, reason: &str) -> Close<'_> {
    match ended {
        Ended::ClientClosed(code) | Ended::ServiceClosed(code) => Close::passed_on(code, reason),
        Ended::ClientLost | Ended::Replaced | Ended::NotKept(_) | Ended::Unrecovered | Ended::HandedOver => {
            Close { code: None, reason: "" }
        }
        Ended::ClientFrame(code, rule) => Close::new(code, rule),
        Ended::ClientPacket(rule) => Close::new(CloseCode::POLICY, rule),
        Ended::Refused(refusal) => Close::new(refusal_code(refusal), refusal.code),
        Ended::TokenExpired => Close::new(CloseCode::POLICY, "token expired"),
        Ended::TokenRevoked => Close::new(CloseCode::POLICY, "token revoked"),
        Ended::PingTimeout | Ended::ConnectTimeout | Ended::IdleTimeout | Ended::ServiceObjected => {
            Close::new(CloseCode::POLICY, ended.cause())
        }
        Ended::SlowReader | Ended::ClientStalled | Ended::QueueFull | Ended::ServiceBusy | Ended::Overloaded(_) => {
            Close::new(CloseCode::TRY_AGAIN, ended.cause())
        }
        Ended::ServiceLost
        | Ended::ServiceUnreachable
        | Ended::ServiceRefused
        | Ended::ServiceChanged
        | Ended::ServiceSlow
        | Ended::AcksLost => Close::new(CloseCode::RESTART, "service unavailable"),
        Ended::ServiceFrame(..) | Ended::ServiceFault(_) => {
            Close::new(CloseCode::BAD_GATEWAY, "bad answer from the service")
        }
        // As a service that closes after a DISCONNECT.
        Ended::Disconnected => Close { code: None, reason: "" },
        Ended::ConnectRefused => Close::new(CloseCode::POLICY, ended.cause()),
        Ended::ClosedByOperator => Close::new(CloseCode::POLICY, "closed by the operator"),
        Ended::Drained => Close::new(CloseCode::GOING_AWAY, "draining"),
        Ended::Panicked => Close::new(CloseCode::INTERNAL, "internal error"),
    }
}

/// The last packet for a client that polls: a Noop ends the poll of a client that has closed the session itself.
#[must_use]
pub const fn to_poll(ended: Ended) -> EnginePacket {
    match ended {
        Ended::ClientClosed(_) => EnginePacket::Noop,
        _ => EnginePacket::Close,
    }
}

/// Whether the last packet waits for a poll. engine.io forgets a session at once after a broken rule or a ping timeout:
/// the next poll gets "session unknown". After a Close by the client, its poll may arrive behind the Close. For want of memory
/// nothing waits.
#[must_use]
pub const fn awaits_poll(ended: Ended) -> bool {
    !matches!(
        ended,
        Ended::ClientLost | Ended::ClientFrame(..) | Ended::ClientPacket(_) | Ended::PingTimeout | Ended::Overloaded(_)
    )
}

/// The answer to the POST in which a session ended.
///
/// # Errors
/// Not all of its packets arrived.
pub const fn to_post(ended: Ended) -> Result<(), EngineError> {
    match ended {
        Ended::ClientClosed(_) => Ok(()),
        Ended::ClientFrame(..) | Ended::ClientPacket(_) => Err(EngineError::BadRequest),
        _ => Err(EngineError::SessionUnknown),
    }
}

/// The Close for the service; `reason` is the text of the side that closed.
#[must_use]
pub const fn to_service(ended: Ended, reason: &str) -> Close<'_> {
    match ended {
        Ended::ClientClosed(code) | Ended::ServiceClosed(code) => Close::passed_on(code, reason),
        Ended::ServiceFrame(code, rule) => Close::new(code, rule),
        Ended::ServiceFault(rule) => Close::new(CloseCode::PROTOCOL, rule),
        Ended::Panicked => Close::new(CloseCode::GOING_AWAY, "proxy error"),
        _ => Close::new(CloseCode::GOING_AWAY, ended.cause()),
    }
}

const fn refusal_code(refusal: Refusal) -> CloseCode {
    match refusal.kind {
        RefusalKind::Unauthenticated | RefusalKind::Forbidden | RefusalKind::TooMany => CloseCode::POLICY,
        RefusalKind::Malformed => CloseCode::PROTOCOL,
        RefusalKind::Unavailable => CloseCode::TRY_AGAIN,
    }
}

/// The body of every rate-limit refusal. Clients depend on this text.
pub const RATE_LIMITED: &str = r#"{"error":"Rate limit exceeded. Please slow down.","rateLimited":true}"#;

/// The body of the ack of an event that was in flight when the service was lost.
pub const SERVICE_RESTARTED: &str = r#"{"error":"Service restarted","retriable":true}"#;

/// The event that reports a refused packet to a Socket.IO client if the packet asked for no ack.
pub const RATE_LIMITED_EVENT: &str = "rate_limited";

/// The same for a plain WebSocket client.
pub const RATE_LIMITED_TEXT: &str =
    r#"{"type":"error","error":"Rate limit exceeded. Please slow down.","rateLimited":true}"#;
