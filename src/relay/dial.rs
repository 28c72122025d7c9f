//! Connects to the service and upgrades.

use std::{error::Error, fmt, future::Future, io, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header, uri::Authority};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use zeroize::Zeroizing;

use crate::{
    relay::stream::{ServiceIo, ServiceStream},
    units::{Period, SecretSource},
    wire::websocket::handshake::{self, AnswerError},
};

/// `[upstream]`: the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTable {
    /// Scheme (`http` or `https`), host and port of the service.
    pub url: String,
    /// How long a connection to the service, with its handshakes, may take.
    pub connect_timeout: Period,
    /// How long the service may take to begin its answer to an ordinary HTTP request.
    pub response_timeout: Period,
    /// TLS towards a service at `https://…`; all of it may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTlsTable>,
}

/// `[upstream.tls]`: TLS towards the service.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTlsTable {
    /// A PEM file with the certificate authorities that the service's certificate may come from. Without it, those that
    /// this machine trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tidegate/service-ca.crt")]
    pub ca: Option<PathBuf>,
    /// The name that is asked for and must be in the certificate. Without it, the host of `upstream.url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"orchestrator.internal")]
    pub server_name: Option<String>,
    /// A PEM file with the certificate that we show to the service, where it asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tidegate/gate.crt")]
    pub certificate: Option<PathBuf>,
    /// A PEM file with its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tidegate/gate.key")]
    pub private_key: Option<PathBuf>,
    /// What the private key is encrypted with (PKCS#8): `{ env = "NAME" }` or `{ file = "PATH" }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = SecretSource::Env("GATE_PASSPHRASE".to_owned()))]
    pub passphrase: Option<SecretSource>,
}

impl Default for UpstreamTable {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:4003".to_owned(),
            connect_timeout: Period::from_secs(5),
            response_timeout: Period::from_secs(60),
            tls: None,
        }
    }
}

/// Encrypts a connection to the service; in the end the error is what was wrong and the mend.
pub trait Secure: fmt::Debug + Send + Sync {
    /// Shakes hands over `stream`.
    fn secure(&self, stream: TcpStream) -> Securing;
}

/// A handshake under way.
pub type Securing = Pin<Box<dyn Future<Output = Result<Box<dyn ServiceIo>, String>> + Send>>;

/// How to reach the service.
#[derive(Debug, Clone)]
pub struct Dialler {
    authority: Authority,
    address: String,
    connect_timeout: Duration,
    /// None: as it is.
    tls: Option<Arc<dyn Secure>>,
}

/// What the service shall hear at its handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialRequest {
    /// Path and query.
    pub target: String,
    /// The client's headers, as far as they may pass, and ours.
    pub headers: HeaderMap,
    /// The subprotocols the client offers.
    pub protocols: Vec<String>,
}

/// A [`DialRequest`] for as long as a session lives: small, and wiped when dropped, for it may hold a token.
#[derive(Debug)]
pub struct PackedRequest(Zeroizing<Box<[u8]>>);

impl PackedRequest {
    /// Lines: the target, each header, an empty one, each subprotocol. None of them can hold a line feed.
    #[must_use]
    pub fn of(request: &DialRequest) -> Self {
        let mut lines = request.target.clone().into_bytes();
        for (name, value) in &request.headers {
            for piece in [b"\n", name.as_str().as_bytes(), b":", value.as_bytes()] {
                lines.extend_from_slice(piece);
            }
        }
        lines.extend_from_slice(b"\n");
        for protocol in &request.protocols {
            lines.push(b'\n');
            lines.extend_from_slice(protocol.as_bytes());
        }
        Self(Zeroizing::new(lines.into_boxed_slice()))
    }

    /// The request again.
    #[must_use]
    pub fn unpack(&self) -> DialRequest {
        let mut lines = self.0.split(|&byte| byte == b'\n');
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        let target = lines.next().map(text).unwrap_or_default();
        let mut headers = HeaderMap::new();
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]))
            {
                headers.append(name, value);
            }
        }
        DialRequest { target, headers, protocols: lines.map(text).collect() }
    }
}

/// A connection to the service, upgraded.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub io: ServiceStream,
    /// What came behind the service's answer already.
    pub read_ahead: Bytes,
    /// The subprotocol the service chose.
    pub protocol: Option<String>,
}

/// Why there is no connection to the service.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No connection.
    #[error("cannot connect to the service at {address}: {source}{}", mend(.source))]
    Connect {
        /// Of the service.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// TLS failed, or the service is not who it should be.
    #[error("there is no TLS with the service at {address}: {why}")]
    Tls {
        /// Of the service.
        address: String,
        /// What was wrong, and the mend.
        why: String,
    },
    /// It took longer than `upstream.connect_timeout`.
    #[error("the service at {address} did not complete the handshake within {within:?}")]
    Timeout {
        /// Of the service.
        address: String,
        /// `upstream.connect_timeout`.
        within: Duration,
    },
    /// The service does not speak HTTP.
    #[error("the service did not answer the handshake: {}", innermost(.0))]
    Http(#[from] hyper::Error),
    /// The service does not upgrade, or not as RFC 6455 says.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The client's own request cannot be passed on.
    #[error("the client's handshake cannot be passed on: {0}")]
    Request(#[from] http::Error),
    /// The connection broke after the service's answer.
    #[error("the service's connection broke during the handshake")]
    Lost,
}

impl DialError {
    /// Would another dial come to the same? The service has answered, and does not want this client.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Answer(AnswerError::Status(status)) => !status.is_server_error(),
            Self::Answer(_) | Self::Request(_) => true,
            Self::Connect { .. } | Self::Tls { .. } | Self::Timeout { .. } | Self::Http(_) | Self::Lost => false,
        }
    }
}

