//! Requests of HTTP/2: one is let in if, and only if, the same one would be over HTTP/1.1, where httparse reads from it what
//! the gate hands on.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use httparse::{EMPTY_HEADER, Status};
use libfuzzer_sys::fuzz_target;
use tidegate::gateway::{
    head_guard::{HeadRules, judge_head},
    http2,
};
use tidegate::policy::connections::LimitsTable;

const FIELDS_MAX: usize = 100;

/// Names in lower case and values, sorted.
type Fields = Vec<(String, Vec<u8>)>;

// The lines of an input: the method, the authority, the target, and the header fields.
fuzz_target!(|data: &[u8]| {
    let Some(mut request) = request(data) else { return };
    let said = request.clone();
    let rules =
        HeadRules { head_bytes: usize::MAX, header_fields: FIELDS_MAX, ..HeadRules::new(&LimitsTable::default()) };
    let verdict = http2::normalize(&mut request, &rules);
    let expected = as_over_http1(&said);
    match verdict {
        Err(error) => {
            assert!(expected.is_none(), "{error} refuses {said:?}");
            assert!(error.status().is_client_error());
        }
        Ok(()) => {
            let (target, headers) = expected.expect("it would be refused over HTTP/1.1");
            assert_eq!(request.uri().to_string(), target, "the target is passed on byte for byte, in origin-form");
            assert_eq!(request.method(), said.method());
            assert_eq!(sorted(request.headers()), headers);
            let once = request.clone();
            http2::normalize(&mut request, &rules).expect("what was let in is let in again");
            assert_eq!((request.uri(), request.headers()), (once.uri(), once.headers()), "and is unchanged");
        }
    }
});

fn request(data: &[u8]) -> Option<Request<()>> {
    let mut lines = data.split(|&byte| byte == b'\n');
    let method = Method::from_bytes(lines.next()?).ok()?;
    let [authority, target] = [lines.next()?, lines.next()?].map(|line| str::from_utf8(line).unwrap_or(" "));
    // h2 hands on no other form: a request without an authority has none in its URI either.
    let uri: Uri = match (authority, &method) {
        ("", _) => target.parse().ok()?,
        (authority, &Method::CONNECT) => authority.parse().ok()?,
        (authority, _) => format!("https://{authority}{target}").parse().ok()?,
    };
    let mut request = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        request = request.header(name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
    }
    request.body(()).ok()
}

/// The target and the headers that httparse reads in the same request as a proxy would write it for HTTP/1.1 (RFC 9113
/// §8.3.1, §8.2.3). `None`: the guard of HTTP/1.1 refuses it.
fn as_over_http1(request: &Request<()>) -> Option<(String, Fields)> {
    let mut fields = Fields::new();
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    if let Some(authority) = authority {
        if request.headers().get_all(header::HOST).iter().any(|host| host.as_bytes() != authority) {
            return None;
        }
        fields.push(("host".to_owned(), authority.to_vec()));
    }
    let mut cookies = Vec::new();
    for (name, value) in request.headers() {
        match name.as_str() {
            "host" if authority.is_some() => {}
            "cookie" => cookies.push(value.as_bytes()),
            name => fields.push((name.to_owned(), value.as_bytes().to_vec())),
        }
    }
    if !cookies.is_empty() {
        fields.push(("cookie".to_owned(), cookies.join(&b"; "[..])));
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let mut head = format!("{} {target} HTTP/1.1\r\n", request.method()).into_bytes();
    for (name, value) in &fields {
        head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    judge_head(&head, FIELDS_MAX).ok()?;

    let mut lines = [EMPTY_HEADER; FIELDS_MAX];
    let mut read = httparse::Request::new(&mut lines);
    assert_eq!(read.parse(&head), Ok(Status::Complete(head.len())));
    assert_eq!((read.method, read.path), (Some(request.method().as_str()), Some(target)));
    let mut read: Fields = read.headers.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect();
    read.sort();
    Some((target.to_owned(), read))
}

fn sorted(headers: &HeaderMap) -> Fields {
    let trimmed = |value: &HeaderValue| value.as_bytes().trim_ascii().to_vec();
    let mut fields: Fields = headers.iter().map(|(name, value)| (name.as_str().to_owned(), trimmed(value))).collect();
    fields.sort();
    fields
}
