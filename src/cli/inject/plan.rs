//! What is put beside a service: the options, with what the configuration says.

use crate::units::Period;

/// All that is the same for every workload.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: ConfigSource,
    pub(super) image: String,
    pub(super) classic: bool,
    /// A Secret, and the key of it that signs tokens.
    pub(super) secret: Option<(String, Option<String>)>,
    pub(super) tls_secret: Option<String>,
    /// The gate orders its certificate, and keeps it in a folder.
    pub(super) acme: bool,
    /// It orders its certificate, wherever that is kept.
    pub(super) orders: bool,
    /// The authority may ask at an address of its own.
    pub(super) http_challenges: bool,
    /// Clients speak TLS with the gate.
    pub(super) tls: bool,
    pub(super) only: Vec<String>,
    pub(super) container: Option<String>,
    /// Where the service listens. `None`: its pod says.
    pub(super) port: Option<u16>,
    pub(super) scheme: &'static str,
    /// All addresses, those of IPv6 too.
    pub(super) ipv6: bool,
    pub(super) listen_port: u16,
    pub(super) admin_port: u16,
    pub(super) lame_duck: Period,
    pub(super) shutdown_grace: Period,
    /// What `terminationGracePeriodSeconds` must be at least.
    pub(super) grace_seconds: u64,
}

/// Where the gate reads its configuration.
#[derive(Debug)]
pub(super) enum ConfigSource {
    /// From a ConfigMap with this text, which is added.
    Text(String),
    /// From one that exists.
    Named(String),
}
