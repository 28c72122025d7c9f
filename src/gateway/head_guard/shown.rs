//! What the log shows of a head that is refused: its first line, and the name of the field that is at fault. Values may be
//! secret; only those of fields that frame and route a request are shown.

use super::{
    error::HeadError,
    head::{faulty_line, is_token},
};
use crate::gateway::request_summary::{shown, shown_path};

/// Bytes of what is no request that are shown.
const FOREIGN_BYTES: usize = 16;
/// Bytes of a name, and of a value, that are shown.
const FIELD_BYTES: usize = 40;
/// Fields whose values are no secrets.
const SHOWN: [&[u8]; 4] = [b"host", b"content-length", b"transfer-encoding", b"upgrade"];

/// What is shown of `bytes`, which begin with a head that is refused for `error`.
pub(super) fn head(error: HeadError, bytes: &[u8]) -> String {
    let line = bytes.split(|&byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let method = words.next().unwrap_or_default();
    if method.is_empty() || method.len() > FIELD_BYTES || !method.iter().copied().all(is_token) {
        return format!("\"{}\"", line[..line.len().min(FOREIGN_BYTES)].escape_ascii());
    }
    let target = words.next().unwrap_or_default();
    // What is no path may have a password in it.
    let path = match target.first() {
        Some(b'/') => shown_path(target.split(|&byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default()),
        Some(b'*') if target.len() == 1 => "*".to_owned(),
        _ => format!("<{} bytes>", target.len()),
    };
    let mut text = format!("{} {path}", method.escape_ascii());
    for word in words.take(2) {
        text += &format!(" {}", shown(word));
    }
    text + &field(error, bytes)
}

/// The field that is at fault, where one is.
fn field(error: HeadError, bytes: &[u8]) -> String {
    match error {
        HeadError::ObsFold => ", a line that begins with a blank".to_owned(),
        HeadError::FieldName
        | HeadError::FieldValue
        | HeadError::HostInvalid
        | HeadError::Repeated(_)
        | HeadError::ContentLength
        | HeadError::TransferEncoding => {
            let Some(line) = faulty_line(bytes, usize::MAX) else { return String::new() };
            let end = line.iter().position(|byte| matches!(byte, b':' | b' ' | b'=')).unwrap_or(line.len());
            let (name, value) = line.split_at(end);
            let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
            let cut = |text: &[u8]| text[..text.len().min(FIELD_BYTES)].escape_ascii().to_string();
            let is_shown = SHOWN.iter().any(|shown| name.eq_ignore_ascii_case(shown));
            // A line without a colon may be anything.
            let is_name = line.get(end) == Some(&b':') || name.len() < FIELD_BYTES / 2;
            match (is_name, is_shown) {
                (true, true) => format!(", {}: {}", cut(name), cut(value)),
                (true, false) => format!(", {}", cut(name)),
                (false, _) => format!(", a line of {} bytes", line.len()),
            }
        }
        HeadError::HeadTooLarge | HeadError::TargetTooLong => format!(", {} bytes so far", bytes.len()),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fault_is_shown_and_no_secret() {
        let secret = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ";
        for (error, head, expected) in [
            (
                HeadError::RequestLine,
                "\x16\x03\x01\x02\0\x01\0\x01\u{7f}".to_owned(),
                "\"\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01\\x7f\"",
            ),
            (HeadError::TargetForm, format!("GET http://ada:{secret}@x/ HTTP/1.1\r\n"), "GET <53 bytes> HTTP/1.1"),
            (HeadError::TargetByte, format!("GET /a#b?{secret} HTTP/1.1\r\n"), "GET /a HTTP/1.1"),
            (HeadError::HostInvalid, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), "GET / HTTP/1.1, Host: a b"),
            (
                HeadError::Repeated("Authorization"),
                format!("GET /?token={secret} HTTP/1.1\r\nAuthorization: {secret}\r\nauthorization: {secret}\r\n\r\n"),
                "GET / HTTP/1.1, authorization",
            ),
            (HeadError::FieldName, format!("GET / HTTP/1.1\r\nBearer {secret}\r\n\r\n"), "GET / HTTP/1.1, Bearer"),
            (HeadError::FieldName, format!("GET / HTTP/1.1\r\n{secret}\r\n\r\n"), "GET / HTTP/1.1, a line of 39 bytes"),
            (HeadError::FieldValue, format!("GET / HTTP/1.1\r\nCookie: {secret}\0\r\n\r\n"), "GET / HTTP/1.1, Cookie"),
            (
                HeadError::ContentLength,
                "GET / HTTP/1.1\r\nContent-Length: +5\r\n\r\n".to_owned(),
                "GET / HTTP/1.1, Content-Length: +5",
            ),
            (
                HeadError::ObsFold,
                format!("GET / HTTP/1.1\r\nX: a\r\n {secret}\r\n\r\n"),
                "GET / HTTP/1.1, a line that begins with a blank",
            ),
        ] {
            assert_eq!(super::head(error, head.as_bytes()), expected);
        }
    }
}
