//! Connects to the service and upgrades.
//!
//! The handshake is one small request and one small answer, so it is written and read here without the tasks and
//! channels of an HTTP client. `httparse` reads the answer, as it does for hyper.

use std::{fmt, future::Future, io, mem::MaybeUninit, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, uri::Authority};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use zeroize::Zeroizing;

use crate::{
    fault::{Fault, Faults},
    relay::{
        dial_error::DialError,
        stream::{ServiceIo, ServiceStream},
    },
    units::{Period, SecretSource},
    wire::websocket::handshake,
};

/// The first read of an answer: most answers fit into it, together with the first packet behind them.
const ANSWER_BYTES: usize = 1024;
/// The largest head of an answer.
const ANSWER_BYTES_MAX: usize = 400 * 1024;
/// The most interim answers (1xx) before the answer.
pub const INTERIM_ANSWERS_MAX: u8 = 8;
/// The most header lines of an answer.
const ANSWER_FIELDS_MAX: usize = 100;
/// Most request heads fit into this.
const REQUEST_BYTES: usize = 512;
/// What each dial adds to the client's request, apart from forwarded claims.
const ADDED_BYTES: usize = 160;

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

/// The handshake for the service, kept as long as its session: one buffer, wiped when dropped, because it may
/// hold a token.
#[derive(Debug)]
pub struct PackedRequest {
    /// The request line and the header lines that every dial repeats.
    head: Zeroizing<Box<[u8]>>,
    /// The subprotocols that the client offers.
    protocols: Box<[String]>,
    /// Whether the client has sent a `Host` header.
    names_host: bool,
}

impl PackedRequest {
    /// In bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.head.len() + self.protocols.iter().map(String::capacity).sum::<usize>()
    }

    /// A request for `target`, path and query. `headers` must not contain those of the handshake itself:
    /// each dial adds `Connection`, `Upgrade` and `Sec-WebSocket-*`.
    #[must_use]
    pub fn new<'h>(
        target: &str,
        headers: impl IntoIterator<Item = (&'h HeaderName, &'h HeaderValue)>,
        protocols: Vec<String>,
    ) -> Self {
        let mut head = Vec::with_capacity(REQUEST_BYTES);
        for piece in ["GET ", target, " HTTP/1.1\r\n"] {
            head.extend_from_slice(piece.as_bytes());
        }
        let mut names_host = false;
        for (name, value) in headers {
            names_host |= name == header::HOST;
            push_line(&mut head, name.as_str(), value.as_bytes());
        }
        Self { head: Zeroizing::new(head.into_boxed_slice()), protocols: protocols.into(), names_host }
    }

    /// The whole head. A header of `claims` replaces the client's header of that name.
    fn head(&self, authority: &Authority, key: &str, claims: &[(HeaderName, HeaderValue)]) -> Zeroizing<Vec<u8>> {
        let mut head = Zeroizing::new(Vec::with_capacity(self.head.len() + ADDED_BYTES));
        if claims.is_empty() {
            head.extend_from_slice(&self.head);
        } else {
            let is_claimed = |line: &&[u8]| claims.iter().any(|(name, _)| is_field(line, name.as_str()));
            let lines = self.head.split_inclusive(|&byte| byte == b'\n');
            lines.filter(|line| !is_claimed(line)).for_each(|line| head.extend_from_slice(line));
        }
        if !self.names_host {
            push_line(&mut head, "host", authority.as_str().as_bytes());
        }
        head.extend_from_slice(b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n");
        push_line(&mut head, "sec-websocket-key", key.as_bytes());
        if !self.protocols.is_empty() {
            push_line(&mut head, "sec-websocket-protocol", self.protocols.join(", ").as_bytes());
        }
        for (name, value) in claims {
            push_line(&mut head, name.as_str(), value.as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

fn push_line(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(piece);
    }
}

/// Both names are in lower case, as `http` keeps them.
fn is_field(line: &[u8], name: &str) -> bool {
    line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b":"))
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
}

/// The authority of `upstream.url`, and its port.
fn authority(url: &str, over_tls: bool) -> Result<(Authority, u16), Fault> {
    const EXAMPLE: &str = "for example \"http://127.0.0.1:4003\"";
    let wrong = |why: &str| Fault::new("upstream.url", format!("is {url:?}; {why}, {EXAMPLE}"));
    let no_url = || wrong("it must be http://HOST:PORT or https://HOST:PORT");
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
        let protocols = request.protocols.clone();
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
    let protocol = handshake::check_answer(key, protocols, status, &headers)?;
    Ok(Dialled { io, read_ahead: read.freeze(), protocol })
}

/// Takes the head of the answer, and `interim` ones before it (RFC 9110 §15.2), from what was read. `None` while it is
/// incomplete.
fn take_answer(read: &mut BytesMut, interim: &mut u8) -> io::Result<Option<(StatusCode, HeaderMap)>> {
    loop {
        let mut fields = [const { MaybeUninit::uninit() }; ANSWER_FIELDS_MAX];
        let mut answer = httparse::Response::new(&mut []);
        let parsed =
            httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut answer, read, &mut fields);
        let len = match parsed.map_err(|error| broken(io::ErrorKind::InvalidData, fault(error)))? {
            httparse::Status::Complete(len) => len,
            httparse::Status::Partial if read.len() < ANSWER_BYTES_MAX => return Ok(None),
            httparse::Status::Partial => return Err(broken(io::ErrorKind::InvalidData, TOO_LARGE)),
        };
        let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or_else(|| broken(io::ErrorKind::InvalidData, BAD_STATUS))?;
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            read.advance(len);
            *interim += 1;
            if *interim > INTERIM_ANSWERS_MAX {
                return Err(broken(io::ErrorKind::InvalidData, TOO_MANY_INTERIM));
            }
            continue;
        }
        let headers =
            handshake::headers(answer.headers).ok_or_else(|| broken(io::ErrorKind::InvalidData, BAD_FIELD))?;
        read.advance(len);
        return Ok(Some((status, headers)));
    }
}

