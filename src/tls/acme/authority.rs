//! Requests to the ACME server, with bounds on time and size.

use std::{
    fs, io,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::time::timeout;

use crate::fault::Fault;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For one request: name, connection, answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Larger than any certificate chain.
const BODY_MAX_BYTES: usize = 256 * 1024;
/// The content type of an ACME error (RFC 8555 §6.7).
const PROBLEM: &str = "application/problem+json";

/// The ACME server.
#[derive(Debug)]
pub(super) struct Authority {
    connector: HttpsConnector<HttpConnector>,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("the ACME server cannot be reached: {}", causes(.0))]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    #[error("the ACME server did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the ACME server answered {0}")]
    Status(StatusCode),
    #[error("the answer of the ACME server broke off, or has more than {BODY_MAX_BYTES} bytes")]
    Body,
}

/// The HTTP client of one order. It records `Retry-After`.
#[derive(Debug, Clone)]
pub(super) struct Bounded {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    /// Seconds since 1970; `0` without `Retry-After`.
    retry_after: Arc<AtomicU64>,
}

impl Authority {
    /// The server is verified with the certificates in the file `root_ca`, or with the trusted ones of this machine.
    pub(super) fn new(root_ca: Option<&Path>) -> Result<Self, Fault> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let builder = match root_ca {
            Some(path) => {
                let wrong = |fault: String| Fault::new("tls.acme.root_ca", format!("{} {fault}", path.display()));
                let unread = |error: io::Error| match error.kind() {
                    io::ErrorKind::IsADirectory => wrong("is a directory; name the PEM file in it".to_owned()),
                    _ => Fault { is_unread: true, ..wrong(format!("cannot be read: {error}")) },
                };
                let pem = fs::read(path).map_err(unread)?;
                HttpsConnectorBuilder::new().with_tls_config(trusting(&pem).map_err(wrong)?)
            }
            None => HttpsConnectorBuilder::new()
                .with_provider_and_platform_verifier(aws_lc_rs::default_provider())
                .map_err(|error| {
                    let message = format!(
                        "needs the trusted certificates of this machine, which cannot be read ({error}); install them \
                         (Debian: ca-certificates), or set tls.acme.root_ca"
                    );
                    Fault::new("tls.acme", message)
                })?,
        };
        // Also the addresses that the server names must be https.
        Ok(Self { connector: builder.https_only().enable_http1().wrap_connector(tcp) })
    }

    /// For one order.
    pub(super) fn client(&self) -> Bounded {
        let client = Client::builder(TokioExecutor::new()).build(self.connector.clone());
        Bounded { client, retry_after: Arc::default() }
    }
}

impl Bounded {
    /// The latest `Retry-After` of an error, in seconds since 1970.
    pub(super) fn retry_after(&self) -> Option<u64> {
        Some(self.retry_after.load(Relaxed)).filter(|&time| time > 0)
    }

    async fn answer(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, RequestError> {
        let (parts, body) = self.client.request(request).await?.into_parts();
        let body = Limited::new(body, BODY_MAX_BYTES).collect().await.map_err(|_| RequestError::Body)?.to_bytes();
        if parts.status.is_client_error() || parts.status.is_server_error() {
            if let Some(time) = retry_after(&parts.headers, SystemTime::now()) {
                self.retry_after.fetch_max(time, Relaxed);
            }
            let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            if !kind.starts_with(PROBLEM) {
                return Err(RequestError::Status(parts.status));
            }
        }
        Ok(BytesResponse { parts, body: Box::new(body) })
    }
}

impl HttpClient for Bounded {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let answer = timeout(REQUEST_TIMEOUT, self.clone().answer(request));
        Box::pin(async move {
            answer.await.unwrap_or(Err(RequestError::TimedOut)).map_err(|error| Error::Other(error.into()))
        })
    }
}

fn trusting(pem: &[u8]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(|why| format!("holds a certificate that cannot be used: {why}"))?;
    }
    if roots.is_empty() {
        return Err("holds no certificate in PEM form (\"-----BEGIN CERTIFICATE-----\")".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let time = match value.parse::<u32>() {
        Ok(seconds) => now + Duration::from_secs(seconds.into()),
        Err(_) => httpdate::parse_http_date(value).ok()?,
    };
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |&cause| cause.source())
        .fold(error.to_string(), |sentence, cause| format!("{sentence}: {cause}"))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::tls::acme::certificate;

    #[test]
    fn patience_is_asked_for_in_seconds_or_with_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_000);
        for (value, expected) in [
            ("120", Some(784_111_120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("-5", None),
            ("soon", None),
            ("99999999999999999999", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), expected, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_file_without_an_authority_is_refused_and_says_why() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("root.pem");
        let refusal = |path: &Path| Authority::new(Some(path)).unwrap_err().to_string();
        for (path, content, part) in [
            (file.as_path(), "", "no certificate"),
            (file.as_path(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be used"),
            (&folder.path().join("missing.pem"), "", "cannot be read"),
            (folder.path(), "", "is a directory"),
        ] {
            fs::write(&file, content).unwrap();
            let said = refusal(path);
            assert!(said.starts_with("tls.acme.root_ca: ") && said.contains(part), "{said}");
        }
        fs::write(&file, &*certificate::tests::pem(&["ca.test"], (2026, 2027))).unwrap();
        assert!(Authority::new(Some(&file)).is_ok());
    }
}
