//! Connects to the service and upgrades.
//!
//! The handshake is one small request and one small answer, so it is written and read here without the tasks and
//! channels of an HTTP client. `httparse` reads the answer, as it does for hyper.

use std::{fmt, future::Future, io, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, uri::Authority};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use crate::{
    fault::{Fault, Faults},
    relay::{
        dial_answer::{self, broken, take_answer},
        dial_error::DialError,
        stream::{ServiceIo, ServiceStream, bound_unsent},
    },
    units::{ByteSize, Period, SecretSource},
    wire::websocket::handshake,
};

pub use crate::relay::{dial_answer::INTERIM_ANSWERS_MAX, dial_request::PackedRequest};

/// The first read of an answer: most answers fit into it, together with the first packet behind them.
const ANSWER_BYTES: usize = 1024;

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
    /// The largest message of the service, and its largest packet with its attachments. A message over 16 MiB passes to a
    /// client on a WebSocket without being stored; with attachments, in fragments, over polling, and with `session.resume`
    /// it is stored, and counts in `limits.session_memory`.
    pub max_message: ByteSize,
    /// TLS towards a service at `https://…`; all of it may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTlsTable>,
}

/// `[upstream.tls]`: TLS towards the service.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTlsTable {
    /// A PEM file with the certificate authorities that may sign the service's certificate. Without it, those that
    /// this machine trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tidegate/service-ca.crt")]
    pub ca: Option<PathBuf>,
    /// The name to ask for, which must be in the certificate. Without it, the host of `upstream.url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"orchestrator.internal")]
    pub server_name: Option<String>,
    /// A PEM file with the certificate that Tidegate shows to the service, where it asks for one.
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
            max_message: ByteSize(100 * 1024 * 1024),
            tls: None,
        }
    }
}

/// Encrypts a connection to the service; the error text names the cause and the fix.
pub trait Secure: fmt::Debug + Send + Sync {
    /// Performs the TLS handshake over `stream`.
    fn secure(&self, stream: TcpStream) -> Securing;
}

/// A handshake under way.
pub type Securing = Pin<Box<dyn Future<Output = Result<Box<dyn ServiceIo>, String>> + Send>>;

/// How to reach the service.
#[derive(Debug, Clone)]
pub struct Dialler {
    authority: Authority,
    address: Arc<str>,
    connect_timeout: Duration,
    /// `None`: the connection is not encrypted.
    tls: Option<Arc<dyn Secure>>,
}

/// A connection to the service, upgraded.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub io: ServiceStream,
    /// What was read behind the service's answer.
    pub read_ahead: Bytes,
    /// The subprotocol the service chose.
    pub protocol: Option<String>,
    /// Headers of the service's answer that reach the client where they can.
    pub headers: HeaderMap,
}

/// The authority of `upstream.url`, and its port.
fn authority(url: &str, over_tls: bool) -> Result<(Authority, u16), Fault> {
    const EXAMPLE: &str = "for example \"http://127.0.0.1:4003\"";
    let meant = |why: &str, scheme: &str, behind: &str| {
        Fault::new("upstream.url", format!("is {url:?}; the service {why}: \"{scheme}://{behind}\""))
    };
    let wrong = |why: &str| Fault::new("upstream.url", format!("is {url:?}; {why}, {EXAMPLE}"));
    let no_url = || match url.split_once("://") {
        Some(("ws", behind)) => meant("is reached by HTTP, which becomes a WebSocket", "http", behind),
        Some(("wss", behind)) => meant("is reached by HTTP, which becomes a WebSocket", "https", behind),
        None if url.contains(':') || url.contains('.') || url == "localhost" => meant("needs its scheme", "http", url),
        _ => wrong("it must be http://HOST:PORT or https://HOST:PORT"),
    };
    let uri: Uri = url.parse().map_err(|_| no_url())?;
    let authority = uri.authority().cloned().ok_or_else(no_url)?;
    let (scheme, port) = if over_tls { ("https", 443) } else { ("http", 80) };
    if uri.scheme_str() != Some(scheme) {
        return Err(no_url());
    }
    if authority.as_str().contains('@') {
        let message = format!("has a user name in it, which is never sent; it must be http://HOST:PORT, {EXAMPLE}");
        return Err(Fault::new("upstream.url", message));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wrong("it must be http://HOST:PORT, without a path"));
    }
    let names_port = authority.as_str() != authority.host();
    match authority.port_u16() {
        None | Some(0) if names_port => Err(wrong("its port must be a number from 1 to 65535")),
        given => Ok((authority, given.unwrap_or(port))),
    }
}

