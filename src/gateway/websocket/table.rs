//! `[[websocket]]`: the table of one plain WebSocket route, and the route it compiles to.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    fault::{Fault, Faults},
    gateway::websocket::route::PlainRoute,
    policy::{
        namespaces::Namespaces,
        rate_limit::{Exceeded, Instead},
    },
    session::{
        json::{BridgeRules, EVENT_FIELD},
        plain::{OnUpstreamLoss, PlainRules},
        quality::ping_rules::PING_ID,
        replay::ReplayRules,
        route_answers::{EXPIRED_CLOSE, LIMIT_CLOSE, RefusalText, RouteAnswers},
        table::SocketioTable,
    },
    wire::{socketio::peek::is_namespace, websocket::close_code::CloseCode},
};

/// One `[[websocket]]`: a plain WebSocket route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebsocketTable {
    /// The path, exactly, or with `/*` at its end: then whatever follows the slash, one segment or several, is part of the
    /// path, and the service is asked for the path that the client asked for. An exact path goes before one with `*`, a longer
    /// one before a shorter one.
    #[schemars(example = &"/ws")]
    pub path: String,
    /// The field of a JSON message that names the event, for limits and metrics. Without it every message is `message`. With
    /// it, a message is refused that begins as a JSON object and cannot be read, and binary that is no JSON counts in every
    /// limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"type")]
    pub event_field: Option<String>,
    /// The namespace of the service's Socket.IO that clients of this route reach by JSON messages,
    /// `{"type":"EVENT","member":1}`, without `socket.io-client`: docs/bridge.md. `event_field` is `"type"` then, unless it is
    /// given. The service is held as `[session]` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/")]
    pub bridge: Option<String>,
    /// What happens to a client when the service is lost: `"close"` closes it with code 1012; `"hold"` keeps it, and
    /// its messages wait as `[session]` says. Use `"hold"` only if the service treats a new connection like the old
    /// one, apart from the messages that are replayed.
    #[serde(default)]
    #[schemars(example = OnUpstreamLoss::Hold)]
    pub on_upstream_loss: OnUpstreamLoss,
    /// With `"hold"`, how many of the client's first messages are replayed when the service is back, at most 8. The
    /// answers to them reach the client.
    #[serde(default)]
    #[schemars(range(max = 8), example = 1)]
    pub replay_first: u8,
    /// With `"hold"`, messages of these events are replayed too, each text once: names, or patterns with `*`. At most 8
    /// messages and 16 KiB are kept; a client that sent more is closed when the service is lost.
    #[serde(default)]
    #[schemars(example = ["subscribe"])]
    pub replay_events: Vec<String>,
    /// What happens to a message over a limit, whatever `rate_limit` says: `"drop"`, `"delay"`, `"close"`, or, beside
    /// `event_field`, `"reply"`. Without it `rate_limit` decides; but on a route without `event_field`, which may carry any
    /// protocol, `"close"` takes the place of `"reply"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = Exceeded::Reply)]
    pub exceeded: Option<Exceeded>,
    /// The text that answers a refused message. `${NAME}` in it is the field of that name in the message, a string or a number
    /// as it was written; then each such message is answered, and one without the field is not. Without `${NAME}` the answer
    /// is given once in the `per` of the limit. `""`: there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &r#"{"id":${id},"type":"error","payload":[{"message":"Rate limit exceeded"}]}"#)]
    pub refusal: Option<String>,
    /// The close code when the token expires. After 1012, the default, all known clients come back by themselves.
    #[serde(default = "expired_close")]
    #[schemars(range(min = 1000, max = 4999), example = 4403)]
    pub expired_close: u16,
    /// The close code when a limit ends the connection, 1013 by default: a rate limit, `limits.idle_timeout`, pings without an
    /// answer.
    #[serde(default = "limit_close")]
    #[schemars(range(min = 1000, max = 4999), example = 4429)]
    pub limit_close: u16,
}

const fn expired_close() -> u16 {
    EXPIRED_CLOSE.get()
}

const fn limit_close() -> u16 {
    LIMIT_CLOSE.get()
}

