//! What a client of Socket.IO sees of a gate: `--handshake URL`.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use serde_json::{Value, json};

use super::{
    finding::Finding,
    request::{self, PATIENCE},
    websocket::Socket,
};
use crate::{
    cli::{failure::DoctorError, output::clean_message},
    relay::{
        dial::{Dialler, PackedRequest, UpstreamTable, UpstreamTlsTable},
        dial_error::DialError,
    },
    tls::upstream::UpstreamTls,
    units::Secret,
    wire::engineio::open::ServiceOpen,
};

const CHECK: &str = "handshake";
/// As in `socketio.path`, where the URL has no path.
const PATH: &str = "/socket.io/";
/// What separates the packets of one payload (engine.io-protocol v4).
const SEPARATOR: char = '\u{1e}';
/// So many answers without one to the CONNECT are read.
const POLLS_MAX: usize = 8;
const EXAMPLE: &str = "auth.missing";

/// The gate, and what is said to it.
pub(super) struct Client {
    gate: Dialler,
    path: String,
    /// As it stands in JSON, and in a header.
    token: Option<(String, HeaderValue)>,
}

/// How a CONNECT was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// There is a session.
    Connected,
    /// `CONNECT_ERROR`: its code, if it is one of the gate, and its message.
    Refused { code: Option<String>, message: String },
    /// The gate does not take this transport.
    NoTransport,
    /// It has come to nothing.
    Failed(String),
}

impl Client {
    /// `ca`: a file with the authorities that may sign the gate's certificate, in place of those of this machine.
    pub(super) fn new(url: &str, ca: Option<PathBuf>, token: Option<Secret>) -> Result<Self, DoctorError> {
        let wrong = || DoctorError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (scheme, authority) = (uri.scheme_str().ok_or_else(wrong)?, uri.authority().ok_or_else(wrong)?);
        if !matches!(scheme, "http" | "https") || uri.query().is_some() {
            return Err(wrong());
        }
        let path = if uri.path() == "/" { PATH } else { uri.path() }.to_owned();
        let tls = (scheme == "https").then(|| UpstreamTlsTable { ca, ..UpstreamTlsTable::default() });
        let table = UpstreamTable { url: format!("{scheme}://{authority}"), tls, ..UpstreamTable::default() };
        let tls = UpstreamTls::compile(&table, SystemTime::now());
        let tls = tls.map_err(|fault| DoctorError::Server(as_of_the_option(&fault.to_string())))?;
        let gate = Dialler::compile(&table, tls.map(|tls| Arc::new(tls) as _)).map_err(|_| wrong())?;
        let token = token.map(|token| {
            let unfit = || DoctorError::Token("has characters that no token has".to_owned());
            let text = std::str::from_utf8(token.expose()).map_err(|_| unfit())?.trim().to_owned();
            let mut bearer = HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| unfit())?;
            bearer.set_sensitive(true);
            Ok((text, bearer))
        });
        Ok(Self { gate, path, token: token.transpose()? })
    }

    pub(super) async fn check(&self) -> Vec<Finding> {
        let (polling, websocket) = tokio::join!(self.by_polling(), self.by_websocket());
        judge_both(&[("polling", polling), ("websocket", websocket)], self.token.is_some())
    }

    fn headers(&self) -> HeaderMap {
        let bearer = self.token.iter().map(|(_, bearer)| (header::AUTHORIZATION, bearer.clone()));
        bearer.collect()
    }

    /// The packet that asks for the main namespace.
    fn connect(&self) -> String {
        self.token.as_ref().map_or_else(|| "40".to_owned(), |(token, _)| format!("40{}", json!({ "token": token })))
    }

    async fn by_polling(&self) -> Outcome {
        self.polled().await.unwrap_or_else(Outcome::Failed)
    }

    async fn polled(&self) -> Result<Outcome, String> {
        let target = format!("{}?EIO=4&transport=polling", self.path);
        let mut headers = self.headers();
        let opened = request::get(&self.gate, &target, headers.clone()).await?;
        if !opened.status.is_success() {
            return Ok(not_opened(opened.status.as_u16(), &opened.text()));
        }
        let open = ServiceOpen::parse(&opened.body).map_err(|error| error.to_string())?;
        // Balancers route by it.
        let cookies = opened
            .headers
            .get_all(header::SET_COOKIE)
            .iter()
            .filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        if let Some(cookies) = Some(cookies).filter(|cookies| !cookies.is_empty()) {
            headers.extend([(header::COOKIE, HeaderValue::try_from(cookies).map_err(|error| error.to_string())?)]);
        }
        let target = format!("{target}&sid={}", open.sid);
        let said = request::send(&self.gate, &target, headers.clone(), Some(self.connect())).await?;
        if !said.status.is_success() {
            return Err(format!("the CONNECT was answered with {}", said.brief()));
        }
        for _ in 0..POLLS_MAX {
            let heard = request::get(&self.gate, &target, headers.clone()).await.map_err(|why| after_connect(&why))?;
            if !heard.status.is_success() {
                return Err(format!("a poll was answered with {}", heard.brief()));
            }
            if let Some(outcome) = heard.text().split(SEPARATOR).find_map(answer) {
                let _ = request::send(&self.gate, &target, headers, Some("1".to_owned())).await;
                return Ok(outcome);
            }
        }
        Err("no answer to the CONNECT came".to_owned())
    }

    async fn by_websocket(&self) -> Outcome {
        let headers = self.headers();
        let headers = headers.iter().collect::<Vec<(&HeaderName, &HeaderValue)>>();
        let request = PackedRequest::new(&format!("{}?EIO=4&transport=websocket", self.path), headers, Vec::new());
        match Socket::open(&self.gate, &request).await {
            Ok(socket) => self.spoken(socket).await.unwrap_or_else(Outcome::Failed),
            Err(DialError::Refused(refusal)) => not_opened(refusal.status.as_u16(), &refusal.message),
            Err(error) => Outcome::Failed(of_the_gate(&error)),
        }
    }

    async fn spoken(&self, mut socket: Socket) -> Result<Outcome, String> {
        socket.opened(PATIENCE).await?;
        socket.say(self.connect()).await?;
        for _ in 0..POLLS_MAX {
            let text = socket.text(PATIENCE).await.map_err(|why| after_connect(&why))?;
            if text == "2" {
                socket.say("3".to_owned()).await?;
            }
            if let Some(outcome) = answer(&text) {
                socket.leave().await;
                return Ok(outcome);
            }
        }
        Err("no answer to the CONNECT came".to_owned())
    }
}

