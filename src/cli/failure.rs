//! Why a subcommand failed, and what the program exits with.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

use http::StatusCode;

use super::inject::error::InjectError;
use crate::{
    config::{error::ConfigError, load::Sources},
    fault::Fault,
    start::StartError,
    units::SecretError,
};

/// Read where no file is named, if it exists.
pub(super) const SYSTEM_CONFIG: &str = "/etc/tidegate/tidegate.toml";

/// Holds the operator's token where no file is named.
pub(super) const TOKEN_VARIABLE: &str = "TIDEGATE_ADMIN_TOKEN";

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
    #[error("{0}\nno file was read: there is no {SYSTEM_CONFIG}, and none was named")]
    ConfigWithoutFile(ConfigError),
    #[error("two files are named, {} and --config {}; name one", .file.display(), .config.display())]
    TwoFiles { file: PathBuf, config: PathBuf },
    #[error(transparent)]
    Start(StartError),
    #[error(transparent)]
    Drain(#[from] DrainError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Revoke(#[from] RevokeError),
    #[error(transparent)]
    Top(#[from] TopError),
    #[error(transparent)]
    Doctor(#[from] DoctorError),
    #[error(transparent)]
    Inject(#[from] InjectError),
    #[error("cannot write the manual pages to {}: {source}", .folder.display())]
    Pages { folder: PathBuf, source: io::Error },
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
            Self::Config(_) | Self::ConfigWithoutFile(_) | Self::TwoFiles { .. } | Self::Token(_) => {
                Exit::Configuration
            }
            Self::Inject(InjectError::Read { .. }) => Exit::Failed,
            Self::Inject(_) => Exit::Configuration,
            Self::Revoke(
                RevokeError::Off | RevokeError::NoToken | RevokeError::Token(_) | RevokeError::TokenText(_),
            ) => Exit::Configuration,
            Self::Top(TopError::Url(_) | TopError::Secret(_) | TopError::TokenText(_)) => Exit::Configuration,
            Self::Drain(DrainError::Several(_) | DrainError::NoNode(_)) => Exit::Configuration,
            Self::Doctor(DoctorError::Url(_) | DoctorError::Server(_) | DoctorError::Token(_)) => Exit::Configuration,
            Self::Doctor(DoctorError::Runtime(_))
            | Self::Start(_)
            | Self::Drain(_)
            | Self::Revoke(_)
            | Self::Top(_)
            | Self::Pages { .. }
            | Self::Output(_) => Exit::Failed,
        }
    }
}

/// Why no node was drained, as far as is known.
#[derive(Debug, thiserror::Error)]
pub(super) enum DrainError {
    /// The processes cannot be listed.
    #[error("cannot see which processes run, for /proc cannot be read: {0}")]
    Proc(io::Error),
    /// There is none.
    #[error(
        "no node runs here: there is no process `tidegate run` of this program that this user may look at; name one with --pid PID, or run this where the node runs"
    )]
    NoneRuns,
    /// One has to be chosen.
    #[error("{} nodes run here; name one of them with --pid PID:{}", .0.len(), listed(.0))]
    Several(Vec<(i32, String)>),
    /// That is another program, or nothing.
    #[error("process {0} is no `tidegate run`; `tidegate drain` without --pid looks for the one that runs")]
    NoNode(i32),
    /// The signal would end it.
    #[error(
        "the node of process {0} does not know SIGUSR1, and would end at once: it is older than this program, or has not started yet; end it with SIGTERM"
    )]
    Older(i32),
    /// It cannot be told.
    #[error("cannot send SIGUSR1 to process {pid}: {source}; run this as the same user, or as root")]
    Signal {
        /// The node.
        pid: i32,
        /// Why not.
        source: nix::errno::Errno,
    },
    /// It does not obey.
    #[error("process {pid} has not begun to leave within {waited:?}; look at its log, and end it with SIGTERM")]
    Deaf {
        /// The node.
        pid: i32,
        /// So long it had.
        waited: std::time::Duration,
    },
}

