//! Finds a token in a request or a CONNECT packet.

use std::{fmt, str::FromStr};

use http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE, HeaderName, SEC_WEBSOCKET_PROTOCOL},
    request::Parts,
};
use serde_json::{Map, Value};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    auth::refusals::TOO_LONG,
    token_fault::TokenFault,
    verdict::{Refusal, RefusalKind},
};
use crate::{
    fault::{Fault, Faults},
    wire::{
        json::{self, Found},
        query::Query,
    },
};

/// The longest token that is accepted, in bytes: as large as the places can be made in which one stands
/// (`limits.header_bytes`, `socketio.max_connect`), which bound it first.
pub const TOKEN_MAX_BYTES: usize = 1024 * 1024;

/// The subprotocol entry that a token follows.
const SUBPROTOCOL_MARK: &str = "bearer";
/// The prefix of a subprotocol entry that contains a token.
const SUBPROTOCOL_PREFIX: &str = "tidegate.bearer.";
/// The scheme that may stand before a token, in upper or lower case (RFC 6750 §2.1).
const SCHEME: &str = "bearer";

/// The field of a CONNECT that a token is in, where no other is named.
const CONNECT_FIELD: &str = "token";

/// The refusal of a request with a query parameter that is given twice, where each is to become a member of an object.
const REPEATED: Refusal = Refusal {
    kind: RefusalKind::Malformed,
    code: "query_repeated",
    message: "A query parameter is given twice",
    rule: None,
    fault: None,
};