impl Default for WebsocketTable {
    /// A route that has yet to get its path.
    fn default() -> Self {
        Self {
            path: String::new(),
            event_field: None,
            bridge: None,
            on_upstream_loss: OnUpstreamLoss::default(),
            replay_first: 0,
            replay_events: Vec::new(),
            exceeded: None,
            refusal: None,
            expired_close: expired_close(),
            limit_close: limit_close(),
        }
    }
}

/// The members beside the name of what the gate itself says on a bridged route: in acks, `connected`, `connect_error`, `error` and
/// `quality_pong`. A name there would be a second member of the same name.
const TAKEN: [&str; 8] = ["ackId", "args", "sid", "message", "data", "error", "rateLimited", PING_ID];

impl WebsocketTable {
    /// Compiles the route; `at` is its number in the file. `may_hold` is false where `session.hold` is zero, `answers_pings`
    /// where `quality.ping_event` is empty.
    ///
    /// # Errors
    /// Each key that makes no sense beside the others, or has an invalid pattern.
    pub fn compile(
        &self,
        at: usize,
        socketio: &SocketioTable,
        (may_hold, answers_pings): (bool, bool),
    ) -> Result<PlainRoute, Vec<Fault>> {
        match &self.bridge {
            Some(namespace) => self.compile_bridge(at, namespace, socketio).map(Arc::new).map(PlainRoute::Bridge),
            None => self.compile_plain(at, may_hold, answers_pings).map(Arc::new).map(PlainRoute::Plain),
        }
    }

    /// A route whose clients speak JSON with a Socket.IO service.
    fn compile_bridge(&self, at: usize, namespace: &str, socketio: &SocketioTable) -> Result<BridgeRules, Vec<Fault>> {
        let table = format!("websocket[{at}]");
        let key = |key: &str| format!("{table}.{key}");
        let mut faults = Faults::default();
        if let Some(message) = wrong_namespace(namespace, socketio) {
            faults.add(key("bridge"), message);
        }
        if let Some(field) = self.event_field.as_deref().filter(|field| field.is_empty() || TAKEN.contains(field)) {
            let message = format!(
                "is {field:?}, which a bridged route cannot use for names, because what Tidegate says there has other members \
                 of that name; write another one, or leave it out for \"type\""
            );
            faults.add(key("event_field"), message);
        }
        let of_session = "the service of a bridged route is held as session.hold says, and asked for the namespace again by \
                          Tidegate; leave it out";
        let of_limits =
            "messages of a bridged route are refused as Socket.IO events are, by rate_limit.exceeded; leave it out";
        let senseless = [
            ("on_upstream_loss", self.on_upstream_loss != OnUpstreamLoss::default(), of_session),
            ("replay_first", self.replay_first > 0, of_session),
            ("replay_events", !self.replay_events.is_empty(), of_session),
            ("exceeded", self.exceeded.is_some(), of_limits),
            ("refusal", self.refusal.is_some(), of_limits),
        ];
        for (name, _, why) in senseless.into_iter().filter(|(_, given, _)| *given) {
            faults.add(key(name), format!("is given beside bridge; {why}"));
        }
        let answers = faults.keep(Self { exceeded: None, refusal: None, ..self.clone() }.answers(&table));
        let rules = answers.map(|answers| BridgeRules {
            path: self.path.as_str().into(),
            namespace: namespace.into(),
            event_field: self.event_field.as_deref().unwrap_or(EVENT_FIELD).into(),
            service_path: socketio.path.as_str().into(),
            answers: Arc::new(answers),
        });
        faults.finish(rules)
    }

