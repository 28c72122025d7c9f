//! What the service answers to HTTP: the page with its parts, and a token for whoever asks.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;

use super::token::{Secret, VALID_FOR};

/// The learner that every visitor of the page is.
pub(crate) const LEARNER: &str = "ada";

const PAGE: &str = include_str!("assets/index.html");
const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";
/// Path, kind and text of what the page needs.
const PARTS: &[(&str, &str, &str)] = &[
    ("/page.css", STYLE, include_str!("assets/page.css")),
    ("/page.js", SCRIPT, include_str!("assets/page.js")),
    ("/basics.js", SCRIPT, include_str!("assets/basics.js")),
    ("/chat.js", SCRIPT, include_str!("assets/chat.js")),
    ("/connection.js", SCRIPT, include_str!("assets/connection.js")),
    ("/panels.js", SCRIPT, include_str!("assets/panels.js")),
    ("/quality.js", SCRIPT, include_str!("assets/quality.js")),
    ("/stage.js", SCRIPT, include_str!("assets/stage.js")),
    ("/steps.js", SCRIPT, include_str!("assets/steps.js")),
    ("/strip.js", SCRIPT, include_str!("assets/strip.js")),
    // socket.io-client 4.8.4, `dist/socket.io.min.js`, as published.
    ("/socket.io.min.js", SCRIPT, include_str!("assets/socket.io.min.js")),
];

/// The placeholders of the page: of the token, of the address of the demo's controls, and of the commands that put Tidegate
/// in front of another service.
const TOKEN_PLACE: &str = "{{token}}";
const STAGE_PLACE: &str = "{{stage}}";
const YOURS_PLACE: &str = "{{yours}}";
/// Those commands are the first block of shell under this heading of the README.
const README: &str = include_str!("../../README.md");
const YOURS_HEADING: &str = "## Put it in front of your service";

/// The pages, with the secret that signs their tokens.
pub(crate) struct Pages {
    pub(crate) secret: Secret,
    /// Where the demo's controls are.
    pub(crate) stage: SocketAddr,
}

impl Pages {
    pub(crate) fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, kind, body): (_, _, Bytes) = match request.uri().path() {
            "/" => match self.page() {
                Ok(page) => (StatusCode::OK, HTML, page.into()),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, error.to_string().into()),
            },
            "/token" => match self.secret.token_for(LEARNER) {
                Ok(token) => {
                    let told = json!({ "token": token, "learnerId": LEARNER, "seconds": VALID_FOR.as_secs() });
                    (StatusCode::OK, JSON, told.to_string().into())
                }
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, error.to_string().into()),
            },
            "/alive" => (StatusCode::OK, PLAIN, "alive\n".into()),
            path => match PARTS.iter().find(|(at, ..)| *at == path) {
                Some((_, kind, text)) => (StatusCode::OK, kind, Bytes::from_static(text.as_bytes())),
                None => (StatusCode::NOT_FOUND, PLAIN, "no such page\n".into()),
            },
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn page(&self) -> Result<String, jsonwebtoken::errors::Error> {
        let token = self.secret.token_for(LEARNER)?;
        let stage = format!("http://{}", self.stage);
        let page = PAGE.replace(TOKEN_PLACE, &token).replace(STAGE_PLACE, &stage);
        Ok(page.replace(YOURS_PLACE, &escaped(put_in_front())))
    }
}

/// The commands of the README, or where to find them if it was rearranged.
fn put_in_front() -> &'static str {
    let block = || {
        let (_, section) = README.split_once(YOURS_HEADING)?;
        let (_, shell) = section.split_once("```sh\n")?;
        shell.split_once("```").map(|(commands, _)| commands)
    };
    block().unwrap_or("See README.md.")
}

/// As text of an HTML element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
