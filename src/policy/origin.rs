//! Which web pages may open a session: the `Origin` of browsers against a list.

use std::fmt;

use http::{HeaderMap, HeaderValue, header::ORIGIN};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verdict::{Refusal, RefusalKind};
use crate::fault::{Fault, Faults};

/// `[origins]`: the web pages that may connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OriginsTable {
    /// Origins allowed, `scheme://host[:port]` exactly as the browser sends it, or one of these words. `"self"`: a page of
    /// the scheme, host and port that the request itself asks for, as `listen.trusted_proxies` report them. `"file://"`:
    /// local files in some programs, and some device libraries. `"null"`: local files in browsers, but also the sandboxed
    /// frames of any page. `"*"`: every page. A request without an `Origin` does not come from a page and is allowed.
    pub allow: Vec<String>,
    /// The names and addresses, without a port, that `"self"` stands for. Empty: whichever the request asks for, so also a
    /// foreign name that is made to resolve to this address; set it where nothing but the network protects the service.
    #[schemars(example = ["app.example.com"])]
    pub hosts: Vec<String>,
}

impl Default for OriginsTable {
    fn default() -> Self {
        Self { allow: vec![SELF.to_owned(), "http://localhost:3000".to_owned()], hosts: Vec::new() }
    }
}

const ANY: &str = "*";
const SELF: &str = "self";
/// What browsers send for a page that has no origin (RFC 6454 §7.3).
const NULL: &str = "null";
/// What others send for such a page, though it has no host.
const FILE: &str = "file://";

/// Where a request was sent to, as the client names it.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Whether the client uses TLS.
    pub tls: bool,
    /// `Host`: a name or an address, maybe with a port. `None` in HTTP/1.0 without it.
    pub host: Option<&'a HeaderValue>,
    /// The port, where `host` has none. `None`: that of the scheme.
    pub port: Option<u16>,
}

/// As the origin of its pages.
impl fmt::Display for Site<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host) = (scheme(self.tls), self.host.and_then(|host| host.to_str().ok()).unwrap_or_default());
        match self.port.filter(|_| authority(host).is_some_and(|(_, port)| port.is_none())) {
            Some(port) => write!(f, "{scheme}://{host}:{port}"),
            None => write!(f, "{scheme}://{host}"),
        }
    }
}

/// The origins of `origins.allow`, compiled.
#[derive(Debug, Clone)]
pub struct Origins {
    any: bool,
    own: bool,
    null: bool,
    file: bool,
    allowed: Box<[Origin]>,
    /// In lower case. Empty: every host.
    hosts: Box<[String]>,
}

