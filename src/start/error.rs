//! Why a node does not start.

use std::{io, net::SocketAddr};

use crate::{config::error::ConfigError, observe::journal::JournalError};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
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
