//! Why a session ended, and which side caused it.

use crate::{policy::verdict::Refusal, session::message::Side, wire::websocket::close::CloseCode};

/// Why a session ends whose client joins namespaces too fast.
pub const JOIN_RATE: &str = "join_rate";

/// Why a session ends whose client is refused without end.
pub(super) const FLOOD: &str = "rate";

/// Which side caused the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client left, broke a rule, or stopped answering.
    Client,
    /// The service closed, broke a rule, or could not be reached.
    Service,
    /// The operator drains this node, or has closed the session.
    Operator,
    /// A defect of Tidegate.
    Us,
}

/// Why a session ended. Every end is one value of this, from which the answer to each side, the log line and the
/// metric label are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client closed, with this code.
    ClientClosed(CloseCode),
    /// The client's connection broke.
    ClientLost,
    /// The client came back with another connection.
    Replaced,
    /// The client is absent, and too many others are: its session does not wait for it. The code of the limit.
    NotKept(&'static str),
    /// The client came back and may have missed something: it goes on with a new session.
    Unrecovered,
    /// The connection belongs to a session that the client had before.
    HandedOver,
    /// The client broke a rule of WebSocket (RFC 6455).
    ClientFrame(CloseCode, &'static str),
    /// The client sent what no official client sends: Engine.IO, Socket.IO.
    ClientPacket(&'static str),
    /// A policy closes the session.
    Refused(Refusal),
    /// The token expired.
    TokenExpired,
    /// The token, its user or the socket was revoked.
    TokenRevoked,
    /// The client did not answer a ping.
    PingTimeout,
    /// The client joined no namespace in time.
    ConnectTimeout,
    /// No packet from either side for `idle_timeout`.
    IdleTimeout,
    /// More waits for the client than `limits.send_buffer` allows.
    SlowReader,
    /// The client has taken nothing for a while of what waits for it: it reads too slowly, or its network is gone.
    ClientStalled,
    /// The service closed, with this code.
    ServiceClosed(CloseCode),
    /// The service's connection broke.
    ServiceLost,
    /// The service could not be reached.
    ServiceUnreachable,
    /// The service answered the handshake and refused this client.
    ServiceRefused,
    /// The service answered the handshake and refused this client for a time.
    ServiceBusy,
    /// The service closes the connection for what this client sends, and no other.
    ServiceObjected,
    /// The service that is back has chosen another subprotocol than before.
    ServiceChanged,
    /// The service broke a rule of WebSocket (RFC 6455).
    ServiceFrame(CloseCode, &'static str),
    /// The service broke a rule of Engine.IO or Socket.IO.
    ServiceFault(&'static str),
    /// The service reads too slowly, or has stopped pinging.
    ServiceSlow,
    /// The service was lost, and with it acks that must not fail one by one, or more than can.
    AcksLost,
    /// More packets waited for the service than `[session]` allows.
    QueueFull,
    /// All sessions together keep too much, or the node is short of memory, and this session keeps most.
    Overloaded(Shortage),
    /// The client of a bridged route is in its namespace no more: the service or another program has put it out; or another
    /// program has put a client out, and closes its connection.
    Disconnected,
    /// The client of a bridged route may not join its namespace, and was told why.
    ConnectRefused,
    /// The operator has closed this session.
    ClosedByOperator,
    /// The operator drains this node.
    Drained,
    /// A defect of Tidegate; the panic is in the log.
    Panicked,
}

/// What is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// What all sessions together may keep.
    SessionMemory,
    /// The memory of the node.
    Memory,
}

impl Ended {
    /// This side broke a rule of RFC 6455. The label is as coarse as the close code, because peers must not choose
    /// labels.
    #[must_use]
    pub const fn broken_frame(by: Side, code: CloseCode) -> Self {
        let rule = match code {
            CloseCode::INVALID_PAYLOAD => "frame_utf8",
            CloseCode::TOO_BIG => "frame_too_big",
            CloseCode::POLICY => "frame_fragments",
            _ => "frame_protocol",
        };
        match by {
            Side::Client => Self::ClientFrame(code, rule),
            Side::Service => Self::ServiceFrame(code, rule),
        }
    }

    /// The label `reason` of `websocket_disconnections_total`, and the field `cause` of the log.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::ClientClosed(_) => "client_closed",
            Self::ClientLost => "client_lost",
            Self::Replaced => "client_replaced",
            Self::NotKept(limit) => limit,
            Self::Unrecovered => "client_unrecovered",
            Self::HandedOver => "handed_over",
            Self::ClientFrame(_, rule)
            | Self::ClientPacket(rule)
            | Self::ServiceFrame(_, rule)
            | Self::ServiceFault(rule) => rule,
            Self::Refused(refusal) => refusal.code,
            Self::TokenExpired => "auth.expired",
            Self::TokenRevoked => "auth.revoked",
            Self::PingTimeout => "ping_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::SlowReader | Self::ClientStalled => "slow_reader",
            Self::ServiceClosed(_) => "service_closed",
            Self::ServiceLost => "service_lost",
            Self::ServiceUnreachable => "service_unreachable",
            Self::ServiceRefused => "service_refused",
            Self::ServiceBusy => "service_busy",
            Self::ServiceObjected => "service_objected",
            Self::ServiceChanged => "service_changed",
            Self::ServiceSlow => "service_slow",
            Self::AcksLost => "acks_lost",
            Self::QueueFull => "queue_full",
            Self::Overloaded(Shortage::SessionMemory) => "session_memory",
            Self::Overloaded(Shortage::Memory) => "overloaded",
            Self::Disconnected => "disconnected",
            Self::ConnectRefused => "connect_refused",
            Self::ClosedByOperator => "operator",
            Self::Drained => "drained",
            Self::Panicked => "panic",
        }
    }

    /// Whether only the client's connection is lost, so that the client may come back. A page that is left closes with
    /// 1001, a lost network sends no Close and takes nothing, and official clients that give up a connection send no code. A
    /// client for which too much waits would come back for all of it again.
    #[must_use]
    pub fn client_may_return(self) -> bool {
        match self {
            Self::ClientClosed(code) => code != CloseCode::GOING_AWAY,
            Self::ClientLost | Self::ClientStalled | Self::PingTimeout | Self::Replaced => true,
            _ => false,
        }
    }

    /// Whether only the service is lost, so that the client may wait for it. A service that rejects what the client
    /// sent (RFC 6455 §7.4.1) would reject it again.
    #[must_use]
    pub fn service_may_return(self) -> bool {
        const OBJECTIONS: [CloseCode; 5] = [
            CloseCode::PROTOCOL,
            CloseCode::UNSUPPORTED,
            CloseCode::INVALID_PAYLOAD,
            CloseCode::POLICY,
            CloseCode::TOO_BIG,
        ];
        match self {
            Self::ServiceClosed(code) => !OBJECTIONS.contains(&code),
            Self::ServiceLost | Self::ServiceUnreachable | Self::ServiceBusy | Self::ServiceSlow => true,
            _ => false,
        }
    }

    /// The setting of the rule that the client has broken, or of the bound that it has exceeded, if that is why the session
    /// ended.
    #[must_use]
    pub fn setting(self) -> Option<&'static str> {
        match self {
            Self::ClientFrame(CloseCode::TOO_BIG, _) => Some("socketio.max_payload"),
            Self::ServiceFrame(CloseCode::TOO_BIG, _) | Self::ServiceFault("packet_too_big") => {
                Some("upstream.max_message")
            }
            Self::QueueFull => Some("session.queue_packets, session.queue_bytes"),
            Self::SlowReader => Some("limits.send_buffer"),
            Self::Overloaded(Shortage::SessionMemory) => Some("limits.session_memory"),
            Self::Overloaded(Shortage::Memory) => Some("limits.memory"),
            Self::AcksLost => Some("session.on_lost_ack"),
            _ => match self.cause() {
                "json_depth" => Some("socketio.json_depth"),
                "json_structure" | "json_grammar" => Some("socketio.json"),
                JOIN_RATE => Some("socketio.joins"),
                rule if rule.starts_with("bridge_") => Some("websocket.bridge"),
                "event_unreadable" | "event_depth" | "event_field_repeated" => Some("websocket.event_field"),
                _ => None,
            },
        }
    }

    /// Which side caused the end.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::ClientClosed(_)
            | Self::ClientLost
            | Self::Replaced
            | Self::NotKept(_)
            | Self::Unrecovered
            | Self::HandedOver
            | Self::ClientFrame(..)
            | Self::ClientPacket(_)
            | Self::Refused(_)
            | Self::TokenExpired
            | Self::PingTimeout
            | Self::ConnectTimeout
            | Self::IdleTimeout
            | Self::SlowReader
            | Self::ClientStalled
            | Self::ServiceObjected
            | Self::Overloaded(_) => Fault::Client,
            Self::ServiceClosed(_)
            | Self::ServiceLost
            | Self::ServiceUnreachable
            | Self::ServiceRefused
            | Self::ServiceBusy
            | Self::ServiceChanged
            | Self::ServiceFrame(..)
            | Self::ServiceFault(_)
            | Self::ServiceSlow
            | Self::AcksLost
            | Self::QueueFull
            | Self::Disconnected
            | Self::ConnectRefused => Fault::Service,
            Self::ClosedByOperator | Self::Drained | Self::TokenRevoked => Fault::Operator,
            Self::Panicked => Fault::Us,
        }
    }

    /// Whether it counts in `websocket_errors_total`, and is not an ordinary end.
    #[must_use]
    pub const fn is_error(self) -> bool {
        !matches!(
            self,
            Self::ClientClosed(_)
                | Self::ClientLost
                | Self::Replaced
                | Self::NotKept(_)
                | Self::Unrecovered
                | Self::HandedOver
                | Self::ServiceClosed(_)
                | Self::Disconnected
                | Self::ConnectRefused
                | Self::ClosedByOperator
                | Self::Drained
                | Self::TokenExpired
                | Self::TokenRevoked
        )
    }
}

