//! The log lines: two per session, and the few of the process. Plain fields in.
//!
//! No line contains a token, a session id of a client, a payload or a query string, and writing one never blocks the
//! thread. Lines of libraries are not written, at any level: they do not know what is secret.

use std::{
    fmt, io,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{Subscriber, debug, error, info, level_filters::LevelFilter, trace, warn};
use tracing_subscriber::{Layer, Registry, filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt, reload};

use super::{line_limit::LineLimit, stderr::Stderr};

/// The most bytes of a field whose text comes from a client or a token; the rest is cut off.
const FIELD_BYTES_MAX: usize = 256;

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

/// The fields of a session's first line.
#[derive(Debug, Clone)]
pub struct Opened<'a> {
    /// The number of the session in this process.
    pub id: u64,
    /// The hash of the Engine.IO session id, which is a secret. `None` on a plain WebSocket route.
    pub sid_hash: Option<&'a str>,
    /// The user of the verified token, if there is one.
    pub user: Option<&'a str>,
    /// The client's address.
    pub peer: IpAddr,
    /// `websocket`.
    pub transport: &'static str,
    /// Namespaces joined so far.
    pub namespaces: &'a [String],
}

/// The fields of a session's last line.
#[derive(Debug, Clone)]
pub struct Ended<'a> {
    /// The fields of the first line, with the namespaces joined since.
    pub session: Opened<'a>,
    /// How long it was open.
    pub duration: Duration,
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

/// A request that did not become a session.
#[derive(Debug, Clone)]
pub struct RefusedHandshake<'a> {
    /// The client's address.
    pub peer: IpAddr,
    /// The stage of the refusal; the label `stage` of `tidegate_refused_total`.
    pub stage: &'static str,
    /// The reason; the label `reason` of `tidegate_refused_total`.
    pub reason: &'static str,
    /// The `Origin` header, if there is one.
    pub origin: Option<&'a str>,
}

/// Whether the lines of a session are written: what they are made of need not be gathered otherwise.
#[must_use]
pub fn writes_sessions() -> bool {
    tracing::enabled!(tracing::Level::INFO)
}

/// The first of the two lines of a session.
pub fn session_opened(opened: &Opened<'_>) {
    info!(
        id = opened.id,
        sid_hash = opened.sid_hash,
        user = opened.user.map(clip),
        peer = %opened.peer,
        transport = opened.transport,
        namespaces = clip(&opened.namespaces.join(",")),
        "session opened"
    );
}

/// The second of the two lines of a session.
pub fn session_ended(ended: &Ended<'_>) {
    info!(
        id = ended.session.id,
        sid_hash = ended.session.sid_hash,
        user = ended.session.user.map(clip),
        peer = %ended.session.peer,
        transport = ended.session.transport,
        namespaces = clip(&ended.session.namespaces.join(",")),
        duration_seconds = ended.duration.as_millis() as f64 / 1000.0,
        packets_received = ended.packets_received,
        packets_sent = ended.packets_sent,
        packets_refused = ended.packets_refused,
        packets_unsent = ended.packets_unsent,
        cause = ended.cause,
        fault = ended.fault,
        setting = ended.setting,
        "session ended"
    );
}

/// A line for a refused handshake, at most ten per second and reason. The next line has the number of those left out.
pub fn refused_handshake(refused: &RefusedHandshake<'_>) {
    static LIMIT: Mutex<LineLimit> = Mutex::new(LineLimit::new());
    let admitted = LIMIT.lock().unwrap_or_else(PoisonError::into_inner).admit(refused.reason, Instant::now());
    let Some(suppressed) = admitted else { return };
    info!(
        peer = %refused.peer,
        stage = refused.stage,
        reason = refused.reason,
        origin = refused.origin.map(clip),
        suppressed = (suppressed > 0).then_some(suppressed),
        "handshake refused"
    );
}

/// A line for a client that exceeds a bound: the rule, as metrics name it, and the setting. Limited like a refused handshake.
pub fn over_bound(peer: IpAddr, rule: &'static str, setting: &'static str) {
    static LIMIT: Mutex<LineLimit> = Mutex::new(LineLimit::new());
    let admitted = LIMIT.lock().unwrap_or_else(PoisonError::into_inner).admit(rule, Instant::now());
    let Some(suppressed) = admitted else { return };
    info!(%peer, rule, setting, suppressed = (suppressed > 0).then_some(suppressed), "a client exceeds a bound");
}

/// A line for a session that does not wait for its absent client, because of the limit that `key` sets. Limited like a
/// refused handshake.
pub fn session_not_kept(peer: IpAddr, reason: &'static str, key: &'static str) {
    static LIMIT: Mutex<LineLimit> = Mutex::new(LineLimit::new());
    let admitted = LIMIT.lock().unwrap_or_else(PoisonError::into_inner).admit(reason, Instant::now());
    let Some(suppressed) = admitted else { return };
    warn!(
        %peer,
        reason,
        suppressed = (suppressed > 0).then_some(suppressed),
        "the session of an absent client is not kept: {key}"
    );
}

/// A line for a failed TLS handshake. Limited like a refused handshake. Scanners and health checks fail all day, so its
/// level is debug.
pub fn tls_failed(peer: IpAddr, reason: &'static str, why: &dyn fmt::Display) {
    static LIMIT: Mutex<LineLimit> = Mutex::new(LineLimit::new());
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let admitted = LIMIT.lock().unwrap_or_else(PoisonError::into_inner).admit(reason, Instant::now());
    let Some(suppressed) = admitted else { return };
    debug!(%peer, reason, suppressed = (suppressed > 0).then_some(suppressed), "{why}");
}

/// A line for a failed connection to the service. Limited like a refused handshake.
pub fn dial_failed(why: &dyn fmt::Display) {
    repeated_warning("dial", why);
}

/// A line when the service does not answer any more, with the first dial that failed.
pub fn service_gone(why: &dyn fmt::Display) {
    let clients = "the service is away; clients that had it stay connected for session.hold";
    repeated_warning("service", &format_args!("{clients}: {why}"));
}

/// A line for a further dial that failed while the service is away. Limited like a refused handshake.
pub fn service_still_gone(why: &dyn fmt::Display) {
    static LIMIT: Mutex<LineLimit> = Mutex::new(LineLimit::new());
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let admitted = LIMIT.lock().unwrap_or_else(PoisonError::into_inner).admit("service", Instant::now());
    let Some(suppressed) = admitted else { return };
    debug!(suppressed = (suppressed > 0).then_some(suppressed), "the service is still away: {why}");
}

/// A line when the service is connected again.
pub fn service_back(away: Duration) {
    info!(away_seconds = away.as_secs_f64(), "the service is back");
}

/// A line for a client that is closed for what it sends to the service. Limited like a refused handshake.
pub fn service_objected(peer: IpAddr) {
    let why = "the service closes the connection after packets of this client, and no other: it is not held";
    repeated_warning("objection", &format_args!("{peer}: {why}"));
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
    static LIMIT: Mutex<LineLimit> = Mutex::new(LineLimit::new());
    let admitted = LIMIT.lock().unwrap_or_else(PoisonError::into_inner).admit(kind, Instant::now());
    let Some(suppressed) = admitted else { return };
    warn!(suppressed = (suppressed > 0).then_some(suppressed), "{why}");
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

fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(FIELD_BYTES_MAX)]
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
mod tests;