/// One line for each.
fn listed(nodes: &[(i32, String)]) -> String {
    nodes.iter().map(|(pid, arguments)| format!("\n  --pid {pid}  ({arguments})")).collect()
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// Tokens are verified with a public key, or not at all.
    #[error("auth.secret is not set; a token can only be made where tokens are signed with a shared secret")]
    NoSecret,
    /// The same, perhaps because no file was read.
    #[error("{}\nno file was read: there is no {SYSTEM_CONFIG}, and none was named", TokenError::NoSecret)]
    NoSecretWithoutFile,
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

/// Why nothing was revoked, as far as is known.
#[derive(Debug, thiserror::Error)]
pub(super) enum RevokeError {
    /// The node would refuse it.
    #[error("auth.revoke is false; set it to true, and start the node again")]
    Off,
    /// The node would refuse it.
    #[error("admin.token is not set; nothing is changed without it")]
    NoToken,
    /// The token cannot be read.
    #[error("admin.token: {0}")]
    Token(#[from] SecretError),
    /// The token cannot stand in a header.
    #[error("admin.token has characters that cannot be sent: {0}")]
    TokenText(#[from] http::header::InvalidHeaderValue),
    /// Nobody listens there.
    #[error("no node can be reached at admin.address, {address}: {source}")]
    Unreached {
        /// Where it should be.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// No answer came in time.
    #[error("the node at {0} does not answer")]
    Slow(SocketAddr),
    /// The connection broke.
    #[error("the connection to the node broke: {0}")]
    Broken(#[from] hyper::Error),
    /// The node refuses it.
    #[error("the node at {address} answers {status}: {message}")]
    Refused {
        /// Of the node.
        address: SocketAddr,
        /// What it answers.
        status: StatusCode,
        /// And why.
        message: String,
    },
    /// That is no node, or one of another version.
    #[error("what listens at {address} is no node that can revoke: it answers {status}")]
    Foreign {
        /// Where.
        address: SocketAddr,
        /// What it answers.
        status: StatusCode,
    },
    /// The request cannot be made.
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    /// There is no runtime.
    #[error("cannot start: {0}")]
    Runtime(#[from] io::Error),
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum TopError {
    /// It cannot be asked there.
    #[error(
        "{0:?} is no URL of a node; write http:// or https://, the host and the port of admin.address, for example http://127.0.0.1:9464"
    )]
    Url(String),
    /// The token cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The token cannot stand in a header.
    #[error("the token has characters that cannot be sent: {0}")]
    TokenText(#[from] http::header::InvalidHeaderValue),
    /// Nobody listens there, or nobody who can be trusted.
    #[error("no node can be reached at {url}: {why}; name that of admin.address, where the node runs")]
    Unreached {
        /// Where it should be.
        url: String,
        /// Why not.
        why: String,
    },
    /// No answer came in time.
    #[error("the node at {0} does not answer")]
    Slow(String),
    /// The connection broke.
    #[error("the connection to {url} broke: {why}")]
    Broken {
        /// Of the node.
        url: String,
        /// Why.
        why: String,
    },
    /// It wants a token.
    #[error(
        "the node at {url} wants the token of its admin.token; name a file with it, --token-file FILE, or set {TOKEN_VARIABLE}"
    )]
    NoToken {
        /// Of the node.
        url: String,
    },
    /// It wants another one.
    #[error("the node at {url} wants another token than this one; it must be that of its admin.token")]
    Token {
        /// Of the node.
        url: String,
    },
    /// The page is not known there.
    #[error("the node at {url} has no /status; it is older than this program, or something else")]
    Older {
        /// Where.
        url: String,
    },
    /// It refuses, and says why.
    #[error("the node at {url} answers {status}: {message}")]
    Refused {
        /// Of the node.
        url: String,
        /// What it answers.
        status: StatusCode,
        /// And why.
        message: String,
    },
    /// That is no node.
    #[error(
        "what listens at {url} is no node: it answers {status} and something else than a status; name the URL of admin.address"
    )]
    Foreign {
        /// Where.
        url: String,
        /// What it answers.
        status: StatusCode,
    },
    /// The request cannot be made.
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    /// Nobody can be trusted.
    #[error("the trust anchors of this machine cannot be read, which https needs: {0}")]
    Roots(io::Error),
    /// There is no runtime.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// There is no terminal.
    #[error("cannot use this terminal: {0}; --once needs none")]
    Terminal(#[from] io::Error),
}

/// Why nothing was checked.
#[derive(Debug, thiserror::Error)]
pub(super) enum DoctorError {
    /// No gate can be there.
    #[error("{0:?} is no URL of a gate; write http:// or https://, the host and the port of listen.address")]
    Url(String),
    /// The connection cannot be made as the command line says.
    #[error("--handshake: {0}")]
    Server(String),
    /// The token cannot be read.
    #[error("--token-file: {0}")]
    Token(String),
    /// There is no runtime.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

impl TopError {
    /// For a line in which the URL stands already.
    pub(super) fn brief(&self) -> String {
        match self {
            Self::Unreached { why, .. } | Self::Broken { why, .. } => why.clone(),
            Self::Slow(_) => "no answer".to_owned(),
            other => other.to_string(),
        }
    }
}
