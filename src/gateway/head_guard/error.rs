//! Why a request was refused before hyper saw it.

use http::{Response, StatusCode};

use crate::gateway::reply::{self, Body};

/// A request that is malformed, too large or too slow. The client reads the message of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// RFC 9112 §2.2: a bare CR or LF, which some implementations take for a line end.
    #[error("Lines of a request end with CR LF")]
    LineEnd,
    /// RFC 9112 §3: not `METHOD SP target SP HTTP/1.0` or `HTTP/1.1`.
    #[error("The request line must be a method, a target and HTTP/1.0 or HTTP/1.1, with one space between")]
    RequestLine,
    /// The method that the guard uses for its synthetic request.
    #[error("This method is reserved")]
    ReservedMethod,
    /// RFC 9110 §9.3.6; there is no tunnel here.
    #[error("CONNECT is not served here")]
    Connect,
    /// RFC 9112 §3.2: absolute-form, authority-form, or `*` with another method than OPTIONS.
    #[error("The request target must be a path that begins with a slash")]
    TargetForm,
    /// RFC 9112 §3.2: a fragment, a space or a control byte.
    #[error("The request target has a fragment or a control byte")]
    TargetByte,
    /// Over `limits.header_bytes`, or over 65,534 bytes.
    #[error("The request target is too long")]
    TargetTooLong,
    /// RFC 9112 §5.2.
    #[error("A header may not continue on the next line")]
    ObsFold,
    /// RFC 9112 §5.1: no colon, an empty name, a space before the colon, or a byte that no name has.
    #[error("A header name is not valid")]
    FieldName,
    /// RFC 9110 §5.5: NUL or another control byte.
    #[error("A header value has a control byte")]
    FieldValue,
    /// Over `limits.header_fields`.
    #[error("The request has too many headers")]
    TooManyFields,
    /// Over `limits.header_bytes`.
    #[error("The request head is too large")]
    HeadTooLarge,
    /// RFC 9112 §3.2; HTTP/1.0 has requests without it.
    #[error("The request has no Host header")]
    HostMissing,
    /// RFC 9112 §3.2.
    #[error("The Host header must be a host name or address with an optional port")]
    HostInvalid,
    /// A header that the policy or the framing depends on, sent twice.
    #[error("The {0} header is repeated")]
    Repeated(&'static str),
    /// RFC 9112 §6.3: anything but digits that fit 63 bits.
    #[error("Content-Length must be one number")]
    ContentLength,
    /// RFC 9112 §6.1: anything but exactly `chunked`, or any of it in HTTP/1.0.
    #[error("Transfer-Encoding must be exactly chunked, and the request HTTP/1.1")]
    TransferEncoding,
    /// RFC 9112 §6.1, the origin of request smuggling.
    #[error("Content-Length and Transfer-Encoding exclude each other")]
    LengthAndEncoding,
    /// RFC 6455 §4.1.
    #[error("An upgrade to WebSocket needs HTTP/1.1 and has no body")]
    UpgradeFraming,
    /// RFC 9112 §7.1, read strictly; trailers are not accepted.
    #[error("The chunked body is not well-formed")]
    Chunk,
    /// The head was begun and not completed within `limits.handshake_timeout`.
    #[error("The request head took too long")]
    HeadTimeout,
    /// The body came slower than 1 KiB/s for too long.
    #[error("The request body took too long")]
    BodyTimeout,
}

impl HeadError {
    /// The answer, after which the connection is closed.
    #[must_use]
    pub fn answer(self) -> Response<Body> {
        let stage = if self.is_in_body() { "request" } else { "head" };
        reply::at(stage, reply::closing(reply::json(self.status(), self.code(), self)))
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooManyFields | Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::HeadTimeout | Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The class of refusal: what the client reads as `code`, the metric label and the log field.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::LineEnd
            | Self::RequestLine
            | Self::ReservedMethod
            | Self::TargetForm
            | Self::TargetByte
            | Self::ObsFold
            | Self::FieldName
            | Self::FieldValue => "http_syntax",
            Self::Connect => "http_method",
            Self::TargetTooLong | Self::TooManyFields | Self::HeadTooLarge => "http_too_large",
            Self::HostMissing | Self::HostInvalid => "http_host",
            Self::Repeated(_) => "http_duplicate",
            Self::ContentLength
            | Self::TransferEncoding
            | Self::LengthAndEncoding
            | Self::UpgradeFraming
            | Self::Chunk => "http_framing",
            Self::HeadTimeout => "handshake_timeout",
            Self::BodyTimeout => "body_timeout",
        }
    }

    /// Whether the head was good and the error is in the body, while the request is already being served.
    #[must_use]
    pub const fn is_in_body(self) -> bool {
        matches!(self, Self::Chunk | Self::BodyTimeout)
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn a_refused_head_ends_the_connection() {
        let response = HeadError::Repeated("Host").answer();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.headers()[header::CONNECTION], "close");
    }
}
