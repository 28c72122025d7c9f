//! An ordered certificate: chain and key in one PEM text, so that they are stored and replaced together.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    client::verify_server_name,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::schedule::Validity;

/// A chain with its key, valid for all ordered names.
#[derive(Debug, Clone)]
pub struct Ordered {
    key: Arc<CertifiedKey>,
    domains: Arc<[String]>,
    pub(super) validity: Validity,
    /// As stored in the cache.
    pub(super) pem: Zeroizing<Vec<u8>>,
}

/// Why a PEM text is not a usable certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderedError {
    #[error("it has no certificate and private key in PEM form")]
    NotPem,
    #[error("its certificate cannot be read: {0}")]
    Certificate(String),
    #[error("its key does not belong to its certificate, or cannot be used: {0}")]
    Key(#[source] rustls::Error),
    #[error("its certificate is not for {0}")]
    Name(String),
}

impl Ordered {
    /// Parses key and chain. The certificate must be valid for each of `domains`. It may have expired.
    pub(super) fn from_pem(pem: Zeroizing<Vec<u8>>, domains: &[String]) -> Result<Self, OrderedError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(OrderedError::NotPem)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| OrderedError::NotPem)?;
        let validity = validity(&chain[0])?;
        judge_names(&chain[0], domains)?;
        // Fails where key and certificate do not match.
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(OrderedError::Key)?;
        Ok(Self { key: Arc::new(key), domains: domains.into(), validity, pem })
    }

    /// The key and chain for handshakes.
    #[must_use]
    pub fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    /// The ordered names, at least one.
    #[must_use]
    pub fn domains(&self) -> &[String] {
        &self.domains
    }

    /// Its name in metrics and log: the first domain.
    #[must_use]
    pub fn label(&self) -> &str {
        self.domains.first().map_or("unnamed", String::as_str)
    }

    /// When renewal is overdue: after three quarters of the validity.
    #[must_use]
    pub fn overdue(&self) -> SystemTime {
        let Validity { not_before, not_after } = self.validity;
        self.not_after() - Duration::from_secs(not_after.saturating_sub(not_before) / 4)
    }

    /// The end of its validity. An expired certificate stays in use while the authority issues no other.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.validity.not_after)
    }
}

fn validity(leaf: &CertificateDer<'_>) -> Result<Validity, OrderedError> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| OrderedError::Certificate(error.to_string()))?;
    let seconds = |timestamp: i64| u64::try_from(timestamp).unwrap_or(0);
    let validity = leaf.validity();
    Ok(Validity {
        not_before: seconds(validity.not_before.timestamp()),
        not_after: seconds(validity.not_after.timestamp()),
    })
}

fn judge_names(leaf: &CertificateDer<'_>, domains: &[String]) -> Result<(), OrderedError> {
    let leaf = ParsedCertificate::try_from(leaf).map_err(|error| OrderedError::Certificate(error.to_string()))?;
    let is_for = |domain: &str| ServerName::try_from(domain).is_ok_and(|name| verify_server_name(&leaf, &name).is_ok());
    match domains.iter().find(|domain| !is_for(domain)) {
        Some(domain) => Err(OrderedError::Name(domain.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(in crate::tls) mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    pub(in crate::tls::acme) fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// Key and self-signed certificate for these names, valid from the first day of one year to that of another.
    pub(in crate::tls::acme) fn pem(for_names: &[&str], years: (i32, i32)) -> Zeroizing<Vec<u8>> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names(for_names)).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        Zeroizing::new(format!("{}{}", key.serialize_pem(), certificate.pem()).into_bytes())
    }

    /// One for these names, for tests of what is done with it.
    pub(in crate::tls) fn ordered_for(domains: &[&str]) -> Ordered {
        Ordered::from_pem(pem(domains, (2026, 2027)), &names(domains)).unwrap()
    }

    fn fault(pem: &[u8], domains: &[&str]) -> String {
        Ordered::from_pem(Zeroizing::new(pem.to_vec()), &names(domains)).unwrap_err().to_string()
    }

    #[test]
    fn one_that_is_for_all_names_is_taken_with_its_validity() {
        let pem = pem(&["a.test", "b.test"], (2026, 2027));
        for domains in [&["a.test", "b.test"][..], &["b.test"]] {
            let ordered = Ordered::from_pem(pem.clone(), &names(domains)).unwrap();
            assert_eq!(ordered.validity, Validity { not_before: 1_767_225_600, not_after: 1_798_761_600 });
            assert_eq!(ordered.domains(), domains);
            assert_eq!(ordered.overdue(), UNIX_EPOCH + Duration::from_secs(1_798_761_600 - 365 * 86_400 / 4));
            assert_eq!(ordered.pem, pem);
        }
    }

    #[test]
    fn what_cannot_be_served_says_why() {
        let good = pem(&["a.test"], (2026, 2027));
        let other = pem(&["a.test"], (2026, 2027));
        let text = String::from_utf8(good.to_vec()).unwrap();
        let (key, certificate) = text.split_at(text.find("-----BEGIN CERTIFICATE").unwrap());
        let other = String::from_utf8(other.to_vec()).unwrap();
        let other_key = &other[..other.find("-----BEGIN CERTIFICATE").unwrap()];
        assert!(Ordered::from_pem(good.clone(), &names(&["a.test"])).is_ok());
        for (pem, domains, part) in [
            (String::new(), ["a.test"], "no certificate and private key"),
            ("garbage".to_owned(), ["a.test"], "no certificate and private key"),
            (key.to_owned(), ["a.test"], "no certificate and private key"),
            (certificate.to_owned(), ["a.test"], "no certificate and private key"),
            (format!("{other_key}{certificate}"), ["a.test"], "does not belong"),
            (text.clone(), ["b.test"], "not for b.test"),
            (text.replace("MII", "MIJ"), ["a.test"], "cannot be read"),
            (text[..text.len() / 2].to_owned(), ["a.test"], "no certificate and private key"),
        ] {
            let said = fault(pem.as_bytes(), &domains);
            assert!(said.contains(part), "{said}");
        }
    }
}