const TOO_LARGE: &str = "message head is too large";
const TOO_MANY_INTERIM: &str = "too many interim answers";
const BAD_STATUS: &str = "invalid HTTP status-code parsed";
const BAD_FIELD: &str = "invalid HTTP header parsed";

const fn fault(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::Version => "invalid HTTP version parsed",
        httparse::Error::Status => BAD_STATUS,
        httparse::Error::TooManyHeaders => TOO_LARGE,
        httparse::Error::HeaderName
        | httparse::Error::HeaderValue
        | httparse::Error::NewLine
        | httparse::Error::Token => BAD_FIELD,
    }
}

fn broken(kind: io::ErrorKind, why: &'static str) -> io::Error {
    io::Error::new(kind, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &[u8])], protocols: &[&str]) -> PackedRequest {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap()))
            .collect();
        let headers = headers.iter().map(|(name, value)| (name, value));
        PackedRequest::new("/socket.io/?EIO=4", headers, protocols.iter().map(|&one| one.to_owned()).collect())
    }

    fn head(request: &PackedRequest, claims: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
        request.head(&"service:80".parse().unwrap(), "KEY", claims).to_vec()
    }

    #[test]
    fn the_service_gets_the_client_headers_and_the_handshake() {
        let said = request(
            &[("host", b"a.example"), ("cookie", b"a=b"), ("x-empty", b""), ("x-latin", b"\xfc"), ("x-latin", b"b: 1")],
            &["chat", "v2"],
        );
        let expected = b"GET /socket.io/?EIO=4 HTTP/1.1\r\nhost: a.example\r\ncookie: a=b\r\nx-empty: \r\n\
            x-latin: \xfc\r\nx-latin: b: 1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: KEY\r\nsec-websocket-protocol: chat, v2\r\n\r\n";
        assert_eq!(head(&said, &[]).escape_ascii().to_string(), expected.escape_ascii().to_string());
        let without_host = String::from_utf8(head(&request(&[], &[]), &[])).unwrap();
        assert!(without_host.contains("\r\nhost: service:80\r\n"), "{without_host}");
        assert!(!without_host.contains("sec-websocket-protocol"));
    }

    #[test]
    fn a_claim_replaces_the_client_header_of_its_name() {
        let claim = (HeaderName::from_static("x-user"), HeaderValue::from_static("ada"));
        let said = request(&[("x-user", b"root"), ("x-user-agent", b"kept"), ("x-user", b"admin")], &[]);
        let head = String::from_utf8(head(&said, &[claim])).unwrap();
        assert_eq!(head.matches("x-user: ").count(), 1, "{head}");
        assert!(head.contains("\r\nx-user: ada\r\n") && head.contains("\r\nx-user-agent: kept\r\n"), "{head}");
    }

    fn taken(bytes: &[u8]) -> (Result<Option<u16>, String>, Vec<u8>) {
        let mut read = BytesMut::from(bytes);
        let answer = take_answer(&mut read, &mut 0).map(|answer| answer.map(|(status, _)| status.as_u16()));
        (answer.map_err(|error| error.to_string()), read.to_vec())
    }

    #[test]
    fn an_answer_is_taken_when_it_is_complete_and_what_follows_it_stays() {
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x010";
        assert_eq!(taken(answer), (Ok(Some(101)), b"\x81\x010".to_vec()));
        for end in 0..answer.len() - 3 {
            assert_eq!(taken(&answer[..end]), (Ok(None), answer[..end].to_vec()));
        }
        assert_eq!(taken(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 403 No\r\n\r\n").0, Ok(Some(403)));
    }

    #[test]
    fn interim_answers_are_bounded_whether_they_come_together_or_one_by_one() {
        let (go_on, answer) = ("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 101 X\r\n\r\n");
        let max = usize::from(INTERIM_ANSWERS_MAX);
        assert_eq!(taken((go_on.repeat(max) + answer).as_bytes()).0, Ok(Some(101)));
        assert_eq!(taken(go_on.repeat(max + 1).as_bytes()).0, Err(TOO_MANY_INTERIM.to_owned()));
        let mut interim = 0;
        for at in 0..=max {
            let taken = take_answer(&mut BytesMut::from(go_on), &mut interim);
            assert_eq!(taken.is_err(), at == max);
        }
    }

    #[test]
    fn a_malformed_answer_is_an_error() {
        let many = format!("HTTP/1.1 101 X\r\n{}\r\n", "a: b\r\n".repeat(ANSWER_FIELDS_MAX + 1));
        let large = format!("HTTP/1.1 101 X\r\na: {}", "b".repeat(ANSWER_BYTES_MAX));
        let rows: &[(&[u8], &str)] = &[
            (b"SSH-2.0-OpenSSH\r\n", "invalid HTTP version parsed"),
            (b"HTTP/1.1 abc\r\n\r\n", BAD_STATUS),
            (b"HTTP/1.1 101 X\r\na b: c\r\n\r\n", BAD_FIELD),
            (many.as_bytes(), TOO_LARGE),
            (large.as_bytes(), TOO_LARGE),
        ];
        for (bytes, why) in rows {
            assert_eq!(taken(bytes).0, Err((*why).to_owned()));
        }
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
            assert_eq!(&*compile(good).unwrap().address, address);
        }
        for bad in
            ["", "service:80", "https://service", "http://service/path", "http://u@service", "http://", "ws://service"]
        {
            let faults = compile(bad).unwrap_err();
            assert_eq!((faults.len(), faults[0].key.as_str()), (1, "upstream.url"), "{bad}");
        }
    }
}
