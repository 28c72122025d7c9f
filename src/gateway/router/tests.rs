//! URLs and where they go.

use http::Request;

use super::*;

fn table(path: &str, event_field: Option<&str>) -> WebsocketTable {
    WebsocketTable { path: path.to_owned(), event_field: event_field.map(str::to_owned), ..WebsocketTable::default() }
}

fn routes() -> Routes {
    let plain = ["/doc/*", "/doc/list", "/doc/a/*"].map(|path| table(path, None));
    let websocket = [vec![table("/ws", None), table("/other", Some("type"))], plain.into()].concat();
    Routes::compile(&SocketioTable::default(), &websocket, vec!["token".to_owned()]).unwrap()
}

fn route(method: &str, target: &str, upgrade: Option<&str>) -> Route {
    let mut request = Request::builder().method(method).uri(target);
    if let Some(upgrade) = upgrade {
        request = request.header("upgrade", upgrade);
    }
    routes().route(&request.body(()).unwrap().into_parts().0)
}

#[test]
fn an_engine_io_handshake_is_served_over_both_transports() {
    for target in [
        "/socket.io/?EIO=4&transport=websocket",
        "/socket.io/?transport=websocket&EIO=4&t=abc&token=x&other=1&other=2",
        "/socket.io/?%45IO=4&transport=web%73ocket",
        "/socket.io?EIO=4&transport=websocket",
    ] {
        let served = Route::Websocket(WebsocketRoute::Handshake);
        assert_eq!(route("GET", target, Some("websocket")), served, "{target}");
    }
    for target in ["/socket.io/?EIO=4&transport=polling&t=abc", "/socket.io/?transport=p%6flling&b64=1&EIO=4"] {
        assert_eq!(route("GET", target, None), Route::Engineio(EngineRoute::Handshake), "{target}");
    }
}

#[test]
fn what_brings_a_sid_goes_to_its_session() {
    const SID: &str = "AAAAAAAAAAECAwQFBgcICQoLDA0O";
    let sid = Sid::parse(SID).unwrap();
    for (method, transport, upgrade, expected) in [
        ("GET", "polling", None, Route::Engineio(EngineRoute::Poll(sid))),
        ("POST", "polling", None, Route::Engineio(EngineRoute::Post(sid))),
        ("GET", "websocket", Some("websocket"), Route::Websocket(WebsocketRoute::Upgrade(sid))),
        ("GET", "websocket", None, Route::Refused(EngineError::BadRequest)),
        ("POST", "websocket", Some("websocket"), Route::Refused(EngineError::BadRequest)),
        ("GET", "polling", Some("websocket"), Route::Refused(EngineError::BadRequest)),
        ("PUT", "polling", None, Route::Refused(EngineError::BadRequest)),
        ("HEAD", "polling", None, Route::Refused(EngineError::BadRequest)),
    ] {
        let target = format!("/socket.io/?EIO=4&transport={transport}&sid={SID}");
        assert_eq!(route(method, &target, upgrade), expected, "{method} {target} {upgrade:?}");
        let other_version = target.replace("EIO=4", "EIO=3");
        assert_eq!(route(method, &other_version, upgrade), Route::Refused(EngineError::BadRequest), "{other_version}");
    }
}

#[test]
fn a_transport_that_is_not_configured_is_unknown() {
    for (transports, target, upgrade) in [
        (vec![Transport::Websocket], "/socket.io/?EIO=4&transport=polling", None),
        (vec![Transport::Polling], "/socket.io/?EIO=4&transport=websocket", Some("websocket")),
    ] {
        let routes =
            Routes::compile(&SocketioTable { transports, ..SocketioTable::default() }, &[], Vec::new()).unwrap();
        let request = Request::get(target).header("upgrade", upgrade.unwrap_or("h2c")).body(()).unwrap().into_parts().0;
        assert_eq!(routes.route(&request), Route::Refused(EngineError::TransportUnknown), "{target}");
    }
}

#[test]
fn a_page_of_another_origin_may_ask_before_it_sends_and_so_may_others() {
    for target in ["/socket.io/?EIO=4&transport=polling&sid=x", "/socket.io/?EIO=4&transport=websocket", "/socket.io/"]
    {
        assert_eq!(route("OPTIONS", target, None), Route::Engineio(EngineRoute::Options), "{target}");
    }
}

