//! Judges the raw bytes of a request head (RFC 9112 §2-§6), strictly: what passes means the same to hyper and to Node.

use memchr::memchr;

use super::{body::BodyFraming, error::HeadError, target::judge_target};

/// The method of the synthetic request that replaces a refused one.
pub const REFUSED_METHOD: &str = "TIDEGATE-REFUSED";

/// Headers that framing or a policy depends on. With two of them, implementations differ in which one they use.
const SINGLE: [&str; 11] = [
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "Upgrade",
    "Authorization",
    "Cookie",
    "Origin",
    "Content-Type",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
];

/// What the guard needs to know about a good head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How the body behind it ends.
    pub body: BodyFraming,
    /// It asks for WebSocket: what follows is not HTTP any more.
    pub upgrade: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// Judges a whole head, from the first byte of the request line to the empty line.
///
/// `fields_max`: so many header fields may it have.
///
/// # Errors
/// The first rule that it breaks.
pub fn judge_head(head: &[u8], fields_max: usize) -> Result<Head, HeadError> {
    let mut rest = head;
    let version = judge_request_line(next_line(&mut rest)?)?;
    let mut fields = Fields::default();
    loop {
        let line = next_line(&mut rest)?;
        if line.is_empty() {
            return fields.head(version);
        }
        fields.judge(line, fields_max)?;
    }
}

/// Looks for the end of a head that is still arriving, each byte once.
#[derive(Debug, Default)]
pub struct HeadScan {
    line: usize,
    scanned: usize,
}

impl HeadScan {
    /// Where the head in `bytes` ends; `None` while it is incomplete. `bytes` may only grow between two calls.
    ///
    /// # Errors
    /// What cannot become a head, however it goes on.
    pub fn end(&mut self, bytes: &[u8], head_bytes_max: usize) -> Result<Option<usize>, HeadError> {
        if !bytes.first().is_none_or(|&first| is_token(first)) {
            return Err(HeadError::RequestLine);
        }
        let bounded = &bytes[..bytes.len().min(head_bytes_max)];
        while let Some(at) = memchr(b'\n', &bounded[self.scanned..]).map(|at| at + self.scanned) {
            if at == 0 || bounded[at - 1] != b'\r' {
                return Err(HeadError::LineEnd);
            }
            let empty = at == self.line + 1;
            self.scanned = at + 1;
            self.line = at + 1;
            if empty {
                return Ok(Some(at + 1));
            }
        }
        self.scanned = bounded.len();
        if bytes.len() < head_bytes_max {
            Ok(None)
        } else if self.line == 0 {
            Err(HeadError::TargetTooLong)
        } else {
            Err(HeadError::HeadTooLarge)
        }
    }
}

fn next_line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], HeadError> {
    let end = memchr(b'\n', rest).ok_or(HeadError::LineEnd)?;
    let line = rest[..end].strip_suffix(b"\r").ok_or(HeadError::LineEnd)?;
    *rest = &rest[end + 1..];
    if memchr(b'\r', line).is_some() { Err(HeadError::LineEnd) } else { Ok(line) }
}

fn judge_request_line(line: &[u8]) -> Result<Version, HeadError> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadError::RequestLine);
    };
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => return Err(HeadError::RequestLine),
    };
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(HeadError::RequestLine);
    }
    if method.eq_ignore_ascii_case(REFUSED_METHOD.as_bytes()) {
        return Err(HeadError::ReservedMethod);
    }
    if method == b"CONNECT" {
        return Err(HeadError::Connect);
    }
    // RFC 9112 §3.2.4: a question to the server as a whole, as balancers ask it.
    if method != b"OPTIONS" || target != b"*" {
        judge_target(target)?;
    }
    Ok(version)
}

/// The first line of fields that is refused, without its end. `None`: none is, or a line has no proper end.
pub(super) fn faulty_line(head: &[u8], fields_max: usize) -> Option<&[u8]> {
    let mut rest = head;
    next_line(&mut rest).ok()?;
    let mut fields = Fields::default();
    loop {
        let line = next_line(&mut rest).ok().filter(|line| !line.is_empty())?;
        if fields.judge(line, fields_max).is_err() {
            return Some(line);
        }
    }
}

