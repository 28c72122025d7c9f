//! Judges a request target: origin-form only (RFC 9112 §3.2.1), of bytes that have one meaning in a request line. What the
//! path means is for the router to say.

use super::error::HeadError;

/// The longest target, in bytes: the type that holds a URL counts them in 16 bits.
pub(super) const TARGET_BYTES_MAX: usize = 65_534;

/// Judges the target of a request line.
///
/// # Errors
/// `TargetForm`, `TargetByte` or `TargetTooLong`.
pub(super) fn judge_target(target: &[u8]) -> Result<(), HeadError> {
    if target.first() != Some(&b'/') {
        return Err(HeadError::TargetForm);
    }
    // A fragment is for the client alone, and readers differ in what they do with one.
    if target.iter().any(|&byte| byte.is_ascii_control() || matches!(byte, b' ' | b'#')) {
        return Err(HeadError::TargetByte);
    }
    let encoded = target.iter().filter(|&&byte| !byte.is_ascii() || matches!(byte, b'<' | b'>' | b'`' | b'"')).count();
    if target.len() + 2 * encoded > TARGET_BYTES_MAX { Err(HeadError::TargetTooLong) } else { Ok(()) }
}

/// The same target with each byte encoded that no URL has and that has one meaning: a quote in the query for example, or a
/// letter beyond ASCII (RFC 3986 §2.1). `None` where there is none, as in what browsers send.
pub(in crate::gateway) fn respelled(target: &[u8]) -> Option<Vec<u8>> {
    let query = memchr::memchr(b'?', target).unwrap_or(target.len());
    let foreign = |(at, byte): (usize, u8)| match byte {
        b'<' | b'>' => true,
        b'`' => at < query,
        b'"' => at > query,
        _ => !byte.is_ascii(),
    };
    let mut bytes = target.iter().copied().enumerate();
    let first = bytes.position(foreign)?;
    let mut respelled = Vec::with_capacity(target.len() + 32);
    respelled.extend_from_slice(&target[..first]);
    for (at, byte) in target.iter().copied().enumerate().skip(first) {
        if foreign((at, byte)) {
            respelled.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            respelled.push(byte);
        }
    }
    Some(respelled)
}

/// A head that was judged, with its target respelled. `None` where nothing is to be respelled.
pub(super) fn respelled_head(head: &[u8]) -> Option<Vec<u8>> {
    let mut spaces = memchr::memchr_iter(b' ', head);
    let (begin, end) = (spaces.next()? + 1, spaces.next()?);
    let target = respelled(head.get(begin..end)?)?;
    Some([&head[..begin], &target, &head[end..]].concat())
}
