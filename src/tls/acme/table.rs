//! `[tls.acme]` and the rules that it compiles to.

use std::{fmt, net::SocketAddr, path::PathBuf};

use http::Uri;
use rustls::pki_types::DnsName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Faults};

/// The `cache` that is no folder.
const IN_REDIS: &str = "redis";

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The limit of Let's Encrypt for one certificate.
const DOMAINS_MAX: usize = 100;

/// `[tls.acme]`: the certificate is ordered from an ACME server (RFC 8555) and renewed before it ends. With this table you
/// agree to that server's terms of service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AcmeTable {
    /// The DNS names of the certificate. Each must resolve to this node. No wildcards.
    #[schemars(example = ["ws.example.com"])]
    pub domains: Vec<String>,
    /// Addresses for messages of the authority.
    #[schemars(example = ["mailto:ops@example.com"])]
    pub contact: Vec<String>,
    /// The directory of the ACME server.
    pub directory: String,
    /// A folder for account, certificate and key that survives a restart, used by Tidegate only; or `"redis"`, where all of it
    /// is kept in the Redis of `[redis]`, sealed with `cluster.secret`. Replicas that share it order one certificate, and each
    /// answers challenges for all.
    pub cache: PathBuf,
    /// A PEM file with the authority of a private ACME server, instead of the trusted ones of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tidegate/acme-root.pem")]
    pub root_ca: Option<PathBuf>,
    /// How the names are verified: `"tls-alpn-01"`, answered at `listen.address`, which must be reachable through port
    /// 443; `"http-01"`, answered at `http_address`, which must be reachable through port 80. If one fails the next is
    /// tried.
    pub challenges: Vec<ChallengeType>,
    /// An address for plain HTTP. It answers HTTP-01 challenges and redirects browsers to https.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"0.0.0.0:80")]
    pub http_address: Option<SocketAddr>,
}

/// `[tls.acme]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AcmeRules {
    /// In lower case, each once, at least one.
    pub(super) domains: Vec<String>,
    pub(super) contact: Vec<String>,
    pub(super) directory: String,
    /// At least one.
    pub(super) challenge_types: Vec<ChallengeType>,
}

/// How a name is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChallengeType {
    /// In a TLS handshake (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// By a file over plain HTTP (RFC 8555 §8.3).
    #[serde(rename = "http-01")]
    Http01,
}

impl fmt::Display for ChallengeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
        })
    }
}

impl Default for AcmeTable {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            contact: Vec::new(),
            directory: LETS_ENCRYPT.to_owned(),
            cache: PathBuf::from("/var/lib/tidegate/acme"),
            root_ca: None,
            challenges: vec![ChallengeType::TlsAlpn01],
            http_address: None,
        }
    }
}

impl AcmeTable {
    /// Whether the cache is in Redis. A folder of that name is `"./redis"`.
    #[must_use]
    pub fn is_cached_in_redis(&self) -> bool {
        self.cache.as_os_str() == IN_REDIS
    }

    /// Compiles the table. Touches no file.
    pub(super) fn check(&self) -> Result<AcmeRules, Vec<Fault>> {
        let mut faults = Faults::default();
        if self.domains.is_empty() {
            let message = "is empty; name what the certificate is to be for, for example [\"ws.example.com\"]";
            faults.add("tls.acme.domains", message);
        } else if self.domains.len() > DOMAINS_MAX {
            let message = format!("has {} names; a certificate has at most {DOMAINS_MAX}", self.domains.len());
            faults.add("tls.acme.domains", message);
        }
        let mut domains: Vec<String> = Vec::with_capacity(self.domains.len());
        for (at, text) in self.domains.iter().enumerate() {
            match checked_domain(text) {
                Ok(domain) if domains.contains(&domain) => {}
                Ok(domain) => domains.push(domain),
                Err(message) => faults.add(format!("tls.acme.domains[{at}]"), format!("is {text:?}; {message}")),
            }
        }
        for (at, text) in self.contact.iter().enumerate() {
            if !text.strip_prefix("mailto:").is_some_and(|address| address.contains('@')) {
                let message = format!("is {text:?}; write an address as \"mailto:ops@example.com\"");
                faults.add(format!("tls.acme.contact[{at}]"), message);
            }
        }
        let directory: Option<Uri> = self.directory.parse().ok();
        if !directory.is_some_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some()) {
            let message = format!("is {:?}; it must be the https:// URL of an ACME server's directory", self.directory);
            faults.add("tls.acme.directory", message);
        }
        if self.challenges.is_empty() {
            faults.add("tls.acme.challenges", "is empty; write \"tls-alpn-01\", \"http-01\" or both");
        }
        if self.challenges.contains(&ChallengeType::Http01) && self.http_address.is_none() {
            let message = "has \"http-01\", which is answered over plain HTTP: set tls.acme.http_address, for example \
                           \"0.0.0.0:80\"";
            faults.add("tls.acme.challenges", message);
        }
        faults.finish(Some(AcmeRules {
            domains,
            contact: self.contact.clone(),
            directory: self.directory.clone(),
            challenge_types: self.challenges.clone(),
        }))
    }
}