/// What happened beneath hyper says more than hyper does.
fn innermost(error: &hyper::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn mend(source: &io::Error) -> &'static str {
    if source.kind() == io::ErrorKind::AddrNotAvailable {
        "; every local port towards this address is in use, about 28,000 per address"
    } else {
        ""
    }
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "upstream.url is {url:?}; expected http://HOST[:PORT] or https://HOST[:PORT], for example \"http://127.0.0.1:4003\""
)]
pub struct UpstreamUrlError {
    url: String,
}

impl Dialler {
    /// For the service of this table; where it is at `https://`, with `tls`.
    ///
    /// # Errors
    /// The URL is none, or not one of an HTTP service.
    pub fn compile(table: &UpstreamTable, tls: Option<Arc<dyn Secure>>) -> Result<Self, UpstreamUrlError> {
        let refuse = || UpstreamUrlError { url: table.url.clone() };
        let uri: Uri = table.url.parse().map_err(|_| refuse())?;
        let authority = uri.authority().cloned().ok_or_else(refuse)?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
        let (scheme, port) = if tls.is_some() { ("https", 443) } else { ("http", 80) };
        if uri.scheme_str() != Some(scheme) || !is_bare {
            return Err(refuse());
        }
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(port));
        Ok(Self { authority, address, connect_timeout: table.connect_timeout.0, tls })
    }

    /// Host and port of the service, as its URL says.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Connects, within `upstream.connect_timeout`.
    pub fn connect(&self) -> impl Future<Output = Result<ServiceStream, DialError>> + Send + use<> {
        let dialler = self.clone();
        async move {
            let within = dialler.connect_timeout;
            let connected = tokio::time::timeout(within, dialler.stream()).await;
            connected.unwrap_or(Err(DialError::Timeout { address: dialler.address, within }))
        }
    }

    /// Connects and upgrades, within `upstream.connect_timeout`.
    pub fn dial(&self, request: DialRequest) -> impl Future<Output = Result<Dialled, DialError>> + use<> {
        let dialler = self.clone();
        async move {
            let within = dialler.connect_timeout;
            tokio::time::timeout(within, dialler.upgrade(request))
                .await
                .unwrap_or(Err(DialError::Timeout { address: dialler.address, within }))
        }
    }

    async fn stream(&self) -> Result<ServiceStream, DialError> {
        let address = || self.address.clone();
        let refused = |source| DialError::Connect { address: address(), source };
        let stream = TcpStream::connect(&self.address).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        match &self.tls {
            None => Ok(ServiceStream::Plain(stream)),
            Some(tls) => match tls.secure(stream).await {
                Ok(stream) => Ok(ServiceStream::Tls(stream)),
                Err(why) => Err(DialError::Tls { address: address(), why }),
            },
        }
    }

    async fn upgrade(&self, request: DialRequest) -> Result<Dialled, DialError> {
        let stream = self.stream().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the upgrade, or with the connection where there is none.
        tokio::task::spawn_local(connection.with_upgrades());
        let key = generate_key();
        let mut answer = sender.send_request(handshake_request(&self.authority, &key, &request)?).await?;
        let protocol = handshake::check_answer(&key, &request.protocols, answer.status(), answer.headers())?;
        let upgraded = hyper::upgrade::on(&mut answer).await?;
        let parts = upgraded.downcast::<TokioIo<ServiceStream>>().map_err(|_| DialError::Lost)?;
        Ok(Dialled { io: parts.io.into_inner(), read_ahead: parts.read_buf, protocol })
    }
}

fn handshake_request(
    authority: &Authority,
    key: &str,
    request: &DialRequest,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut handshake = Request::builder().uri(&request.target).body(Empty::new())?;
    let headers = handshake.headers_mut();
    headers.clone_from(&request.headers);
    if !headers.contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_str(key)?);
    if !request.protocols.is_empty() {
        let offered = HeaderValue::from_str(&request.protocols.join(", "))?;
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offered);
    }
    Ok(handshake)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_request_is_the_same_request() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=b"));
        headers.append("x-forwarded-for", HeaderValue::from_static("192.0.2.1"));
        headers.append("x-empty", HeaderValue::from_static(""));
        headers.append("x-twice", HeaderValue::from_static("one: 1"));
        headers.append("x-twice", HeaderValue::from_bytes(b"\xfc").unwrap());
        for protocols in [Vec::new(), vec!["chat".to_owned(), "v2".to_owned()]] {
            let request = DialRequest { target: "/socket.io/?EIO=4".to_owned(), headers: headers.clone(), protocols };
            assert_eq!(PackedRequest::of(&request).unpack(), request);
        }
        let bare = DialRequest { target: "/".to_owned(), headers: HeaderMap::new(), protocols: Vec::new() };
        assert_eq!(PackedRequest::of(&bare).unpack(), bare);
    }

    #[test]
    fn the_service_is_a_scheme_a_host_and_a_port() {
        let compile =
            |url: &str| Dialler::compile(&UpstreamTable { url: url.to_owned(), ..UpstreamTable::default() }, None);
        for (good, address) in [
            ("http://127.0.0.1:4003", "127.0.0.1:4003"),
            ("http://service", "service:80"),
            ("http://[::1]:81/", "[::1]:81"),
        ] {
            assert_eq!(compile(good).unwrap().address, address);
        }
        for bad in
            ["", "service:80", "https://service", "http://service/path", "http://u@service", "http://", "ws://service"]
        {
            assert!(compile(bad).unwrap_err().to_string().contains("expected http://HOST"), "{bad}");
        }
    }
}
