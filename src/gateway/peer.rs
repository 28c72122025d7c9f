//! The client of a request: its address behind trusted proxies, and the headers that report it to the service.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use crate::{
    policy::{
        identity::CertifiedUser,
        origin::{self, Site},
    },
    tls::ClientCertificate,
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// The longest address as text, and a separator.
const ADDRESS_BYTES: usize = 48;

/// RFC 9110 §7.6.1, and headers that proxies treat the same way.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// End-to-end headers whose removal would change the identity or the meaning of a request.
const NEVER_NOMINATED: [HeaderName; 5] =
    [header::HOST, header::AUTHORIZATION, header::COOKIE, header::ORIGIN, header::CONTENT_LENGTH];

/// `Connection` names a header that identifies the client: removing it would be a forgery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The Connection header may not name a header that tells who the client is")]
pub struct NominatedHeader;

/// The client of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The client's address: the last one that a trusted proxy reports.
    pub address: IpAddr,
    /// The requested host. `None` in HTTP/1.0 without it.
    pub host: Option<HeaderValue>,
    /// Whether the client uses TLS.
    pub tls: bool,
    /// The requested port, where `host` has none. `None`: no proxy has reported it.
    port: Option<u16>,
    /// The believed part of `X-Forwarded-For`, client first, with the hop in front of us last.
    chain: Vec<IpAddr>,
    /// The client's verified certificate. `None` where it has shown none to us.
    certificate: Option<Arc<ClientCertificate>>,
}

impl Peer {
    /// The client behind `socket`. `X-Forwarded-*` is read only if that, and each further hop, is in `trusted`; `tls`
    /// is whether this connection itself is encrypted.
    #[must_use]
    pub fn of(socket: SocketAddr, headers: &HeaderMap, trusted: &[IpNet], tls: bool) -> Self {
        let hop = socket.ip();
        let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
        let asked = headers.get(header::HOST).cloned();
        if !is_trusted(&hop) {
            return Self { address: hop, host: asked, tls, port: None, chain: vec![hop], certificate: None };
        }
        let mut chain = vec![hop];
        for said in from_the_right(headers) {
            // An unreadable entry ends the chain at the hop that sent it.
            let Some(address) = said else { break };
            chain.insert(0, address);
            if !is_trusted(&address) {
                break;
            }
        }
        let said = |name| reported(headers, name, chain.len() - 1);
        let tls = said(FORWARDED_PROTO).and_then(is_encrypted).unwrap_or(tls);
        let host = said(FORWARDED_HOST).and_then(|host| {
            origin::authority(host)?;
            HeaderValue::from_str(host).ok()
        });
        let port = said(FORWARDED_PORT).and_then(origin::port);
        Self { address: chain[0], host: host.or(asked), tls, port, chain, certificate: None }
    }

    /// What the client asked for.
    #[must_use]
    pub fn site(&self) -> Site<'_> {
        Site { tls: self.tls, host: self.host.as_ref(), port: self.port }
    }

    /// The same client with its certificate.
    #[must_use]
    pub fn with_certificate(self, certificate: Option<Arc<ClientCertificate>>) -> Self {
        Self { certificate, ..self }
    }

    /// The user that the client's certificate names. `None` without a certificate, or where it names no user.
    #[must_use]
    pub fn certified_user(&self) -> Option<&CertifiedUser> {
        self.certificate.as_ref()?.user()
    }

    /// Replaces the forwarding headers of the client by our own.
    pub fn set_forwarded(&self, headers: &mut HeaderMap) {
        remove_where(headers, is_trust_header);
        for (name, value) in self.forwarded() {
            headers.insert(name, value);
        }
    }

    /// The headers that tell the service who the client is.
    pub fn forwarded(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let mut chain = String::with_capacity(ADDRESS_BYTES * self.chain.len());
        for address in &self.chain {
            let separator = if chain.is_empty() { "" } else { ", " };
            // A String takes everything.
            let _ = write!(chain, "{separator}{address}");
        }
        let chain = HeaderValue::try_from(chain).ok().map(|chain| (FORWARDED_FOR, chain));
        let proto = HeaderValue::from_static(if self.tls { "https" } else { "http" });
        let host = self.host.clone().map(|host| (FORWARDED_HOST, host));
        let certificate = self.certificate.iter().flat_map(|certificate| certificate.headers());
        let certificate = certificate.map(|(name, value)| (name.clone(), value.clone()));
        chain.into_iter().chain([(FORWARDED_PROTO, proto)]).chain(host).chain(certificate)
    }
}

