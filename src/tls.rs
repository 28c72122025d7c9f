//! TLS with clients and with the service: certificates, their verification, handshakes. A reload replaces the rules while
//! connections stay open.

pub mod acme;
mod certificate;
mod client_auth;
pub mod handshake;
mod io;
pub mod outgoing;
mod resolver;
pub mod survey;
pub mod upstream;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use http::HeaderName;
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, ProducesTickets},
    version::{TLS12, TLS13},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    certificate::{Certificate, CertificateFiles, certificate_authorities},
    client_auth::ClientCertificateRules,
    resolver::Resolver,
};
pub use self::{
    certificate::{FileError, FileFault},
    client_auth::{CertificatePart, ClientAuth, ClientCertificate},
    resolver::{CertificateSlot, UnknownName},
};
use crate::{
    fault::{Fault, Faults},
    policy::identity::client_headers,
    tls::acme::{AcmeTable, challenges::Challenges},
    units::SecretSource,
};

/// ALPN names (RFC 7301): HTTP/2 for requests, HTTP/1.1 also for WebSocket.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How long before its end a certificate from files is reported.
const ENDS_SOON: Duration = Duration::from_hours(7 * 24);

/// `[tls]`: TLS at `listen.address`. Without the table clients speak plain HTTP.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsTable {
    /// A PEM file with the certificate and, behind it, those of its issuers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tidegate/tls/tls.crt")]
    pub certificate: Option<PathBuf>,
    /// A PEM file with its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tidegate/tls/tls.key")]
    pub private_key: Option<PathBuf>,
    /// What the private key is encrypted with (PKCS#8): `{ env = "NAME" }` or `{ file = "PATH" }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = SecretSource::Env("TLS_PASSPHRASE".to_owned()))]
    pub passphrase: Option<SecretSource>,
    /// A certificate that is ordered, in place of the two files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme: Option<AcmeTable>,
    /// Further certificates, a table each, shown to clients that ask for one of their names. Two for the same name, RSA
    /// and ECDSA for example: the first that the client understands.
    pub certificates: Vec<CertificateTable>,
    /// What a client gets if it asks for an unknown name: `"default"`, the first certificate, or `"refuse"`.
    pub unknown_name: UnknownName,
    /// The oldest version of TLS: `"1.2"` or `"1.3"`.
    pub min_version: TlsVersion,
    /// A PEM file with the certificate authorities of clients. With it, clients are asked for a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tidegate/tls/ca.crt")]
    pub client_ca: Option<PathBuf>,
    /// A PEM file with revocation lists of all of these authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tidegate/tls/ca.crl")]
    pub client_crl: Option<PathBuf>,
    /// Whether a client needs a certificate: `"required"` or `"optional"`.
    pub client_auth: ClientAuth,
    /// Which part of its certificate names the user of a client without a token: `"san"`, `"cn"` or `"fingerprint"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = CertificatePart::Cn)]
    pub client_user: Option<CertificatePart>,
    /// Request headers for the service, each filled from a part of the client's certificate. The same headers of the
    /// client itself are removed.
    #[schemars(example = BTreeMap::from([("x-client-san", "san"), ("x-client-fingerprint", "fingerprint")]))]
    pub forward_client: BTreeMap<String, CertificatePart>,
}

/// One `[[tls.certificates]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateTable {
    /// As `tls.certificate`.
    #[schemars(example = &"/etc/tidegate/other/tls.crt")]
    pub certificate: PathBuf,
    /// As `tls.private_key`.
    #[schemars(example = &"/etc/tidegate/other/tls.key")]
    pub private_key: PathBuf,
    /// As `tls.passphrase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = SecretSource::Env("OTHER_PASSPHRASE".to_owned()))]
    pub passphrase: Option<SecretSource>,
}

/// A version of TLS.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

/// What handshakes need of a certificate that is ordered.
#[derive(Debug, Clone)]
pub struct OrderedHere {
    /// The certificate, once there is one.
    pub slot: Arc<CertificateSlot>,
    /// The answers to open challenges.
    pub challenges: Arc<Challenges>,
}

