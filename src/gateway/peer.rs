//! The client of a request: its address behind trusted proxies, and the headers that report it to the service.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use crate::tls::ClientCertificate;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

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
    /// The requested host.
    pub host: Option<HeaderValue>,
    /// Whether the client uses TLS.
    pub tls: bool,
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
        let hop = socket.ip().to_canonical();
        let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
        let host = headers.get(header::HOST).cloned();
        if !is_trusted(&hop) {
            return Self { address: hop, host, tls, chain: vec![hop], certificate: None };
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
        let tls = match only(headers, &FORWARDED_PROTO).map(HeaderValue::as_bytes) {
            Some(b"https") => true,
            Some(b"http") => false,
            _ => tls,
        };
        let host = only(headers, &FORWARDED_HOST).cloned().or(host);
        Self { address: chain[0], host, tls, chain, certificate: None }
    }

    /// The same client with its certificate.
    #[must_use]
    pub fn with_certificate(self, certificate: Option<Arc<ClientCertificate>>) -> Self {
        Self { certificate, ..self }
    }

    /// The user that the client's certificate names. `None` without a certificate, or where it names no user.
    #[must_use]
    pub fn certified_user(&self) -> Option<&str> {
        self.certificate.as_ref()?.user()
    }

    /// Replaces the forwarding headers of the client by our own.
    pub fn set_forwarded(&self, headers: &mut HeaderMap) {
        remove_where(headers, |name| is_trust_header(name.as_str()));
        let chain = self.chain.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
        if let Ok(chain) = HeaderValue::from_str(&chain) {
            headers.insert(FORWARDED_FOR, chain);
        }
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if self.tls { "https" } else { "http" }));
        if let Some(host) = &self.host {
            headers.insert(FORWARDED_HOST, host.clone());
        }
        for (name, value) in self.certificate.iter().flat_map(|certificate| certificate.headers()) {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// Removes hop-by-hop headers, and the `identity` headers that only we set, from claims and certificates.
///
/// # Errors
/// If `Connection` names a header that identifies the client.
pub fn clean_request(headers: &mut HeaderMap, identity: &[HeaderName]) -> Result<(), NominatedHeader> {
    let is_identity = |name: &str| identity.iter().any(|one| is_same(one.as_str(), name));
    let forbidden = |name: &str| {
        is_trust_header(name) || is_identity(name) || NEVER_NOMINATED.iter().any(|one| is_same(one.as_str(), name))
    };
    if nominated(headers).iter().any(|name| forbidden(name)) {
        return Err(NominatedHeader);
    }
    strip_hop_by_hop(headers);
    remove_where(headers, |name| is_identity(name.as_str()));
    Ok(())
}

/// Removes hop-by-hop headers (RFC 9110 §7.6.1): `Connection`, the headers it names, and the known ones.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in nominated(headers) {
        headers.remove(name.as_str());
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn nominated(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    names.map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase()).collect()
}

/// Services behind CGI-like layers read `X_Real_IP` as `X-Real-IP`.
fn is_same(header: &str, name: &str) -> bool {
    let hyphen = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    header.len() == name.len() && header.bytes().zip(name.bytes()).all(|(one, other)| hyphen(one) == hyphen(other))
}

fn is_trust_header(name: &str) -> bool {
    const PREFIX: &str = "x-forwarded-";
    let begins = name.get(..PREFIX.len()).is_some_and(|beginning| is_same(PREFIX, beginning));
    begins || is_same("forwarded", name) || is_same("x-real-ip", name)
}

fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name)).cloned().collect();
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

/// The value of a header that occurs once with one value. `None` otherwise.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    (values.next().is_none() && !value.as_bytes().contains(&b',')).then_some(value)
}

#[cfg(test)]
mod tests;