/// RFC 6454 §4: scheme, host and port. Scheme and host are in lower case, the port of `http` and `https` is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origins {
    /// The answer to a page whose origin is not in the list.
    pub const REFUSAL: Refusal = Refusal {
        kind: RefusalKind::Forbidden,
        code: "forbidden",
        message: "Origin not allowed",
        rule: None,
        fault: None,
    };

    /// Reads the list.
    ///
    /// # Errors
    /// Each entry that is not an origin: with a path, or without a scheme; each host that is none.
    pub fn compile(table: &OriginsTable) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let has = |word: &str| table.allow.iter().any(|text| text == word);
        let listed = |(at, text): (usize, &String)| {
            Origin::parse(text).ok_or_else(|| Fault::new(format!("origins.allow[{at}]"), no_origin(text)))
        };
        let named = |(at, text): (usize, &String)| match authority(text) {
            Some((host, None)) => Ok(host.to_ascii_lowercase()),
            _ => {
                let message = format!("is {text:?}; it must be a name or an address without a port");
                Err(Fault::new(format!("origins.hosts[{at}]"), message))
            }
        };
        for at in (1..table.allow.len()).filter(|&at| table.allow[..at].contains(&table.allow[at])) {
            faults.add(format!("origins.allow[{at}]"), format!("is {:?} a second time", table.allow[at]));
        }
        let entries =
            table.allow.iter().enumerate().filter(|(_, text)| ![ANY, SELF, NULL, FILE].contains(&text.as_str()));
        let allowed = faults.keep_all(entries.map(listed));
        let hosts = faults.keep_all(table.hosts.iter().enumerate().map(named));
        let origins = || {
            Some(Self {
                any: has(ANY),
                own: has(SELF),
                null: has(NULL),
                file: has(FILE),
                allowed: allowed?,
                hosts: hosts?,
            })
        };
        let origins = origins();
        faults.finish(origins)
    }

    /// Whether every page is admitted.
    #[must_use]
    pub const fn admits_any(&self) -> bool {
        self.any
    }

    /// Checks whether a request to `site` with these headers may open a session.
    ///
    /// # Errors
    /// [`Origins::REFUSAL`] for an origin that is not in the list or is malformed, and for two of them in one request, of
    /// which the service might read the other one.
    pub fn admit(&self, headers: &HeaderMap, site: Site<'_>) -> Result<(), Refusal> {
        let mut sent = headers.get_all(ORIGIN).iter();
        let admitted = match (sent.next(), sent.next()) {
            (None, _) => true,
            (Some(_), Some(_)) => false,
            (Some(_), None) if self.any => true,
            (Some(value), None) => value.to_str().is_ok_and(|text| self.admits(text, site)),
        };
        if admitted { Ok(()) } else { Err(Self::REFUSAL) }
    }

    fn admits(&self, text: &str, site: Site<'_>) -> bool {
        match text {
            NULL => self.null,
            FILE => self.file,
            _ => Origin::parse(text).is_some_and(|origin| self.allowed.contains(&origin) || self.is_own(&origin, site)),
        }
    }

    /// Whether the page comes from the site that the request was sent to.
    fn is_own(&self, origin: &Origin, site: Site<'_>) -> bool {
        self.own
            && Origin::of(site).is_some_and(|own| own == *origin)
            && (self.hosts.is_empty() || self.hosts.contains(&origin.host))
    }
}

impl Origin {
    /// `scheme "://" host [ ":" port ]` and not a character more. `None` for everything else, including `null`.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(scheme_byte) {
            return None;
        }
        let (host, port) = authority(rest)?;
        Some(Self::new(scheme, host, port))
    }

    /// The origin of a page of this site.
    fn of(site: Site<'_>) -> Option<Self> {
        let (host, port) = authority(site.host?.to_str().ok()?)?;
        Some(Self::new(scheme(site.tls), host, port.or(site.port)))
    }

    fn new(scheme: &str, host: &str, port: Option<u16>) -> Self {
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or(match &*scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        });
        Self { scheme, host: host.to_ascii_lowercase(), port }
    }
}

const fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

