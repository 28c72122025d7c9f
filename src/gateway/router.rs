//! Decides which endpoint a request is for: Engine.IO, a WebSocket route, the service, or a refusal. Pure.

use std::collections::BTreeSet;

use http::{HeaderMap, Method, Uri, header, request::Parts};

use super::{cors, head_guard::head::mentions_websocket, websocket::table::WebsocketTable};
pub use crate::wire::query::Query;
use crate::{
    fault::{Fault, Faults},
    session::table::{SocketioTable, Transport},
    wire::engineio::{error::EngineError, id::Sid},
};

/// The query keys of Engine.IO. None may be repeated: Node uses the last one.
const ENGINE_KEYS: [&str; 6] = ["EIO", "transport", "sid", "t", "j", "b64"];
/// The keys by which Node's engine opens or finds a session.
const SESSION_KEYS: [&str; 5] = ["EIO", "transport", "sid", "j", "b64"];

/// The paths that are not forwarded.
#[derive(Debug, Clone)]
pub struct Routes {
    /// With a trailing slash.
    socketio: String,
    transports: Vec<Transport>,
    websocket: Vec<String>,
    token_keys: Vec<String>,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To the Engine.IO endpoint, as ordinary HTTP.
    Engineio(EngineRoute),
    /// It asks for a WebSocket.
    Websocket(WebsocketRoute),
    /// To the service, as ordinary HTTP.
    Forward,
    /// An Engine.IO request that gets Engine.IO's own error.
    Refused(EngineError),
}

/// What an Engine.IO request asks for, if it stays HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineRoute {
    /// A new session over polling.
    Handshake,
    /// The packets of this session.
    Poll(Sid),
    /// To deliver packets to this session.
    Post(Sid),
    /// A CORS preflight.
    Preflight,
}

/// What a request to become a WebSocket wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebsocketRoute {
    /// An Engine.IO session.
    Handshake,
    /// To go on with this Engine.IO session, which began with polling.
    Upgrade(Sid),
    /// The `[[websocket]]` of this index.
    Plain(usize),
    /// A path that has no `[[websocket]]`.
    Unknown,
}

impl Routes {
    /// The routes of a configuration. `token_keys` are the query keys that may carry a token.
    ///
    /// # Errors
    /// Each path that no request can have or that another route uses; no transport.
    pub fn compile(
        socketio: &SocketioTable,
        websocket: &[WebsocketTable],
        token_keys: Vec<String>,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let path = &socketio.path;
        if !is_path(path) || !path.ends_with('/') || path == "/" {
            let message =
                format!("is {path:?}; it begins and ends with a slash and has no query, for example \"/socket.io/\"");
            faults.add("socketio.path", message);
        }
        if socketio.transports.is_empty() {
            let message = "is empty; clients need one, for example [\"websocket\"]";
            faults.add("socketio.transports", message);
        }
        let mut earlier = BTreeSet::new();
        for (at, WebsocketTable { path, .. }) in websocket.iter().enumerate() {
            let taken = free_path(path, &socketio.path, &earlier);
            faults.keep(taken.map_err(|message| Fault::new(format!("websocket[{at}].path"), message)));
            earlier.insert(path.as_str());
        }
        faults.finish(Some(Self {
            socketio: format!("{}/", socketio.path.trim_end_matches('/')),
            transports: socketio.transports.clone(),
            websocket: websocket.iter().map(|table| table.path.clone()).collect(),
            token_keys,
        }))
    }

    /// The route of this request.
    #[must_use]
    pub fn route(&self, request: &Parts) -> Route {
        let path = request.uri.path();
        let query = Query::of(&request.uri);
        if path == self.socketio {
            return self.judge_engine(request, &query).unwrap_or_else(Route::Refused);
        }
        // Node's engine matches by prefix, and a service may have set its path without the slash.
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
            Some(index) => Route::Websocket(WebsocketRoute::Plain(index)),
            None => Route::Websocket(WebsocketRoute::Unknown),
        }
    }

    /// In the order of engine.io's `verify`.
    fn judge_engine(&self, request: &Parts, query: &Query<'_>) -> Result<Route, EngineError> {
        let (method, upgrades) = (&request.method, asks_for_websocket(&request.headers));
        if cors::is_preflight(method, &request.headers) {
            return Ok(Route::Engineio(EngineRoute::Preflight));
        }
        let tokens = self.token_keys.iter().map(String::as_str);
        if ENGINE_KEYS.into_iter().chain(tokens).any(|key| query.is_repeated(key)) {
            return Err(EngineError::BadRequest);
        }
        let transport = query.get("transport").unwrap_or_default();
        let transport = self.transports.iter().find(|served| served.name() == transport);
        let Some(&transport) = transport.filter(|_| !query.has("j")) else {
            return Err(EngineError::TransportUnknown);
        };
        let version_4 = query.get("EIO").as_deref() == Some("4");
        if let Some(sid) = query.get("sid") {
            let sid = Sid::parse(&sid).ok_or(EngineError::SessionUnknown)?;
            return match (transport, method) {
                (Transport::Websocket, &Method::GET) if upgrades && version_4 => {
                    Ok(Route::Websocket(WebsocketRoute::Upgrade(sid)))
                }
                (Transport::Polling, &Method::GET) if !upgrades && version_4 => {
                    Ok(Route::Engineio(EngineRoute::Poll(sid)))
                }
                (Transport::Polling, &Method::POST) if !upgrades && version_4 => {
                    Ok(Route::Engineio(EngineRoute::Post(sid)))
                }
                _ => Err(EngineError::BadRequest),
            };
        }
        if method != Method::GET {
            return Err(EngineError::HandshakeMethod);
        }
        if upgrades != (transport == Transport::Websocket) {
            return Err(EngineError::BadRequest);
        }
        if !version_4 {
            return Err(EngineError::ProtocolVersion);
        }
        Ok(match transport {
            Transport::Websocket => Route::Websocket(WebsocketRoute::Handshake),
            Transport::Polling => Route::Engineio(EngineRoute::Handshake),
        })
    }
}

/// Whether a request can have this path. A request's target has no spaces, and its query is not part of the path.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.parse::<Uri>().is_ok_and(|uri| uri.path() == text)
}

/// Checks that only this WebSocket route uses the path.
fn free_path(path: &str, socketio: &str, earlier: &BTreeSet<&str>) -> Result<(), String> {
    if !is_path(path) {
        return Err(format!("is {path:?}; a path begins with a slash and has no query"));
    }
    if path.starts_with(socketio.trim_end_matches('/')) {
        return Err(format!("is {path:?}, which socketio.path {socketio:?} takes"));
    }
    if earlier.contains(path) { Err(format!("is {path:?} a second time")) } else { Ok(()) }
}

/// Any mention counts, as in the head guard: it holds back the bytes behind such a request, so it must not be
/// forwarded.
fn asks_for_websocket(headers: &HeaderMap) -> bool {
    headers.get_all(header::UPGRADE).iter().any(|upgrade| mentions_websocket(upgrade.as_bytes()))
}

#[cfg(test)]
mod tests;
