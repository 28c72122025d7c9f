//! The errors that an Engine.IO server answers a request with.

use http::StatusCode;
use thiserror::Error;

/// Engine.IO's errors, with the codes and texts of Node (engine.io-protocol v4, `Server.errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EngineError {
    /// Neither of the transports, or one that is not served.
    #[error("Transport unknown")]
    TransportUnknown,
    /// No session of this `sid`.
    #[error("Session ID unknown")]
    SessionUnknown,
    /// A handshake is a GET.
    #[error("Bad handshake method")]
    HandshakeMethod,
    /// Anything else that is wrong.
    #[error("Bad request")]
    BadRequest,
    /// Not allowed.
    #[error("Forbidden")]
    Forbidden,
    /// Not `EIO=4`.
    #[error("Unsupported protocol version")]
    ProtocolVersion,
    /// More requests are on their way to sessions than the gate holds. Not one of Node's; told as a bad request with 503.
    #[error("The server is overloaded")]
    Overloaded,
}

impl EngineError {
    /// The `code` of the JSON body.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::TransportUnknown => 0,
            Self::SessionUnknown => 1,
            Self::HandshakeMethod => 2,
            Self::BadRequest | Self::Overloaded => 3,
            Self::Forbidden => 4,
            Self::ProtocolVersion => 5,
        }
    }

    /// 403 for Forbidden, 503 for Overloaded, else 400.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The metric label and the log field.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TransportUnknown => "transport_unknown",
            Self::SessionUnknown => "session_unknown",
            Self::HandshakeMethod => "handshake_method",
            Self::BadRequest => "bad_request",
            Self::Forbidden => "forbidden",
            Self::Overloaded => "overloaded",
            Self::ProtocolVersion => "protocol_version",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_errors_have_the_codes_and_texts_of_node() {
        let all = [
            (EngineError::TransportUnknown, 400, 0, "Transport unknown"),
            (EngineError::SessionUnknown, 400, 1, "Session ID unknown"),
            (EngineError::HandshakeMethod, 400, 2, "Bad handshake method"),
            (EngineError::BadRequest, 400, 3, "Bad request"),
            (EngineError::Forbidden, 403, 4, "Forbidden"),
            (EngineError::ProtocolVersion, 400, 5, "Unsupported protocol version"),
        ];
        for (error, status, code, message) in all {
            assert_eq!((error.status().as_u16(), error.code(), error.to_string().as_str()), (status, code, message));
        }
    }
}
