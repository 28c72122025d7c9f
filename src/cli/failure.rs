//! Why a subcommand failed, and what the program exits with.

use std::{io, process::ExitCode};

use crate::{
    config::{error::ConfigError, load::Sources},
    fault::Fault,
    start::StartError,
};

/// Read where no file is named, if it exists.
pub(super) const SYSTEM_CONFIG: &str = "/etc/tidegate/tidegate.toml";

/// What the program exits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Success. A node has been drained.
    Fine = 0,
    /// It failed while running, for example because an address is taken.
    Failed = 1,
    /// The configuration or the command line is wrong.
    Configuration = 2,
}

impl Exit {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Fine, Self::Failed, Self::Configuration];

    /// For the help.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Fine => "success",
            Self::Failed => "failed while running",
            Self::Configuration => "the configuration or the command line is wrong",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0} (no file was read: there is no {SYSTEM_CONFIG}, and none was named)")]
    ConfigWithoutFile(ConfigError),
    #[error(transparent)]
    Start(StartError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// Adds that no file was read, where that may be the reason.
    pub(super) fn of_config(error: ConfigError, sources: &Sources) -> Self {
        if sources.file.is_none() { Self::ConfigWithoutFile(error) } else { Self::Config(error) }
    }

    /// What the program exits with.
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::ConfigWithoutFile(_) | Self::Token(_) => Exit::Configuration,
            Self::Start(_) | Self::Output(_) => Exit::Failed,
        }
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// Tokens are verified with a public key, or not at all.
    #[error("auth.secret is not set; a token can only be made where tokens are signed with a shared secret")]
    NoSecret,
    /// The secret cannot be used.
    #[error(transparent)]
    Secret(#[from] Fault),
    /// No algorithm for a shared secret.
    #[error("auth.algorithms has none of HS256, HS384 and HS512, which auth.secret is for")]
    NoAlgorithm,
    /// The token would name no user.
    #[error("auth.user_claim looks for the user in {}; add --claim {}={sub}", .names.join(", "), .names[0])]
    NoUser {
        /// The claims that may name the user; never empty.
        names: Vec<String>,
        /// The user.
        sub: String,
    },
    /// The library fails to sign.
    #[error("the token cannot be signed: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
}
