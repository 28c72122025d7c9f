//! Selects the certificate for a client by the requested name (SNI, RFC 6066 §3) and its signature schemes.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::certificate::Certificate;
use crate::tls::acme::Ordered;

/// What a client gets if it asks for an unknown name.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownName {
    /// The first certificate.
    #[default]
    Default,
    /// An alert.
    Refuse,
}

/// Holds the ordered certificate, which is set and replaced while the node runs.
#[derive(Debug, Default)]
pub struct CertificateSlot(RwLock<Option<Ordered>>);

impl CertificateSlot {
    /// Replaces the certificate.
    pub fn set(&self, certificate: Ordered) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
    }

    /// The certificate. `None` until the first one was ordered.
    #[must_use]
    pub fn get(&self) -> Option<Ordered> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All certificates of a node.
#[derive(Debug)]
pub(super) struct Resolver {
    /// In the order of the configuration: the first that fits the client's schemes is used.
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    first: Option<Arc<CertifiedKey>>,
    slot: Option<Arc<CertificateSlot>>,
    unknown_name: UnknownName,
}

impl Resolver {
    /// Selects among `certificates` from files and the ordered one in `slot`.
    pub(super) fn new(
        certificates: &[Certificate],
        slot: Option<Arc<CertificateSlot>>,
        unknown_name: UnknownName,
    ) -> Self {
        let mut by_name: HashMap<String, Vec<_>> = HashMap::new();
        for certificate in certificates {
            for name in &certificate.names {
                by_name.entry(name.clone()).or_default().push(Arc::clone(&certificate.key));
            }
        }
        let first = certificates.first().map(|certificate| Arc::clone(&certificate.key));
        Self { by_name, first, slot, unknown_name }
    }

    fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let ordered = self.slot.as_ref().and_then(|slot| slot.get());
        if let Some(name) = name.map(str::to_ascii_lowercase) {
            let parent = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
            let from_files = |name: &str| Self::understood(self.by_name.get(name)?, schemes);
            let of_name = from_files(&name)
                .or_else(|| Some(ordered.as_ref().filter(|one| one.domains().contains(&name))?.key()))
                .or_else(|| from_files(&parent?));
            if of_name.is_some() || self.unknown_name == UnknownName::Refuse {
                return of_name;
            }
        }
        // The ordered certificate belongs to `[tls]`, before those of `[[tls.certificates]]`.
        ordered.map(|one| one.key()).or_else(|| self.first.clone())
    }

    fn understood(keys: &[Arc<CertifiedKey>], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        keys.iter().find(|key| key.key.choose_scheme(schemes).is_some()).or(keys.first()).cloned()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};

    use super::*;
    use crate::tls::{acme::certificate::tests::ordered_for, provider};

    fn certificate(names: &[&str], algorithm: &'static SignatureAlgorithm) -> Certificate {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = CertificateParams::new(names.clone()).unwrap().self_signed(&key).unwrap().der().clone();
        let key = provider().key_provider.load_private_key(key.serialize_der().try_into().unwrap()).unwrap();
        Certificate { key: Arc::new(CertifiedKey::new(vec![der], key)), names, not_after: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn a_name_finds_its_certificate_and_the_first_is_for_all_others() {
        let all = [
            certificate(&["a.test"], &PKCS_ECDSA_P256_SHA256),
            certificate(&["*.b.test", "b.test"], &PKCS_ECDSA_P256_SHA256),
            certificate(&["a.test"], &PKCS_ED25519),
        ];
        let ecdsa = [SignatureScheme::ECDSA_NISTP256_SHA256];
        let eddsa = [SignatureScheme::ED25519];
        for (name, schemes, shown, refusing) in [
            (Some("a.test"), ecdsa, Some(0), Some(0)),
            (Some("A.TEST"), eddsa, Some(2), Some(2)),
            (Some("x.b.test"), ecdsa, Some(1), Some(1)),
            (Some("b.test"), ecdsa, Some(1), Some(1)),
            (Some("x.y.b.test"), ecdsa, Some(0), None),
            (Some("other.test"), ecdsa, Some(0), None),
            (None, ecdsa, Some(0), Some(0)),
        ] {
            for (unknown_name, expected) in [(UnknownName::Default, shown), (UnknownName::Refuse, refusing)] {
                let found = Resolver::new(&all, None, unknown_name).find(name, &schemes);
                let number = found.map(|key| all.iter().position(|one| Arc::ptr_eq(&one.key, &key)).unwrap());
                assert_eq!(number, expected, "{name:?} {unknown_name:?}");
            }
        }
    }

    #[test]
    fn one_that_is_ordered_is_shown_as_soon_as_it_is_there() {
        let slot = Arc::new(CertificateSlot::default());
        let ecdsa = [SignatureScheme::ECDSA_NISTP256_SHA256];
        let open = Resolver::new(&[], Some(Arc::clone(&slot)), UnknownName::Default);
        let strict = Resolver::new(&[], Some(Arc::clone(&slot)), UnknownName::Refuse);
        assert!(open.find(Some("a.test"), &ecdsa).is_none());
        slot.set(ordered_for(&["a.test"]));
        assert!(open.find(Some("other.test"), &ecdsa).is_some());
        assert!(strict.find(Some("other.test"), &ecdsa).is_none());
        assert!(strict.find(Some("a.test"), &ecdsa).is_some());
    }
    #[test]
    fn one_that_is_ordered_stands_before_further_ones_but_for_their_own_names() {
        let files = [certificate(&["*.b.test", "c.b.test"], &PKCS_ECDSA_P256_SHA256)];
        let slot = Arc::new(CertificateSlot::default());
        slot.set(ordered_for(&["a.test", "a.b.test"]));
        let resolver = Resolver::new(&files, Some(slot), UnknownName::Default);
        for (name, from_file) in [
            (Some("a.test"), false),
            (Some("A.b.test"), false),
            (Some("c.b.test"), true),
            (Some("d.b.test"), true),
            (Some("other.test"), false),
            (None, false),
        ] {
            let shown = resolver.find(name, &[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();
            assert_eq!(Arc::ptr_eq(&shown, &files[0].key), from_file, "{name:?}");
        }
    }
}