impl Fault {
    /// The field `fault` of the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Service => "service",
            Self::Operator => "operator",
            Self::Us => "tidegate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_does_not_wait_for_a_service_that_rejects_it() {
        let closes = |code| Ended::ServiceClosed(code).service_may_return();
        for code in [CloseCode::NO_STATUS, CloseCode::NORMAL, CloseCode::GOING_AWAY, CloseCode::RESTART] {
            assert!(closes(code), "{code:?}: it closes normally, or goes down");
        }
        for code in [CloseCode::TOO_BIG, CloseCode::POLICY, CloseCode::PROTOCOL, CloseCode::INVALID_PAYLOAD] {
            assert!(!closes(code), "{code:?}: it would close again");
        }
        assert!(Ended::ServiceLost.service_may_return() && !Ended::ServiceRefused.service_may_return());
    }

    #[test]
    fn a_page_that_is_left_does_not_come_back() {
        assert!(Ended::ClientLost.client_may_return() && Ended::ClientClosed(CloseCode::NO_STATUS).client_may_return());
        assert!(!Ended::ClientClosed(CloseCode::GOING_AWAY).client_may_return());
        assert!(!Ended::ClientPacket("rule").client_may_return(), "a client that breaks a rule is disconnected");
        assert!(Ended::ClientStalled.client_may_return(), "its network may be gone");
        assert!(!Ended::SlowReader.client_may_return(), "it would get as much again");
    }

    #[test]
    fn an_operator_revokes_and_a_client_lets_its_token_expire() {
        assert_eq!(Ended::TokenRevoked.fault().name(), "operator");
        assert_eq!(Ended::TokenExpired.fault().name(), "client");
    }
}
