//! The service's answer to a handshake: its head, which of its headers reach the client, and what a refusal says.

use std::{fmt, io, mem::MaybeUninit, time::Duration};

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::{relay::stream::ServiceStream, wire::websocket::handshake};

/// The most interim answers (1xx) before the answer.
pub const INTERIM_ANSWERS_MAX: u8 = 8;

/// The largest head of an answer.
const ANSWER_BYTES_MAX: usize = 400 * 1024;
/// The most header lines of an answer.
const ANSWER_FIELDS_MAX: usize = 100;
/// So much is read of the body of a refusal, ...
const BODY_BYTES_MAX: usize = 4096;
/// ... within this.
const BODY_WITHIN: Duration = Duration::from_secs(1);
/// The longest message of a refusal, in characters.
const MESSAGE_CHARS_MAX: usize = 200;
/// What engine.io says where its `transports` lack `websocket`.
const TRANSPORT_UNKNOWN: &str = "Transport unknown";
/// The most bytes of names and values that reach the client of one answer.
const PASSED_BYTES_MAX: usize = 8 * 1024;
/// The most header lines that reach the client of one answer.
const PASSED_FIELDS_MAX: usize = 32;

/// Headers of an answer that concern the connection to the service, or the body of the answer, or that the gate sets itself.
const NOT_PASSED: [HeaderName; 15] = [
    header::CONNECTION,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::DATE,
    header::SERVER,
    header::VARY,
    header::CACHE_CONTROL,
    header::REFERRER_POLICY,
    header::RETRY_AFTER,
    header::ALT_SVC,
    header::STRICT_TRANSPORT_SECURITY,
    header::WWW_AUTHENTICATE,
];
/// The same by how their names begin.
const NOT_PASSED_FAMILIES: [&str; 4] = ["sec-websocket-", "access-control-", "content-", "proxy-"];

/// The service has answered the handshake, and does not let this client in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRefusal {
    /// Its status: neither 101 nor one of 5xx.
    pub status: StatusCode,
    /// What it says, in one line of bounded length; the name of the status where it says nothing.
    pub message: Box<str>,
}

impl ServiceRefusal {
    /// Of an answer with this body, or as much of it as came.
    fn new(status: StatusCode, body: &[u8]) -> Self {
        let said = std::str::from_utf8(body).unwrap_or_default().trim();
        let said = match serde_json::from_str::<Value>(said) {
            Ok(Value::Object(members)) => {
                let text = ["message", "error"].iter().find_map(|key| members.get(*key)?.as_str());
                text.unwrap_or_default().to_owned()
            }
            Ok(Value::String(text)) => text,
            Ok(_) => String::new(),
            // Text, unless it is a page or the rest of it is missing.
            Err(_) if said.contains('<') || said.starts_with(['{', '[']) => String::new(),
            Err(_) => said.to_owned(),
        };
        let line: String = said.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect();
        let message = match line.trim() {
            "" => status.canonical_reason().unwrap_or("The service refused the connection"),
            line => line,
        };
        Self { status, message: message.into() }
    }

    /// Whether the same client may be let in after a while (RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4).
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        const FOR_A_TIME: [StatusCode; 3] =
            [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
        FOR_A_TIME.contains(&self.status)
    }

    /// Whether it is the answer of an engine.io that is not told to take websockets.
    #[must_use]
    pub fn lacks_websocket(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST && &*self.message == TRANSPORT_UNKNOWN
    }
}

impl fmt::Display for ServiceRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service answered the WebSocket handshake with {}: {:?}", self.status, self.message)
    }
}

/// What the answer with this head says, of which `read` came behind it. What does not come is not waited for.
pub(super) async fn refusal(
    mut io: ServiceStream,
    mut read: BytesMut,
    status: StatusCode,
    headers: &HeaderMap,
) -> ServiceRefusal {
    let len = headers.get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse::<usize>().ok());
    let is_chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let wanted = len.filter(|_| !is_chunked).unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
    let rest = async {
        while read.len() < wanted && !(is_chunked && read.ends_with(b"0\r\n\r\n")) {
            if !matches!(io.read_buf(&mut read).await, Ok(1..)) {
                break;
            }
        }
    };
    // Without the rest, the status has been understood.
    let _ = tokio::time::timeout(BODY_WITHIN, rest).await;
    let body = &read[..read.len().min(wanted)];
    if is_chunked { ServiceRefusal::new(status, &of_chunks(body)) } else { ServiceRefusal::new(status, body) }
}

