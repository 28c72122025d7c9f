//! TLS towards the service: how it is verified, and our own certificate.

use std::{error::Error as _, io, sync::Arc, time::SystemTime};

use http::Uri;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, client::WebPkiServerVerifier, pki_types::ServerName,
    sign::SingleCertAndKey,
};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{CertificateFiles, FileError, FileFault, certificate_authorities, io::Socket, provider};
use crate::{
    fault::Fault,
    relay::dial::{Secure, Securing, UpstreamTable, UpstreamTlsTable},
};

/// How connections to the service are encrypted.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl UpstreamTls {
    /// Compiles `[upstream.tls]` and reads its files. `None` for an `http://` service.
    ///
    /// # Errors
    /// Files that cannot be used, keys that contradict one another.
    pub fn compile(upstream: &UpstreamTable, now: SystemTime) -> Result<Option<Self>, Fault> {
        let uri: Option<Uri> = upstream.url.parse().ok();
        let Some(uri) = uri.filter(|uri| uri.scheme_str() == Some("https")) else {
            let message = "does not begin with https://, but upstream.tls is given; change one of them";
            return if upstream.tls.is_some() { Err(Fault::new("upstream.url", message)) } else { Ok(None) };
        };
        let table = upstream.tls.clone().unwrap_or_default();
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = table.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            let message = format!("is {name:?}; it must be a host name or an IP address");
            Fault::new("upstream.tls.server_name", message)
        })?;
        let mut config = client_config(&table, now)?;
        // Sessions need a WebSocket, which is opened over HTTP/1.1.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self { config: Arc::new(config), name }))
    }
}

fn client_config(table: &UpstreamTlsTable, now: SystemTime) -> Result<ClientConfig, Fault> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Fault::new("upstream.tls", error.to_string()))?;
    let builder = match &table.ca {
        Some(path) => {
            let of_ca = |fault| FileError { key: "upstream.tls.ca".to_owned(), path: path.clone(), fault };
            let roots = certificate_authorities(path).map_err(of_ca)?;
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
            let unusable = |error| {
                of_ca(FileFault::Unusable(format!("certificates that the service cannot be verified with: {error}")))
            };
            builder.with_webpki_verifier(verifier.map_err(unusable)?)
        }
        None => {
            let verifier = Verifier::new(Arc::clone(&provider)).map_err(|error| {
                let message = format!(
                    "is missing, and the certificate authorities that this machine trusts cannot be used ({error}); name a PEM \
                     file of those that sign the service's certificate"
                );
                Fault::new("upstream.tls.ca", message)
            })?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let (certificate, private_key) = match (&table.certificate, &table.private_key) {
        (None, None) => return Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(private_key)) => (certificate, private_key),
        (None, Some(_)) => {
            let message = "is missing; name the PEM file of the certificate for upstream.tls.private_key";
            return Err(Fault::new("upstream.tls.certificate", message));
        }
        (Some(_), None) => {
            let message = "is missing; name the PEM file of the key for upstream.tls.certificate";
            return Err(Fault::new("upstream.tls.private_key", message));
        }
    };
    let files =
        CertificateFiles { table: "upstream.tls", certificate, private_key, passphrase: table.passphrase.as_ref() };
    let shown = SingleCertAndKey::from(files.load(&provider, now, &[])?.key);
    Ok(builder.with_client_cert_resolver(Arc::new(shown)))
}

impl Secure for UpstreamTls {
    fn secure(&self, stream: TcpStream) -> Securing {
        let Self { config, name } = self.clone();
        Box::pin(async move {
            match TlsConnector::from(config).connect(name.clone(), Socket::new(stream)).await {
                Ok(stream) => Ok(Box::new(stream) as _),
                Err(error) => Err(explain(&error, &name)),
            }
        })
    }
}

/// Explains a failed handshake, with a fix.
fn explain(error: &io::Error, name: &ServerName<'_>) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let advice = match cause {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            // BadSignature: the authority has the name of another, for example after it was recreated.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate comes from an authority that is not trusted here; set upstream.tls.ca to that authority"
                    .to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
                "its certificate is not for {}; set upstream.tls.server_name to a name in it, or renew it with this one",
                name.to_str()
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired; renew it at the service".to_owned()
            }
            // rustls has no variant for this.
            CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => {
                "it shows the certificate of an authority, as `openssl req -x509` makes it; let it show one that this \
                 has issued, or make it with `-addext basicConstraints=CA:FALSE`"
                    .to_owned()
            }
            _ => "its certificate is not valid".to_owned(),
        },
        Some(rustls::Error::AlertReceived(alert)) if wants_certificate(*alert) => {
            "it refused the connection; does it require a client certificate? See upstream.tls.certificate".to_owned()
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            "it does not speak TLS there; is upstream.url meant to begin with http://?".to_owned()
        }
        _ => "the handshake failed".to_owned(),
    };
    format!("{advice} ({})", error.source().map_or_else(|| error.to_string(), ToString::to_string))
}

const fn wants_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}
