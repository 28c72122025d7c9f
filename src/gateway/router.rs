//! A request is Engine.IO, a WebSocket route, to be forwarded, or refused. Pure.

mod query;

use http::{HeaderMap, Method, StatusCode, header, request::Parts};

pub use self::query::Query;
use super::websocket::WebsocketTable;
use crate::session::SocketioTable;

/// The query keys of Engine.IO. Node lets the last of a repeated one count, so none may be repeated.
const ENGINE_KEYS: [&str; 6] = ["EIO", "transport", "sid", "t", "j", "b64"];
/// Those by which Node's engine would open or find a session.
const SESSION_KEYS: [&str; 5] = ["EIO", "transport", "sid", "j", "b64"];

/// The paths that are not simply forwarded.
#[derive(Debug, Clone)]
pub struct Routes {
    /// With the slash at its end.
    socketio: String,
    websocket: Vec<String>,
    token_keys: Vec<String>,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// An Engine.IO handshake over WebSocket, as far as its URL says.
    Engineio,
    /// An upgrade on the `[[websocket]]` of this index.
    Websocket(usize),
    /// To the service, as ordinary HTTP.
    Forward,
    /// An Engine.IO request that gets Engine.IO's own error.
    Refused(EngineError),
    /// An upgrade to WebSocket on a path that has no `[[websocket]]`.
    NoWebsocket,
}

/// Engine.IO's errors, with the codes and texts of Node (engine.io-protocol v4, `Server.errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
}

impl EngineError {
    /// The `code` of the JSON body.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::TransportUnknown => 0,
            Self::SessionUnknown => 1,
            Self::HandshakeMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::ProtocolVersion => 5,
        }
    }

    /// 403 for Forbidden, else 400.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Forbidden => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl Routes {
    /// The routes of a configuration. `token_keys` are the query keys in which a token may stand.
    #[must_use]
    pub fn new(socketio: &SocketioTable, websocket: &[WebsocketTable], token_keys: Vec<String>) -> Self {
        Self {
            socketio: format!("{}/", socketio.path.trim_end_matches('/')),
            websocket: websocket.iter().map(|table| table.path.clone()).collect(),
            token_keys,
        }
    }

    /// Where this request goes.
    #[must_use]
    pub fn route(&self, request: &Parts) -> Route {
        let path = request.uri.path();
        let query = Query::of(&request.uri);
        if path == self.socketio {
            return self.judge_engine(&request.method, query).map_or_else(Route::Refused, |()| Route::Engineio);
        }
        // Node's engine takes whatever begins with its path, which a service may have set without the slash.
        let engine_may_take_it = path.starts_with(self.socketio.trim_end_matches('/'));
        let fetches = matches!(request.method, Method::GET | Method::HEAD);
        if engine_may_take_it && (!fetches || SESSION_KEYS.iter().any(|key| query.has(key))) {
            return Route::Refused(EngineError::BadRequest);
        }
        if !asks_for_websocket(&request.headers) {
            return Route::Forward;
        }
        match self.websocket.iter().position(|route| route == path) {
            Some(_) if self.token_keys.iter().any(|key| query.is_repeated(key)) => {
                Route::Refused(EngineError::BadRequest)
            }
            Some(index) => Route::Websocket(index),
            None => Route::NoWebsocket,
        }
    }

    /// In the order of engine.io's `verify`.
    fn judge_engine(&self, method: &Method, query: Query<'_>) -> Result<(), EngineError> {
        let tokens = self.token_keys.iter().map(String::as_str);
        if ENGINE_KEYS.into_iter().chain(tokens).any(|key| query.is_repeated(key)) {
            return Err(EngineError::BadRequest);
        }
        if query.get("transport").as_deref() != Some("websocket") || query.has("j") {
            return Err(EngineError::TransportUnknown);
        }
        if query.has("sid") {
            return Err(EngineError::SessionUnknown);
        }
        if method != Method::GET {
            return Err(EngineError::HandshakeMethod);
        }
        if query.get("EIO").as_deref() != Some("4") {
            return Err(EngineError::ProtocolVersion);
        }
        Ok(())
    }
}

/// As the guard sees it: any mention, so that no request behind which it holds bytes back is ever forwarded.
fn asks_for_websocket(headers: &HeaderMap) -> bool {
    headers.get_all(header::UPGRADE).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).any(|name| {
        let name = name.split(|&byte| byte == b'/').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"websocket")
    })
}

#[cfg(test)]
mod tests;