impl Dialler {
    /// Compiles the table; for a service at `https://`, with `tls`.
    ///
    /// # Errors
    /// The URL is malformed, or not that of an HTTP service; a time is zero.
    pub fn compile(table: &UpstreamTable, tls: Option<Arc<dyn Secure>>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let authority = faults.keep(authority(&table.url, tls.is_some()));
        let connect_timeout = faults.keep(table.connect_timeout.above_zero("upstream.connect_timeout"));
        faults.keep(table.response_timeout.above_zero("upstream.response_timeout"));
        let dialler = || {
            let (authority, port) = authority?;
            let address = format!("{}:{port}", authority.host()).into();
            Some(Self { authority, address, connect_timeout: connect_timeout?, tls })
        };
        faults.finish(dialler())
    }

    /// Host and port of the service, from its URL.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Connects, within `upstream.connect_timeout`.
    pub fn connect(&self) -> impl Future<Output = Result<ServiceStream, DialError>> + Send + use<> {
        let dialler = self.clone();
        async move { dialler.by(Instant::now() + dialler.connect_timeout, false, dialler.stream()).await }
    }

    /// Connects and upgrades, within `upstream.connect_timeout`. The service gets `request`, and the headers of the
    /// session's `claims`.
    pub fn dial(
        &self,
        request: &PackedRequest,
        claims: &[(HeaderName, HeaderValue)],
    ) -> impl Future<Output = Result<Dialled, DialError>> + use<> {
        let dialler = self.clone();
        let key = generate_key();
        let head = request.head(&self.authority, &key, claims);
        let protocols = request.protocols().to_vec();
        async move {
            let until = Instant::now() + dialler.connect_timeout;
            let stream = dialler.by(until, false, dialler.stream()).await?;
            dialler.by(until, true, upgrade(stream, &head, &key, &protocols)).await
        }
    }

    async fn by<T>(
        &self,
        until: Instant,
        connected: bool,
        dial: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        let within = self.connect_timeout;
        let timeout = || DialError::Timeout { address: self.address.to_string(), within, connected };
        tokio::time::timeout_at(until, dial).await.unwrap_or_else(|_| Err(timeout()))
    }

    async fn stream(&self) -> Result<ServiceStream, DialError> {
        let address = || self.address.to_string();
        let refused = |source| DialError::Connect { address: address(), source };
        let stream = TcpStream::connect(&*self.address).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        bound_unsent(&SockRef::from(&stream));
        match &self.tls {
            None => Ok(ServiceStream::Plain(stream)),
            Some(tls) => match tls.secure(stream).await {
                Ok(stream) => Ok(ServiceStream::Tls(stream)),
                Err(why) => Err(DialError::Tls { address: address(), why }),
            },
        }
    }
}

async fn upgrade(mut io: ServiceStream, head: &[u8], key: &str, protocols: &[String]) -> Result<Dialled, DialError> {
    io.write_all(head).await?;
    io.flush().await?;
    let mut read = BytesMut::with_capacity(ANSWER_BYTES);
    let mut interim = 0;
    let (status, headers) = loop {
        if io.read_buf(&mut read).await? == 0 {
            return Err(broken(io::ErrorKind::UnexpectedEof, "connection closed before message completed").into());
        }
        if let Some(answer) = take_answer(&mut read, &mut interim)? {
            break answer;
        }
    };
    if status != StatusCode::SWITCHING_PROTOCOLS && !status.is_server_error() {
        return Err(dial_answer::refusal(io, read, status, &headers).await.into());
    }
    let protocol = handshake::check_answer(key, protocols, status, &headers)?;
    Ok(Dialled { io, read_ahead: read.freeze(), protocol, headers: dial_answer::passing(headers) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_a_scheme_a_host_and_a_port() {
        let compile =
            |url: &str| Dialler::compile(&UpstreamTable { url: url.to_owned(), ..UpstreamTable::default() }, None);
        for (good, address) in [
            ("http://127.0.0.1:4003", "127.0.0.1:4003"),
            ("http://service", "service:80"),
            ("http://[::1]:81/", "[::1]:81"),
        ] {
            assert_eq!(&*compile(good).unwrap().address, address);
        }
        for bad in
            ["", "service:80", "https://service", "http://service/path", "http://u@service", "http://", "ws://service"]
        {
            let faults = compile(bad).unwrap_err();
            assert_eq!((faults.len(), faults[0].key.as_str()), (1, "upstream.url"), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_service_that_reads_slowly_is_seen_to_read() {
        let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", service.local_addr().unwrap());
        let dialler = Dialler::compile(&UpstreamTable { url, ..UpstreamTable::default() }, None).unwrap();
        let Ok(ServiceStream::Plain(stream)) = dialler.connect().await else { panic!("no connection") };
        assert_eq!(SockRef::from(&stream).tcp_notsent_lowat().unwrap(), 262_144);
    }
}