/// The parts of `host [ ":" port ]`: a name, an IPv4 address, or an IPv6 address in brackets. `None` for everything else.
#[must_use]
pub fn authority(text: &str) -> Option<(&str, Option<u16>)> {
    let after_host = text.find(']').unwrap_or(0);
    let (host, port) = match text[after_host..].find(':') {
        Some(colon) => (&text[..after_host + colon], Some(port(&text[after_host + colon + 1..])?)),
        None => (text, None),
    };
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let valid = match literal {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    valid.then_some((host, port))
}

/// A port as digits only: the parser of `u16` also accepts a sign.
#[must_use]
pub fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// What to say of an entry of `origins.allow` that is no origin: where what is meant can be seen, how that is written.
fn no_origin(text: &str) -> String {
    let bare = text.trim_end_matches('/');
    if text.ends_with('/') && Origin::parse(bare).is_some() {
        return format!("is {text:?}; leave the slash at its end away: {bare:?}");
    }
    if let Some(word) = [SELF, NULL].into_iter().find(|word| text.eq_ignore_ascii_case(word)) {
        return format!("is {text:?}; write {word:?}, in small letters");
    }
    let (behind_scheme, scheme) = text.split_once("://").map_or((text, ""), |(scheme, rest)| (rest, scheme));
    let host = behind_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    if behind_scheme.len() > host.len() && Origin::parse(&format!("{scheme}://{host}")).is_some() {
        return format!("is {text:?}; an origin has no path: \"{scheme}://{host}\"");
    }
    if scheme.is_empty() && (host.contains('.') || host.starts_with("localhost")) && !host.contains('*') {
        return format!("is {text:?}; an origin begins with its scheme: \"https://{host}\"");
    }
    if host.contains('*') {
        return format!(
            "is {text:?}; a part of an origin cannot be \"*\"; list each origin, or \"*\" alone for every page"
        );
    }
    format!(
        "is {text:?}; an origin is scheme://host[:port], for example \"https://app.example.com\", or it is \"self\", \
         \"file://\", \"null\" or \"*\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(allow: &[&str]) -> Origins {
        for_hosts(allow, &[])
    }

    fn for_hosts(allow: &[&str], hosts: &[&str]) -> Origins {
        let [allow, hosts] = [allow, hosts].map(|texts| texts.iter().map(|&text| text.to_owned()).collect());
        Origins::compile(&OriginsTable { allow, hosts }).unwrap()
    }

    /// A site that no page of these tests belongs to.
    const ELSEWHERE: Site<'_> = Site { tls: true, host: None, port: None };

    fn headers(sent: &[&str]) -> HeaderMap {
        sent.iter().map(|text| (ORIGIN, HeaderValue::from_str(text).unwrap())).collect()
    }

    #[test]
    fn only_the_listed_origins_are_admitted() {
        let origins =
            origins(&["https://app.example.com", "http://localhost:3000", "http://[::1]:80", "capacitor://x"]);
        for (sent, admitted) in [
            (&[][..], true),
            (&["https://app.example.com"], true),
            (&["https://app.example.com:443"], true),
            (&["HTTPS://App.Example.COM"], true),
            (&["http://[::1]"], true),
            (&["capacitor://x"], true),
            (&["http://app.example.com"], false),
            (&["https://app.example.com:8443"], false),
            (&["https://app.example.com:+443"], false),
            (&["https://app.example.com:"], false),
            (&["https://app.example.com."], false),
            (&["https://app.example.com/"], false),
            (&["https://app.example.com.evil.test"], false),
            (&["https://evil.test#https://app.example.com"], false),
            (&["https://app.example.com@evil.test"], false),
            (&["https://example.com"], false),
            (&["https://xapp.example.com"], false),
            (&["http://localhost"], false),
            (&["null"], false),
            (&[""], false),
            (&["https://app.example.com https://evil.test"], false),
            (&["https://app.example.com", "https://app.example.com"], false),
        ] {
            assert_eq!(origins.admit(&headers(sent), ELSEWHERE).is_ok(), admitted, "{sent:?}");
        }
    }

    #[test]
    fn a_star_admits_every_origin_but_not_two() {
        let origins = origins(&["*"]);
        for sent in ["https://evil.test", "null", "file://"] {
            assert_eq!(origins.admit(&headers(&[sent]), ELSEWHERE), Ok(()), "{sent}");
        }
        assert_eq!(origins.admit(&headers(&["null", "null"]), ELSEWHERE), Err(Origins::REFUSAL));
    }

    #[test]
    fn a_header_that_is_not_text_is_refused() {
        let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_bytes(b"https://\xff").unwrap())]);
        assert_eq!(origins(&["https://x"]).admit(&headers, ELSEWHERE), Err(Origins::REFUSAL));
    }

    #[test]
    fn an_entry_that_is_no_origin_is_an_error() {
        for text in [
            "NULL",
            "Self",
            "file:///",
            "example.com",
            "https://example.com/",
            "https://*.example.com",
            "https://",
            "://x",
            "",
        ] {
            let table = OriginsTable { allow: vec!["*".to_owned(), text.to_owned()], hosts: Vec::new() };
            assert_eq!(Origins::compile(&table).unwrap_err()[0].key, "origins.allow[1]", "{text}");
        }
        for text in ["https://example.com", "example.com:443", "*.example.com", "::1", ""] {
            let table = OriginsTable { hosts: vec![text.to_owned()], ..OriginsTable::default() };
            assert_eq!(Origins::compile(&table).unwrap_err()[0].key, "origins.hosts[0]", "{text}");
        }
    }

    /// Whether a page of `origin` is admitted at `host`.
    fn at(origins: &Origins, origin: &str, tls: bool, host: &'static str, port: Option<u16>) -> bool {
        let host = HeaderValue::from_static(host);
        origins.admit(&headers(&[origin]), Site { tls, host: Some(&host), port }).is_ok()
    }

    #[test]
    fn self_is_the_scheme_the_host_and_the_port_that_were_asked_for() {
        let own = origins(&["self"]);
        for (origin, tls, host, port, admitted) in [
            ("https://app.example", true, "app.example", None, true),
            ("https://app.example", true, "APP.example:443", None, true),
            ("http://app.example:8080", false, "app.example:8080", None, true),
            ("http://app.example:8080", false, "app.example", Some(8080), true),
            ("http://app.example:8080", false, "app.example:8080", Some(80), true),
            ("http://[::1]:8443", false, "[::1]:8443", None, true),
            ("http://127.0.0.1:8443", false, "127.0.0.1:8443", None, true),
            ("http://app.example", true, "app.example", None, false),
            ("https://app.example", false, "app.example", None, false),
            ("http://app.example:8080", false, "app.example", None, false),
            ("http://app.example", false, "app.example:8080", None, false),
            ("https://evil.example", true, "app.example", None, false),
            ("https://app.example.evil.example", true, "app.example", None, false),
            ("https://sub.app.example", true, "app.example", None, false),
            ("wss://app.example", true, "app.example", None, false),
            ("null", true, "null", None, false),
            ("file://", true, "app.example", None, false),
            ("https://a b", true, "a b", None, false),
        ] {
            assert_eq!(at(&own, origin, tls, host, port), admitted, "{origin} at {host}");
        }
        assert_eq!(own.admit(&headers(&["https://app.example"]), ELSEWHERE), Err(Origins::REFUSAL), "no Host");
        assert!(
            !at(&origins(&["https://other.example"]), "https://app.example", true, "app.example", None),
            "not listed"
        );
    }

    #[test]
    fn a_site_is_written_as_the_origin_of_its_pages() {
        let host = HeaderValue::from_static;
        let (bare, with_port) = (host("app.example"), host("app.example:8080"));
        for (site, text) in [
            (Site { tls: true, host: Some(&bare), port: None }, "https://app.example"),
            (Site { tls: false, host: Some(&bare), port: Some(8080) }, "http://app.example:8080"),
            (Site { tls: false, host: Some(&with_port), port: Some(80) }, "http://app.example:8080"),
            (Site { tls: false, host: None, port: Some(80) }, "http://"),
        ] {
            assert_eq!(site.to_string(), text);
        }
    }

    #[test]
    fn self_can_be_bound_to_names() {
        let own = for_hosts(&["self", "https://other.example"], &["App.example", "[::1]"]);
        for (origin, host, admitted) in [
            ("https://app.example", "app.example", true),
            ("https://app.example:8443", "APP.EXAMPLE:8443", true),
            ("https://[::1]", "[::1]", true),
            ("https://rebound.example", "rebound.example", false),
            ("https://other.example", "app.example", true),
        ] {
            assert_eq!(at(&own, origin, true, host, None), admitted, "{origin} at {host}");
        }
    }

    #[test]
    fn a_page_without_an_origin_is_admitted_where_its_word_is_written() {
        for (allow, sent, admitted) in [
            ("null", "null", true),
            ("file://", "file://", true),
            ("null", "file://", false),
            ("file://", "null", false),
            ("file://", "file://host", false),
            ("file://", "file:///", false),
            ("self", "null", false),
        ] {
            let admits = origins(&[allow]).admit(&headers(&[sent]), ELSEWHERE).is_ok();
            assert_eq!(admits, admitted, "{sent} where {allow} is allowed");
        }
    }
}
