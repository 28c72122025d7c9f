//! The answers of the operator's address: a status, a type, a body.

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    StatusCode,
    body::Incoming,
    header::{ALLOW, HeaderValue},
};
use serde::Serialize;

pub(super) use crate::side_http::{Answer, Body, describe, text, with_type};

/// Any value as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => with_type(status, "application/json", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write this as JSON: {error}\n")),
    }
}

/// A refusal of a method.
pub(super) fn method(allowed: &'static str, message: &str) -> Answer {
    let mut refusal = refusal(StatusCode::METHOD_NOT_ALLOWED, "method", message);
    refusal.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    refusal
}

/// A body of a request, which may have so many bytes.
///
/// # Errors
/// It has more, or is not complete.
pub(super) async fn body(body: Incoming, max: usize) -> Result<Bytes, Answer> {
    match Limited::new(body, max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "body", &format!("It may have {max} bytes.")))
        }
        Err(_) => Err(refusal(StatusCode::BAD_REQUEST, "body", "It is not complete.")),
    }
}

/// The answer of what changes something. That is done to its end, also if the client does not wait for it.
pub(super) async fn of_change(change: impl Future<Output = Answer> + Send + 'static) -> Answer {
    tokio::spawn(change).await.unwrap_or_else(|_| {
        refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "broken_off",
            "It has broken off; the log has the reason. Ask again.",
        )
    })
}

/// A refusal: `code` for programs, `message` for people, with a fix.
pub(super) fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
    json(status, &serde_json::json!({ "code": code, "message": message }))
}
