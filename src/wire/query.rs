//! The query of a URL, decoded as Node does (WHATWG `URLSearchParams`), or unchanged.

use std::borrow::Cow;

use http::Uri;

/// A query string, taken apart once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<'a>(Vec<Pair<'a>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair<'a> {
    /// As it stands between two ampersands; may be empty.
    raw: &'a str,
    /// Decoded.
    key: Cow<'a, str>,
    /// Still encoded.
    value: &'a str,
}

impl<'a> Query<'a> {
    /// The query of a URI; empty if it has none.
    #[must_use]
    pub fn of(uri: &'a Uri) -> Self {
        Self::new(uri.query().unwrap_or_default())
    }

    /// A raw query.
    #[must_use]
    pub fn new(raw: &'a str) -> Self {
        let pair = |raw: &'a str| {
            let (key, value) = raw.split_once('=').unwrap_or((raw, ""));
            Pair { raw, key: decode(key), value }
        };
        Self(raw.split('&').map(pair).collect())
    }

    /// The value of every pair with this key, still encoded. The key is compared decoded.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |pair| pair.key == key).map(|pair| pair.value)
    }

    /// Every pair that is not empty, decoded.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, Cow<'a, str>)> {
        self.0.iter().filter(|pair| !pair.raw.is_empty()).map(|pair| (&*pair.key, decode(pair.value)))
    }

    /// The value of the first pair with this key, decoded.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Cow<'a, str>> {
        self.values(key).next().map(decode)
    }

    /// Whether a pair has this key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.values(key).next().is_some()
    }

    /// Whether more than one pair has this key.
    #[must_use]
    pub fn is_repeated(&self, key: &str) -> bool {
        self.values(key).nth(1).is_some()
    }

    /// The query without the pairs that have one of these keys; the others byte for byte and in order.
    #[must_use]
    pub fn without(&self, keys: &[&str]) -> String {
        let mut kept = self.0.iter().filter(|pair| !keys.contains(&&*pair.key)).map(|pair| pair.raw);
        let mut query = kept.next().unwrap_or_default().to_owned();
        for raw in kept {
            query.push('&');
            query.push_str(raw);
        }
        query
    }
}

/// WHATWG URL §5.1: plus is a space, a malformed escape is kept, invalid UTF-8 becomes U+FFFD.
fn decode(raw: &str) -> Cow<'_, str> {
    if !raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [byte, tail @ ..] = rest {
        let escaped = match (byte, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        let (byte, tail) = match (escaped, byte) {
            (Some((high, low)), _) => (high << 4 | low, &tail[2..]),
            (None, b'+') => (b' ', tail),
            (None, byte) => (*byte, tail),
        };
        decoded.push(byte);
        rest = tail;
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_read_decoded() {
        let query = Query::new("%45IO=4&token=a%2Bb+c%&empty&x=1=2");
        assert_eq!(query.get("EIO").as_deref(), Some("4"));
        assert_eq!(query.get("token").as_deref(), Some("a+b c%"));
        assert_eq!(query.get("empty").as_deref(), Some(""));
        assert_eq!(query.get("x").as_deref(), Some("1=2"));
        assert_eq!(query.get("eio"), None);
    }

    #[test]
    fn a_key_is_repeated_whatever_its_spelling() {
        assert!(Query::new("sid=1&s%69d=2").is_repeated("sid"));
        assert!(Query::new("sid&sid").is_repeated("sid"));
        assert!(!Query::new("sid=1&id=2&&").is_repeated("sid"));
    }

    #[test]
    fn the_other_pairs_stay_as_they_are() {
        let query = Query::new("b=%41&token=t&&a=1&t%6Fken=u&c");
        assert_eq!(query.without(&["token"]), "b=%41&&a=1&c");
        assert_eq!(Query::new("token=t").without(&["token"]), "");
        assert_eq!(query.without(&[]), "b=%41&token=t&&a=1&t%6Fken=u&c");
    }
}
