//! URLs and where they go.

use http::Request;

use super::*;

fn routes() -> Routes {
    let websocket = [("/ws", None), ("/other", Some("type".to_owned()))]
        .map(|(path, event_field)| WebsocketTable { path: path.to_owned(), event_field });
    Routes::new(&SocketioTable::default(), &websocket, vec!["token".to_owned()])
}

fn route(method: &str, target: &str, upgrade: Option<&str>) -> Route {
    let mut request = Request::builder().method(method).uri(target);
    if let Some(upgrade) = upgrade {
        request = request.header("upgrade", upgrade);
    }
    routes().route(&request.body(()).unwrap().into_parts().0)
}

#[test]
fn an_engine_io_handshake_over_websocket_is_served() {
    for target in [
        "/socket.io/?EIO=4&transport=websocket",
        "/socket.io/?transport=websocket&EIO=4&t=abc&token=x&other=1&other=2",
        "/socket.io/?%45IO=4&transport=web%73ocket",
    ] {
        assert_eq!(route("GET", target, Some("websocket")), Route::Engineio, "{target}");
    }
}

#[test]
fn engine_io_requests_get_the_errors_of_node() {
    use EngineError::{BadRequest, HandshakeMethod, ProtocolVersion, SessionUnknown, TransportUnknown};
    for (method, target, error) in [
        ("GET", "/socket.io/", TransportUnknown),
        ("GET", "/socket.io/?EIO=4", TransportUnknown),
        ("GET", "/socket.io/?EIO=4&transport=polling", TransportUnknown),
        ("POST", "/socket.io/?EIO=4&transport=polling&sid=a", TransportUnknown),
        ("GET", "/socket.io/?EIO=4&transport=WebSocket", TransportUnknown),
        ("GET", "/socket.io/?EIO=4&transport=webtransport", TransportUnknown),
        ("GET", "/socket.io/?EIO=4&transport=websocket&j=0", TransportUnknown),
        ("GET", "/socket.io/?EIO=4&transport=websocket&sid=a", SessionUnknown),
        ("GET", "/socket.io/?EIO=4&transport=websocket&sid", SessionUnknown),
        ("POST", "/socket.io/?EIO=4&transport=websocket", HandshakeMethod),
        ("OPTIONS", "/socket.io/?EIO=4&transport=websocket", HandshakeMethod),
        ("GET", "/socket.io/?EIO=3&transport=websocket", ProtocolVersion),
        ("GET", "/socket.io/?EIO=04&transport=websocket", ProtocolVersion),
        ("GET", "/socket.io/?EIO=&transport=websocket", ProtocolVersion),
        // Without EIO, Node takes it for version 3, which it serves under allowEIO3.
        ("GET", "/socket.io/?transport=websocket", ProtocolVersion),
        ("GET", "/socket.io/?EIO=4&EIO=3&transport=websocket", BadRequest),
        ("GET", "/socket.io/?EIO=4&%45IO=4&transport=websocket", BadRequest),
        ("GET", "/socket.io/?EIO=4&transport=websocket&transport=polling", BadRequest),
        ("GET", "/socket.io/?EIO=4&transport=websocket&sid=a&sid=b", BadRequest),
        ("GET", "/socket.io/?EIO=4&transport=websocket&t=a&t=b", BadRequest),
        ("GET", "/socket.io/?EIO=4&transport=websocket&j=0&j=0", BadRequest),
        ("GET", "/socket.io/?EIO=4&transport=websocket&b64=1&b64=1", BadRequest),
        ("GET", "/socket.io/?EIO=4&transport=websocket&token=a&token=b", BadRequest),
        // Node's engine takes whatever begins with its path.
        ("GET", "/socket.io/x?EIO=4", BadRequest),
        ("GET", "/socket.io/a/b?transport=polling", BadRequest),
        ("GET", "/socket.io/a/b?%74ransport=polling", BadRequest),
        ("GET", "/socket.io/socket.io.js?EIO=4&transport=polling", BadRequest),
        ("POST", "/socket.io/x?sid=a", BadRequest),
        ("POST", "/socket.io/x", BadRequest),
        ("GET", "/socket.io?EIO=4&transport=websocket", BadRequest),
        ("GET", "/socket.io.old?transport=polling", BadRequest),
    ] {
        assert_eq!(route(method, target, Some("websocket")), Route::Refused(error), "{method} {target}");
    }
}

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

#[test]
fn ordinary_http_is_forwarded() {
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/socket.io/socket.io.js"),
        ("HEAD", "/socket.io/socket.io.esm.min.js.map?v=4.8"),
        ("GET", "/socket.io"),
        ("GET", "/Socket.IO/?EIO=4&transport=polling"),
        ("GET", "/api?EIO=4&transport=polling&sid=a&sid=b"),
        ("POST", "/ws"),
        ("GET", "/ws"),
        ("DELETE", "/socketsXio/"),
    ] {
        assert_eq!(route(method, target, None), Route::Forward, "{method} {target}");
        assert_eq!(route(method, target, Some("h2c")), Route::Forward, "{method} {target}");
    }
}

#[test]
fn an_upgrade_needs_a_route() {
    assert_eq!(route("GET", "/ws", Some("websocket")), Route::Websocket(0));
    assert_eq!(route("GET", "/other?token=a", Some("WebSocket")), Route::Websocket(1));
    assert_eq!(route("GET", "/ws", Some("h2c, websocket/13")), Route::Websocket(0));
    assert_eq!(route("GET", "/ws?token=a&token=b", Some("websocket")), Route::Refused(EngineError::BadRequest));
    for target in ["/", "/ws/", "/WS", "/socket.io/socket.io.js"] {
        assert_eq!(route("GET", target, Some("websocket")), Route::NoWebsocket, "{target}");
    }
}
