//! The answers that the gateway makes itself: a JSON body with a code and a sentence.

use std::fmt::Display;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full};
use serde::Serialize;

use crate::gateway::service_body::ServiceBody;

/// The body of every answer: one of our own, or the service's, streamed.
pub type Body = Either<Full<Bytes>, ServiceBody>;

/// `Retry-After` of 429 and 503, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// A body of our own.
#[must_use]
pub fn body(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

/// `{"code":…,"message":…}`. Engine.IO's codes are numbers, ours are words.
#[must_use]
pub fn json(status: StatusCode, code: impl Serialize, message: impl Display) -> Response<Body> {
    let answer = serde_json::json!({ "code": code, "message": message.to_string() });
    let mut response = Response::new(body(answer.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // The URL may contain a token: keep it out of `Referer` and caches.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    response
}

/// The same answer as bytes of HTTP/1.1, after which the connection is closed.
#[must_use]
pub fn json_bytes(status: StatusCode, code: &str, message: &str) -> Vec<u8> {
    let body = serde_json::json!({ "code": code, "message": message }).to_string();
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\nretry-after: 5\r\ncache-control: no-store\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The same answer, after which the connection is closed. A refused upgrade needs this: the bytes behind it are not
/// HTTP.
#[must_use]
pub fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_refusal_says_why_and_is_neither_cached_nor_referred_to() {
        let response = json(StatusCode::BAD_REQUEST, 3, "Bad request");
        assert_eq!(response.headers()[header::REFERRER_POLICY], "no-referrer");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        assert!(!response.headers().contains_key(header::RETRY_AFTER));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"code":3,"message":"Bad request"}"#);
    }

    #[test]
    fn refusals_for_a_time_carry_retry_after() {
        for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
            assert_eq!(json(status, "limit.connections", "Too many").headers()[header::RETRY_AFTER], "5");
        }
    }
}
