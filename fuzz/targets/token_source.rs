//! Where a token is looked for: a request and a CONNECT packet give the one token that a simple reader finds, or none, and
//! no token that the configuration names goes on to the service in a URL.
#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue, Request, request::Parts};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tidegate::{
    policy::token_source::{TOKEN_MAX_BYTES, Token, TokenSources},
    wire::query::Query,
};
use tidegate_fuzz::json::Members;

const ENTRIES: [&[&str]; 8] = [
    &["header"],
    &["query:token"],
    &["cookie:session"],
    &["subprotocol"],
    &["connect:token"],
    &["query:token", "query:jwt"],
    &["connect:token", "connect:auth"],
    &["connect:token", "header", "query:token", "cookie:session", "subprotocol"],
];
/// Nesting beyond this is refused before serde_json's own bound.
const DEPTH: usize = 60;

static SOURCES: LazyLock<[TokenSources; 8]> = LazyLock::new(|| {
    ENTRIES.map(|entries| {
        let entries: Vec<_> = entries.iter().map(|&entry| entry.to_owned()).collect();
        TokenSources::compile(&entries).expect("each is a source")
    })
});

/// No token, one, or a reason to refuse.
type Reading = Result<Option<String>, ()>;

// The first byte is a digit that chooses the sources. Behind it are the query, header lines, an empty line, and the JSON of
// CONNECT.
fuzz_target!(|data: &[u8]| {
    let Some((&options, text)) = data.split_first() else { return };
    let at = usize::from(options & 7);
    let (sources, entries) = (&SOURCES[at], ENTRIES[at]);
    let end = text.windows(2).position(|pair| pair == b"\n\n").unwrap_or(text.len());
    let Some(request) = request(&text[..end]) else { return };
    let connect = text.get(end + 2..).unwrap_or_default();

    let in_request = entries.iter().map(|entry| match entry.split_once(':') {
        Some(("query", name)) => query(request.uri.query().unwrap_or_default(), name),
        Some(("cookie", name)) => cookie(&request.headers, name),
        None if *entry == "header" => bearer(&request.headers),
        None => subprotocol(&request.headers),
        _ => Ok(None),
    });
    assert_same(sources.from_request(&request).map_err(drop), in_request.fold(Ok(None), same));
    if let Some(in_connect) = entries.iter().map(|entry| field(connect, entry)).collect::<Option<Vec<_>>>() {
        assert_same(sources.from_connect(connect).map_err(drop), in_connect.into_iter().fold(Ok(None), same));
    }
    assert_queries(request.uri.query().unwrap_or_default(), &sources.query_keys().collect::<Vec<_>>());
});

fn request(text: &[u8]) -> Option<Parts> {
    let mut lines = text.split(|&byte| byte == b'\n');
    let query = str::from_utf8(lines.next()?).ok()?;
    let mut request = Request::get(format!("/?{query}"));
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        request = request.header(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some(request.body(()).ok()?.into_parts().0)
}

fn assert_same(found: Result<Option<Token>, ()>, expected: Reading) {
    // A token is not shown, so the expected one is made of the same text.
    let token = |text: String| {
        static PLAIN: LazyLock<TokenSources> =
            LazyLock::new(|| TokenSources::compile(&["connect:t".to_owned()]).expect("it is a source"));
        // One scheme is taken away, and what is expected may begin with another.
        let token = PLAIN.from_connect(json!({ "t": format!("bearer {text}") }).to_string().as_bytes());
        token.expect("it is short enough").expect("it is not empty")
    };
    let shown = format!("{expected:?}");
    assert!(found == expected.map(|text| text.map(token)), "not {shown}");
}

/// The rule for two places: one token, or the same one twice.
fn same(one: Reading, other: Reading) -> Reading {
    match (one?, other?) {
        (Some(one), Some(other)) if one != other => Err(()),
        (one, other) => Ok(one.or(other)),
    }
}

fn token(text: &[u8]) -> Reading {
    let has_scheme = text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    match str::from_utf8(if has_scheme { &text[7..] } else { text }) {
        Ok("") => Ok(None),
        Ok(text) if text.len() <= TOKEN_MAX_BYTES => Ok(Some(text.to_owned())),
        _ => Err(()),
    }
}

fn the_only(mut texts: Vec<&[u8]>) -> Reading {
    match (texts.pop(), texts.is_empty()) {
        (None, _) => Ok(None),
        (Some(text), true) => token(text),
        (Some(_), false) => Err(()),
    }
}

fn bearer(headers: &HeaderMap) -> Reading {
    let values: Vec<_> = headers.get_all("authorization").iter().map(HeaderValue::as_bytes).collect();
    let &[value] = &values[..] else { return if values.is_empty() { Ok(None) } else { Err(()) } };
    if !value.iter().all(|byte| *byte == b'\t' || (b' '..=b'~').contains(byte)) {
        return Err(());
    }
    match value.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case(b"bearer ") => {
            let text = str::from_utf8(&value[7..]).expect("it is ASCII");
            token(text.trim_matches(' ').as_bytes())
        }
        _ => Ok(None),
    }
}

