//! Keeps the cookies that the service set at the handshakes of one session, and sends them with later dials, so that a service
//! or balancer that identifies clients by cookie recognises the session.
//!
//! A small part of RFC 6265: what the service sets goes back to the service alone, so its domain is its own and `Secure`
//! means nothing. A cookie for another path is not kept. One that ends later is kept as long as its session.

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, header};
use zeroize::Zeroizing;

/// The most bytes of names and values that are kept of one session.
const BYTES_MAX: usize = 4096;
/// The most cookies that are kept of one session.
const COOKIES_MAX: usize = 32;

/// The cookies that the service has set. Nearly every service sets none.
#[derive(Default)]
pub(super) struct CookieJar(Vec<Cookie>);

struct Cookie {
    name: Box<str>,
    /// `None`: it was deleted, and one that the client brought is not sent either.
    value: Option<Zeroizing<String>>,
}

impl Cookie {
    fn len(&self) -> usize {
        self.name.len() + self.value.as_ref().map_or(0, |value| value.len())
    }
}

impl CookieJar {
    /// Whether the service has set none.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.0.capacity() * size_of::<Cookie>() + self.0.iter().map(Cookie::len).sum::<usize>()
    }

    /// Keeps what the answer to a request for `path` sets, as far as there is room.
    pub(super) fn learn(&mut self, answer: &HeaderMap, path: &str, now: SystemTime) {
        let set = answer.get_all(header::SET_COOKIE).iter();
        for cookie in set.filter_map(|line| line.to_str().ok()).filter_map(|line| read(line, path, now)) {
            self.0.retain(|known| known.name != cookie.name);
            let bytes = self.0.iter().map(Cookie::len).sum::<usize>() + cookie.len();
            if self.0.len() < COOKIES_MAX && bytes <= BYTES_MAX {
                self.0.push(cookie);
            }
        }
    }

    /// The value of a `Cookie` line: those that the client brought in its `lines` and the service has not set anew, and
    /// those that it has set. `None`: there are none.
    pub(super) fn line<'l>(&self, lines: impl Iterator<Item = &'l [u8]>) -> Option<Zeroizing<Vec<u8>>> {
        let mut all = Zeroizing::new(Vec::with_capacity(BYTES_MAX));
        let brought = lines.flat_map(|line| line.split(|&byte| byte == b';')).map(<[u8]>::trim_ascii);
        for pair in brought.filter(|pair| !pair.is_empty() && !self.sets(pair)) {
            push(&mut all, &[pair]);
        }
        for Cookie { name, value } in &self.0 {
            if let Some(value) = value {
                push(&mut all, &[name.as_bytes(), b"=", value.as_bytes()]);
            }
        }
        (!all.is_empty()).then_some(all)
    }

    fn sets(&self, pair: &[u8]) -> bool {
        let name = pair.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
        self.0.iter().any(|cookie| cookie.name.as_bytes() == name)
    }
}

fn push(all: &mut Vec<u8>, pieces: &[&[u8]]) {
    if !all.is_empty() {
        all.extend_from_slice(b"; ");
    }
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
}

/// The name that a `Set-Cookie` line sets (RFC 6265 §5.2). `None`: it sets none.
pub(crate) fn name_of(line: &HeaderValue) -> Option<&str> {
    let (name, _) = line.to_str().ok()?.split(';').next()?.split_once('=')?;
    Some(name.trim())
}

/// A `Set-Cookie` line (RFC 6265 §5.2). `None`: it sets no cookie that may be sent with a request for `path`.
fn read(line: &str, path: &str, now: SystemTime) -> Option<Cookie> {
    let mut parts = line.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || line.bytes().any(|byte| byte.is_ascii_control()) {
        return None;
    }
    let (mut by_age, mut by_date) = (None, None);
    for part in parts {
        let (key, given) = part.split_once('=').unwrap_or((part, ""));
        let (key, given) = (key.trim(), given.trim());
        if key.eq_ignore_ascii_case("path") && given.starts_with('/') && !matches(path, given) {
            return None;
        } else if key.eq_ignore_ascii_case("max-age") {
            by_age = given.parse::<i64>().ok().map(|seconds| seconds <= 0).or(by_age);
        } else if key.eq_ignore_ascii_case("expires") {
            by_date = httpdate::parse_http_date(given).ok().map(|at| at <= now).or(by_date);
        }
    }
    let is_deleted = by_age.or(by_date).unwrap_or(false);
    Some(Cookie { name: name.into(), value: (!is_deleted).then(|| Zeroizing::new(value.to_owned())) })
}

/// RFC 6265 §5.1.4.
fn matches(path: &str, of_cookie: &str) -> bool {
    path.strip_prefix(of_cookie)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || of_cookie.ends_with('/'))
}

/// Cookies are secrets.
impl std::fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CookieJar").field("cookies", &self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn jar(answers: &[&[&str]]) -> CookieJar {
        let mut jar = CookieJar::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for lines in answers {
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append(header::SET_COOKIE, HeaderValue::from_str(line).unwrap());
            }
            jar.learn(&headers, "/socket.io/", now);
        }
        jar
    }

    fn line(jar: &CookieJar, brought: &[&str]) -> Option<String> {
        let line = jar.line(brought.iter().map(|line| line.as_bytes()))?;
        Some(String::from_utf8(line.to_vec()).unwrap())
    }

    #[test]
    fn what_the_service_sets_goes_back_to_it_in_place_of_what_the_client_brought() {
        let said = jar(&[&["connect.sid=s%3Aabc.def; Path=/; HttpOnly; Secure; Domain=a.example", "node = 2"]]);
        let expected = "theme=dark; connect.sid=s%3Aabc.def; node=2";
        assert_eq!(line(&said, &["theme=dark; connect.sid=old", "node=1"]).as_deref(), Some(expected));
        let later = jar(&[&["a=1", "b=1"], &["a=2"]]);
        assert_eq!(line(&later, &[]).as_deref(), Some("b=1; a=2"));
    }

    #[test]
    fn what_is_deleted_or_for_another_path_is_not_sent() {
        let gone = "Thu, 01 Jan 1970 00:00:00 GMT";
        for set in
            ["a=; Max-Age=0", &format!("a=1; Expires={gone}"), "a=1; max-age=-1; expires=Fri, 01 Jan 2100 00:00:00 GMT"]
        {
            let jar = jar(&[&["a=1"], &[set]]);
            assert_eq!(line(&jar, &["a=0; b=1"]).as_deref(), Some("b=1"), "{set}");
        }
        let lives = jar(&[&[&format!("a=1; Max-Age=60; Expires={gone}")]]);
        assert_eq!(line(&lives, &[]).as_deref(), Some("a=1"), "Max-Age counts before Expires");
        let paths =
            ["a=1; Path=/admin", "b=1; Path=/socket.io", "c=1; Path=/socket.io/", "d=1; Path=/sock", "e=1; Path=x"];
        assert_eq!(line(&jar(&[&paths]), &[]).as_deref(), Some("b=1; c=1; e=1"));
        assert_eq!(line(&jar(&[&["no cookie", "=1", "a=\tb"]]), &[]), None);
    }

    #[test]
    fn a_jar_is_small() {
        let long = format!("long={}", "x".repeat(BYTES_MAX));
        let many: Vec<_> = (0..100).map(|at| format!("c{at}=1")).collect();
        let lines: Vec<&str> = std::iter::once(&long).chain(&many).map(String::as_str).collect();
        let jar = jar(&[&lines]);
        assert_eq!(jar.0.len(), COOKIES_MAX);
        assert!(jar.memory() < 2 * BYTES_MAX, "{}", jar.memory());
    }
}
