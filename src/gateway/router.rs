//! Decides which endpoint a request is for: Engine.IO, a WebSocket route, the service, or a refusal. Pure.

mod websocket_paths;

use http::{HeaderMap, Method, header, request::Parts};

use self::websocket_paths::{Ambiguous, WebsocketPaths, is_path};
use super::{client_script, head_guard::head::mentions_websocket, path::Readings, websocket::table::WebsocketTable};
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
    /// Without the slash at its end. Clients write it with the slash, or, as Next.js needs it, without
    /// (`addTrailingSlash: false`).
    socketio: String,
    transports: Vec<Transport>,
    websocket: WebsocketPaths,
    token_keys: Vec<String>,
    client_script: bool,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To the Engine.IO endpoint, as ordinary HTTP.
    Engineio(EngineRoute),
    /// It asks for a WebSocket.
    Websocket(WebsocketRoute),
    /// It fetches the client script.
    ClientScript,
    /// To the service, as ordinary HTTP.
    Forward,
    /// An Engine.IO request that gets Engine.IO's own error.
    Refused(EngineError),
    /// Its path can mean the Engine.IO endpoint or a WebSocket route to one reader and something else to another.
    Ambiguous,
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
    /// OPTIONS: a CORS preflight, or a question by something else.
    Options,
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
        if !is_path(path) || path == "/" || path.contains('*') {
            let message = format!(
                "is {path:?}; it begins with a slash and has no query, no '*', '..', '//', ';', '\\' and nothing encoded that \
                 need not be, for example \"/socket.io/\""
            );
            faults.add("socketio.path", message);
        }
        let path = path.trim_end_matches('/');
        if socketio.transports.is_empty() {
            let message = "is empty; clients need one, for example [\"websocket\"]";
            faults.add("socketio.transports", message);
        }
        if let Some(at) =
            (1..socketio.transports.len()).find(|&at| socketio.transports[..at].contains(&socketio.transports[at]))
        {
            let message = format!("is {:?} a second time", socketio.transports[at].name());
            faults.add(format!("socketio.transports[{at}]"), message);
        }
        let mut paths = WebsocketPaths::default();
        for (at, table) in websocket.iter().enumerate() {
            let added = paths.add(&table.path, &socketio.path);
            faults.keep(added.map_err(|message| Fault::new(format!("websocket[{at}].path"), message)));
        }
        let transports = socketio.transports.clone();
        faults.finish(Some(Self {
            socketio: path.to_owned(),
            transports,
            websocket: paths,
            token_keys,
            client_script: false,
        }))
    }

    /// The same routes, and that of the client script if it `is_served`.
    ///
    /// # Errors
    /// Another route takes its path.
    pub fn with_client_script(self, is_served: bool) -> Result<Self, Vec<Fault>> {
        let path = client_script::PATH;
        let taken_by = if path.starts_with(&self.socketio) {
            Some("socketio.path".to_owned())
        } else {
            self.websocket.taking(path).map(|at| format!("websocket[{at}].path"))
        };
        match taken_by {
            Some(key) if is_served => {
                let message = format!("is true and serves {path:?}, which {key} takes; give that another path");
                Err(vec![Fault::new("listen.client_script", message)])
            }
            _ => Ok(Self { client_script: is_served, ..self }),
        }
    }

    /// The route of this request.
    #[must_use]
    pub fn route(&self, request: &Parts) -> Route {
        let path = request.uri.path();
        let query = Query::of(&request.uri);
        // Node's engine matches by prefix, and a service may have set its path without the slash.
        let behind = path.strip_prefix(&*self.socketio);
        let fetches = matches!(request.method, Method::GET | Method::HEAD);
        let opens = || !fetches || SESSION_KEYS.iter().any(|key| query.has(key));
        if behind == Some("/") || (behind == Some("") && opens()) {
            return self.judge_engine(request, &query).unwrap_or_else(Route::Refused);
        }
        let readings = Readings::of(path);
        if behind.is_some() && !readings.climbs() {
            // Whoever reads it finds the engine's path, and what is fetched there opens no session.
            if opens() {
                return Route::Refused(EngineError::BadRequest);
            }
        } else if behind.is_some() || readings.may_lead_to(&self.socketio) {
            return Route::Ambiguous;
        }
        if !asks_for_websocket(&request.headers) {
            let is_script = self.client_script && fetches && path == client_script::PATH;
            return if is_script { Route::ClientScript } else { Route::Forward };
        }
        match self.websocket.find(&readings) {
            Err(Ambiguous) => Route::Ambiguous,
            Ok(Some(_)) if self.token_keys.iter().any(|key| query.is_repeated(key)) => {
                Route::Refused(EngineError::BadRequest)
            }
            Ok(Some(index)) => Route::Websocket(WebsocketRoute::Plain(index)),
            Ok(None) => Route::Websocket(WebsocketRoute::Unknown),
        }
    }

    /// In the order of engine.io's `verify`.
    fn judge_engine(&self, request: &Parts, query: &Query<'_>) -> Result<Route, EngineError> {
        let (method, upgrades) = (&request.method, asks_for_websocket(&request.headers));
        if method == Method::OPTIONS && !upgrades {
            return Ok(Route::Engineio(EngineRoute::Options));
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

/// Any mention counts, as in the head guard: it holds back the bytes behind such a request, so it must not be
/// forwarded.
fn asks_for_websocket(headers: &HeaderMap) -> bool {
    headers.get_all(header::UPGRADE).iter().any(|upgrade| mentions_websocket(upgrade.as_bytes()))
}

#[cfg(test)]
mod tests;
