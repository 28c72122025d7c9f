//! TLS as every proxy is configured for it: one certificate, and clients that offer one version, one cipher and one
//! group.

use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::TLS13,
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

/// A certificate that signs itself (P-256), and its key.
#[derive(Debug)]
pub(crate) struct Certificate {
    dir: TempDir,
}

impl Certificate {
    /// A new one for 127.0.0.1.
    pub(crate) fn issue() -> io::Result<Self> {
        let made = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()]).map_err(io::Error::other)?;
        let certificate = Self { dir: tempfile::tempdir()? };
        // Both in one file, which all proxies accept.
        fs::write(certificate.file(), made.cert.pem() + &made.signing_key.serialize_pem())?;
        Ok(certificate)
    }

    /// Both, as PEM.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("pair.pem")
    }
}

/// The server side, as rustls has it when nothing is asked for.
pub(crate) fn acceptor(pair: &Path) -> io::Result<TlsAcceptor> {
    let key = PrivateKeyDer::from_pem_file(pair).map_err(io::Error::other)?;
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&TLS13]).map_err(io::Error::other)?.with_no_client_auth();
    let config = builder.with_single_cert(vec![certificate(pair)?], key).map_err(io::Error::other)?;
    Ok(Arc::new(config).into())
}

/// Clients, each of whose handshakes is a full one.
#[derive(Clone)]
pub(crate) struct Clients(TlsConnector);

impl Clients {
    /// That know the certificate.
    pub(crate) fn new(pair: &Path) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(pair)?).map_err(io::Error::other)?;
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let builder = builder.with_protocol_versions(&[&TLS13]).map_err(io::Error::other)?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config).into()))
    }

    /// One handshake.
    pub(crate) async fn shake_hands(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.connect(ServerName::IpAddress(Ipv4Addr::LOCALHOST.into()), stream).await
    }
}

fn certificate(pair: &Path) -> io::Result<CertificateDer<'static>> {
    CertificateDer::from_pem_file(pair).map_err(io::Error::other)
}
