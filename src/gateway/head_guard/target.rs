//! Judges a request target: origin-form only (RFC 9112 §3.2.1), and a path that all implementations read the same way.

use super::error::HeadError;

/// Judges the target of a request line.
///
/// # Errors
/// `TargetForm`, `TargetByte` or `PathAmbiguous`.
pub(super) fn judge_target(target: &[u8]) -> Result<(), HeadError> {
    if target.first() != Some(&b'/') {
        return Err(HeadError::TargetForm);
    }
    let end = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    judge_path(path)?;
    if query.iter().skip(1).all(|&byte| is_query_byte(byte)) { Ok(()) } else { Err(HeadError::TargetByte) }
}

fn judge_path(path: &[u8]) -> Result<(), HeadError> {
    let mut bytes = path.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => judge_encoded(bytes.next(), bytes.next())?,
            b'\\' | 0..=0x1f | 0x7f.. => return Err(HeadError::PathAmbiguous),
            _ if !is_path_byte(byte) => return Err(HeadError::TargetByte),
            _ => {}
        }
    }
    let mut segments = path[1..].split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if matches!(segment, b"." | b"..") || (segment.is_empty() && !last) {
            return Err(HeadError::PathAmbiguous);
        }
    }
    Ok(())
}

/// Encoded slash, dot, backslash and control bytes: a reader that decodes before it splits reads another path.
fn judge_encoded(high: Option<u8>, low: Option<u8>) -> Result<(), HeadError> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(HeadError::TargetByte) };
    match high * 16 + low {
        0..=0x1f | 0x2e | 0x2f | 0x5c | 0x7f => Err(HeadError::PathAmbiguous),
        _ => Ok(()),
    }
}

/// RFC 3986's `pchar` and slash, and what browsers leave as it is (WHATWG URL, path percent-encode set).
const fn is_path_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'$'..=b';' | b'=' | b'@'..=b'_' | b'a'..=b'z' | b'|' | b'~')
}

/// Bytes that browsers do not encode in a query.
const fn is_query_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'~')
}
