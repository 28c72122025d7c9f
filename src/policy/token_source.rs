//! Finds a token in a request or a CONNECT packet.

use std::{fmt, str::FromStr};

use http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE, HeaderName, SEC_WEBSOCKET_PROTOCOL},
    request::Parts,
};
use zeroize::Zeroizing;

use super::{auth::refusals::INVALID, verdict::Refusal};
use crate::{
    fault::Fault,
    wire::{
        json::{self, Found},
        query::Query,
    },
};

/// The longest token that is accepted, in bytes.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;

/// The subprotocol entry that a token follows.
const SUBPROTOCOL_MARK: &str = "bearer";
/// The prefix of a subprotocol entry that contains a token.
const SUBPROTOCOL_PREFIX: &str = "tidegate.bearer.";

/// A token as it was sent: neither verified nor parsed. Never shown, and wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// `None` if the text is empty: clients write `token: ""` when they have none.
    pub(super) fn read(text: &str) -> Result<Option<Self>, Refusal> {
        match text.len() {
            0 => Ok(None),
            1..=TOKEN_MAX_BYTES => Ok(Some(Self(Zeroizing::new(text.to_owned())))),
            _ => Err(INVALID),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token([redacted])")
    }
}

/// One entry of `auth.token_from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// `connect:FIELD`: a field of the object a Socket.IO client sends in CONNECT (its `auth` option).
    Connect(String),
    /// `header`: `Authorization: Bearer TOKEN` (RFC 6750 §2.1).
    Header,
    /// `query:NAME`: a parameter of the request's query.
    Query(String),
    /// `cookie:NAME`: a cookie.
    Cookie(String),
    /// `subprotocol`: in `Sec-WebSocket-Protocol`, for browsers, which can set no other header on a WebSocket. Either
    /// the entry after an entry `bearer` (`chat, bearer, TOKEN`), or one entry `tidegate.bearer.TOKEN`. A browser
    /// requires that one of its entries is selected, so the second form is for use with a subprotocol of the service.
    Subprotocol,
}

impl FromStr for TokenSource {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // Names of these bytes need no escaping in a query or a cookie, so each has one spelling.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let name = |name: &str| (!name.is_empty() && name.bytes().all(plain)).then(|| name.to_owned()).ok_or(());
        match text.split_once(':') {
            Some(("connect", field)) if !field.is_empty() => Ok(Self::Connect(field.to_owned())),
            Some(("query", key)) => name(key).map(Self::Query),
            Some(("cookie", cookie)) => name(cookie).map(Self::Cookie),
            None if text == "header" => Ok(Self::Header),
            None if text == "subprotocol" => Ok(Self::Subprotocol),
            _ => Err(()),
        }
    }
}

/// All places where a token may be. One of them is enough; two different tokens are refused.
#[derive(Debug, Clone)]
pub struct TokenSources(Box<[TokenSource]>);

impl TokenSources {
    /// Reads `auth.token_from`.
    ///
    /// # Errors
    /// The first entry that is not a source.
    pub fn compile(texts: &[String]) -> Result<Self, Fault> {
        let source = |(at, text): (usize, &String)| {
            text.parse().map_err(|()| {
                let message = format!(
                    "is {text:?}; write \"connect:FIELD\", \"header\", \"query:NAME\", \"cookie:NAME\" or \
                     \"subprotocol\", names of letters, digits, '_', '-' and '.'"
                );
                Fault::new(format!("auth.token_from[{at}]"), message)
            })
        };
        texts.iter().enumerate().map(source).collect::<Result<_, _>>().map(Self)
    }

    /// The token in the head of a request.
    ///
    /// # Errors
    /// `auth.invalid` if a place is repeated (two `Authorization` headers, a cookie or query parameter twice),
    /// if two places have different tokens, and for a token longer than [`TOKEN_MAX_BYTES`].
    pub fn from_request(&self, request: &Parts) -> Result<Option<Token>, Refusal> {
        self.0.iter().try_fold(None, |found, source| {
            let token = match source {
                TokenSource::Connect(_) => None,
                TokenSource::Header => authorization(&request.headers)?,
                TokenSource::Query(name) => only(Query::of(&request.uri).values(name).map(str::as_bytes))?,
                TokenSource::Cookie(name) => cookie(&request.headers, name)?,
                TokenSource::Subprotocol => subprotocol(&request.headers)?,
            };
            Self::same(found, token)
        })
    }

