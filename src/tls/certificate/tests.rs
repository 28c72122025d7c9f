use std::path::PathBuf;

use pkcs8::{LineEnding, PrivateKeyInfo, pkcs5::pbes2::Parameters};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use tempfile::TempDir;

use super::*;
use crate::tls::provider;

const DAY: Duration = Duration::from_secs(86_400);

/// An authority, an intermediate one, and what they have issued for `gate.test`.
struct Pki {
    directory: TempDir,
    root: String,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let authority = |name: &str| {
            let mut params = CertificateParams::new([]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let intermediate = CertifiedIssuer::signed_by(authority("intermediate"), key, &root).unwrap();
        Self { directory: tempfile::tempdir().unwrap(), root: root.pem(), intermediate }
    }

    fn leaf(&self, key: &KeyPair, from: SystemTime, to: SystemTime) -> String {
        let mut params = CertificateParams::new(["Gate.test".to_owned(), "*.gate.test".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        (params.not_before, params.not_after) = (from.into(), to.into());
        params.signed_by(key, &self.intermediate).unwrap().pem()
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn load(certificate: &Path, private_key: &Path, passphrase: Option<&Path>) -> Result<Certificate, String> {
    let passphrase = passphrase.map(|path| SecretSource::File(path.to_owned()));
    let files = CertificateFiles { table: "tls", certificate, private_key, passphrase: passphrase.as_ref() };
    files.load(&provider(), SystemTime::now(), &[]).map_err(|error| error.to_string())
}

#[test]
fn a_good_pair_is_read_whatever_form_its_key_has() {
    let pki = Pki::new();
    let now = SystemTime::now();
    let key = KeyPair::generate().unwrap();
    let chain = format!("{}{}{}", pki.leaf(&key, now - DAY, now + DAY), pki.intermediate.pem(), pki.root);
    let chain = pki.file("tls.crt", &format!("\u{FEFF}{chain}"));

    let plain = load(&chain, &pki.file("tls.key", &key.serialize_pem()), None).unwrap();
    assert_eq!(plain.names, ["gate.test", "*.gate.test"]);
    assert_eq!(plain.label(), "gate.test");
    assert!(plain.not_after > now && plain.not_after <= now + DAY);
    assert_eq!(plain.key.cert.len(), 3);

    let der = key.serialize_der();
    let scheme = Parameters::pbkdf2_sha256_aes256cbc(1000, b"saltsalt", b"initial vector 1").unwrap();
    let encrypted = PrivateKeyInfo::try_from(&der[..]).unwrap().encrypt_with_params(scheme, "open sesame").unwrap();
    let pem = encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).unwrap();
    let key = pki.file("encrypted.key", &format!("Bag Attributes\n{}", pem.as_str()));
    load(&chain, &key, Some(&pki.file("right", "open sesame\n"))).unwrap();
    let wrong = load(&chain, &key, Some(&pki.file("wrong", "sesame"))).unwrap_err();
    assert!(wrong.contains("tls.private_key") && wrong.contains("passphrase does not open"), "{wrong}");
    let none = load(&chain, &key, None).unwrap_err();
    assert!(none.contains("passphrase = {"), "{none}");
}

/// PEM of a key as OpenSSL wrote it of old: what is inside of PKCS#8.
fn unwrapped(key: &KeyPair, label: &'static str) -> String {
    let der = key.serialize_der();
    let inner = PrivateKeyInfo::try_from(&der[..]).unwrap().private_key;
    pkcs8::der::pem::encode_string(label, LineEnding::LF, inner).unwrap()
}

#[test]
fn keys_are_read_in_the_forms_of_old() {
    let pki = Pki::new();
    let now = SystemTime::now();
    let [p256, p384] =
        [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384].map(|kind| KeyPair::generate_for(kind).unwrap());
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    for (key, pem) in [
        (&p256, unwrapped(&p256, "EC PRIVATE KEY")),
        (&p384, unwrapped(&p384, "EC PRIVATE KEY")),
        (&rsa, unwrapped(&rsa, "RSA PRIVATE KEY")),
        (&rsa, rsa.serialize_pem()),
        (&ed25519, ed25519.serialize_pem()),
    ] {
        let certificate = pki.file("tls.crt", &pki.leaf(key, now - DAY, now + DAY));
        load(&certificate, &pki.file("tls.key", &pem), None).unwrap();
    }
}

#[test]
fn a_fault_of_a_pair_names_the_file_and_the_fix() {
    let pki = Pki::new();
    let now = SystemTime::now();
    let key = KeyPair::generate().unwrap();
    let leaf = pki.leaf(&key, now - DAY, now + DAY);
    let (good, good_key) = (pki.file("good.crt", &leaf), pki.file("good.key", &key.serialize_pem()));
    load(&good, &good_key, None).unwrap();

    let other = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let chain = |name: &str, certificates: &[&str]| pki.file(name, &certificates.concat());
    let intermediate = pki.intermediate.pem();
    let directory = pki.directory.path().to_owned();
    let missing = directory.join("missing.crt");
    let bad_base64 = leaf.replacen("MII", "!!!", 1);
    for (certificate, private_key, file, fix) in [
        (&missing, &good_key, "missing.crt", "cannot be read: No such file"),
        (&directory, &good_key, "", "is a directory; name the PEM file in it, for example tls.crt"),
        (&good, &directory, "", "is a directory; name the PEM file in it, for example tls.key"),
        (&good_key, &good, "good.key", "are certificate and private_key exchanged?"),
        (&good, &good, "good.crt", "are certificate and private_key exchanged?"),
        (&pki.file("empty.crt", ""), &good_key, "empty.crt", "holds no certificate in PEM form"),
        (&pki.file("bad.crt", &bad_base64), &good_key, "bad.crt", "get it from its issuer again"),
        (&pki.file("cut.crt", &leaf[..300]), &good_key, "cut.crt", "the file ends within it"),
        (&good, &pki.file("other.key", &other.serialize_pem()), "other.key", "are both files of the same pair?"),
        (
            &chain("reversed.crt", &[&pki.root, &intermediate, &leaf]),
            &good_key,
            "reversed.crt",
            "the certificate for the private key is number 3 in it; put that first",
        ),
        (&chain("gap.crt", &[&leaf, &pki.root]), &good_key, "gap.crt", "put each certificate's issuer behind it"),
        (&pki.file("expired.crt", &pki.leaf(&key, now - DAY * 2, now - DAY)), &good_key, "expired.crt", "renew it"),
        (
            &pki.file("future.crt", &pki.leaf(&key, now + DAY, now + DAY * 2)),
            &good_key,
            "future.crt",
            "is this machine's clock right?",
        ),
        (
            &good,
            &pki.file("old.key", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"),
            "old.key",
            "openssl pkcs8 -topk8",
        ),
    ] {
        let error = load(certificate, private_key, None).unwrap_err();
        assert!(error.starts_with("tls.") && error.contains(file) && error.contains(fix), "{file}: {error}");
    }
}

#[test]
fn one_that_is_in_force_may_have_expired_since() {
    let pki = Pki::new();
    let (now, key) = (SystemTime::now(), KeyPair::generate().unwrap());
    let pair = |to| (pki.file("tls.crt", &pki.leaf(&key, now - DAY, to)), pki.file("tls.key", &key.serialize_pem()));
    let load = |(certificate, private_key): &(PathBuf, PathBuf), now, in_force: &[Certificate]| {
        let files = CertificateFiles { table: "tls", certificate, private_key, passphrase: None };
        files.load(&provider(), now, in_force).map_err(|error| error.to_string())
    };
    let one = load(&pair(now + DAY), now, &[]).unwrap();
    let later = now + DAY * 3;
    let files = pair(now + DAY * 2);
    assert!(load(&files, later, &[one]).unwrap_err().contains("renew it"), "another has expired");
    let other = load(&files, now, &[]).unwrap();
    assert!(other.is_among(std::slice::from_ref(&other)));
    assert_eq!(load(&files, later, &[other]).unwrap().not_after, load(&files, now, &[]).unwrap().not_after);
}

/// `openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1 -iter 1`, as OpenSSL 1.0 does it.
const SHA_1: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHdMEgGCSqGSIb3DQEFDTA7MBoGCSqGSIb3DQEFDDANBAiVBNONWBXl+wIBATAd
BglghkgBZQMEASoEEE+p8xn5KLI0zdbN/FHP5ZMEgZDiShalDKQBkhtaTzzmDHBZ
C8Rn2y03tt6DIPlXsnHsaASbt0ZcELoVoL7Er6wv4rGmafT3Zd858M4kKCOPiIxT
cDlJ03+nvWbDgGyg4aEkR8IT0wlDp16iMav2TUGwsNO/SyNoYlpAIne3Wwh+aKOb
lmzqgLkqem8/isfy1qo/892MjIK+muCI2x30HVx7hBk=
-----END ENCRYPTED PRIVATE KEY-----
";

#[test]
fn a_key_in_an_old_encryption_is_not_taken_for_a_wrong_passphrase() {
    let pki = Pki::new();
    let (now, key) = (SystemTime::now(), KeyPair::generate().unwrap());
    let certificate = pki.file("tls.crt", &pki.leaf(&key, now - DAY, now + DAY));
    let error = load(&certificate, &pki.file("old.key", SHA_1), Some(&pki.file("passphrase", "geheim"))).unwrap_err();
    assert!(error.contains("openssl pkcs8 -topk8"), "{error}");
}

#[test]
fn a_file_without_end_is_not_read() {
    let pki = Pki::new();
    let huge = pki.directory.path().join("huge.crt");
    fs::File::create(&huge).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    for endless in [&huge, Path::new("/dev/zero")] {
        assert!(load(endless, endless, None).unwrap_err().contains("larger than 4 MiB"));
    }
}
