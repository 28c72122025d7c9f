//! The log lines: two per session, and the few of the process. Plain fields in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[log]`: the log, on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogTable {
    /// One JSON object a line, or text for people.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: LogLevel,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
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
    /// Sessions and the life of the process.
    Info,
    /// Refusals and retries one by one.
    Debug,
    /// Everything.
    Trace,
}

impl Default for LogTable {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: LogLevel::Info }
    }
}