    fn compile_plain(&self, at: usize, may_hold: bool, answers_pings: bool) -> Result<PlainRules, Vec<Fault>> {
        let table = format!("websocket[{at}]");
        let key = |key: &str| format!("{table}.{key}");
        let mut faults = Faults::default();
        let holds = self.on_upstream_loss == OnUpstreamLoss::Hold;
        if holds && !may_hold {
            let message = "is \"hold\", but session.hold is \"0s\", which holds no client; give session.hold a time, or write \
                           \"close\"";
            faults.add(key("on_upstream_loss"), message);
        }
        let says_again = [("replay_first", self.replay_first > 0), ("replay_events", !self.replay_events.is_empty())];
        for (name, _) in says_again.into_iter().filter(|(_, given)| !holds && *given) {
            let message = "is given, but no client is held here; write on_upstream_loss = \"hold\" beside it";
            faults.add(key(name), message);
        }
        if !self.replay_events.is_empty() && self.event_field.is_none() {
            faults.add(key("replay_events"), "needs event_field, which says where a message names its event");
        }
        if answers_pings && self.event_field.as_deref() == Some(PING_ID) {
            let message = format!(
                "is {PING_ID:?}, of which the answer to a ping has another member; write another one, or \
                 quality.ping_event = \"\" for no answers to pings"
            );
            faults.add(key("event_field"), message);
        }
        let replay = faults.keep(ReplayRules::compile(&table, self.replay_first.into(), &self.replay_events));
        let answers = faults.keep(self.answers(&table));
        let rules = replay.zip(answers).map(|(replay, answers)| PlainRules {
            path: self.path.as_str().into(),
            event_field: self.event_field.as_deref().map(Into::into),
            on_upstream_loss: self.on_upstream_loss,
            replay,
            answers: Arc::new(answers),
        });
        faults.finish(rules)
    }

    /// What is said to a client in the gate's own name. `table`: how messages call the route.
    fn answers(&self, table: &str) -> Result<RouteAnswers, Vec<Fault>> {
        let mut faults = Faults::default();
        let fault = |key: &str, message: String| Fault::new(format!("{table}.{key}"), message);
        let instead = match (self.exceeded, &self.event_field) {
            (Some(Exceeded::Reply), None) => {
                let message = "is \"reply\", but the route has no event_field: its messages may be of any protocol, in which \
                               an answer of Tidegate is a fault. Write event_field beside it, or \"drop\", \"delay\" or \"close\"";
                faults.keep(Err::<(), _>(fault("exceeded", message.to_owned())));
                Instead::NoReply
            }
            (Some(exceeded), _) => Instead::Always(exceeded),
            (None, Some(_)) => Instead::AsRule,
            (None, None) => Instead::NoReply,
        };
        let may_reply = matches!(instead, Instead::AsRule | Instead::Always(Exceeded::Reply));
        if self.refusal.is_some() && !may_reply && self.exceeded != Some(Exceeded::Reply) {
            let message =
                "has no effect: it is what \"reply\" sends, which needs event_field and no other exceeded beside it";
            faults.keep(Err::<(), _>(fault("refusal", message.to_owned())));
        }
        let refusal = match &self.refusal {
            Some(text) => RefusalText::compile(text).map_err(|message| fault("refusal", message)),
            None => Ok(RefusalText::default()),
        };
        let refusal = faults.keep(refusal);
        let close = |key: &str, number: u16| {
            let code = CloseCode::new(number);
            let range = "it must be 1000 to 1003, 1007 to 1014, or 3000 to 4999";
            if code.may_be_sent() { Ok(code) } else { Err(fault(key, format!("is {number}; {range}"))) }
        };
        let expired = faults.keep(close("expired_close", self.expired_close));
        let limit = faults.keep(close("limit_close", self.limit_close));
        let answers = || Some(RouteAnswers { instead, refusal: refusal?, expired: expired?, limit: limit? });
        let answers = answers();
        faults.finish(answers)
    }
}

/// Why a bridged route cannot lead to this namespace, as the rest of a sentence. `None`: it can.
fn wrong_namespace(namespace: &str, socketio: &SocketioTable) -> Option<String> {
    if !is_namespace(namespace) {
        return Some(format!(
            "is {namespace:?}; a namespace begins with \"/\" and has no ',', '?' or control character"
        ));
    }
    // What is wrong with the list itself is told where it is compiled.
    let allowed = Namespaces::compile("socketio.namespaces", &socketio.namespaces).ok()?;
    (!allowed.admits(namespace)).then(|| {
        format!("is {namespace:?}, which socketio.namespaces does not list; add it there, or write one that is listed")
    })
}
