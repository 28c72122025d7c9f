//! Why a node does not start.

use std::{io, net::SocketAddr};

use crate::{
    config::error::ConfigError, jwks::KeyServerError, observe::journal::JournalError,
    policy::compile_error::CompileError, relay::dial::UpstreamUrlError, tls::TlsError, units::SecretError,
};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration says something that cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration cannot be put into effect.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The service's URL is none.
    #[error(transparent)]
    Upstream(#[from] UpstreamUrlError),
    /// The key server cannot be asked.
    #[error(transparent)]
    KeyServer(#[from] KeyServerError),
    /// TLS cannot be ended as the table says.
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
    /// Is it the configuration that must be mended?
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
