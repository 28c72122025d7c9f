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

/// Allows the page of `origin` to read `answer`. Only for requests whose origin is admitted, and for refusals,
/// which say the same to everybody. A preflight that is refused stays so, whatever its headers say, because its status is
/// no success: a foreign page cannot send headers of its own.
///
/// Where `origins.allow` has `"*"`, every page may read, without cookies: a page that needs them must be named.
pub(super) fn allow(origins: &Origins, origin: Option<HeaderValue>, answer: &mut Response<Body>) {
    let headers = answer.headers_mut();
    if origins.admits_any() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// The answer to OPTIONS, mostly a preflight: it accepts every header. The page of a foreign origin does not get it.
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
