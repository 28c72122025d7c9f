//! The handshake request to the service, kept for repeated dials.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, header, uri::Authority};
use zeroize::Zeroizing;

use crate::relay::cookies::CookieJar;

/// Most request heads fit into this.
const REQUEST_BYTES: usize = 512;
/// What each dial adds to the client's request, apart from forwarded claims.
const ADDED_BYTES: usize = 160;
/// The header of cookies, in lower case as `http` keeps it.
const COOKIE: &str = "cookie";

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
    /// What the service has set in its answers.
    cookies: CookieJar,
}

impl PackedRequest {
    /// In bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.head.len() + self.protocols.iter().map(String::capacity).sum::<usize>() + self.cookies.memory()
    }

    /// The service has answered with these headers: the cookies among them go with the dials that follow.
    pub fn learn(&mut self, answer: &HeaderMap) {
        if answer.contains_key(header::SET_COOKIE) {
            let target = self.head.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
            let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
            self.cookies.learn(answer, std::str::from_utf8(path).unwrap_or_default(), SystemTime::now());
        }
    }

    /// It takes the place of this one in its session: the cookies that the service has set there go with the dials that follow.
    pub fn replaces(&mut self, earlier: &mut Self) {
        self.cookies = std::mem::take(&mut earlier.cookies);
    }

    /// The subprotocols that the client offers.
    pub(super) const fn protocols(&self) -> &[String] {
        &self.protocols
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
        Self {
            head: Zeroizing::new(head.into_boxed_slice()),
            protocols: protocols.into(),
            names_host,
            cookies: CookieJar::default(),
        }
    }

    /// The whole head. A header of `claims` replaces the client's header of that name.
    pub(super) fn head(
        &self,
        authority: &Authority,
        key: &str,
        claims: &[(HeaderName, HeaderValue)],
    ) -> Zeroizing<Vec<u8>> {
        let mut head = Zeroizing::new(Vec::with_capacity(self.head.len() + ADDED_BYTES));
        if claims.is_empty() && self.cookies.is_empty() {
            head.extend_from_slice(&self.head);
        } else {
            let merges = !self.cookies.is_empty();
            let is_replaced = |line: &&[u8]| {
                (merges && is_field(line, COOKIE)) || claims.iter().any(|(name, _)| is_field(line, name.as_str()))
            };
            let lines = || self.head.split_inclusive(|&byte| byte == b'\n');
            lines().filter(|line| !is_replaced(line)).for_each(|line| head.extend_from_slice(line));
            if merges {
                let brought = lines().filter(|line| is_field(line, COOKIE)).map(|line| &line[COOKIE.len() + 1..]);
                if let Some(cookies) = self.cookies.line(brought) {
                    push_line(&mut head, COOKIE, &cookies);
                }
            }
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

    #[test]
    fn a_dial_brings_the_cookies_that_the_service_has_set() {
        let mut said = request(&[("cookie", b"a=1; b=1"), ("x-one", b"1"), ("cookie", b"c=1")], &[]);
        let mut answer = HeaderMap::new();
        answer.append(header::SET_COOKIE, HeaderValue::from_static("b=2; Path=/"));
        answer.append(header::SET_COOKIE, HeaderValue::from_static("other=1; Path=/other"));
        said.learn(&answer);
        let head = String::from_utf8(head(&said, &[])).unwrap();
        assert!(head.contains("\r\ncookie: a=1; c=1; b=2\r\n") && head.contains("\r\nx-one: 1\r\n"), "{head}");
        assert_eq!(head.matches("cookie").count(), 1, "{head}");
        assert!(said.memory() > request(&[("cookie", b"a=1; b=1"), ("x-one", b"1"), ("cookie", b"c=1")], &[]).memory());
        // Of a client that is back, in place of those that it brings.
        let mut again = request(&[("cookie", b"a=2; b=1"), ("x-one", b"2")], &[]);
        again.replaces(&mut said);
        let head = String::from_utf8(self::head(&again, &[])).unwrap();
        assert!(head.contains("\r\ncookie: a=2; b=2\r\n") && head.contains("\r\nx-one: 2\r\n"), "{head}");
    }
}
