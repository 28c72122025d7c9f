//! Why the service was not reached, and what that says about it.

use std::{io, time::Duration};

use crate::{relay::dial_answer::ServiceRefusal, wire::websocket::handshake::AnswerError};

/// Why there is no connection to the service.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No connection.
    #[error("cannot connect to the service at {address}: {source}{}", fix(.source))]
    Connect {
        /// Of the service.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// TLS failed, or the service has the wrong certificate.
    #[error("there is no TLS with the service at {address}: {why}")]
    Tls {
        /// Of the service.
        address: String,
        /// The cause and the fix.
        why: String,
    },
    /// It took longer than `upstream.connect_timeout`.
    #[error("the service at {address} did not complete the handshake within {within:?}")]
    Timeout {
        /// Of the service.
        address: String,
        /// `upstream.connect_timeout`.
        within: Duration,
        /// Whether there was a connection.
        connected: bool,
    },
    /// The connection broke, or the service does not answer in HTTP.
    #[error("the service did not answer the handshake: {0}")]
    Http(#[from] io::Error),
    /// The service has answered, and does not let this client in.
    #[error("{0}")]
    Refused(ServiceRefusal),
    /// The service fails (5xx), or does not upgrade as RFC 6455 says.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl DialError {
    /// Whether another dial would fail in the same way: the service has answered, and refuses this client.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Answer(AnswerError::Status(status)) => !status.is_server_error(),
            Self::Answer(_) | Self::Refused(_) => true,
            Self::Connect { .. } | Self::Tls { .. } | Self::Timeout { .. } | Self::Http(_) => false,
        }
    }

    /// Whether the service had accepted the connection: what failed then may concern this client's handshake alone.
    #[must_use]
    pub const fn was_connected(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Tls { .. } => false,
            Self::Timeout { connected, .. } => *connected,
            Self::Http(_) | Self::Refused(_) | Self::Answer(_) => true,
        }
    }
}

impl From<ServiceRefusal> for DialError {
    fn from(refusal: ServiceRefusal) -> Self {
        Self::Refused(refusal)
    }
}

fn fix(source: &io::Error) -> &'static str {
    if source.kind() == io::ErrorKind::AddrNotAvailable {
        "; every local port towards this address is in use, about 28,000 per address"
    } else {
        ""
    }
}