#[test]
fn engine_io_requests_get_the_errors_of_node() {
    use EngineError::{BadRequest, HandshakeMethod, ProtocolVersion, SessionUnknown, TransportUnknown};
    for (method, target, error) in [
        ("GET", "/socket.io/", TransportUnknown),
        ("GET", "/socket.io/?EIO=4", TransportUnknown),
        ("GET", "/socket.io/?EIO=4&transport=polling", BadRequest),
        ("POST", "/socket.io/?EIO=4&transport=polling&sid=a", SessionUnknown),
        ("GET", "/socket.io/?EIO=4&transport=polling&j=0", TransportUnknown),
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
        ("POST", "/socket.io", TransportUnknown),
        ("GET", "/socket.io?EIO=3&transport=websocket", ProtocolVersion),
        ("GET", "/socket.io.old?transport=polling", BadRequest),
    ] {
        assert_eq!(route(method, target, Some("websocket")), Route::Refused(error), "{method} {target}");
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
        ("POST", "/files/a%2Fb//c/../d%5C%2E%00/{e}\"|\\f%zz;g"),
        ("POST", "//api//socket.io/"),
        ("GET", "/socket.io//x%2Fy"),
        ("GET", "//ws"),
    ] {
        assert_eq!(route(method, target, None), Route::Forward, "{method} {target}");
        assert_eq!(route(method, target, Some("h2c")), Route::Forward, "{method} {target}");
    }
}

#[test]
fn an_upgrade_needs_a_route() {
    assert_eq!(route("GET", "/ws", Some("websocket")), Route::Websocket(WebsocketRoute::Plain(0)));
    assert_eq!(route("GET", "/other?token=a", Some("WebSocket")), Route::Websocket(WebsocketRoute::Plain(1)));
    assert_eq!(route("GET", "/ws", Some("h2c, websocket/13")), Route::Websocket(WebsocketRoute::Plain(0)));
    assert_eq!(route("GET", "/ws?token=a&token=b", Some("websocket")), Route::Refused(EngineError::BadRequest));
    for target in ["/", "/ws/", "/WS", "/socket.io/socket.io.js"] {
        assert_eq!(route("GET", target, Some("websocket")), Route::Websocket(WebsocketRoute::Unknown), "{target}");
    }
}

#[test]
fn a_path_that_may_lead_to_the_engine_is_refused() {
    for path in [
        "//socket.io/",
        "/./socket.io/",
        "/x/../socket.io/",
        "/socket%2eio/",
        "/%73ocket.io",
        "/%2573ocket.io/",
        "/x%2f..%2fsocket.io/",
        "/\\socket.io/",
        "/socket.io/../x",
        "/socket.io/%2e%2e/admin",
        "/;/socket.io/",
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            for query in ["", "?EIO=4&transport=polling"] {
                let target = format!("{path}{query}");
                for upgrade in [None, Some("websocket")] {
                    assert_eq!(route(method, &target, upgrade), Route::Ambiguous, "{method} {target} {upgrade:?}");
                }
            }
        }
    }
}

#[test]
fn a_route_may_have_a_room_in_its_path() {
    let plain = |number| Route::Websocket(WebsocketRoute::Plain(number));
    for (target, expected) in [
        ("/doc/room", plain(2)),
        ("/doc/room/", plain(2)),
        ("/doc/one/two?x=/doc/list", plain(2)),
        ("/doc/caf%C3%A9%20%2F%5C", plain(2)),
        ("/doc//room", plain(2)),
        ("/doc/list", plain(3)),
        ("/doc/list/", plain(2)),
        ("/doc/a/b", plain(4)),
        ("/doc/a/", plain(2)),
        ("/doc/", Route::Websocket(WebsocketRoute::Unknown)),
        ("/doc", Route::Websocket(WebsocketRoute::Unknown)),
        ("/docs/a", Route::Websocket(WebsocketRoute::Unknown)),
        // To one reader it is another route, or none.
        ("/doc//", Route::Websocket(WebsocketRoute::Unknown)),
        ("/doc/%2F", Route::Ambiguous),
        ("/doc/.", Route::Ambiguous),
        ("/doc/l%69st", Route::Ambiguous),
        ("/doc//list", Route::Ambiguous),
        ("/doc/a%2Fb", Route::Ambiguous),
        ("/doc/x/../y", Route::Ambiguous),
        ("/doc/%2e%2e/ws", Route::Ambiguous),
        ("/doc/..%5cws", Route::Ambiguous),
        ("/doc%2Froom", Route::Ambiguous),
        ("/w%73", Route::Ambiguous),
        ("//ws", Route::Ambiguous),
        ("/x/../ws", Route::Ambiguous),
        ("/x/../others/..", Route::Ambiguous),
        ("/x/../y", Route::Websocket(WebsocketRoute::Unknown)),
    ] {
        assert_eq!(route("GET", target, Some("websocket")), expected, "{target}");
    }
}

