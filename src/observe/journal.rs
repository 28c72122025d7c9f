//! The log: lines of sessions, of what is refused, of the service, and of the process. Plain fields in. docs/log.md has
//! all of them.
//!
//! No line contains a token, a session id of a client, a payload or a query string, and writing one never blocks the
//! thread. Of a message in Redis that nobody can read, the first 16 bytes are told. Lines of libraries are not written, at any level: they do not know what is secret.

use std::{fmt, io, net::IpAddr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{Subscriber, debug, error, info, level_filters::LevelFilter, trace, warn};
use tracing_subscriber::{Layer, Registry, filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt, reload};

use super::{
    line_limit::Suppressed,
    refusals::{Refused, clip, escaped, setting},
    stderr::Stderr,
};
use crate::network::Network;

/// How many lines with this key were left out before this one. `None`: this one is left out too, for ten were written in this
/// second. Each place that asks counts for itself.
macro_rules! admitted {
    ($key:expr) => {
        admitted!($key, &'static str)
    };
    ($key:expr, $type:ty) => {{
        use std::sync::{LazyLock, Mutex, PoisonError};

        use $crate::observe::line_limit::LineLimit;
        static LIMIT: LazyLock<Mutex<LineLimit<$type>>> =
            LazyLock::new(|| Mutex::new(LineLimit::new(std::time::Instant::now())));
        LIMIT.lock().unwrap_or_else(PoisonError::into_inner).admit($key, std::time::Instant::now())
    }};
}

pub mod nodes;

/// `[log]`: the log, on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogTable {
    /// How a line is written.
    pub format: LogFormat,
    /// The least severe lines that are written.
    pub level: LogLevel,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Text,
}

/// The least severe line that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What needs somebody now.
    Error,
    /// What somebody should look at.
    Warn,
    /// Sessions, refused handshakes and the life of the process.
    Info,
    /// Retries one by one.
    Debug,
    /// Everything of Tidegate.
    Trace,
}

impl Default for LogTable {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: LogLevel::Info }
    }
}

/// Why the log cannot start.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The thread that writes cannot start.
    #[error("cannot start the thread that writes the log: {0}; raise the limit of threads of this user or container")]
    Thread(#[source] io::Error),
    /// [`init`] was called before.
    #[error("the log is set up already; set it up once per process")]
    AlreadySetUp,
}

/// The running log. The functions of this module write lines; this type sets the level and flushes.
#[derive(Debug, Clone)]
pub struct Journal {
    level: reload::Handle<LevelFilter, Registry>,
    stderr: Stderr,
}

/// Sets up the log of the process, once.
///
/// # Errors
/// The thread that writes could not be started, or the log is set up already.
pub fn init(table: &LogTable) -> Result<Journal, JournalError> {
    let stderr = Stderr::start().map_err(JournalError::Thread)?;
    let line_writer = stderr.clone();
    let (level, handle) = reload::Layer::new(LevelFilter::from(table.level));
    tracing::subscriber::set_global_default(subscriber(table.format, level, move || line_writer.clone()))
        .map_err(|_| JournalError::AlreadySetUp)?;
    Ok(Journal { level: handle, stderr })
}

impl Journal {
    /// Sets the least severe level that is written.
    pub fn set_level(&self, level: LogLevel) {
        // Fails only without the subscriber, and then no line is written.
        let _ = self.level.reload(LevelFilter::from(level));
    }

    /// Waits until all lines so far are written, but at most `patience`: standard error may be blocked.
    pub fn flush(&self, patience: Duration) {
        self.stderr.flush(patience);
    }

    /// Lines lost because standard error was not read fast enough.
    #[must_use]
    pub fn lines_lost(&self) -> u64 {
        self.stderr.lost()
    }
}

/// The fields of every line of a session.
#[derive(Debug, Clone)]
pub struct SessionFields<'a> {
    /// The number of the session in this process.
    pub id: u64,
    /// The hash of the Engine.IO session id, which is a secret. `None` on a plain WebSocket route.
    pub sid_hash: Option<&'a str>,
    /// The user of the verified token, if there is one.
    pub user: Option<&'a str>,
    /// The client's address.
    pub peer: IpAddr,
    /// `websocket`, `polling`, or `none` while the client is absent.
    pub transport: &'static str,
    /// The path of the plain WebSocket route. `None` on the Socket.IO endpoint.
    pub route: Option<&'a str>,
    /// The namespaces that are joined, or of a client that has left them all, those of the line before.
    pub namespaces: &'a [String],
}

/// The fields of a session's last line.
#[derive(Debug, Clone)]
pub struct Ended<'a> {
    /// The fields of every line.
    pub session: &'a SessionFields<'a>,
    /// How long it was open.
    pub duration: Duration,
    /// For how long its client has been absent, if it ends so.
    pub absent: Option<Duration>,
    /// Packets from the client.
    pub packets_received: u64,
    /// Packets to the client.
    pub packets_sent: u64,
    /// Packets from the client that a policy did not forward.
    pub packets_refused: u64,
    /// Packets from the client that waited for the service and never reached it.
    pub packets_unsent: u64,
    /// The reason of the end; the label `reason` of `websocket_disconnections_total`.
    pub cause: &'a str,
    /// The side that caused the end: the client, the service, the gate or the network.
    pub fault: &'a str,
    /// The key of the configuration that sets the rule which ended it, if one does.
    pub setting: Option<&'static str>,
}