/// Which headers of a request may pass: no hop-by-hop headers, and no `identity` headers, which only we set, from claims
/// and certificates.
pub struct Passing<'a> {
    nominated: Vec<&'a [u8]>,
    identity: &'a [HeaderName],
}

impl<'a> Passing<'a> {
    /// The rule for a request with these headers.
    ///
    /// # Errors
    /// If `Connection` names a header that identifies the client.
    pub fn of(headers: &'a HeaderMap, identity: &'a [HeaderName]) -> Result<Self, NominatedHeader> {
        let passing = Self { nominated: nominated(headers).collect(), identity };
        let forbidden = |name: &&[u8]| {
            let is = |one: &HeaderName| is_same(one.as_str().as_bytes(), name);
            names_client(name) || identity.iter().any(is) || NEVER_NOMINATED.iter().any(is)
        };
        if passing.nominated.iter().any(forbidden) { Err(NominatedHeader) } else { Ok(passing) }
    }

    /// Whether this header may pass.
    #[must_use]
    pub fn passes(&self, name: &HeaderName) -> bool {
        let text = name.as_str().as_bytes();
        !HOP_BY_HOP.contains(name)
            && !self.nominated.iter().any(|nominated| nominated.eq_ignore_ascii_case(text))
            && !self.identity.iter().any(|one| is_same(one.as_str().as_bytes(), text))
    }
}

/// Removes the headers that may not [pass](Passing).
///
/// # Errors
/// As [`Passing::of`].
pub fn clean_request(headers: &mut HeaderMap, identity: &[HeaderName]) -> Result<(), NominatedHeader> {
    let passing = Passing::of(headers, identity)?;
    let unwanted: Vec<HeaderName> = headers.keys().filter(|name| !passing.passes(name)).cloned().collect();
    remove_all(headers, &unwanted);
    Ok(())
}

/// Removes hop-by-hop headers (RFC 9110 §7.6.1): `Connection`, the headers it names, and the known ones.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = nominated(headers).filter_map(|name| HeaderName::from_bytes(name).ok()).collect();
    remove_all(headers, &nominated);
    remove_all(headers, &HOP_BY_HOP);
}

/// What `Connection` names.
fn nominated(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(header::CONNECTION).iter();
    values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

/// Services behind CGI-like layers read `X_Real_IP` as `X-Real-IP`.
fn is_same(header: &[u8], name: &[u8]) -> bool {
    let hyphen = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    header.len() == name.len() && header.iter().zip(name).all(|(one, other)| hyphen(one) == hyphen(other))
}

/// Does a header of this name say who the client is? What the client itself says so is not passed on.
#[must_use]
pub fn is_trust_header(name: &HeaderName) -> bool {
    names_client(name.as_str().as_bytes())
}

fn names_client(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    let begins = name.get(..PREFIX.len()).is_some_and(|beginning| is_same(PREFIX, beginning));
    begins || is_same(b"forwarded", name) || is_same(b"x-real-ip", name)
}

fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name)).cloned().collect();
    remove_all(headers, &names);
}

fn remove_all(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        headers.remove(name);
    }
}

/// The addresses of `X-Forwarded-For`, the nearest hop first; `None` for an entry that is no address.
fn from_the_right(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b',')).map(|said| {
        let said = std::str::from_utf8(said.trim_ascii()).ok()?;
        // Some proxies add the port.
        let address = said.parse().or_else(|_| said.parse::<SocketAddr>().map(|socket| socket.ip())).ok()?;
        Some(IpAddr::to_canonical(&address))
    })
}

/// What trusted proxies report of the client in a header with one entry for each hop: that of the hop which reported its
/// address, `hops` from the right. A proxy that leaves the header as it is adds no entry, so a shorter list is taken from
/// its left end. `None` without the header.
fn reported(headers: &HeaderMap, name: HeaderName, hops: usize) -> Option<&str> {
    let lines = headers.get_all(name).iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    let entry = entries.take(hops.max(1)).last()?;
    std::str::from_utf8(entry.trim_ascii()).ok()
}

/// Whether this scheme is an encrypted one. `None` for one that no client of ours can have.
fn is_encrypted(scheme: &str) -> Option<bool> {
    let is = |names: [&str; 2]| names.iter().any(|name| name.eq_ignore_ascii_case(scheme));
    if is(["https", "wss"]) { Some(true) } else { is(["http", "ws"]).then_some(false) }
}

#[cfg(test)]
mod tests;