#[test]
fn a_path_without_an_effect_is_told() {
    let told = |path: &str| {
        let faults =
            Routes::compile(&SocketioTable::default(), &[table("/doc/*", None), table(path, None)], Vec::new())
                .err()
                .unwrap_or_default();
        faults.first().map(ToString::to_string)
    };
    for path in ["/doc", "/doc/", "/doc/x", "/doc/x/*", "/*", "/.well-known/ws", "/caf%C3%A9/*"] {
        assert_eq!(told(path), None, "{path}");
    }
    for (path, message) in [
        ("/doc*", "'*' stands for the end of a path"),
        ("/*/doc", "'*' stands for the end of a path"),
        ("/doc/**", "'*' stands for the end of a path"),
        ("*", "'*' stands for the end of a path"),
        ("/doc/*", "a second time"),
        ("/a/../b", "no '..'"),
        ("/a//b", "no '..'"),
        ("/%61", "no '..'"),
        ("ws", "begins with a slash"),
        ("/ws?x", "has no query"),
        ("/socket.io/*", "which socketio.path \"/socket.io/\" takes"),
    ] {
        let told = told(path).unwrap_or_default();
        assert!(told.starts_with("websocket[1].path is ") && told.contains(message), "{path}: {told}");
    }
}

#[test]
fn the_client_script_is_served_where_it_is_asked_for() {
    let told = |socketio: &str, websocket: &str, is_served| {
        let socketio = SocketioTable { path: socketio.to_owned(), ..SocketioTable::default() };
        let routes = Routes::compile(&socketio, &[table("/other", None), table(websocket, None)], Vec::new()).unwrap();
        routes.with_client_script(is_served).map_err(|faults| faults[0].to_string())
    };
    for (method, target, upgrade, is_served, expected) in [
        ("GET", "/.tidegate/client.js", None, true, Route::ClientScript),
        ("HEAD", "/.tidegate/client.js?v=2", None, true, Route::ClientScript),
        ("GET", "/.tidegate/client.js", None, false, Route::Forward),
        ("POST", "/.tidegate/client.js", None, true, Route::Forward),
        ("GET", "/.tidegate/client.js/", None, true, Route::Forward),
        ("GET", "/.tidegate/%63lient.js", None, true, Route::Forward),
        ("GET", "/.tidegate/client.js", Some("websocket"), true, Route::Websocket(WebsocketRoute::Plain(1))),
    ] {
        let mut request = Request::builder().method(method).uri(target);
        if let Some(upgrade) = upgrade {
            request = request.header("upgrade", upgrade);
        }
        let routes = told("/socket.io/", "/*", is_served).unwrap();
        assert_eq!(routes.route(&request.body(()).unwrap().into_parts().0), expected, "{method} {target}");
    }
    for (socketio, websocket, taken_by) in [
        ("/.tidegate/", "/ws", "socketio.path"),
        ("/socket.io/", "/.tidegate/*", "websocket[1].path"),
        ("/socket.io/", "/.tidegate/client.js", "websocket[1].path"),
    ] {
        let message = told(socketio, websocket, true).unwrap_err();
        let expected = "listen.client_script is true and serves \"/.tidegate/client.js\", which ";
        assert_eq!(message, format!("{expected}{taken_by} takes; give that another path"));
        told(socketio, websocket, false).unwrap();
    }
    told("/socket.io/", "/.tidegate/ws", true).unwrap();
}