/// Whether the lines of a session are written: what they are made of need not be gathered otherwise.
#[must_use]
pub fn writes_sessions() -> bool {
    tracing::enabled!(tracing::Level::INFO)
}

/// A line of one session: its own fields, those that are given, and the sentence.
macro_rules! session_line {
    ($session:expr, $sentence:literal $(, $name:ident = $value:expr)*) => {
        info!(
            id = $session.id,
            sid_hash = $session.sid_hash,
            user = $session.user.map(clip),
            peer = %$session.peer,
            transport = $session.transport,
            route = $session.route,
            namespaces = $session.route.is_none().then(|| $session.namespaces.join(",")).as_deref().map(clip),
            $($name = $value,)*
            $sentence
        )
    };
}

/// The first line of a session.
pub fn session_opened(session: &SessionFields<'_>) {
    session_line!(session, "session opened");
}

/// A line when the client is lost and the session `waits` for it for so long at most.
pub fn session_absent(session: &SessionFields<'_>, cause: &str, fault: &str, waits: Duration) {
    session_line!(
        session,
        "session absent",
        cause = cause,
        fault = fault,
        waits_seconds = seconds(waits),
        setting = "session.resume"
    );
}

/// A line when the client is back, after it was absent for so long.
pub fn session_back(session: &SessionFields<'_>, absent: Duration) {
    session_line!(session, "session back", absent_seconds = seconds(absent));
}

/// The last line of a session.
pub fn session_ended(ended: &Ended<'_>) {
    session_line!(
        ended.session,
        "session ended",
        duration_seconds = seconds(ended.duration),
        absent_seconds = ended.absent.map(seconds),
        packets_received = ended.packets_received,
        packets_sent = ended.packets_sent,
        packets_refused = ended.packets_refused,
        packets_unsent = ended.packets_unsent,
        cause = ended.cause,
        fault = ended.fault,
        setting = ended.setting
    );
}

/// To a millisecond.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

/// How many lines of this peer and reason were left out before this one. `None`: this one is left out too.
fn admitted(peer: IpAddr, reason: &'static str) -> Option<Suppressed> {
    if tracing::enabled!(tracing::Level::INFO) {
        admitted!((Network::from(peer), reason), (Network, &'static str))
    } else {
        None
    }
}

/// What a refusal at this stage keeps out.
fn what_is_refused(stage: &str) -> &'static str {
    match stage {
        "handshake" => "handshake refused",
        "connect" => "namespace refused",
        "namespace" => "namespace ended",
        "session" => "session refused",
        _ => "request refused",
    }
}

/// A line for something that is refused, at most ten a second for each peer and reason. The next line has the number of those
/// left out.
pub fn refused(refused: &Refused<'_>) {
    let Some(suppressed) = admitted(refused.peer, refused.reason) else { return };
    info!(
        peer = %refused.peer,
        stage = refused.stage,
        reason = refused.reason,
        origin = refused.origin.map(clip),
        asked = refused.asked.map(clip),
        why = refused.why.map(escaped),
        seen = refused.seen.map(escaped),
        setting = refused.setting.or_else(|| setting(refused.stage, refused.reason)),
        suppressed,
        "{}",
        what_is_refused(refused.stage)
    );
}

/// A line for a polling client that is not offered an upgrade. Limited like a refused handshake.
pub fn no_upgrade_offered(peer: IpAddr) {
    let Some(suppressed) = admitted!("upgrade") else { return };
    info!(
        %peer,
        setting = "socketio.upgrade_without_token",
        suppressed,
        "no upgrade is offered: the token is in the Authorization header, which a browser cannot send with one"
    );
}

/// A line for a client that exceeds a bound: the rule, as metrics name it, and the setting. Limited like a refused handshake.
pub fn over_bound(peer: IpAddr, rule: &'static str, setting: &'static str) {
    let Some(suppressed) = admitted!(rule) else { return };
    info!(%peer, rule, setting, suppressed, "a client exceeds a bound");
}

/// A line for a queue that is full, `hold` or `resume`, with the event that takes most of it. Limited like a refused
/// handshake.
pub fn queue_full(peer: IpAddr, queue: &'static str, event: &str) {
    let Some(suppressed) = admitted!(queue) else { return };
    warn!(
        %peer,
        queue,
        event = clip(event),
        setting = "session.queue_packets, session.queue_bytes, session.volatile_events",
        suppressed,
        "a queue is full, mostly of one event"
    );
}

/// A line for a session that does not wait for its absent client, because of the limit that `key` sets. Limited like a
/// refused handshake.
pub fn session_not_kept(peer: IpAddr, reason: &'static str, key: &'static str) {
    let Some(suppressed) = admitted!(reason) else { return };
    warn!(
        %peer,
        reason,
        suppressed,
        "the session of an absent client is not kept: {key}"
    );
}

/// A line for a failed TLS handshake. Limited like a refused handshake. Scanners and health checks fail all day, so its
/// level is debug.
pub fn tls_failed(peer: IpAddr, reason: &'static str, why: &dyn fmt::Display) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let Some(suppressed) = admitted!(reason) else { return };
    debug!(%peer, reason, suppressed, "TLS handshake failed: {why}");
}

/// A line for a client that the service does not take, or whose dial fails while others pass: it says nothing of the service
/// as a whole. At most ten a second for each peer.
pub fn client_not_taken(peer: IpAddr, why: &dyn fmt::Display) {
    let Some(suppressed) = admitted(peer, "service") else { return };
    info!(%peer, suppressed, "the service does not take this client: {why}");
}

/// A line when the service does not answer any more, with the first dial that failed: one for each outage of the node.
pub fn service_gone(why: &dyn fmt::Display) {
    repeated_warning(
        "service",
        &format_args!("the service is down; clients that had it stay connected for session.hold: {why}"),
    );
}

/// A line for a further dial that failed while the service is down. Limited like a refused handshake.
pub fn service_still_gone(why: &dyn fmt::Display) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let Some(suppressed) = admitted!("service") else { return };
    debug!(suppressed, "the service is still down: {why}");
}

