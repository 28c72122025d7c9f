//! Client certificates: their verification, and what is forwarded of them to the service.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderName, HeaderValue};
use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::certificate::{self, FileError, FileFault};
use crate::policy::identity::CertifiedUser;

/// Whether a client must show a certificate.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// It may show none; one that it shows must be valid.
    Optional,
    /// A client without one is refused.
    #[default]
    Required,
}

/// Part of a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CertificatePart {
    /// The names in its subjectAltName, as `DNS:…`, `URI:…`, `email:…` and `IP:…`, with commas between them. As the
    /// user: the first one, bare.
    San,
    /// The common name of its subject.
    Cn,
    /// SHA-256 of the certificate, in lower-case hexadecimal digits.
    Fingerprint,
}

/// What is used of a verified client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    headers: Vec<(HeaderName, HeaderValue)>,
    user: Option<CertifiedUser>,
}

impl ClientCertificate {
    /// The request headers for the service.
    #[must_use]
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// The user of a client without a token. `None` where the certificate names none.
    #[must_use]
    pub const fn user(&self) -> Option<&CertifiedUser> {
        self.user.as_ref()
    }
}

/// Which parts of a client's certificate are used, and for what.
#[derive(Debug, Default)]
pub(super) struct ClientCertificateRules {
    pub(super) headers: Vec<(HeaderName, CertificatePart)>,
    pub(super) user: Option<CertificatePart>,
}

impl ClientCertificateRules {
    /// Reads the leaf of a verified chain. `None` if it cannot be parsed.
    pub(super) fn of(&self, leaf: &CertificateDer<'_>) -> Option<ClientCertificate> {
        let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
        let headers = self.headers.iter().filter_map(|(name, part)| {
            let value = HeaderValue::try_from(part.of(leaf, &parsed)?).ok()?;
            Some((name.clone(), value))
        });
        let user = self.user.and_then(|part| match part {
            CertificatePart::San => names(&parsed).next().map(|(_, name)| name),
            part => part.of(leaf, &parsed),
        });
        Some(ClientCertificate { headers: headers.collect(), user: user.map(CertifiedUser::named) })
    }
}

impl CertificatePart {
    fn of(self, leaf: &[u8], parsed: &X509Certificate<'_>) -> Option<String> {
        let text = match self {
            Self::San => {
                let names: Vec<_> = names(parsed).map(|(kind, name)| format!("{kind}:{name}")).collect();
                names.join(",")
            }
            Self::Cn => parsed.subject().iter_common_name().next()?.as_str().ok()?.to_owned(),
            Self::Fingerprint => fingerprint(leaf),
        };
        (!text.is_empty()).then_some(text)
    }
}

/// The alternative names that fit into a header. A name with a comma would read as two.
fn names(certificate: &X509Certificate<'_>) -> impl Iterator<Item = (&'static str, String)> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.clone()).unwrap_or_default();
    let named = names.into_iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(("DNS", name.to_owned())),
        GeneralName::URI(name) => Some(("URI", name.to_owned())),
        GeneralName::RFC822Name(name) => Some(("email", name.to_owned())),
        GeneralName::IPAddress(bytes) => {
            let address = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
            let address = address.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from));
            Some(("IP", address.ok()?.to_string()))
        }
        _ => None,
    });
    named.filter(|(_, name)| !name.contains(',')).collect::<Vec<_>>().into_iter()
}

fn fingerprint(der: &[u8]) -> String {
    let digest = digest(&SHA256, der);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether this certificate has expired at `now` or cannot be parsed.
pub(super) fn has_expired(leaf: &[u8], now: SystemTime) -> bool {
    certificate::parse(leaf).map_or(true, |leaf| certificate::ends(&leaf) < now)
}

/// The verifier of client certificates.
pub(super) fn verifier(
    auth: ClientAuth,
    ca: &Path,
    crl: Option<&PathBuf>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, FileError> {
    let of_ca = |fault| FileError { key: "tls.client_ca".to_owned(), path: ca.to_owned(), fault };
    let roots = certificate::certificate_authorities(ca).map_err(of_ca)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if let Some(path) = crl {
        let of_crl = |fault| FileError { key: "tls.client_crl".to_owned(), path: path.clone(), fault };
        builder = builder.with_crls(revocation_lists(path).map_err(of_crl)?);
    }
    if auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| {
        let unusable = FileFault::Unusable(format!("certificates that clients cannot be verified with: {error}"));
        match crl {
            Some(path) => FileError { key: "tls.client_crl".to_owned(), path: path.clone(), fault: unusable },
            None => of_ca(unusable),
        }
    })
}

fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, FileFault> {
    let pem = certificate::read(path, "ca.crl")?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    let lists = lists.unwrap_or_default();
    if lists.is_empty() {
        let message = "no certificate revocation list in PEM form (\"-----BEGIN X509 CRL-----\"); convert a binary one with \
                       \"openssl crl -inform DER\"";
        return Err(FileFault::Unusable(message.to_owned()));
    }
    Ok(lists)
}