/// The compiled `[tls]`, with the content of its files.
#[derive(Debug)]
pub struct TlsRules {
    config: Arc<ServerConfig>,
    client: ClientCertificateRules,
    asks_clients: bool,
    ordered: Option<OrderedHere>,
    /// The certificates from files.
    certificates: Vec<Certificate>,
}

impl TlsRules {
    /// Reads and checks the files. `ordered` is `None` where no certificate is ordered. `earlier` are the rules in force
    /// until now: their session tickets stay valid where that is safe, and their certificates may have expired, so that
    /// an expired certificate does not prevent the renewal of another.
    ///
    /// # Errors
    /// Files that cannot be used, keys that contradict one another.
    pub fn compile(
        table: &TlsTable,
        ordered: Option<&OrderedHere>,
        now: SystemTime,
        earlier: Option<&Self>,
    ) -> Result<Self, Vec<Fault>> {
        let provider = provider();
        let in_force = earlier.map_or(&[][..], |earlier| &earlier.certificates);
        let certificates = certificates(table, &provider, now, in_force)?;
        let headers = client_headers("tls.forward_client", &table.forward_client)?;
        let client = ClientCertificateRules { headers, user: table.client_user };
        let versions: &[&SupportedProtocolVersion] = match table.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(versions).map_err(Fault::from)?;
        let builder = match &table.client_ca {
            Some(ca) => {
                let crl = table.client_crl.as_ref();
                builder.with_client_cert_verifier(client_auth::verifier(table.client_auth, ca, crl, provider)?)
            }
            None => {
                let used = [
                    ("client_crl", table.client_crl.is_some()),
                    ("client_user", table.client_user.is_some()),
                    ("forward_client", !table.forward_client.is_empty()),
                ];
                if let Some((key, _)) = used.into_iter().find(|(_, used)| *used) {
                    let message =
                        "needs tls.client_ca, the certificate authorities that clients' certificates come from";
                    return Err(Fault::new(format!("tls.{key}"), message).into());
                }
                builder.with_no_client_auth()
            }
        };
        let slot = ordered.map(|ordered| Arc::clone(&ordered.slot));
        let resolver = Resolver::new(&certificates, slot, table.unknown_name);
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        config.ignore_client_order = true;
        config.ticketer = tickets(table, earlier).map_err(Fault::from)?;
        // Tickets need no memory here; a session cache would, per connection.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let asks_clients = table.client_ca.is_some();
        Ok(Self { config: Arc::new(config), client, asks_clients, ordered: ordered.cloned(), certificates })
    }

    /// Name and end of each certificate from files.
    #[must_use]
    pub fn validity(&self) -> Vec<(String, SystemTime)> {
        self.certificates.iter().map(Certificate::validity).collect()
    }

    /// Name and end of each certificate from files that `earlier` does not have.
    #[must_use]
    pub fn new_since(&self, earlier: &Self) -> Vec<(String, SystemTime)> {
        let new = self.certificates.iter().filter(|one| !one.is_among(&earlier.certificates));
        new.map(Certificate::validity).collect()
    }

    /// Name and end of each certificate that has expired at `now`, or ends soon and should have been renewed.
    #[must_use]
    pub fn ending(&self, now: SystemTime) -> Vec<(String, SystemTime)> {
        let from_files = self.validity().into_iter().filter(|(_, not_after)| *not_after <= now + ENDS_SOON);
        let ordered = self.ordered.as_ref().and_then(|ordered| ordered.slot.get());
        let ordered = ordered.filter(|certificate| certificate.overdue() <= now);
        from_files.chain(ordered.map(|certificate| (certificate.label().to_owned(), certificate.not_after()))).collect()
    }
}

/// The rules in force. An open connection keeps those of its handshake.
#[derive(Debug)]
pub struct Tls(RwLock<Arc<TlsRules>>);