    /// The token in the payload of a CONNECT packet, which is a JSON object or empty.
    ///
    /// # Errors
    /// `auth.invalid` if a token's field is repeated or neither text nor null, if two fields have different
    /// tokens, for a token longer than [`TOKEN_MAX_BYTES`], and for a payload that is not a JSON object.
    pub fn from_connect(&self, auth_json: &[u8]) -> Result<Option<Token>, Refusal> {
        if auth_json.is_empty() || !self.0.iter().any(|source| matches!(source, TokenSource::Connect(_))) {
            return Ok(None);
        }
        self.0.iter().try_fold(None, |found, source| {
            let TokenSource::Connect(field) = source else { return Ok(found) };
            let token = match json::top_level_string(auth_json, field) {
                Found::String(text) => Token::read(text.as_str())?,
                Found::Absent | Found::Null => None,
                Found::NotAnObject | Found::Other | Found::Repeated | Found::Malformed => return Err(INVALID),
            };
            Self::same(found, token)
        })
    }

    /// The token of a session, of which the request and the CONNECT packet may both have one.
    ///
    /// # Errors
    /// `auth.invalid` for two different tokens: the service might use the other one.
    pub fn same(one: Option<Token>, other: Option<Token>) -> Result<Option<Token>, Refusal> {
        match (one, other) {
            (Some(one), Some(other)) if one != other => Err(INVALID),
            (one, other) => Ok(one.or(other)),
        }
    }

    /// The query parameters that may be a token. They are removed from requests to the service, because URLs are logged.
    /// A header or a cookie is passed unchanged: the service may read it too.
    pub fn query_keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|source| if let TokenSource::Query(name) = source { Some(&**name) } else { None })
    }

    /// The subprotocols a client offers, in its order, without tokens and the entries that mark them. The service may
    /// get these, and one of these may be selected.
    #[must_use]
    pub fn subprotocols<'a>(&self, headers: &'a HeaderMap) -> Vec<&'a str> {
        let tokens_too = self.0.contains(&TokenSource::Subprotocol);
        let protocol = |entry| match entry {
            Subprotocol::Protocol(name) => Some(name),
            Subprotocol::Mark(name) | Subprotocol::Token { entry: name, .. } => (!tokens_too).then_some(name),
        };
        offered(headers).filter_map(protocol).filter_map(|name| std::str::from_utf8(name).ok()).collect()
    }

    /// The subprotocol to select for a client if the service chose none: a browser closes a connection that selects
    /// none of its offers, so the mark of its token is selected. `None`: no mark was offered.
    #[must_use]
    pub fn answered_subprotocol(&self, headers: &HeaderMap) -> Option<&'static str> {
        let marked = || offered(headers).any(|entry| matches!(entry, Subprotocol::Mark(_)));
        (self.0.contains(&TokenSource::Subprotocol) && marked()).then_some(SUBPROTOCOL_MARK)
    }
}

fn authorization(headers: &HeaderMap) -> Result<Option<Token>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(INVALID);
    }
    let text = value.to_str().map_err(|_| INVALID)?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Token::read(token.trim_matches(' ')),
        _ => Ok(None),
    }
}

fn cookie(headers: &HeaderMap, name: &str) -> Result<Option<Token>, Refusal> {
    only(list(headers, &COOKIE, b';').filter_map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        (pair[..equals].trim_ascii_end() == name.as_bytes()).then(|| pair[equals + 1..].trim_ascii_start())
    }))
}

fn subprotocol(headers: &HeaderMap) -> Result<Option<Token>, Refusal> {
    let token = |entry| if let Subprotocol::Token { token, .. } = entry { Some(token) } else { None };
    only(offered(headers).filter_map(token))
}

/// An entry of `Sec-WebSocket-Protocol` if tokens may be in it.
enum Subprotocol<'a> {
    Protocol(&'a [u8]),
    Mark(&'a [u8]),
    Token { entry: &'a [u8], token: &'a [u8] },
}

fn offered(headers: &HeaderMap) -> impl Iterator<Item = Subprotocol<'_>> {
    let mut behind_mark = false;
    list(headers, &SEC_WEBSOCKET_PROTOCOL, b',').map(move |entry| {
        if std::mem::take(&mut behind_mark) {
            return Subprotocol::Token { entry, token: entry };
        }
        behind_mark = entry == SUBPROTOCOL_MARK.as_bytes();
        match entry.strip_prefix(SUBPROTOCOL_PREFIX.as_bytes()) {
            _ if behind_mark => Subprotocol::Mark(entry),
            Some(token) => Subprotocol::Token { entry, token },
            None => Subprotocol::Protocol(entry),
        }
    })
}

/// The token in `texts`, if it is the only one: two are refused even if they are equal.
fn only<'a>(mut texts: impl Iterator<Item = &'a [u8]>) -> Result<Option<Token>, Refusal> {
    match (texts.next(), texts.next()) {
        (None, _) => Ok(None),
        (Some(text), None) => Token::read(std::str::from_utf8(text).map_err(|_| INVALID)?),
        (Some(_), Some(_)) => Err(INVALID),
    }
}

/// The entries of a list header, over all its lines. They are bytes: an invalid byte in another cookie
/// must not hide the token beside it.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName, separator: u8) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).iter();
    let entries = lines.flat_map(move |line| line.as_bytes().split(move |&byte| byte == separator));
    entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests;
