//! Heads that are refused, each with what it breaks, and heads that pass.
//!
//! Sources: RFC 9112 and 9110; the vectors of HAProxy's `h1_request_target_validation` and `h1_host_normalization`; the
//! discrepancies that HTTP Garden found between hyper, Node and others. `docs/security.md`, 5 to 10 and 15.

use proptest::prelude::*;

use super::{
    super::target::{TARGET_BYTES_MAX, respelled_head},
    *,
};

const FIELDS_MAX: usize = 100;
const GOOD: Head = Head { body: BodyFraming::None, upgrade: false };

fn with_fields(fields: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").into_bytes()
}

fn with_target(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

#[track_caller]
fn refuses(name: &str, head: &[u8], status: u16, code: &str) {
    let seen = judge_head(head, FIELDS_MAX).map_err(|error| (error.status().as_u16(), error.code()));
    assert_eq!(seen, Err((status, code)), "{name}: {}", head.escape_ascii());
}

#[test]
fn request_lines_that_are_not_exact_are_refused() {
    for (name, line, code) in [
        ("empty line before", "\r\nGET / HTTP/1.1", "http_syntax"),
        ("empty", "", "http_syntax"),
        ("no version (HTTP/0.9)", "GET /", "http_syntax"),
        ("method alone", "GET", "http_syntax"),
        ("two spaces after method", "GET  / HTTP/1.1", "http_syntax"),
        ("two spaces after target", "GET /  HTTP/1.1", "http_syntax"),
        ("space before method", " GET / HTTP/1.1", "http_syntax"),
        ("space after version", "GET / HTTP/1.1 ", "http_syntax"),
        ("tab for space", "GET\t/\tHTTP/1.1", "http_syntax"),
        ("tab after method", "GET\t/ HTTP/1.1", "http_syntax"),
        ("space in target", "GET /a b HTTP/1.1", "http_syntax"),
        ("empty method", " / HTTP/1.1", "http_syntax"),
        ("method with a slash", "GE/T / HTTP/1.1", "http_syntax"),
        ("method with a colon", "GET: / HTTP/1.1", "http_syntax"),
        ("method with NUL", "GE\0T / HTTP/1.1", "http_syntax"),
        ("method in quotes", "\"GET\" / HTTP/1.1", "http_syntax"),
        ("method with umlaut", "GÄT / HTTP/1.1", "http_syntax"),
        ("HTTP/2 preface", "PRI * HTTP/2.0", "http_syntax"),
        ("HTTP/2.0", "GET / HTTP/2.0", "http_syntax"),
        ("HTTP/1.2", "GET / HTTP/1.2", "http_syntax"),
        ("HTTP/0.9", "GET / HTTP/0.9", "http_syntax"),
        ("HTTP/1", "GET / HTTP/1", "http_syntax"),
        ("HTTP/1.", "GET / HTTP/1.", "http_syntax"),
        ("HTTP/1.10", "GET / HTTP/1.10", "http_syntax"),
        ("HTTP/01.1", "GET / HTTP/01.1", "http_syntax"),
        ("lower-case version", "GET / http/1.1", "http_syntax"),
        ("mixed version", "GET / HTTp/1.1", "http_syntax"),
        ("another protocol", "GET / ICE/1.0", "http_syntax"),
        ("RTSP", "OPTIONS / RTSP/1.0", "http_syntax"),
        ("version with comma", "GET / HTTP/1,1", "http_syntax"),
        ("bare CR in line", "GET /\r HTTP/1.1", "http_syntax"),
        ("bare CR after method", "GET\r/ HTTP/1.1", "http_syntax"),
        ("two CR", "GET / HTTP/1.1\r", "http_syntax"),
        ("reserved method", "TIDEGATE-REFUSED / HTTP/1.1", "http_syntax"),
        ("reserved method in lower case", "tidegate-refused / HTTP/1.1", "http_syntax"),
    ] {
        refuses(name, format!("{line}\r\nHost: a\r\n\r\n").as_bytes(), 400, code);
    }
    for target in ["a:443", "/", "a", "[::1]:1"] {
        refuses("CONNECT", format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), 405, "http_method");
    }
}

