//! RFC 6455 §4: the request for a WebSocket and the answer that grants it. Both are checked exactly, because the service
//! reads the same request by its own rules.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
    },
    request::Parts,
};
use thiserror::Error;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// RFC 6455 §4.1: the only supported `Sec-WebSocket-Version`.
pub const VERSION: &str = "13";

/// The most subprotocols that a client may offer. Clients offer one or two, of which one may carry a token.
const PROTOCOLS_MAX: usize = 16;

/// A request for a WebSocket that keeps every rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// `Sec-WebSocket-Key`: 24 characters, to be answered by [`accept`].
    pub key: String,
    /// `Sec-WebSocket-Protocol`: the offered subprotocols, in order of preference, each once. One may be a token.
    pub protocols: Vec<String>,
}

/// Whether the request is a client's WebSocket handshake as RFC 6455 §4.1 has it.
///
/// # Errors
/// The rule that it breaks. Answer with [`UpgradeError::status`] and close: the bytes that follow are of another
/// protocol.
pub fn check_request(parts: &Parts) -> Result<Upgrade, UpgradeError> {
    let headers = &parts.headers;
    if parts.method != Method::GET {
        return Err(UpgradeError::Method);
    }
    if parts.version != Version::HTTP_11 {
        return Err(UpgradeError::HttpVersion);
    }
    if !connection_has_upgrade(headers) {
        return Err(UpgradeError::Connection);
    }
    if !only(headers, &UPGRADE)?.is_some_and(is_websocket) {
        return Err(UpgradeError::Upgrade);
    }
    if headers.contains_key(TRANSFER_ENCODING) || headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0") {
        return Err(UpgradeError::Body);
    }
    if only(headers, &SEC_WEBSOCKET_VERSION)?.is_none_or(|version| version != VERSION) {
        return Err(UpgradeError::Version);
    }
    let key = only(headers, &SEC_WEBSOCKET_KEY)?.and_then(|key| key.to_str().ok()).ok_or(UpgradeError::Key)?;
    if !STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16) {
        return Err(UpgradeError::Key);
    }
    Ok(Upgrade { key: key.to_owned(), protocols: offered_protocols(headers)? })
}

/// The header lines of a handshake that `httparse` has read. `None` where `http` does not take one.
#[must_use]
pub fn headers(lines: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        headers.append(HeaderName::from_bytes(line.name.as_bytes()).ok()?, HeaderValue::from_bytes(line.value).ok()?);
    }
    Some(headers)
}

/// The `Sec-WebSocket-Accept` that answers `key`.
#[must_use]
pub fn accept(key: &str) -> HeaderValue {
    HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 is visible ASCII")
}

/// Whether the service granted the WebSocket that the gate asked for with `key` and `offered`, as RFC 6455 §4.1 has it.
/// What it returns is the subprotocol that the service chose.
///
/// # Errors
/// The rule that the answer breaks. Then nothing may be sent or read as a frame.
pub fn check_answer(
    key: &str,
    offered: &[String],
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<String>, AnswerError> {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(AnswerError::Status(status));
    }
    if !single(headers, &UPGRADE).is_some_and(is_websocket) || !connection_has_upgrade(headers) {
        return Err(AnswerError::Upgrade);
    }
    if single(headers, &SEC_WEBSOCKET_ACCEPT) != Some(&accept(key)) {
        return Err(AnswerError::Accept);
    }
    if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(AnswerError::Extensions);
    }
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Ok(None);
    }
    let chosen = single(headers, &SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let chosen = chosen.filter(|chosen| offered.iter().any(|offer| offer == chosen));
    chosen.map(|chosen| Some(chosen.to_owned())).ok_or(AnswerError::Protocol)
}

fn offered_protocols(headers: &HeaderMap) -> Result<Vec<String>, UpgradeError> {
    let Some(value) = only(headers, &SEC_WEBSOCKET_PROTOCOL)? else { return Ok(Vec::new()) };
    let mut protocols: Vec<String> = Vec::new();
    for protocol in value.to_str().map_err(|_| UpgradeError::Protocols)?.split(',') {
        let protocol = protocol.trim_matches([' ', '\t']);
        let again = protocols.iter().any(|earlier| earlier == protocol);
        if !is_token(protocol) || again || protocols.len() == PROTOCOLS_MAX {
            return Err(UpgradeError::Protocols);
        }
        protocols.push(protocol.to_owned());
    }
    Ok(protocols)
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_websocket(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// RFC 9110 §7.6.1: a list of tokens, over any number of lines.
fn connection_has_upgrade(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONNECTION).iter();
    let mut options = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// A header that may occur once. Of two values the service could read the other one.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, UpgradeError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(UpgradeError::Repeated(name.clone())) } else { Ok(first) }
}

/// A header that occurs exactly once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    only(headers, name).ok().flatten()
}

/// Why a request is no WebSocket handshake. Each but [`UpgradeError::Protocols`] is RFC 6455 §4.2.1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UpgradeError {
    /// Not GET.
    #[error("a WebSocket handshake must be a GET request")]
    Method,
    /// Not HTTP/1.1.
    #[error("a WebSocket handshake must be HTTP/1.1")]
    HttpVersion,
    /// `Connection` does not name `upgrade`.
    #[error("the Connection header of a WebSocket handshake must name upgrade")]
    Connection,
    /// `Upgrade` is not `websocket` alone.
    #[error("the Upgrade header of a WebSocket handshake must be exactly websocket")]
    Upgrade,
    /// It has a body.
    #[error("a WebSocket handshake must have no body")]
    Body,
    /// `Sec-WebSocket-Version` is not 13.
    #[error("the Sec-WebSocket-Version header must be {VERSION}")]
    Version,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64.
    #[error("the Sec-WebSocket-Key header must be 16 bytes in base64")]
    Key,
    /// RFC 6455 §4.1: subprotocols are distinct tokens; how many is our bound.
    #[error("the Sec-WebSocket-Protocol header must be a list of at most {PROTOCOLS_MAX} distinct tokens")]
    Protocols,
    /// A header that may occur once occurs twice.
    #[error("the header {0} occurs more than once")]
    Repeated(HeaderName),
}

impl UpgradeError {
    /// The status of the answer. 426 needs the header `Sec-WebSocket-Version:` [`VERSION`] (RFC 6455 §4.4).
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Why the service's answer opens no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// Not 101.
    #[error("the service answered the WebSocket handshake with {0} instead of 101")]
    Status(StatusCode),
    /// `Upgrade` or `Connection` is not as 101 requires.
    #[error("the service answered 101 without Upgrade: websocket and Connection: upgrade")]
    Upgrade,
    /// `Sec-WebSocket-Accept` does not answer the key: it comes from a cache, or from no WebSocket server.
    #[error("the service's Sec-WebSocket-Accept does not match the key it was sent")]
    Accept,
    /// An extension that was not offered.
    #[error("the service agreed to an extension that was not offered")]
    Extensions,
    /// A subprotocol that was not offered, or several.
    #[error("the service chose a subprotocol that was not offered")]
    Protocol,
}

#[cfg(test)]
mod tests;
