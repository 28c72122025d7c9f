//! Chunked bodies read strictly, and bodies of a length, in one piece and byte by byte.

use super::*;

/// Where the body at the beginning of `bytes` ends; `None` while it goes on. In one piece and byte by byte alike.
fn end(framing: BodyFraming, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    let mut whole = BodyTracker::new(framing);
    let at_once = whole.advance(bytes).map(|used| whole.is_complete().then_some(used));
    let mut piecewise = BodyTracker::new(framing);
    let mut used = Ok(0);
    for byte in bytes {
        used = used.and_then(|used| Ok(used + piecewise.advance(&[*byte])?));
    }
    assert_eq!(used.map(|used| piecewise.is_complete().then_some(used)), at_once, "{}", bytes.escape_ascii());
    at_once
}

#[test]
fn a_body_of_a_length_ends_after_it() {
    assert_eq!(end(BodyFraming::Length(3), b"abcGET"), Ok(Some(3)));
    assert_eq!(end(BodyFraming::Length(3), b"ab"), Ok(None));
    assert_eq!(end(BodyFraming::Length(u64::MAX), b"ab"), Ok(None));
    assert_eq!(end(BodyFraming::None, b"GET"), Ok(Some(0)));
}

#[test]
fn a_chunked_body_ends_with_an_empty_chunk() {
    for (bytes, ends) in [
        ("0\r\n\r\nGET", Some(5)),
        ("3\r\nabc\r\n0\r\n\r\nGET", Some(13)),
        ("A\r\n0123456789\r\n000\r\n\r\n", Some(22)),
        ("3;a=b\r\nabc\r\n0;c=\"d e\"\r\n\r\n", Some(25)),
        ("3;\r\n\r\n\0\r\n0\r\n\r\n", Some(14)),
        ("7fffffffffffffff\r\na", None),
        ("0000000000000000\r\n\r\n", Some(20)),
        ("3\r\nab", None),
        ("3\r", None),
        ("", None),
    ] {
        assert_eq!(end(BodyFraming::Chunked, bytes.as_bytes()), Ok(ends), "{bytes}");
    }
}

#[test]
fn chunks_that_are_not_exact_are_refused() {
    let long = format!("1;{}\r\na\r\n", "x".repeat(300));
    for (name, bytes) in [
        ("no size", "\r\nabc"),
        ("extension without size", ";a\r\n"),
        ("minus", "-1\r\n"),
        ("plus", "+1\r\na\r\n"),
        ("prefix", "0x1\r\na\r\n"),
        ("space before size", " 1\r\na\r\n"),
        ("space after size", "1 \r\na\r\n"),
        ("tab after size", "1\t\r\na\r\n"),
        ("space before extension", "1 ;a\r\na\r\n"),
        ("underscore", "1_0\r\n"),
        ("not hexadecimal", "g\r\n"),
        ("LF after size", "1\na\r\n"),
        ("CR alone after size", "1\ra\r\n"),
        ("two CR after size", "1\r\r\na\r\n"),
        ("LF in extension", "1;a\nb\r\na\r\n"),
        ("CR in extension", "1;a\rb\r\na\r\n"),
        ("NUL in extension", "1;\0\r\na\r\n"),
        ("UTF-8 in extension", "1;ä\r\na\r\n"),
        ("long extension", long.as_str()),
        ("beyond i64", "8000000000000000\r\n"),
        ("beyond u64", "10000000000000000\r\n"),
        ("wraps to 3", "10000000000000003\r\nabc\r\n"),
        // httparse takes 16 digits, hyper and Node any number.
        ("more zeros than digits", "00000000000000000\r\n\r\n"),
        ("more data than size", "1\r\nab\r\n"),
        ("less data than size", "3\r\na\r\n0\r\n\r\n"),
        ("LF after data", "1\r\na\n0\r\n\r\n"),
        ("no line end after data", "1\r\na0\r\n\r\n"),
        ("LF for the last line", "0\r\n\n"),
        ("trailer", "0\r\nX: y\r\n\r\n"),
        ("trailer that is a length", "0\r\nContent-Length: 5\r\n\r\n"),
        ("request for a trailer", "0\r\nGET /admin HTTP/1.1\r\n"),
    ] {
        assert_eq!(end(BodyFraming::Chunked, bytes.as_bytes()), Err(HeadError::Chunk), "{name}");
    }
}
