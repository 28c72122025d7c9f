//! Whether the service answers as the gate needs it: a WebSocket with Engine.IO 4, and plain routes.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::{HeaderMap, StatusCode};

use super::{
    finding::{Checked, Finding},
    request::{self, PATIENCE},
    websocket::Socket,
};
use crate::{
    config::Config,
    relay::{
        dial::{Dialler, PackedRequest},
        dial_error::DialError,
    },
    wire::engineio::open::ServiceOpen,
};

const CHECK: &str = "service";

/// From the dial to the open packet: less than the whole check has, and more than a dial.
const SHAKEN_WITHIN: Duration = Duration::from_secs(5);
/// A server of Socket.IO 2 connects a client to the main namespace by itself, at once.
const UNASKED_WITHIN: Duration = Duration::from_millis(300);
/// So many plain routes are tried.
const ROUTES_MAX: usize = 8;

/// What a Socket.IO handshake came to.
#[derive(Debug)]
enum Shaken {
    /// It was not upgraded.
    NotDialled(DialError),
    /// What came first is no Engine.IO.
    NotOpened(String),
    /// It was opened.
    Opened(ServiceOpen),
    /// It was opened, and the server went on as those of Socket.IO 2 do.
    OldServer,
}

pub(super) async fn check(config: &Config, service: &Dialler) -> Checked {
    let path = &config.socketio.path;
    let routes = config.websocket.iter().filter(|route| route.bridge.is_none()).map(|route| &route.path);
    let has_routes = routes.clone().next().is_some();
    // At once, so that none of them takes the time of another.
    let (shaken, sighting, routes) = tokio::join!(
        shaken(service, path),
        clock(service, path),
        join_all(routes.take(ROUTES_MAX).map(|path| route(service, path)))
    );
    let mut findings = vec![judge(&shaken, config, has_routes)];
    // Where nothing listens or nothing answers, one line says so.
    if !matches!(&shaken, Shaken::NotDialled(DialError::Connect { .. } | DialError::Timeout { .. })) {
        findings.extend(routes);
    }
    Checked { findings, sighting }
}

async fn shaken(service: &Dialler, path: &str) -> Shaken {
    let until = Instant::now() + SHAKEN_WITHIN;
    let request = PackedRequest::new(&format!("{path}?EIO=4&transport=websocket"), [], Vec::new());
    let mut socket = match Socket::open(service, &request).await {
        Ok(socket) => socket,
        Err(error) => return Shaken::NotDialled(error),
    };
    let shaken = match socket.opened(PATIENCE.min(until.saturating_duration_since(Instant::now()))).await {
        Err(why) => Shaken::NotOpened(why),
        Ok(open) => match socket.text(UNASKED_WITHIN).await {
            Ok(text) if text.starts_with("40") => Shaken::OldServer,
            _ => Shaken::Opened(open),
        },
    };
    socket.leave().await;
    shaken
}

/// A request that opens nothing: Engine.IO answers it with 400, and any server with its date.
async fn clock(service: &Dialler, path: &str) -> Option<super::finding::Sighting> {
    let answer = request::get(service, &format!("{path}?EIO=4"), HeaderMap::new()).await.ok()?;
    answer.sighting("the service")
}

fn judge(shaken: &Shaken, config: &Config, has_routes: bool) -> Finding {
    let (url, path) = (&config.upstream.url, &config.socketio.path);
    match shaken {
        Shaken::NotDialled(error) => not_dialled(error, path, has_routes),
        Shaken::NotOpened(why) => Finding::fail(CHECK, format!("{url} upgrades at {path}, but: {why}")),
        Shaken::OldServer => Finding::fail(CHECK, format!("{url} is a server of Socket.IO 2 (Engine.IO 3)"))
            .fix("the gate speaks Engine.IO 4: update the service to Socket.IO 3 or 4"),
        Shaken::Opened(open) => {
            let found = format!(
                "{url} answers at {path}: Engine.IO 4, a ping every {} ms, a pong within {} ms",
                open.ping_interval_ms, open.ping_timeout_ms
            );
            match open.max_payload {
                Some(most) if most < config.socketio.max_payload.0 => {
                    let found = format!(
                        "{found}; it closes the connection at a message over {most} bytes, which the gate lets pass"
                    );
                    Finding::warn(CHECK, found).fix(format!(
                        "set socketio.max_payload to \"{most}B\", or maxHttpBufferSize of the service to {}",
                        config.socketio.max_payload.0
                    ))
                }
                _ => Finding::ok(CHECK, found),
            }
        }
    }
}