impl Tls {
    /// Puts `rules` in force.
    #[must_use]
    pub fn new(rules: TlsRules) -> Self {
        Self(RwLock::new(Arc::new(rules)))
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<TlsRules> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other rules in force, from the next handshake on.
    pub fn replace(&self, rules: TlsRules) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }
}

impl TlsTable {
    /// The headers that carry parts of client certificates. They are removed from what clients send.
    pub fn forward_header_names(&self) -> impl Iterator<Item = HeaderName> {
        self.forward_client.keys().filter_map(|name| name.parse().ok())
    }
}

/// The provider of cryptography. Preferred first: post-quantum key exchange, and the cheapest cipher.
pub(super) fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::{
        cipher_suite::{
            TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
        },
        kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768},
    };
    let kx_groups = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
    let cipher_suites = vec![
        TLS13_AES_128_GCM_SHA256,
        TLS13_AES_256_GCM_SHA384,
        TLS13_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() })
}

/// The library refuses a combination.
impl From<rustls::Error> for Fault {
    fn from(error: rustls::Error) -> Self {
        Self::new("tls", error.to_string())
    }
}

fn certificates(
    table: &TlsTable,
    provider: &CryptoProvider,
    now: SystemTime,
    in_force: &[Certificate],
) -> Result<Vec<Certificate>, Vec<Fault>> {
    let (mut certificates, mut faults) = (Vec::new(), Faults::default());
    if table.acme.is_none() {
        let first = faults.keep(first_files(table));
        let first = first.and_then(|files| faults.keep(files.load_or_faults(provider, now, in_force)));
        certificates.extend(first);
    } else {
        let beside = [
            ("certificate", table.certificate.is_some()),
            ("private_key", table.private_key.is_some()),
            ("passphrase", table.passphrase.is_some()),
        ];
        for (key, _) in beside.into_iter().filter(|(_, given)| *given) {
            let message = "is given beside tls.acme, which orders the certificate; remove one of them, or name the files in \
                           [[tls.certificates]]";
            faults.add(format!("tls.{key}"), message);
        }
    }
    for (at, pair) in table.certificates.iter().enumerate() {
        let table = format!("tls.certificates[{at}]");
        let files = CertificateFiles {
            table: &table,
            certificate: &pair.certificate,
            private_key: &pair.private_key,
            passphrase: pair.passphrase.as_ref(),
        };
        let loaded =
            files.load_or_faults(provider, now, in_force).and_then(|certificate| match certificate.names.is_empty() {
                true => Ok(files.of_certificate(Err(FileFault::NoName))?),
                false => Ok(certificate),
            });
        certificates.extend(faults.keep(loaded));
    }
    faults.finish(Some(certificates))
}

fn first_files(table: &TlsTable) -> Result<CertificateFiles<'_>, Fault> {
    let (certificate, private_key) = match (&table.certificate, &table.private_key) {
        (Some(certificate), Some(private_key)) => (certificate, private_key),
        (None, Some(_)) => {
            let message = "is missing; name the PEM file of the certificate for tls.private_key";
            return Err(Fault::new("tls.certificate", message));
        }
        (Some(_), None) => {
            let message = "is missing; name the PEM file of the key for tls.certificate";
            return Err(Fault::new("tls.private_key", message));
        }
        (None, None) => {
            let message = "is missing; name the PEM files of a certificate and its key, or order one with [tls.acme], or \
                           remove the table [tls] to listen without TLS";
            return Err(Fault::new("tls.certificate", message));
        }
    };
    Ok(CertificateFiles { table: "tls", certificate, private_key, passphrase: table.passphrase.as_ref() })
}

/// Keys for session tickets, renewed every few hours. A resumed session shows no client certificate, so with client
/// certificates a change of the rules makes all tickets invalid.
fn tickets(table: &TlsTable, earlier: Option<&TlsRules>) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    match earlier {
        Some(earlier) if table.client_ca.is_none() && !earlier.asks_clients => Ok(Arc::clone(&earlier.config.ticketer)),
        _ => aws_lc_rs::Ticketer::new(),
    }
}