#[test]
fn targets_that_are_not_a_path_are_refused() {
    for (name, target) in [
        ("absolute-form", "http://a/"),
        ("absolute-form of another host", "http://b/"),
        ("absolute-form https", "https://a/x"),
        ("absolute-form upper case", "HTTP://a/"),
        ("authority-form", "a:80"),
        ("userinfo", "u:p@a"),
        ("asterisk", "*"),
        ("no slash", "socket.io/"),
        ("query alone", "?a=1"),
        ("fragment alone", "#a"),
        ("fragment", "/a#b"),
        ("fragment in query", "/a?b#c"),
        ("DEL in query", "/a?\x7f"),
        ("NUL in query", "/a?\0"),
        ("tab in query", "/a?\t"),
        ("NUL", "/a\0b"),
        ("bell", "/a\x07b"),
        ("tab", "/a\tb"),
        ("DEL", "/a\x7fb"),
    ] {
        refuses(name, &with_target(target), 400, "http_syntax");
    }
}

#[test]
fn lines_end_with_cr_lf_alone() {
    for (name, head) in [
        ("LF after request line", "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        ("LF after field", "GET / HTTP/1.1\r\nHost: a\n\r\n"),
        ("LF for the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
        ("LF everywhere", "GET / HTTP/1.1\nHost: a\n\n"),
        ("CR for CR LF", "GET / HTTP/1.1\rHost: a\r\r"),
        ("CR after field", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
        ("CR in value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
        ("CR in name", "GET / HTTP/1.1\r\nHost: a\r\nX\rY: b\r\n\r\n"),
        ("CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
        ("LF in value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n"),
        ("LF CR", "GET / HTTP/1.1\n\rHost: a\n\r\n\r"),
        ("no empty line", "GET / HTTP/1.1\r\nHost: a\r\n"),
    ] {
        refuses(name, head.as_bytes(), 400, "http_syntax");
    }
}

#[test]
fn fields_that_are_not_exact_are_refused() {
    for (name, field) in [
        ("folded with space", "X: a\r\n b"),
        ("folded with tab", "X: a\r\n\tb"),
        ("folded line is empty", "X: a\r\n "),
        ("folded length", "X:\r\n Content-Length: 5"),
        ("no colon", "X"),
        ("no colon but a value", "X a"),
        ("empty name", ": a"),
        ("colon alone", ":"),
        ("space before colon", "X : a"),
        ("tab before colon", "X\t: a"),
        ("space before the colon of a length", "Content-Length : 5"),
        ("space before the colon of an encoding", "Transfer-Encoding : chunked"),
        ("space in name", "X Y: a"),
        ("quote in name", "\"X\": a"),
        ("slash in name", "X/Y: a"),
        ("parenthesis in name", "X(Y): a"),
        ("bracket in name", "X[0]: a"),
        ("brace in name", "X{0}: a"),
        ("at in name", "X@Y: a"),
        ("equals in name", "X=Y: a"),
        ("semicolon in name", "X;Y: a"),
        ("comma in name", "X,Y: a"),
        ("question mark in name", "X?: a"),
        ("backslash in name", "X\\Y: a"),
        ("NUL in name", "X\0: a"),
        ("DEL in name", "X\x7f: a"),
        ("umlaut in name", "Ä: a"),
        ("byte order mark", "\u{feff}X: a"),
        ("vertical tab before name", "\x0bX: a"),
        ("form feed before encoding", "\x0cTransfer-Encoding: chunked"),
        ("NUL in value", "X: a\0b"),
        ("NUL as value", "X: \0"),
        ("bell in value", "X: \x07"),
        ("escape in value", "X: \x1b[0m"),
        ("DEL in value", "X: \x7f"),
        ("vertical tab in value", "X: a\x0bb"),
        ("form feed in value", "X: a\x0cb"),
        ("backspace in value", "X: a\x08"),
    ] {
        refuses(name, &with_fields(field), 400, "http_syntax");
    }
}

#[test]
fn a_request_names_one_host() {
    refuses("no host", b"GET / HTTP/1.1\r\nX: a\r\n\r\n", 400, "http_host");
    refuses("no fields", b"GET / HTTP/1.1\r\n\r\n", 400, "http_host");
    refuses("two hosts in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "http_duplicate");
    refuses("an invalid host in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", 400, "http_host");
    refuses("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "http_duplicate");
    refuses("the same host twice", b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400, "http_duplicate");
    for host in [
        "",
        " ",
        "a b",
        "a, b",
        "a,b",
        "u@a",
        "u:p@a",
        "a/",
        "a/b",
        "/a",
        "http://a",
        "a?b",
        "a#b",
        "a:",
        "a:b",
        "a:80:80",
        "a:-1",
        "a:+80",
        "a:65536",
        "a:999999",
        "a:8 0",
        ":80",
        ":",
        "[::1",
        "::1",
        "[::1]a",
        "[::1]:",
        "[]",
        "[a]",
        "[::1%25eth0]",
        "[::1]:x",
        "]",
        "a%2e",
        "a\\b",
        "a\tb",
        "ä",
        "a;b",
        "*.a",
        "\"a\"",
        "<a>",
    ] {
        refuses("host", format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(), 400, "http_host");
    }
    for host in
        ["a", "a.example", "a.example.", "a:80", "127.0.0.1:8443", "[::1]", "[2001:db8::1]:443", "a_b", "a-b~c", " a "]
    {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(judge_head(head.as_bytes(), FIELDS_MAX), Ok(GOOD), "{host}");
    }
}

#[test]
fn a_body_has_one_unambiguous_length() {
    for (name, fields, code) in [
        ("length and encoding", "Content-Length: 5\r\nTransfer-Encoding: chunked", "http_framing"),
        ("encoding and length", "Transfer-Encoding: chunked\r\nContent-Length: 5", "http_framing"),
        ("zero length and encoding", "Content-Length: 0\r\nTransfer-Encoding: chunked", "http_framing"),
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6", "http_duplicate"),
        ("the same length twice", "Content-Length: 5\r\nContent-Length: 5", "http_duplicate"),
        ("length twice in two cases", "Content-Length: 5\r\ncontent-length: 5", "http_duplicate"),
        ("length list", "Content-Length: 5, 5", "http_framing"),
        ("length list of different", "Content-Length: 5,6", "http_framing"),
        ("plus", "Content-Length: +5", "http_framing"),
        ("minus", "Content-Length: -5", "http_framing"),
        ("minus zero", "Content-Length: -0", "http_framing"),
        ("empty length", "Content-Length:", "http_framing"),
        ("blank length", "Content-Length:  ", "http_framing"),
        ("hexadecimal", "Content-Length: 0x5", "http_framing"),
        ("hexadecimal digit", "Content-Length: a", "http_framing"),
        ("fraction", "Content-Length: 5.0", "http_framing"),
        ("exponent", "Content-Length: 1e1", "http_framing"),
        ("underscore", "Content-Length: 1_0", "http_framing"),
        ("space within", "Content-Length: 1 0", "http_framing"),
        ("tab within", "Content-Length: 1\t0", "http_framing"),
        ("quotes", "Content-Length: \"5\"", "http_framing"),
        ("semicolon", "Content-Length: 5;", "http_framing"),
        ("word", "Content-Length: five", "http_framing"),
        ("beyond i64", "Content-Length: 9223372036854775808", "http_framing"),
        ("beyond u64", "Content-Length: 18446744073709551616", "http_framing"),
        ("wraps to 5", "Content-Length: 18446744073709551621", "http_framing"),
        ("forty digits", "Content-Length: 1111111111111111111111111111111111111111", "http_framing"),
        ("Arabic digit", "Content-Length: ٥", "http_framing"),
        ("gzip, chunked", "Transfer-Encoding: gzip, chunked", "http_framing"),
        ("chunked, gzip", "Transfer-Encoding: chunked, gzip", "http_framing"),
        ("gzip", "Transfer-Encoding: gzip", "http_framing"),
        ("identity", "Transfer-Encoding: identity", "http_framing"),
        ("chunked, identity", "Transfer-Encoding: chunked, identity", "http_framing"),
        ("chunked, chunked", "Transfer-Encoding: chunked, chunked", "http_framing"),
        ("empty encoding", "Transfer-Encoding:", "http_framing"),
        ("comma after", "Transfer-Encoding: chunked,", "http_framing"),
        ("comma before", "Transfer-Encoding: ,chunked", "http_framing"),
        ("parameter", "Transfer-Encoding: chunked;a=b", "http_framing"),
        ("upper case", "Transfer-Encoding: CHUNKED", "http_framing"),
        ("xchunked", "Transfer-Encoding: xchunked", "http_framing"),
        ("chunkedx", "Transfer-Encoding: chunkedx", "http_framing"),
        ("quotes around chunked", "Transfer-Encoding: \"chunked\"", "http_framing"),
        ("encoding twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "http_duplicate"),
        ("encoding twice, one unknown", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "http_duplicate"),
        ("upgrade with a length", "Upgrade: websocket\r\nContent-Length: 5", "http_framing"),
        ("upgrade with chunks", "Upgrade: websocket\r\nTransfer-Encoding: chunked", "http_framing"),
        ("list with websocket and a length", "Upgrade: h2c, WebSocket/13\r\nContent-Length: 5", "http_framing"),
    ] {
        refuses(name, &with_fields(fields), 400, code);
    }
    for fields in ["Transfer-Encoding: chunked", "Upgrade: websocket"] {
        let head = format!("GET / HTTP/1.0\r\nHost: a\r\n{fields}\r\n\r\n");
        refuses("HTTP/1.0", head.as_bytes(), 400, "http_framing");
    }
}

#[test]
fn what_a_policy_looks_at_is_sent_once() {
    for name in [
        "Authorization",
        "Cookie",
        "Origin",
        "Content-Type",
        "Upgrade",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
    ] {
        let twice = [(name.to_owned(), "a", "b"), (name.to_lowercase(), "b", "a"), (name.to_uppercase(), "a", "a")];
        for (again, first, second) in twice {
            refuses(
                name,
                &with_fields(&format!("{name}: {first}\r\nX: y\r\n{again}: {second}")),
                400,
                "http_duplicate",
            );
        }
    }
}

#[test]
fn sizes_are_bounded() {
    let fields = |count: usize| format!("X: y\r\n{}X: y", "X: y\r\n".repeat(count - 3));
    let judged = |head: &[u8]| judge_head(head, FIELDS_MAX);
    assert_eq!(judged(&with_fields(&fields(FIELDS_MAX))), Ok(GOOD));
    refuses("101 fields", &with_fields(&fields(FIELDS_MAX + 1)), 431, "http_too_large");
    assert_eq!(judge_head(&with_fields(&fields(16)), 15), Err(HeadError::TooManyFields), "as the setting says");
    assert_eq!(judged(&with_fields(&format!("X: {}", "a".repeat(1_000_000)))), Ok(GOOD), "the head alone has a size");
    let target = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
    assert_eq!(judged(&with_target(&target(TARGET_BYTES_MAX))), Ok(GOOD));
    refuses("long target", &with_target(&target(TARGET_BYTES_MAX + 1)), 414, "http_too_large");
    let encoded = format!("/{}", "<".repeat(30_000));
    refuses("long target, once it is encoded", &with_target(&encoded), 414, "http_too_large");
}

#[test]
fn a_target_passes_byte_for_byte_or_in_its_canonical_spelling() {
    for (sent, passed) in [
        ("/a%2fb//c\\d/../%2E%5c%00%zz%?x=%2f", None),
        ("/{a}|^\"'[]", None),
        ("/ä?ö", Some("/%C3%A4?%C3%B6")),
        ("/a?b={c}`", None),
        ("/a<b>`?c`", Some("/a%3Cb%3E%60?c`")),
        ("/a\"?b=\"<>", Some("/a\"?b=%22%3C%3E")),
    ] {
        let head = with_target(sent);
        assert_eq!(judge_head(&head, FIELDS_MAX), Ok(GOOD), "{sent}");
        assert_eq!(respelled_head(&head), passed.map(with_target), "{sent}");
        let target = passed.unwrap_or(sent);
        assert_eq!(target.parse::<http::Uri>().unwrap().to_string(), target, "hyper takes it");
    }
    let latin1 = b"GET /\xe4?\xf6 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(judge_head(latin1, FIELDS_MAX), Ok(GOOD));
    assert_eq!(respelled_head(latin1), Some(with_target("/%E4?%F6")));
}

#[test]
fn good_heads_pass() {
    let length = Head { body: BodyFraming::Length(5), ..GOOD };
    let chunked = Head { body: BodyFraming::Chunked, ..GOOD };
    let upgrade = Head { upgrade: true, ..GOOD };
    for (head, meaning) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", GOOD),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", GOOD),
        // The default check of HAProxy.
        ("OPTIONS / HTTP/1.0\r\n\r\n", GOOD),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", GOOD),
        ("POST /a HTTP/1.0\r\nContent-Length: 5\r\n\r\n", length),
        ("OPTIONS /a/b/?c=d HTTP/1.1\r\nhost:a\r\n\r\n", GOOD),
        ("GET /a;b=c/~d,e(f)!$&'*+=:@_-.g|h[i]^ HTTP/1.1\r\nHost: a\r\n\r\n", GOOD),
        ("GET /a?b=//../%2f%00\\{}|^`;'?/ HTTP/1.1\r\nHost: a\r\n\r\n", GOOD),
        ("GET /%41%20%c3%a4...%252e/.well-known/..a/a. HTTP/1.1\r\nHost: a\r\n\r\n", GOOD),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", GOOD),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", length),
        ("POST / HTTP/1.0\r\nHost: a\r\ncontent-length:\t 005 \t\r\n\r\n", length),
        ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", chunked),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:chunked\t\r\n\r\n", chunked),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", upgrade),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, WebSocket/13\r\n\r\n", upgrade),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", GOOD),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX:\r\nX_y: \u{e4}\t\"{}\"\r\nX-Forwarded-For: a\r\nX-Forwarded-For: b\r\n\r\n",
            GOOD,
        ),
        ("M-SEARCH!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n", GOOD),
    ] {
        assert_eq!(judge_head(head.as_bytes(), FIELDS_MAX), Ok(meaning), "{head}");
    }
}

#[test]
fn the_end_of_a_head_is_found_once_it_is_there() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for first in 0..head.len() {
        let mut scan = HeadScan::default();
        assert_eq!(scan.end(&head[..first], 100), Ok(None));
        assert_eq!(scan.end(&[head, &b"GET / "[..]].concat(), 100), Ok(Some(head.len())));
    }
}

#[test]
fn what_cannot_become_a_head_is_refused_before_it_is_complete() {
    let end = |bytes: &[u8], max: usize| HeadScan::default().end(bytes, max);
    assert_eq!(end(b"\x16\x03\x01", 100), Err(HeadError::RequestLine), "a TLS ClientHello");
    assert_eq!(end(b"\r\n", 100), Err(HeadError::RequestLine));
    assert_eq!(end(b"GET / HTTP/1.1\nHo", 100), Err(HeadError::LineEnd));
    assert_eq!(end(b"GET /aaaaaaaaaaaaaaaaaaaa", 20), Err(HeadError::TargetTooLong));
    assert_eq!(end(b"GET / HTTP/1.1\r\nX: aaaaaaa", 20), Err(HeadError::HeadTooLarge));
    assert_eq!(end(b"GET / HTTP/1.1\r\nX: aaaa\r\n\r\n", 20), Err(HeadError::HeadTooLarge));
    assert_eq!(end(b"GET / HTTP/1.1\r\nX: a", 100), Ok(None));
}

proptest! {
    #[test]
    fn no_head_is_admitted_that_hyper_would_read_otherwise(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut head = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        head.extend(bytes);
        head.extend(b"\r\n\r\n");
        if judge_head(&head, FIELDS_MAX).is_ok() {
            prop_assert!(!head.contains(&0));
            let lf = head.iter().filter(|&&byte| byte == b'\n').count();
            prop_assert_eq!(lf, head.windows(2).filter(|pair| pair == b"\r\n").count());
        }
    }
}