fn query(query: &str, name: &str) -> Reading {
    let values = pairs(query).into_iter().filter(|(key, _)| key == name).map(|(_, value)| decoded(value));
    let values: Vec<_> = values.collect();
    the_only(values.iter().map(String::as_bytes).collect())
}

fn cookie(headers: &HeaderMap, name: &str) -> Reading {
    let lines: Vec<&[u8]> = headers.get_all("cookie").iter().map(HeaderValue::as_bytes).collect();
    let pairs = lines.iter().flat_map(|line| line.split(|&byte| byte == b';')).filter_map(|pair| {
        let mut halves = pair.splitn(2, |&byte| byte == b'=').map(<[u8]>::trim_ascii);
        Some((halves.next()?, halves.next()?))
    });
    the_only(pairs.filter(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value).collect())
}

fn subprotocol(headers: &HeaderMap) -> Reading {
    let lines: Vec<&[u8]> = headers.get_all("sec-websocket-protocol").iter().map(HeaderValue::as_bytes).collect();
    let lines = lines.join(&b',');
    let mut entries = lines.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty());
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        if entry == b"bearer" {
            found.extend(entries.next());
        } else if let Some(rest) = entry.strip_prefix(b"tidegate.bearer.") {
            found.push(rest);
        }
    }
    the_only(found)
}

/// What serde_json finds in the field of a CONNECT. `None`: serde_json does not take what Node takes, half a surrogate
/// pair; or it is nested deeper than the gate reads, or not UTF-8, which ends a session before.
fn field(connect: &[u8], entry: &str) -> Option<Reading> {
    let Some(("connect", name)) = entry.split_once(':') else { return Some(Ok(None)) };
    if connect.is_empty() {
        return Some(Ok(None));
    }
    let brackets = connect.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if brackets > DEPTH
        || str::from_utf8(connect).is_err()
        || connect.windows(3).any(|three| three.eq_ignore_ascii_case(b"\\ud"))
    {
        return None;
    }
    let Ok(Members(members)) = serde_json::from_slice(connect) else { return Some(Err(())) };
    let mut values = members.iter().filter(|(key, _)| key == name).map(|(_, value)| value.get());
    Some(match (values.next(), values.next()) {
        (None, _) | (Some("null"), None) => Ok(None),
        (Some(value), None) => {
            serde_json::from_str::<String>(value).map_err(drop).and_then(|text| token(text.as_bytes()))
        }
        (Some(_), Some(_)) => Err(()),
    })
}

/// The pairs of a query: the key decoded as WHATWG URL §5.1 says, the value as it is written.
fn pairs(query: &str) -> Vec<(String, &str)> {
    let pair = |pair: &'_ str| pair.find('=').unwrap_or(pair.len());
    query
        .split('&')
        .map(|text| (decoded(&text[..pair(text)]), text.get(pair(text) + 1..).unwrap_or_default()))
        .collect()
}

fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let (byte, rest) = match digits {
            Some(digits) => (u8::from_str_radix(digits, 16).expect("two hexadecimal digits"), &piece[2..]),
            None => (b'%', piece),
        };
        bytes.push(byte);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn assert_queries(text: &str, tokens: &[&str]) {
    let (query, pairs) = (Query::new(text), pairs(text));
    for (key, _) in &pairs {
        let of_key: Vec<_> = pairs.iter().filter(|(other, _)| other == key).map(|(_, value)| *value).collect();
        assert_eq!(query.values(key).collect::<Vec<_>>(), of_key);
        assert_eq!(query.get(key).as_deref(), Some(&*decoded(of_key[0])));
        assert_eq!(query.is_repeated(key), of_key.len() > 1);
    }
    let without = query.without(tokens);
    let kept: Vec<_> = text.split('&').zip(&pairs).filter(|(_, (key, _))| !tokens.contains(&&**key)).collect();
    assert_eq!(without, kept.into_iter().map(|(raw, _)| raw).collect::<Vec<_>>().join("&"));
    assert!(tokens.iter().all(|token| !Query::new(&without).has(token)));
}
