//! Which web pages may open a session: the `Origin` of browsers against a list.

use http::{HeaderMap, header::ORIGIN};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verdict::{Refusal, RefusalKind};
use crate::fault::Fault;

/// `[origins]`: the web pages that may connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OriginsTable {
    /// Origins allowed, `scheme://host[:port]` exactly as the browser sends it, or `"*"`. A request without an
    /// `Origin` does not come from a page and is allowed.
    pub allow: Vec<String>,
}

impl Default for OriginsTable {
    fn default() -> Self {
        Self { allow: vec!["http://localhost:3000".to_owned()] }
    }
}

/// The origins of `origins.allow`, compiled.
#[derive(Debug, Clone)]
pub struct Origins {
    any: bool,
    allowed: Box<[Origin]>,
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
    pub const REFUSAL: Refusal =
        Refusal { kind: RefusalKind::Forbidden, code: "forbidden", message: "Origin not allowed", rule: None };

    /// Reads the list.
    ///
    /// # Errors
    /// The first entry that is not an origin: with a path, without a scheme, `null`.
    pub fn compile(table: &OriginsTable) -> Result<Self, Fault> {
        let listed = |(at, text): (usize, &String)| {
            Origin::parse(text).ok_or_else(|| {
                let message = format!(
                    "is {text:?}; an origin is scheme://host[:port], for example \"https://app.example.com\", or \"*\""
                );
                Fault::new(format!("origins.allow[{at}]"), message)
            })
        };
        let entries = table.allow.iter().enumerate().filter(|(_, text)| *text != "*");
        Ok(Self {
            any: table.allow.iter().any(|text| text == "*"),
            allowed: entries.map(listed).collect::<Result<_, _>>()?,
        })
    }

    /// Whether every page is admitted.
    #[must_use]
    pub const fn admits_any(&self) -> bool {
        self.any
    }

    /// Checks whether a request with these headers may open a session.
    ///
    /// # Errors
    /// [`Origins::REFUSAL`] for an origin that is not in the list, is `null` or malformed, and for two of them
    /// in one request, of which the service might read the other one.
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut sent = headers.get_all(ORIGIN).iter();
        match (sent.next(), sent.next()) {
            (None, _) => Ok(()),
            (Some(_), Some(_)) => Err(Self::REFUSAL),
            (Some(_), None) if self.any => Ok(()),
            (Some(value), None) => match value.to_str().ok().and_then(Origin::parse) {
                Some(origin) if self.allowed.contains(&origin) => Ok(()),
                _ => Err(Self::REFUSAL),
            },
        }
    }
}

impl Origin {
    /// `scheme "://" host [ ":" port ]` and not a character more. `None` for everything else, including `null`.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(scheme_byte) {
            return None;
        }
        let after_host = authority.find(']').unwrap_or(0);
        let (host, port) = match authority[after_host..].find(':') {
            Some(colon) => (&authority[..after_host + colon], Some(port(&authority[after_host + colon + 1..])?)),
            None => (authority, None),
        };
        let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let valid = match literal {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
        };
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or(match &*scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        });
        valid.then(|| Self { scheme, host: host.to_ascii_lowercase(), port })
    }
}

/// Digits only: the parser of `u16` also accepts a sign.
fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn origins(allow: &[&str]) -> Origins {
        Origins::compile(&OriginsTable { allow: allow.iter().map(|&text| text.to_owned()).collect() }).unwrap()
    }

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
            assert_eq!(origins.admit(&headers(sent)).is_ok(), admitted, "{sent:?}");
        }
    }

    #[test]
    fn a_star_admits_every_origin_but_not_two() {
        let origins = origins(&["*"]);
        for sent in ["https://evil.test", "null", "file://"] {
            assert_eq!(origins.admit(&headers(&[sent])), Ok(()), "{sent}");
        }
        assert_eq!(origins.admit(&headers(&["null", "null"])), Err(Origins::REFUSAL));
    }

    #[test]
    fn a_header_that_is_not_text_is_refused() {
        let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_bytes(b"https://\xff").unwrap())]);
        assert_eq!(origins(&["https://x"]).admit(&headers), Err(Origins::REFUSAL));
    }

    #[test]
    fn an_entry_that_is_no_origin_is_an_error() {
        for text in ["null", "example.com", "https://example.com/", "https://*.example.com", "https://", "://x", ""] {
            let table = OriginsTable { allow: vec!["*".to_owned(), text.to_owned()] };
            assert_eq!(Origins::compile(&table).unwrap_err().key, "origins.allow[1]", "{text}");
        }
    }
}
