//! The script of `client/` that pages without a bundler load from the gate: badge, card, offline queue.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::gateway::reply::{self, Body};

/// Where it is served.
pub(super) const PATH: &str = "/.tidegate/client.js";

/// What `client/build.mjs` has made. `client/check` compares it with its sources.
const SCRIPT: &[u8] = include_bytes!("../../client/embedded/client.js");

/// A tag of the content, so that nodes of one version tell the same one.
const TAG: u64 = fnv(SCRIPT);

/// A page asks again after an hour, and mostly hears that nothing has changed.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=3600");
const TYPE: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// The script, or that the browser has it already.
#[must_use]
pub(super) fn answer(request: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{TAG:016x}\"");
    let has_it = knows(request, &tag);
    let mut answer = Response::new(reply::body(if has_it { &[] } else { SCRIPT }));
    let headers = answer.headers_mut();
    headers.extend(HeaderValue::from_maybe_shared(tag).map(|tag| (header::ETAG, tag)));
    headers.insert(header::CACHE_CONTROL, CACHE);
    if has_it {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(header::CONTENT_TYPE, TYPE);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    }
    answer
}

/// Whether `If-None-Match` names the tag (RFC 9110 §13.1.2, the weak comparison).
fn knows(request: &HeaderMap, tag: &str) -> bool {
    let lists = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut named = lists.flat_map(|list| list.split(',')).map(str::trim);
    named.any(|named| named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag)
}

/// FNV-1a: nobody gains from two scripts with one tag.
const fn fnv(bytes: &[u8]) -> u64 {
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_browser_that_has_the_script_does_not_get_it_again() {
        let tag = format!("\"{TAG:016x}\"");
        let other = "\"0000000000000000\"";
        for (sent, status) in [
            (None, 200),
            (Some(other.to_owned()), 200),
            (Some(tag.trim_matches('"').to_owned()), 200),
            (Some(tag.clone()), 304),
            (Some(format!("W/{tag}")), 304),
            (Some(format!("{other}, {tag}")), 304),
            (Some("*".to_owned()), 304),
        ] {
            let sent = sent.map(|sent| (header::IF_NONE_MATCH, HeaderValue::from_str(&sent).unwrap()));
            let answer = answer(&sent.into_iter().collect());
            assert_eq!(answer.status(), status);
            assert_eq!(answer.headers()[header::ETAG], *tag);
            assert_eq!(answer.headers()[header::CACHE_CONTROL], CACHE);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, if status == 200 { SCRIPT } else { &[] });
        }
    }

    #[test]
    fn the_tag_depends_on_the_content() {
        // The values that the authors of FNV give.
        assert_eq!(
            [fnv(b""), fnv(b"a"), fnv(b"foobar")],
            [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c, 0x8594_4171_f739_67e8]
        );
    }
}