/// What has come of a body in chunks (RFC 9112 §7.1).
fn of_chunks(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let digits = bytes[..end].split(|&byte| byte == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
        let (Some(size @ 1..), rest) = (size, &bytes[end + 2..]) else { break };
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        body.extend_from_slice(chunk);
        bytes = behind.strip_prefix(b"\r\n").unwrap_or_default();
    }
    body
}

/// The headers of a 101 that reach the client: cookies, and what the service adds of its own. Nearly always none.
#[must_use]
pub(super) fn passing(headers: HeaderMap) -> HeaderMap {
    let nominated: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(',').map(|option| option.trim().to_ascii_lowercase()))
        .collect();
    let passes = |name: &HeaderName| {
        !NOT_PASSED.contains(name)
            && !NOT_PASSED_FAMILIES.iter().any(|family| name.as_str().starts_with(family))
            && !nominated.iter().any(|option| option == name.as_str())
    };
    let (mut passing, mut bytes, mut last) = (HeaderMap::new(), 0, None);
    for (name, value) in headers {
        // A name is given for the first of its values alone.
        last = name.or(last);
        let Some(name) = last.clone().filter(passes) else { continue };
        bytes += name.as_str().len() + value.len();
        if bytes <= PASSED_BYTES_MAX && passing.len() < PASSED_FIELDS_MAX {
            passing.append(name, value);
        }
    }
    passing
}

/// Takes the head of the answer, and `interim` ones before it (RFC 9110 §15.2), from what was read. `None` while it is
/// incomplete.
pub(super) fn take_answer(read: &mut BytesMut, interim: &mut u8) -> io::Result<Option<(StatusCode, HeaderMap)>> {
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

pub(super) fn broken(kind: io::ErrorKind, why: &'static str) -> io::Error {
    io::Error::new(kind, why)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_refusal_says_what_the_service_says() {
        let table: &[(u16, &[u8], &str)] = &[
            (400, br#"{"code":0,"message":"Transport unknown"}"#, "Transport unknown"),
            (400, b"Forbidden", "Forbidden"),
            (403, br#"{"error":"banned"}"#, "banned"),
            (403, br#"{"error":{"code":1}}"#, "Forbidden"),
            (401, br#""who?""#, "who?"),
            (401, b"", "Unauthorized"),
            (401, b"[1]", "Unauthorized"),
            (404, b"<html>no</html>", "Not Found"),
            (403, br#"{"message":"cut of"#, "Forbidden"),
            (403, b"\xFF\xFE", "Forbidden"),
            (403, b" two\r\nlines\x1b[31m ", "twolines[31m"),
            (499, b"", "The service refused the connection"),
        ];
        for (status, body, message) in table {
            let refusal = ServiceRefusal::new(StatusCode::from_u16(*status).unwrap(), body);
            assert_eq!(&*refusal.message, *message, "{status} {:?}", body.escape_ascii().to_string());
        }
        let long = ServiceRefusal::new(StatusCode::FORBIDDEN, "\u{e9}".repeat(2000).as_bytes());
        assert_eq!(long.message.chars().count(), MESSAGE_CHARS_MAX);
        assert_eq!(of_chunks(b"4;x=1\r\nFor\x62\r\n5\r\nidden\r\n0\r\n\r\n"), b"Forbidden");
        assert_eq!(of_chunks(b"FF\r\nForb"), b"Forb");
        assert_eq!(of_chunks(b"xyz\r\nForb"), b"");
    }

    #[test]
    fn cookies_and_headers_of_the_service_alone_reach_the_client() {
        let mut headers = HeaderMap::new();
        let lines = [
            ("connection", "Upgrade, X-Hop"),
            ("upgrade", "websocket"),
            ("sec-websocket-accept", "x"),
            ("sec-websocket-protocol", "x"),
            ("access-control-allow-origin", "*"),
            ("content-length", "0"),
            ("proxy-authenticate", "x"),
            ("date", "x"),
            ("x-hop", "x"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=1"),
            ("x-served-by", "node-1"),
        ];
        for (name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        let passed = passing(headers);
        let names: Vec<_> = passed.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(names, [("set-cookie", "a=1"), ("set-cookie", "b=1"), ("x-served-by", "node-1")]);
        let mut many = HeaderMap::new();
        for at in 0..100 {
            many.append(header::SET_COOKIE, format!("c{at}={}", "x".repeat(500)).parse().unwrap());
        }
        assert_eq!(passing(many).len(), PASSED_BYTES_MAX / 514);
    }
}