/// A line when the service begins to refuse websockets, which is all that the gate speaks with it.
pub fn service_lacks_websocket() {
    warn!(
        "the service's Engine.IO takes no websocket, and Tidegate dials it by websocket whatever its clients use: no client \
         gets in; add \"websocket\" to the service's own option transports"
    );
}

/// A line when it takes them again.
pub fn service_takes_websocket() {
    info!("the service's Engine.IO takes websockets again");
}

/// A line when the service is connected again.
pub fn service_back(down: Duration) {
    info!(down_seconds = down.as_secs_f64(), "the service is back");
}

/// A line for a client that is closed for what it sends to the service. Limited like a refused handshake.
pub fn service_objected(peer: IpAddr) {
    let Some(suppressed) = admitted!("objection") else { return };
    warn!(
        %peer,
        suppressed,
        "the service closes the connection after packets of this client, and no other: it is not held"
    );
}

/// A line for a client whose packets another parser writes. Limited like a refused handshake.
pub fn custom_parser(peer: IpAddr) {
    let Some(suppressed) = admitted!("parser") else { return };
    warn!(
        %peer,
        suppressed,
        "this client's packets are not those of socket.io-parser. Tidegate reads no custom parser: leave the option parser \
         of socket.io-client and of the service's Server out"
    );
}

/// A line when the wall clock was set by so many milliseconds, below zero back, or the machine has slept for so long.
pub fn clock_jumped(ms: i64) {
    let direction = if ms > 0 { "forward" } else { "back" };
    warn!(
        direction,
        seconds = ms.unsigned_abs() as f64 / 1000.0,
        "the clock of this machine jumped, or the machine has slept; sessions whose tokens have expired by it are closed"
    );
}

/// A line for a failed `accept`. Limited like a refused handshake.
pub fn accept_failed(why: &dyn fmt::Display) {
    repeated_warning("accept", &format_args!("cannot accept connections: {why}"));
}

/// A line for a setting whose table of users and addresses is full. Limited like a refused handshake.
pub fn table_full(key: &'static str) {
    repeated_warning(
        key,
        &format_args!("{key} counts as many users and addresses as it can; others share an allowance"),
    );
}

fn repeated_warning(kind: &'static str, why: &dyn fmt::Display) {
    let Some(suppressed) = admitted!(kind) else { return };
    warn!(suppressed, "{why}");
}

/// A line about the process: one sentence. Control characters become blanks.
pub fn line(level: LogLevel, sentence: &str) {
    let sentence = sentence.replace(char::is_control, " ");
    match level {
        LogLevel::Error => error!("{sentence}"),
        LogLevel::Warn => warn!("{sentence}"),
        LogLevel::Info => info!("{sentence}"),
        LogLevel::Debug => debug!("{sentence}"),
        LogLevel::Trace => trace!("{sentence}"),
    }
}

fn subscriber<W>(format: LogFormat, level: reload::Layer<LevelFilter, Registry>, lines: W) -> impl Subscriber
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // Otherwise `eprintln!` reports a failed write, and it panics when standard error is closed.
    let layer = tracing_subscriber::fmt::layer().log_internal_errors(false).with_target(false).with_writer(lines);
    let layer = match format {
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Text => layer.with_ansi(false).boxed(),
    };
    let ours = filter_fn(|metadata| metadata.target().starts_with(env!("CARGO_CRATE_NAME")));
    Registry::default().with(level).with(layer.with_filter(ours))
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