/// The name in lower case, or what to write instead.
fn checked_domain(text: &str) -> Result<String, &'static str> {
    if text.starts_with("*.") {
        return Err("wildcards need a challenge in the DNS, which Tidegate cannot answer: name each host, or have \
                    cert-manager or certbot write certificate files and name them in [tls]");
    }
    let numeric = text.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    match DnsName::try_from(text) {
        Ok(name) if !numeric && !text.ends_with('.') && !text.contains('_') => Ok(name.as_ref().to_ascii_lowercase()),
        _ => Err(
            "write a DNS name without scheme, port and final dot, for example \"ws.example.com\" (names beyond ASCII \
                  as xn--…)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> AcmeTable {
        AcmeTable { domains: vec!["ws.example.com".to_owned()], ..AcmeTable::default() }
    }

    #[test]
    fn names_are_told_apart_from_what_is_none() {
        for (text, expected) in [
            ("ws.example.com", Ok("ws.example.com")),
            ("WS.Example.com", Ok("ws.example.com")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            ("localhost", Ok("localhost")),
            ("*.example.com", Err("cert-manager")),
            ("bücher.example", Err("xn--")),
            ("https://ws.example.com", Err("without scheme")),
            ("ws.example.com:443", Err("port")),
            ("ws.example.com.", Err("final dot")),
            ("under_score.example.com", Err("DNS name")),
            ("192.0.2.1", Err("DNS name")),
            ("2001:db8::1", Err("DNS name")),
            ("", Err("DNS name")),
            ("../../etc", Err("DNS name")),
        ] {
            let table = AcmeTable { domains: vec![text.to_owned()], ..table() };
            match (table.check(), expected) {
                (Ok(rules), Ok(expected)) => assert_eq!(rules.domains, [expected]),
                (Err(faults), Err(part)) => {
                    assert_eq!(faults.len(), 1, "{faults:?}");
                    assert!(faults[0].message.contains(part), "{}", faults[0]);
                    assert_eq!(faults[0].key, "tls.acme.domains[0]");
                }
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_name_that_stands_twice_is_ordered_once() {
        let table = AcmeTable { domains: ["a.test", "b.test", "A.test"].map(str::to_owned).to_vec(), ..table() };
        assert_eq!(table.check().unwrap().domains, ["a.test", "b.test"]);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        assert!(table().check().is_ok());
        for (key, wrong) in [
            ("tls.acme.domains", AcmeTable { domains: vec![], ..table() }),
            ("tls.acme.domains", AcmeTable { domains: vec!["a.test".to_owned(); 101], ..table() }),
            ("tls.acme.contact[0]", AcmeTable { contact: vec!["ops@example.com".to_owned()], ..table() }),
            ("tls.acme.directory", AcmeTable { directory: "http://ca.test/directory".to_owned(), ..table() }),
            ("tls.acme.directory", AcmeTable { directory: "letsencrypt".to_owned(), ..table() }),
            ("tls.acme.challenges", AcmeTable { challenges: vec![], ..table() }),
            (
                "tls.acme.challenges",
                AcmeTable { challenges: vec![ChallengeType::TlsAlpn01, ChallengeType::Http01], ..table() },
            ),
        ] {
            let faults = wrong.check().unwrap_err();
            assert_eq!((faults.len(), faults[0].key.as_str()), (1, key), "{faults:?}");
        }
        let http = AcmeTable {
            challenges: vec![ChallengeType::Http01],
            http_address: Some(SocketAddr::from(([0, 0, 0, 0], 80))),
            ..table()
        };
        assert!(http.check().is_ok());
    }
}
