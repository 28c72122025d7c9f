//! Cross-origin requests of browsers (Fetch, "CORS protocol"): which page may read the answers of the Engine.IO
//! endpoint.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::{
    gateway::reply::{self, Body},
    policy::origin::Origins,
};

const METHODS: HeaderValue = HeaderValue::from_static("GET,POST");

/// How long a browser may cache a preflight, in seconds. Browsers cap it at two hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Allows the page to read `answer` if its origin is in `origins.allow`. `"*"` allows every page, without cookies: a
/// page that needs them must be named.
pub(super) fn allow(origins: &Origins, request: &HeaderMap, answer: &mut Response<Body>) {
    let headers = answer.headers_mut();
    if origins.admits_any() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = request.get(header::ORIGIN).filter(|_| origins.admit(request).is_ok()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// Whether the request is a preflight.
pub(super) fn is_preflight(method: &http::Method, headers: &HeaderMap) -> bool {
    method == http::Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight: it accepts every header. [`allow`] decides about the origin.
pub(super) fn preflight(request: &HeaderMap) -> Response<Body> {
    let mut answer = Response::new(reply::body(""));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    if let Some(wanted) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    headers.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    answer
}
