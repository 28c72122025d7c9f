//! Why a subcommand failed, and what the program exits with.

use std::{io, path::PathBuf, process::ExitCode};

use crate::{
    config::{error::ConfigError, load::line_of},
    policy::compile_error::CompileError,
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
    Config(ConfigError),
    #[error("{0} (no file was read: there is no {SYSTEM_CONFIG}, and none was named)")]
    ConfigWithoutFile(ConfigError),
    #[error(transparent)]
    Start(StartError),
    #[error("{file}:{line}: {error}", file = .file.display())]
    StartFromFile { file: PathBuf, line: usize, error: StartError },
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// Adds file and line where a key of the file is at fault.
    pub(super) fn of_start(error: StartError, file: Option<PathBuf>) -> Self {
        let key = match &error {
            StartError::Compile(error) => error.key(),
            StartError::KeyServer(_) => "auth.jwks_url".to_owned(),
            StartError::Tls(error) => error.key(),
            StartError::AdminToken(_) => "admin.token".to_owned(),
            _ => return Self::Start(error),
        };
        let place = file.and_then(|file| Some((line_of(&file, &key)?, file)));
        match place {
            Some((line, file)) => Self::StartFromFile { file, line, error },
            None => Self::Start(error),
        }
    }

    /// What the program exits with.
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::ConfigWithoutFile(_) | Self::Token(_) => Exit::Configuration,
            Self::Start(error) | Self::StartFromFile { error, .. } if error.is_configuration() => Exit::Configuration,
            Self::Start(_) | Self::StartFromFile { .. } | Self::Output(_) => Exit::Failed,
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
    Secret(#[from] CompileError),
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