fn not_dialled(error: &DialError, path: &str, has_routes: bool) -> Finding {
    let failed = || Finding::fail(CHECK, error.to_string());
    match error {
        DialError::Connect { .. } => failed().fix("does the service run, and is upstream.url right?"),
        DialError::Tls { .. } => failed(),
        DialError::Timeout { connected: false, .. } => {
            failed().fix("is upstream.url right, and is a firewall in between?")
        }
        DialError::Timeout { .. } => failed().fix("is it overloaded, or is it no HTTP server?"),
        DialError::Http(_) => {
            failed().fix("is there an HTTP server, and does upstream.url begin as it needs, http or https?")
        }
        DialError::Refused(refusal) if refusal.lacks_websocket() => failed().fix(
            "its transports lack \"websocket\", by which the gate reaches it; add that to the options of its Server",
        ),
        DialError::Refused(refusal) => match refusal.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let found = format!(
                    "the service is there and refuses a handshake without a token ({}), so that no more is known",
                    refusal.status
                );
                Finding::warn(CHECK, found)
            }
            _ if has_routes => {
                let found = format!(
                    "there is no Socket.IO at {path} ({}), only plain routes are configured to be used",
                    refusal.status
                );
                Finding::warn(CHECK, found)
            }
            StatusCode::NOT_FOUND => failed().fix(format!("set socketio.path to that of the service; it is {path}")),
            _ => failed().fix(format!("is there a Socket.IO server at {path} (socketio.path)?")),
        },
        DialError::Answer(_) => failed().fix("is something between the gate and the service that takes no WebSockets?"),
    }
}

async fn route(service: &Dialler, path: &str) -> Finding {
    if path.ends_with('*') {
        return Finding::skip(CHECK, format!("the route {path} stands for many paths"));
    }
    let opened = Socket::open(service, &PackedRequest::new(path, [], Vec::new())).await;
    let outcome = opened.as_ref().map(|_| ());
    let finding = judge_route(path, outcome);
    if let Ok(socket) = opened {
        socket.leave().await;
    }
    finding
}

fn judge_route(path: &str, opened: Result<(), &DialError>) -> Finding {
    match opened {
        Ok(()) => Finding::ok(CHECK, format!("the route {path} is answered")),
        Err(DialError::Refused(refusal)) => {
            let found = format!("the service refuses a WebSocket at {path}, without a token, with {}", refusal.status);
            match refusal.status {
                StatusCode::NOT_FOUND => {
                    Finding::fail(CHECK, found).fix("is the path of [[websocket]] that of the service?")
                }
                _ => Finding::warn(CHECK, found),
            }
        }
        Err(error) => Finding::fail(CHECK, format!("the route {path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{cli::doctor::finding::Status, wire::websocket::handshake::AnswerError};

    fn opened(max_payload: Option<u64>) -> Shaken {
        let sid = "a".to_owned();
        Shaken::Opened(ServiceOpen { sid, ping_interval_ms: 25_000, ping_timeout_ms: 20_000, max_payload })
    }

    fn refused(status: u16, message: &str) -> Shaken {
        use crate::relay::dial_answer::ServiceRefusal;
        let status = StatusCode::from_u16(status).unwrap();
        Shaken::NotDialled(DialError::Refused(ServiceRefusal { status, message: message.into() }))
    }

    #[test]
    fn each_answer_is_told_with_its_reason() {
        let address = || "127.0.0.1:4003".to_owned();
        let (within, source) = (Duration::from_secs(5), || io::Error::from(io::ErrorKind::ConnectionRefused));
        for (shaken, status, part) in [
            (opened(None), Status::Ok, "a ping every 25000 ms"),
            (opened(Some(1_000_000)), Status::Ok, "Engine.IO 4"),
            (opened(Some(1000)), Status::Warn, "over 1000 bytes"),
            (Shaken::OldServer, Status::Fail, "Socket.IO 2"),
            (Shaken::NotOpened("no open packet".to_owned()), Status::Fail, "no open packet"),
            (refused(404, "Not Found"), Status::Fail, "404"),
            (refused(401, "Unauthorized"), Status::Warn, "refuses a handshake without a token"),
            (refused(403, "Forbidden"), Status::Warn, "403"),
            (refused(400, "Transport unknown"), Status::Fail, "400"),
            (
                Shaken::NotDialled(DialError::Connect { address: address(), source: source() }),
                Status::Fail,
                "cannot connect",
            ),
            (
                Shaken::NotDialled(DialError::Tls { address: address(), why: "expired".to_owned() }),
                Status::Fail,
                "expired",
            ),
            (
                Shaken::NotDialled(DialError::Timeout { address: address(), within, connected: true }),
                Status::Fail,
                "within 5s",
            ),
            (Shaken::NotDialled(DialError::Http(source())), Status::Fail, "did not answer the handshake"),
            (Shaken::NotDialled(DialError::Answer(AnswerError::Accept)), Status::Fail, "Sec-WebSocket-Accept"),
        ] {
            let finding = judge(&shaken, &Config::default(), false);
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(finding.found.contains(part), "{finding:?}");
        }
        let fix = |shaken| judge(&shaken, &Config::default(), false).fix.unwrap();
        assert!(fix(refused(404, "Not Found")).contains("socketio.path"));
        assert!(fix(refused(400, "Transport unknown")).contains("\"websocket\""));
        let plain = judge(&refused(404, "Not Found"), &Config::default(), true);
        assert_eq!(plain.status, Status::Warn, "{plain:?}");
    }

    #[test]
    fn a_route_is_answered_or_refused() {
        let Shaken::NotDialled(unknown) = refused(404, "Not Found") else { unreachable!() };
        let Shaken::NotDialled(guarded) = refused(401, "Unauthorized") else { unreachable!() };
        for (opened, status) in [(Ok(()), Status::Ok), (Err(&guarded), Status::Warn), (Err(&unknown), Status::Fail)] {
            assert_eq!(judge_route("/ws", opened).status, status);
        }
    }
}