/// The keys of `[upstream.tls]` by the options that set them here.
fn as_of_the_option(fault: &str) -> String {
    fault.replace("upstream.tls.ca", "--ca")
}

/// The errors of dials speak of the service; here it is the gate.
fn of_the_gate(error: &DialError) -> String {
    as_of_the_option(&error.to_string()).replace("the service", "the gate")
}

/// The gate is there: what does not come is the answer of its service.
fn after_connect(why: &str) -> String {
    format!("the CONNECT is not answered: {why}")
}

/// What a packet says of the CONNECT. `None`: it is another one.
fn answer(packet: &str) -> Option<Outcome> {
    if packet.starts_with("40") {
        return Some(Outcome::Connected);
    }
    let error: Value = serde_json::from_str(packet.strip_prefix("44")?).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(Outcome::Refused {
        code: error.pointer("/data/code").and_then(text),
        message: error.get("message").and_then(text).unwrap_or_default(),
    })
}

/// Engine.IO answers `{"code":0,"message":"Transport unknown"}` to one that is off.
fn not_opened(status: u16, body: &str) -> Outcome {
    let message = serde_json::from_str::<Value>(body).ok();
    let message = message.as_ref().and_then(|error| error.get("message")?.as_str()).unwrap_or(body);
    match (status, message) {
        (400, "Transport unknown") => Outcome::NoTransport,
        (404, _) => Outcome::Failed("404: there is no gate at this path; add socketio.path to the URL".to_owned()),
        _ => Outcome::Failed(format!("{status}: {}", clean_message(message))),
    }
}

fn judge_both(outcomes: &[(&str, Outcome); 2], with_token: bool) -> Vec<Finding> {
    let off = |(_, outcome): &(&str, Outcome)| *outcome == Outcome::NoTransport;
    if outcomes.iter().all(off) {
        return vec![Finding::fail(CHECK, "neither polling nor websocket is taken").fix("see socketio.transports")];
    }
    outcomes.iter().map(|(transport, outcome)| judge(transport, outcome, with_token)).collect()
}