/// A token as it was sent: neither verified nor parsed. Never shown, and wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// `None` if the text is empty: clients write `token: ""` when they have none. A scheme `Bearer` before it is no part of
    /// it: no token has a blank in it.
    pub(super) fn read(text: &str) -> Result<Option<Self>, Refusal> {
        let text = without_scheme(text).unwrap_or(text);
        match text.len() {
            0 => Ok(None),
            1..=TOKEN_MAX_BYTES => Ok(Some(Self(Zeroizing::new(text.to_owned())))),
            _ => Err(TOO_LONG),
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
pub struct TokenSources {
    list: Box<[TokenSource]>,
    /// False: there is no key, so that nothing is a token to the gate.
    verified: bool,
    /// Whether the service gets the query parameters that may be a token.
    keeps_query: bool,
}

impl TokenSources {
    /// Reads `auth.token_from`.
    ///
    /// # Errors
    /// Each entry that is not a source, or stands there twice.
    pub fn compile(texts: &[String]) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let source = |(at, text): (usize, &String)| {
            text.parse().map_err(|()| {
                let message = format!(
                    "is {text:?}; write \"connect:FIELD\", \"header\", \"query:NAME\", \"cookie:NAME\" or \
                     \"subprotocol\", names of letters, digits, '_', '-' and '.'"
                );
                Fault::new(format!("auth.token_from[{at}]"), message)
            })
        };
        for at in (1..texts.len()).filter(|&at| texts[..at].contains(&texts[at])) {
            faults.add(format!("auth.token_from[{at}]"), format!("is {:?} a second time", texts[at]));
        }
        let list = faults.keep_all(texts.iter().enumerate().map(source));
        faults.finish(list.map(|list| Self { list, verified: true, keeps_query: false }))
    }

    /// The same. If no key `verifies` tokens, none is looked for: what stands in their places is for the service alone.
    #[must_use]
    pub fn if_a_key(self, verifies: bool) -> Self {
        Self { verified: verifies, ..self }
    }

    /// The same, with `auth.keep_query_token`.
    #[must_use]
    pub fn keeping_query(self, keeps_query: bool) -> Self {
        Self { keeps_query, ..self }
    }

    /// The token in the head of a request.
    ///
    /// # Errors
    /// `auth.invalid` if a place is repeated (two `Authorization` headers, a cookie or query parameter twice),
    /// and if two places have different tokens; `auth.too_long` for a token longer than [`TOKEN_MAX_BYTES`].
    pub fn from_request(&self, request: &Parts) -> Result<Option<Token>, Refusal> {
        self.looked_at().try_fold(None, |found, source| {
            let token = match source {
                TokenSource::Connect(_) => None,
                TokenSource::Header => authorization(&request.headers)?,
                TokenSource::Query(name) => query(&Query::of(&request.uri), name)?,
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
    /// tokens, and for a payload that is not a JSON object; `auth.too_long` for a token longer than [`TOKEN_MAX_BYTES`].
    pub fn from_connect(&self, auth_json: &[u8]) -> Result<Option<Token>, Refusal> {
        if auth_json.is_empty() || !self.looked_at().any(|source| matches!(source, TokenSource::Connect(_))) {
            return Ok(None);
        }
        self.looked_at().try_fold(None, |found, source| {
            let TokenSource::Connect(field) = source else { return Ok(found) };
            let token = match json::top_level_string(auth_json, field) {
                Found::String(text) => Token::read(text.as_str())?,
                Found::Absent | Found::Null => None,
                Found::NotAnObject | Found::Other | Found::Repeated | Found::Malformed => {
                    return Err(TokenFault::Place.into());
                }
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
            (Some(one), Some(other)) if one != other => Err(TokenFault::TwoTokens.into()),
            (one, other) => Ok(one.or(other)),
        }
    }

    /// The places that are looked at.
    fn looked_at(&self) -> impl Iterator<Item = &TokenSource> {
        self.list.iter().filter(|_| self.verified)
    }

    /// Whether the token of this request stands in its `Authorization` header and nowhere else.
    #[must_use]
    pub fn is_in_header_alone(&self, request: &Parts) -> bool {
        let others = Self {
            list: self.looked_at().filter(|source| **source != TokenSource::Header).cloned().collect(),
            ..*self
        };
        let has_token = |sources: &Self| matches!(sources.from_request(request), Ok(Some(_)));
        has_token(self) && !has_token(&others)
    }

    /// The query parameters that may be a token: each may be given once.
    pub fn query_keys(&self) -> impl Iterator<Item = &str> {
        self.looked_at().filter_map(|source| if let TokenSource::Query(name) = source { Some(&**name) } else { None })
    }

    /// Those of them that are removed from requests to the service, because URLs are logged. A header or a cookie is passed
    /// unchanged: the service may read it too.
    pub fn removed_query_keys(&self) -> impl Iterator<Item = &str> {
        self.query_keys().filter(|_| !self.keeps_query)
    }

    /// The members in which the service finds the token of a client that speaks no Socket.IO: those that `connect:FIELD` names,
    /// `token` where none does.
    fn connect_fields(&self) -> Vec<&str> {
        let fields = self.list.iter().filter_map(|source| match source {
            TokenSource::Connect(field) => Some(&**field),
            _ => None,
        });
        let fields: Vec<&str> = fields.collect();
        if fields.is_empty() { vec![CONNECT_FIELD] } else { fields }
    }

    /// The query parameters that would pass for the verified token of such a client, and that nobody has verified: they have the
    /// names of those members. One that a `query:` source names too has been verified. Where no token is, all may pass.
    #[must_use]
    pub fn unverified_query_keys(&self) -> Vec<&str> {
        let is_verified = |field: &str| self.query_keys().any(|key| key == field);
        self.connect_fields().into_iter().filter(|field| self.verified && !is_verified(field)).collect()
    }

    /// What a client that speaks no Socket.IO would say in its CONNECT: the `token` of its request as the members in which the
    /// service finds it, and each of its query parameters as a member, but those in `left_out` and those that may be a token.
    ///
    /// # Errors
    /// `query_repeated`: a parameter is given twice.
    pub fn connect_json(
        &self,
        request: &Parts,
        token: Option<&Token>,
        left_out: &[&str],
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let is_of_token = |name: &str| self.query_keys().any(|key| key == name);
        let query = Query::of(&request.uri);
        let mut members = Map::new();
        for (name, value) in query.pairs().filter(|(name, _)| !left_out.contains(name) && !is_of_token(name)) {
            if members.insert(name.to_owned(), value.into()).is_some() {
                return Err(REPEATED);
            }
        }
        if let Some(token) = token {
            members.extend(self.connect_fields().into_iter().map(|field| (field.to_owned(), token.as_str().into())));
        }
        let json = serde_json::to_vec(&members).map(Zeroizing::new).unwrap_or_default();
        members.values_mut().for_each(|value| {
            if let Value::String(text) = value {
                text.zeroize();
            }
        });
        Ok(json)
    }

    /// The subprotocols a client offers, in its order, without tokens and the entries that mark them. The service may
    /// get these, and one of these may be selected.
    #[must_use]
    pub fn subprotocols<'a>(&self, headers: &'a HeaderMap) -> Vec<&'a str> {
        let tokens_too = self.list.contains(&TokenSource::Subprotocol);
        let protocol = |entry| match entry {
            Subprotocol::Protocol(name) => Some(name),
            Subprotocol::Mark(name) | Subprotocol::Token { entry: name, .. } => (!tokens_too).then_some(name),
        };
        offered(headers).filter_map(protocol).filter_map(|name| std::str::from_utf8(name).ok()).collect()
    }

    /// The subprotocol to select for a client that no service was asked for: the first that it offers and that is no token,
    /// as `ws` selects it; without one the mark of its token. A client that gets none of its offers closes the connection.
    #[must_use]
    pub fn selected_subprotocol<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        self.subprotocols(headers).into_iter().next().or_else(|| self.answered_subprotocol(headers))
    }

    /// The subprotocol to select for a client if the service chose none: a browser closes a connection that selects
    /// none of its offers, so the mark of its token is selected. `None`: no mark was offered.
    #[must_use]
    pub fn answered_subprotocol(&self, headers: &HeaderMap) -> Option<&'static str> {
        let marked = || offered(headers).any(|entry| matches!(entry, Subprotocol::Mark(_)));
        (self.list.contains(&TokenSource::Subprotocol) && marked()).then_some(SUBPROTOCOL_MARK)
    }
}

fn authorization(headers: &HeaderMap) -> Result<Option<Token>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(TokenFault::Place.into());
    }
    let text = value.to_str().map_err(|_| TokenFault::Place)?;
    without_scheme(text).map_or(Ok(None), |token| Token::read(token.trim_matches(' ')))
}

/// What follows the scheme. `None`: there is none.
fn without_scheme(text: &str) -> Option<&str> {
    text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME)).map(|(_, token)| token)
}

/// Decoded, as the service reads it.
fn query(query: &Query<'_>, name: &str) -> Result<Option<Token>, Refusal> {
    if query.is_repeated(name) {
        return Err(TokenFault::Place.into());
    }
    query.get(name).map_or(Ok(None), |text| Token::read(&text))
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
        (Some(text), None) => Token::read(std::str::from_utf8(text).map_err(|_| TokenFault::Place)?),
        (Some(_), Some(_)) => Err(TokenFault::Place.into()),
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
