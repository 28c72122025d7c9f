//! The answers of the operator's address: a status, a type, a body in one piece.

use hyper::StatusCode;
use serde::Serialize;

pub(super) use crate::side_http::{Answer, text, with_type};

/// Any value as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => with_type(status, "application/json", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write this as JSON: {error}\n")),
    }
}

/// A refusal: `code` for programs, `message` for people, with a fix.
pub(super) fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
    json(status, &serde_json::json!({ "code": code, "message": message }))
}
