//! How humans write values in the configuration: durations, sizes, secrets. Once, for every table.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A span of time, written `"250ms"`, `"30s"`, `"5m"`, `"2h"` or `"1d"`. `"0s"` means off where a table says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Period(pub Duration);

/// A number of bytes, written `"512B"`, `"16KB"`, `"1MB"` (powers of 1000) or `"64KiB"`, `"1MiB"` (powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ByteSize(pub u64);

/// Where a secret is to be read from. The secret itself never stands in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretSource {
    /// The name of an environment variable that holds it, byte for byte.
    Env(String),
    /// A file that holds it; one line end at the end is cut off.
    File(PathBuf),
}

impl Period {
    /// The setting is off.
    pub const OFF: Self = Self(Duration::ZERO);

    /// So many seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}