/// What was read from the fields of one head so far.
#[derive(Default)]
struct Fields {
    count: usize,
    seen: [bool; SINGLE.len()],
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl Fields {
    fn judge(&mut self, line: &[u8], fields_max: usize) -> Result<(), HeadError> {
        self.count += 1;
        if self.count > fields_max {
            return Err(HeadError::TooManyFields);
        }
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(HeadError::ObsFold);
        }
        let colon = memchr(b':', line).ok_or(HeadError::FieldName)?;
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if name.is_empty() || !name.iter().copied().all(is_token) {
            return Err(HeadError::FieldName);
        }
        if value.iter().any(|&byte| byte != b'\t' && byte.is_ascii_control()) {
            return Err(HeadError::FieldValue);
        }
        match SINGLE.iter().position(|single| name.eq_ignore_ascii_case(single.as_bytes())) {
            Some(single) => self.judge_single(single, value),
            None => Ok(()),
        }
    }

    fn judge_single(&mut self, single: usize, value: &[u8]) -> Result<(), HeadError> {
        if std::mem::replace(&mut self.seen[single], true) {
            return Err(HeadError::Repeated(SINGLE[single]));
        }
        match SINGLE[single] {
            "Host" if !is_host(value) => return Err(HeadError::HostInvalid),
            "Content-Length" => self.length = Some(content_length(value)?),
            "Transfer-Encoding" if value == b"chunked" => self.chunked = true,
            "Transfer-Encoding" => return Err(HeadError::TransferEncoding),
            "Upgrade" => self.upgrade = mentions_websocket(value),
            _ => {}
        }
        Ok(())
    }

    fn head(&self, version: Version) -> Result<Head, HeadError> {
        if !self.seen[0] && version == Version::Http11 {
            return Err(HeadError::HostMissing);
        }
        let body = match (self.length, self.chunked) {
            (Some(_), true) => return Err(HeadError::LengthAndEncoding),
            (None, true) if version == Version::Http10 => return Err(HeadError::TransferEncoding),
            (None, true) => BodyFraming::Chunked,
            (None | Some(0), false) => BodyFraming::None,
            (Some(length), false) => BodyFraming::Length(length),
        };
        if self.upgrade && (body != BodyFraming::None || version == Version::Http10) {
            return Err(HeadError::UpgradeFraming);
        }
        Ok(Head { body, upgrade: self.upgrade })
    }
}

/// RFC 9110 §5.6.2.
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Cuts the optional white space of RFC 9110 §5.6.3, which is narrower than ASCII's.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn content_length(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() {
        return Err(HeadError::ContentLength);
    }
    value
        .iter()
        .try_fold(0_u64, |length, &byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            length.checked_mul(10)?.checked_add(digit)
        })
        // Node and hyper treat what is beyond i64 differently.
        .filter(|&length| i64::try_from(length).is_ok())
        .ok_or(HeadError::ContentLength)
}

/// RFC 9110 §7.2, without userinfo, percent-encoding and sub-delimiters, which no real host has.
fn is_host(value: &[u8]) -> bool {
    let (host_is_good, port) = if let Some(address) = value.strip_prefix(b"[") {
        let Some(end) = memchr(b']', address) else { return false };
        let address = std::str::from_utf8(&address[..end]).unwrap_or_default();
        (address.parse::<std::net::Ipv6Addr>().is_ok(), &value[end + 2..])
    } else {
        let end = memchr(b':', value).unwrap_or(value.len());
        let host = &value[..end];
        let good = |&byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        (!host.is_empty() && host.iter().all(good), &value[end..])
    };
    host_is_good && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port))
}

fn is_port(port: &[u8]) -> bool {
    (1..=5).contains(&port.len())
        && port.iter().all(u8::is_ascii_digit)
        && std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok())
}

/// Whether a value of `Upgrade` names WebSocket, also beside other protocols.
pub fn mentions_websocket(upgrade: &[u8]) -> bool {
    upgrade.split(|&byte| byte == b',').any(|protocol| {
        let name = protocol.split(|&byte| byte == b'/').next().unwrap_or_default();
        trim(name).eq_ignore_ascii_case(b"websocket")
    })
}

#[cfg(test)]
mod tests;
