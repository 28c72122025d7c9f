//! Who is answered, by which replica, and how.

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConnection, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tempfile::TempDir;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::*;
use crate::{
    observe::gauges::Gauges,
    tls::acme::{cache::FileCache, table::AcmeRules},
};

fn replica(folder: &TempDir, domains: &[&str]) -> Challenges {
    let domains: Vec<String> = domains.iter().map(|&domain| domain.to_owned()).collect();
    let rules = AcmeRules {
        domains: domains.clone(),
        contact: vec![],
        directory: "https://ca.test/".to_owned(),
        challenge_types: vec![ChallengeType::TlsAlpn01],
    };
    let cache = Arc::new(FileCache::open(folder.path()).unwrap());
    let entries = Arc::new(Entries::new(cache, &rules, Arc::new(Gauges::new())));
    Challenges::new(&domains, entries)
}

/// Of a node without replicas.
pub(in crate::tls::acme) fn challenges(domains: &[&str]) -> Challenges {
    replica(&TempDir::new().unwrap(), domains)
}

fn open(challenge_type: ChallengeType, domain: &str, token: &str) -> Open {
    let (domain, token, key_authorization) = (domain.to_owned(), token.to_owned(), format!("{token}.thumb"));
    Open { challenge_type, domain, token, key_authorization }
}

/// Takes any certificate, as an authority that validates does.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// The certificate that an authority sees which validates `name`.
fn seen(config: Arc<ServerConfig>, name: &'static str) -> CertificateDer<'static> {
    let mut asking = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    asking.alpn_protocols = vec![ACME_TLS_1.to_vec()];
    let mut client = ClientConnection::new(Arc::new(asking), ServerName::try_from(name).unwrap()).unwrap();
    let mut server = ServerConnection::new(config).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &bytes[..]).unwrap();
        server.process_new_packets().unwrap();
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut &bytes[..]).unwrap();
        client.process_new_packets().unwrap();
    }
    assert_eq!(client.alpn_protocol(), Some(ACME_TLS_1));
    client.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn the_handshake_shows_the_name_alone_and_the_digest() {
    let challenges = challenges(&["ws.test"]);
    challenges.open(vec![open(ChallengeType::TlsAlpn01, "ws.test", "tok")]).await;
    let config = challenges.tls_alpn_01("WS.test").await.unwrap();
    let der = seen(Arc::clone(&config), "ws.test");
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names, [GeneralName::DNSName("ws.test")]);
    // RFC 8737 §3: id-pe-acmeIdentifier, critical, an OCTET STRING of 32 bytes.
    let oid = x509_parser::oid_registry::asn1_rs::oid!(1.3.6.1.5.5.7.1.31);
    let extension = certificate.extensions().iter().find(|extension| extension.oid == oid).unwrap();
    assert!(extension.critical);
    let expected = [&[4, 32], digest(&SHA256, b"tok.thumb").as_ref()].concat();
    assert_eq!(extension.value, expected);

    let again = challenges.tls_alpn_01("ws.test").await.unwrap();
    assert!(Arc::ptr_eq(&config, &again), "made once, however often it is asked for");
    challenges.open(vec![open(ChallengeType::TlsAlpn01, "ws.test", "next")]).await;
    let next = challenges.tls_alpn_01("ws.test").await.unwrap();
    assert!(!Arc::ptr_eq(&config, &next), "made anew for another challenge");
}

#[tokio::test]
async fn each_way_answers_its_own_challenges_while_they_are_open() {
    let challenges = challenges(&["ws.test", "b.test"]);
    assert!(challenges.tls_alpn_01("ws.test").await.is_none());
    challenges
        .open(vec![open(ChallengeType::TlsAlpn01, "ws.test", "alpn"), open(ChallengeType::Http01, "b.test", "http")])
        .await;
    assert!(challenges.tls_alpn_01("ws.test").await.is_some());
    assert_eq!(challenges.http_01("http").await.as_deref(), Some("http.thumb"));
    for name in ["b.test", "other.test", "", "../ws.test"] {
        assert!(challenges.tls_alpn_01(name).await.is_none(), "{name}");
    }
    for token in ["alpn", "", "http.thumb", &"x".repeat(10_000)] {
        assert!(challenges.http_01(token).await.is_none(), "{token}");
    }
    challenges.close().await;
    assert!(challenges.tls_alpn_01("ws.test").await.is_none());
    assert!(challenges.http_01("http").await.is_none());
}

#[tokio::test]
async fn a_replica_answers_for_the_one_that_orders() {
    let folder = TempDir::new().unwrap();
    let (orders, answers) = (replica(&folder, &["ws.test"]), replica(&folder, &["ws.test"]));
    let strange = replica(&folder, &["other.test"]);
    // A stranger asks first: what is not there is remembered, but not for longer than the order waits.
    assert!(answers.http_01("http").await.is_none());
    orders
        .open(vec![open(ChallengeType::TlsAlpn01, "ws.test", "alpn"), open(ChallengeType::Http01, "ws.test", "http")])
        .await;
    tokio::time::sleep(SHARED_AFTER).await;
    assert!(answers.tls_alpn_01("ws.test").await.is_some());
    assert_eq!(answers.http_01("http").await.as_deref(), Some("http.thumb"));
    assert!(strange.http_01("http").await.is_none(), "another set of names has other challenges");
    orders.close().await;
    tokio::time::sleep(SHARED_AFTER).await;
    assert!(answers.tls_alpn_01("ws.test").await.is_none());
}

#[tokio::test]
async fn a_cache_that_is_broken_keeps_no_answer_back() {
    let folder = TempDir::new().unwrap();
    let challenges = replica(&folder, &["ws.test"]);
    drop(folder);
    challenges.open(vec![open(ChallengeType::Http01, "ws.test", "http")]).await;
    assert_eq!(challenges.http_01("http").await.as_deref(), Some("http.thumb"));
}
