//! Why a node does not start.

use std::{io, net::SocketAddr};

use crate::{
    config::error::ConfigError, jwks::KeyServerError, observe::journal::JournalError,
    policy::compile_error::CompileError, relay::dial::UpstreamUrlError, tls::TlsError, units::SecretError,
};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A policy cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The URL of the service is wrong.
    #[error(transparent)]
    Upstream(#[from] UpstreamUrlError),
    /// Keys cannot be fetched.
    #[error(transparent)]
    KeyServer(#[from] KeyServerError),
    /// `[tls]` or `[upstream.tls]` is wrong.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The admin token cannot be read.
    #[error("admin.token: {0}")]
    AdminToken(#[from] SecretError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        /// The key that names it.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The log cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The operating system gives no thread, or no watch on the file.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// Whether the configuration is at fault.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::Compile(_)
                | Self::Upstream(_)
                | Self::KeyServer(_)
                | Self::Tls(_)
                | Self::AdminToken(_)
        )
    }
}
