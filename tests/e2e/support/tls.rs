//! TLS connections of our own: what the gate shows, and requests over HTTP/1.1 and HTTP/2.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody as BoxBody};
use hyper::{Request, body::Frame, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    http::Reply,
    pki::{Pair, Pki},
    soon,
};

/// A client of TLS.
#[derive(Debug, Clone)]
pub(crate) struct TlsClient {
    config: Arc<ClientConfig>,
    name: &'static str,
}

impl TlsClient {
    /// That believes in `pki` and offers all it can.
    pub(crate) fn new(pki: &Pki) -> Self {
        Self::with(pki, rustls::DEFAULT_VERSIONS, None)
    }

    /// That shows a certificate.
    pub(crate) fn showing(pki: &Pki, pair: &Pair) -> Self {
        Self::with(pki, rustls::DEFAULT_VERSIONS, Some(pair))
    }

    /// That speaks only these versions.
    pub(crate) fn with(pki: &Pki, versions: &[&'static SupportedProtocolVersion], pair: Option<&Pair>) -> Self {
        Self::believing_in(&pki.authority(), versions, pair)
    }

    /// That believes in this authority, PEM.
    pub(crate) fn believing_in(
        authority: &str,
        versions: &[&'static SupportedProtocolVersion],
        pair: Option<&Pair>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
        let config = match pair {
            Some(pair) => {
                let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(pair.private_key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        Self { config: Arc::new(config), name: "localhost" }
    }

    /// That asks for this name.
    pub(crate) fn asking_for(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// That offers these protocols.
    pub(crate) fn offering(mut self, protocols: &[&str]) -> Self {
        let offered = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::make_mut(&mut self.config).alpn_protocols = offered;
        self
    }

    /// That makes every handshake in full.
    pub(crate) fn forgetful(mut self) -> Self {
        Arc::make_mut(&mut self.config).resumption = Resumption::disabled();
        self
    }

    /// A connection, or why there is none.
    pub(crate) async fn connect(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>, String> {
        self.over(TcpStream::connect(address).await.map_err(|error| error.to_string())?).await
    }

    /// The same over a connection that is there.
    pub(crate) async fn over(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(self.name).unwrap();
        let handshake = TlsConnector::from(self.config.clone()).connect(name, stream);
        soon("the end of a TLS handshake", handshake).await.map_err(|error| error.to_string())
    }

    /// The serial number of the certificate that is shown.
    pub(crate) async fn serial(&self, address: SocketAddr) -> Result<u64, String> {
        let stream = self.connect(address).await?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap();
        let (_, certificate) = X509Certificate::from_der(&certificates[0]).unwrap();
        Ok(certificate.raw_serial().iter().fold(0, |serial, &byte| serial << 8 | u64::from(byte)))
    }

    /// A request over HTTP/1.1, on a connection of its own.
    pub(crate) async fn http1(
        &self,
        address: SocketAddr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Reply, String> {
        let stream = self.connect(address).await?;
        let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(target).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        reply(sender.send_request(request)).await
    }

    /// A connection of HTTP/2.
    pub(crate) async fn http2(&self, address: SocketAddr) -> Http2 {
        let stream = self.clone().offering(&["h2"]).connect(address).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Http2 { sender, origin: format!("https://localhost:{}", address.port()) }
    }
}

/// A connection of HTTP/2.
#[derive(Debug, Clone)]
pub(crate) struct Http2 {
    sender: conn::http2::SendRequest<BoxBody<Bytes, Infallible>>,
    origin: String,
}

impl Http2 {
    pub(crate) async fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Reply, String> {
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.origin));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())).boxed_unsync()).unwrap();
        reply(self.sender.send_request(request)).await
    }

    /// A POST whose body never comes.
    pub(crate) async fn post_nothing(&mut self, target: &str) -> Reply {
        let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let request = Request::post(format!("{}{target}", self.origin)).body(BoxBody::new(body)).unwrap();
        reply(self.sender.send_request(request)).await.unwrap()
    }

    /// A POST with a byte of its body now and then, without end.
    pub(crate) async fn post_slowly(&mut self, target: &str, pause: Duration) -> Result<Reply, String> {
        let bytes = stream::repeat(()).then(move |()| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"a")))
        });
        let body = BoxBody::new(StreamBody::new(bytes));
        let request = Request::post(format!("{}{target}", self.origin)).body(body).unwrap();
        reply(self.sender.send_request(request)).await
    }
}

async fn reply(
    answer: impl Future<Output = hyper::Result<hyper::Response<hyper::body::Incoming>>>,
) -> Result<Reply, String> {
    let (parts, body) = soon("an answer", answer).await.map_err(|error| error.to_string())?.into_parts();
    let body = soon("the end of a body", body.collect()).await.map_err(|error| error.to_string())?.to_bytes();
    Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
}
