//! Reduces a request to what the log may show: its line, without secrets.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method, Uri, Version, header, request::Parts};

use crate::wire::query::Query;

/// A longer segment of a path, or value of a query, may be a secret; its length is shown.
const SHOWN_BYTES: usize = 24;
/// The most bytes of a path that are shown.
const PATH_BYTES: usize = 120;
/// The keys of a query whose values are shown.
const KEYS: [&str; 2] = ["EIO", "transport"];

/// A request, as far as the log may show it. Cheap to make, for each request; only for one that is refused it is written.
#[derive(Debug, Clone)]
pub struct RequestSummary {
    /// Who sends it.
    pub peer: IpAddr,
    method: Method,
    uri: Uri,
    version: Version,
    upgrade: bool,
    origin: Option<HeaderValue>,
}

impl RequestSummary {
    /// Of a request from `peer`.
    #[must_use]
    pub fn of(peer: IpAddr, method: &Method, uri: &Uri, version: Version, headers: &HeaderMap) -> Self {
        let (method, uri) = (method.clone(), uri.clone());
        let upgrade = headers.contains_key(header::UPGRADE);
        Self { peer, method, uri, version, upgrade, origin: headers.get(header::ORIGIN).cloned() }
    }

    /// Of a request with this head.
    #[must_use]
    pub fn of_head(peer: IpAddr, parts: &Parts) -> Self {
        Self::of(peer, &parts.method, &parts.uri, parts.version, &parts.headers)
    }

    /// The page that it comes from. An origin is visible ASCII; anything else is kept out of the log.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_ref().and_then(|origin| origin.to_str().ok())
    }

    /// `GET /socket.io/ EIO=3 transport=polling HTTP/1.1`.
    #[must_use]
    pub fn show(&self) -> String {
        let query = Query::of(&self.uri);
        let method = shown(self.method.as_str().as_bytes());
        let mut shown_line = format!("{method} {}", shown_path(self.uri.path().as_bytes()));
        for (key, value) in KEYS.into_iter().filter_map(|key| Some((key, query.get(key)?))) {
            shown_line += &format!(" {key}={}", shown(value.as_bytes()));
        }
        let upgrade = if self.upgrade { ", which asks for an upgrade" } else { "" };
        format!("{shown_line} {:?}{upgrade}", self.version)
    }
}

/// A path, without segments that may be secret.
#[must_use]
pub fn shown_path(path: &[u8]) -> String {
    let mut text = path.split(|&byte| byte == b'/').map(shown).collect::<Vec<_>>().join("/");
    if text.len() > PATH_BYTES {
        text.truncate(text.floor_char_boundary(PATH_BYTES));
        text.push('…');
    }
    text
}

/// A short text as it is, in ASCII; of a longer one its length.
#[must_use]
pub fn shown(text: &[u8]) -> String {
    if text.len() > SHOWN_BYTES { format!("<{} bytes>", text.len()) } else { text.escape_ascii().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_shown_without_what_may_be_secret() {
        let secret = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl";
        let uri = format!("/ws/{secret}/x%0a?token={secret}&sid=AAAAAAAAAAECAwQFBgcICQoLDA0O&EIO=3&transport={secret}");
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, secret.parse().unwrap());
        headers.insert(header::UPGRADE, "websocket".parse().unwrap());
        let peer = "192.0.2.1".parse().unwrap();
        let summary = RequestSummary::of(peer, &Method::GET, &uri.parse().unwrap(), Version::HTTP_11, &headers);
        assert_eq!(
            summary.show(),
            "GET /ws/<52 bytes>/x%0a EIO=3 transport=<52 bytes> HTTP/1.1, which asks for an upgrade"
        );
        assert!(shown_path(&b"/a\n".repeat(200)).len() < 130);
        assert_eq!(shown(b"a\r\n\x1b\xff"), "a\\r\\n\\x1b\\xff");
    }
}