fn judge(transport: &str, outcome: &Outcome, with_token: bool) -> Finding {
    match outcome {
        Outcome::Connected if with_token => Finding::ok(CHECK, format!("{transport}: the gate lets this token in")),
        Outcome::Connected => {
            Finding::ok(CHECK, format!("{transport}: a session is opened without a token (auth.required is false)"))
        }
        Outcome::Refused { code, .. } if !with_token && code.as_deref() == Some(EXAMPLE) => Finding::ok(
            CHECK,
            format!("{transport}: the gate answers, and lets nobody in without a token (auth.missing)"),
        ),
        Outcome::Refused { code, message } => {
            let code = code.as_deref().map_or_else(String::new, |code| format!(" ({code})"));
            let finding = Finding::fail(CHECK, format!("{transport}: the client is refused: {message}{code}"));
            match with_token {
                true => finding.fix("docs/tokens.md says what each code means; the log of the gate says more"),
                false => finding.fix("see the log of the gate"),
            }
        }
        Outcome::NoTransport => Finding::skip(CHECK, format!("{transport}: it is not in socketio.transports")),
        Outcome::Failed(why) => Finding::fail(CHECK, format!("{transport}: {why}"))
            .fix("does the gate run, is it ready, and is its service there?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Status;

    fn refused(code: &str) -> Outcome {
        Outcome::Refused { code: Some(code.to_owned()), message: "No".to_owned() }
    }

    #[test]
    fn packets_are_known_by_their_beginning() {
        for (packet, expected) in [
            (r#"40{"sid":"a"}"#, Some(Outcome::Connected)),
            (r#"44{"message":"No","data":{"code":"auth.missing"}}"#, Some(refused("auth.missing"))),
            (r#"44{"message":"No"}"#, Some(Outcome::Refused { code: None, message: "No".to_owned() })),
            ("2", None),
            ("6", None),
            (r#"42["a"]"#, None),
        ] {
            assert_eq!(answer(packet), expected, "{packet}");
        }
    }

    #[test]
    fn a_client_without_a_token_is_not_let_in_and_that_is_well() {
        for (outcome, without, with) in [
            (Outcome::Connected, Status::Ok, Status::Ok),
            (refused("auth.missing"), Status::Ok, Status::Fail),
            (refused("auth.invalid"), Status::Fail, Status::Fail),
            (Outcome::Refused { code: None, message: "No".to_owned() }, Status::Fail, Status::Fail),
            (Outcome::NoTransport, Status::Skip, Status::Skip),
            (Outcome::Failed("no".to_owned()), Status::Fail, Status::Fail),
        ] {
            let statuses = [false, true].map(|with_token| judge("polling", &outcome, with_token).status);
            assert_eq!(statuses, [without, with], "{outcome:?}");
        }
        let neither = judge_both(&[("polling", Outcome::NoTransport), ("websocket", Outcome::NoTransport)], false);
        assert_eq!((neither.len(), neither[0].status), (1, Status::Fail));
        let one = judge_both(&[("polling", Outcome::NoTransport), ("websocket", Outcome::Connected)], true);
        assert_eq!([one[0].status, one[1].status], [Status::Skip, Status::Ok]);
    }

    #[test]
    fn a_url_is_that_of_a_gate() {
        let path = |url: &str| Client::new(url, None, None).map(|client| client.path);
        assert_eq!(path("http://gate:8443").unwrap(), "/socket.io/");
        assert_eq!(path("http://gate:8443/chat/").unwrap(), "/chat/");
        for wrong in ["", "gate", "gate:8443", "ws://gate", "http://gate/?a=b", "http://u@gate", "ftp://gate"] {
            assert!(matches!(path(wrong), Err(DoctorError::Url(_))), "{wrong}");
        }
    }

    #[test]
    fn what_does_not_open_is_told_with_its_status() {
        assert_eq!(not_opened(400, r#"{"code":0,"message":"Transport unknown"}"#), Outcome::NoTransport);
        assert_eq!(not_opened(400, "Transport unknown"), Outcome::NoTransport);
        assert_eq!(not_opened(503, r#"{"message":"Full"}"#), Outcome::Failed("503: Full".to_owned()));
    }
}
