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

/// What is to be counted and logged of a refusal. It goes with the answer as far as `Edge::tell`, which every answer passes,
/// so that no refusal goes unseen.
#[derive(Debug, Clone)]
pub struct PendingRefusal {
    /// Where it is refused; the label `stage` of `tidegate_refused_total`.
    pub stage: &'static str,
    /// The rule; the label `reason`.
    pub reason: &'static str,
    /// What the client is told, or what is wrong with its token, which it is not told.
    pub why: String,
    /// The key that governs it, where it is another one than that of the reason.
    pub setting: Option<&'static str>,
    /// What was seen, where that is more than the line of the request.
    pub seen: Option<String>,
    /// Which site the page asked for, where its origin is not admitted.
    pub asked: Option<String>,
    /// How it counts.
    pub counts: Counts,
}

/// How a refusal counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// It is counted already, or is the service's failure, which has counters of its own.
    No,
    /// In `tidegate_refused_total`.
    Refused,
    /// In `websocket_errors_total` as well.
    Error,
}

/// The `code` of an answer.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum Code {
    /// A word of ours, which is the reason in metrics and log too.
    Word(&'static str),
    /// A number of Engine.IO's.
    Number(u8),
}

impl From<&'static str> for Code {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<u8> for Code {
    fn from(number: u8) -> Self {
        Self::Number(number)
    }
}

/// A body of our own.
#[must_use]
pub fn body(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

/// `{"code":…,"message":…}`. Engine.IO's codes are numbers, ours are words. It is a refusal of a request, unless [`told`] or
/// [`at`] says otherwise.
#[must_use]
pub fn json(status: StatusCode, code: impl Into<Code>, message: impl Display) -> Response<Body> {
    let (code, why) = (code.into(), message.to_string());
    let answer = serde_json::json!({ "code": code, "message": why });
    let mut response = Response::new(body(answer.to_string()));
    let reason = if let Code::Word(word) = code { word } else { "bad_request" };
    let of_service = matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT);
    let counts = if of_service { Counts::No } else { Counts::Refused };
    response.extensions_mut().insert(PendingRefusal {
        stage: "request",
        reason,
        why,
        setting: None,
        seen: None,
        asked: None,
        counts,
    });
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

/// The same refusal, with this to be told of it.
#[must_use]
pub fn telling(mut response: Response<Body>, change: impl FnOnce(&mut PendingRefusal)) -> Response<Body> {
    if let Some(pending) = response.extensions_mut().get_mut() {
        change(pending);
    }
    response
}

/// The same refusal, at another stage.
#[must_use]
pub fn at(stage: &'static str, response: Response<Body>) -> Response<Body> {
    telling(response, |pending| pending.stage = stage)
}

/// The same answer, of which all has been counted and logged.
#[must_use]
pub fn told(mut response: Response<Body>) -> Response<Body> {
    response.extensions_mut().remove::<PendingRefusal>();
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
