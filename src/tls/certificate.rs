//! One certificate chain with its key, read from PEM files and checked.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument, pkcs5};
use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::{
    fault::Fault,
    units::{SecretError, SecretSource, is_pem},
};

/// The largest PEM file that is read.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Some editors write it before the first line, and the PEM reader then misses that line.
const BYTE_ORDER_MARK: &[u8] = "\u{FEFF}".as_bytes();

const KEY_SECTIONS: [&str; 3] = ["BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY", "BEGIN RSA PRIVATE KEY"];
const ENCRYPTED_BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";

/// The files of a chain and its key.
#[derive(Debug, Clone, Copy)]
pub(in crate::tls) struct CertificateFiles<'a> {
    /// The table that names them, `tls` or `tls.certificates[0]`.
    pub(in crate::tls) table: &'a str,
    pub(in crate::tls) certificate: &'a Path,
    pub(in crate::tls) private_key: &'a Path,
    pub(in crate::tls) passphrase: Option<&'a SecretSource>,
}

/// A checked chain and its key.
#[derive(Debug, Clone)]
pub(in crate::tls) struct Certificate {
    pub(in crate::tls) key: Arc<CertifiedKey>,
    /// Its DNS names, in lower case; a leading `*.` stands for one label.
    pub(super) names: Vec<String>,
    pub(super) not_after: SystemTime,
}

impl Certificate {
    /// Its name in metrics and log: the first DNS name.
    pub(super) fn label(&self) -> &str {
        self.names.first().map_or("unnamed", String::as_str)
    }

    /// Its name in metrics and log, and its end.
    pub(super) fn validity(&self) -> (String, SystemTime) {
        (self.label().to_owned(), self.not_after)
    }

    /// Whether `others` contain the same certificate.
    pub(super) fn is_among(&self, others: &[Self]) -> bool {
        self.key.cert.first().is_some_and(|leaf| is_leaf_of(leaf, others))
    }
}

/// An error in a file of certificates or keys. The message names the key, the file and a fix.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {} {fault}", shown(path))]
pub struct FileError {
    /// The key of the configuration that names the file.
    pub key: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub fault: FileFault,
}

impl From<FileError> for Fault {
    fn from(FileError { key, path, fault }: FileError) -> Self {
        let is_unread = matches!(fault, FileFault::Unreadable { .. } | FileFault::Passphrase(_));
        Self { is_unread, ..Self::new(key, format!("{} {fault}", shown(&path))) }
    }
}

impl From<FileError> for Vec<Fault> {
    fn from(error: FileError) -> Self {
        vec![error.into()]
    }
}

/// What can be wrong with such a file.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// The operating system refuses to read it.
    #[error("cannot be read: {source}{}", permission(.source))]
    Unreadable {
        /// Why not.
        source: io::Error,
    },
    /// The content of the file in place of its path; maybe a private key.
    #[error("is the content of a PEM file; write it to a file, and name that file")]
    Content,
    /// A directory in place of a file.
    #[error("is a directory; name the PEM file in it, for example {0}")]
    Directory(&'static str),
    /// Too large for a PEM file.
    #[error("is larger than {} MiB; it has to be a PEM file of certificates or keys", FILE_BYTES_MAX >> 20)]
    TooLarge,
    /// No PEM, or another kind of it.
    #[error("holds no certificate in PEM form (\"-----BEGIN CERTIFICATE-----\"){0}")]
    NoCertificate(&'static str),
    /// PEM without a valid certificate in it.
    #[error("holds a certificate that cannot be read ({0}); get it from its issuer again")]
    BadCertificate(String),
    /// Clients verify the chain from the first certificate on.
    #[error(
        "holds a chain in the wrong order: the certificate for the private key is number {0} in it; put that first, then its issuer, and so on (\"cat leaf.pem intermediate.pem\")"
    )]
    LeafNotFirst(usize),
    /// A link is missing, or a foreign certificate is in between.
    #[error(
        "holds a chain with a gap: number {at} in it ({subject}) was issued by {issuer:?}, but number {next} is another; put each certificate's issuer behind it and leave out what does not belong to the chain"
    )]
    Gap {
        /// Place in the file, from 1.
        at: usize,
        /// The place after it.
        next: usize,
        /// Whose certificate it is.
        subject: String,
        /// The issuer that should follow.
        issuer: String,
    },
    /// Clients would refuse it.
    #[error("holds a certificate ({subject}) that expired on {when}; renew it")]
    Expired {
        /// Whose certificate it is.
        subject: String,
        /// When it ended.
        when: String,
    },
    /// Clients would refuse it.
    #[error("holds a certificate ({subject}) that is valid only from {when} on; is this machine's clock right?")]
    NotYetValid {
        /// Whose certificate it is.
        subject: String,
        /// When it begins.
        when: String,
    },
    /// Without a name it can never be selected.
    #[error("holds a certificate without a DNS name (subjectAltName), so that no client could ask for it")]
    NoName,
    /// No PEM, or another kind of it.
    #[error("holds no private key in PEM form (\"-----BEGIN PRIVATE KEY-----\"){0}")]
    NoKey(&'static str),
    /// An encryption of OpenSSL's own.
    #[error(
        "holds a key in an old form of encryption; convert it with \"openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out NEW\""
    )]
    OldEncryption,
    /// The key is encrypted.
    #[error("holds an encrypted key; set its passphrase: passphrase = {{ env = \"NAME\" }} or {{ file = \"PATH\" }}")]
    NoPassphrase,
    /// The passphrase does not fit.
    #[error("holds an encrypted key that the passphrase does not open; is it the passphrase of this key?")]
    WrongPassphrase,
    /// The passphrase cannot be read.
    #[error("holds an encrypted key, and its passphrase cannot be read: {0}")]
    Passphrase(#[from] SecretError),
    /// Not RSA, ECDSA or Ed25519 of a supported size.
    #[error(
        "holds a key that cannot be used ({0}); it has to be RSA with 2048 bits or more, P-256, P-384, P-521 or Ed25519"
    )]
    BadKey(rustls::Error),
    /// The files are from two pairs, or only one of them was replaced.
    #[error("holds a key that does not belong to the certificate in {}; are both files of the same pair?", .0.display())]
    OtherKey(PathBuf),
    /// Neither a certificate authority nor a list of revoked certificates.
    #[error("holds {0}")]
    Unusable(String),
}

/// The path of a file in a message.
fn shown(path: &Path) -> String {
    if is_pem(path) { "the value".to_owned() } else { path.display().to_string() }
}

fn permission(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; give the user that runs Tidegate read access",
        _ => "",
    }
}

impl CertificateFiles<'_> {
    /// Reads and checks the pair, as of `now`. A certificate that is already `in_force` may have expired.
    pub(in crate::tls) fn load(
        &self,
        provider: &CryptoProvider,
        now: SystemTime,
        in_force: &[Certificate],
    ) -> Result<Certificate, FileError> {
        let chain = self.of_certificate(certificates(self.certificate))?;
        let key = self.of_private_key(self.key())?;
        let sign = provider.key_provider.load_private_key(key);
        let key = self.of_private_key(sign.map_err(FileFault::BadKey))?;
        let belongs = |certificate: &CertificateDer<'static>| {
            CertifiedKey::new(vec![certificate.clone()], Arc::clone(&key)).keys_match().is_ok()
        };
        match chain.iter().position(belongs) {
            Some(0) => {}
            Some(at) => return self.of_certificate(Err(FileFault::LeafNotFirst(at + 1))),
            None => return self.of_private_key(Err(FileFault::OtherKey(self.certificate.to_owned()))),
        }
        let (names, not_after) = self.of_certificate(judge_chain(&chain, now, in_force))?;
        Ok(Certificate { key: Arc::new(CertifiedKey::new(chain, key)), names, not_after })
    }

    /// The same; where the certificate is at fault, what is wrong with the key's own file is told beside it.
    pub(in crate::tls) fn load_or_faults(
        &self,
        provider: &CryptoProvider,
        now: SystemTime,
        in_force: &[Certificate],
    ) -> Result<Certificate, Vec<Fault>> {
        self.load(provider, now, in_force).map_err(|error| {
            let of_key = self.of_private_key(self.key()).err().filter(|other| other.key != error.key);
            std::iter::once(error).chain(of_key).map(Fault::from).collect()
        })
    }

    /// Attributes an error to the certificate's file.
    pub(super) fn of_certificate<T>(&self, outcome: Result<T, FileFault>) -> Result<T, FileError> {
        outcome.map_err(|fault| self.error("certificate", self.certificate, fault))
    }

    fn of_private_key<T>(&self, outcome: Result<T, FileFault>) -> Result<T, FileError> {
        outcome.map_err(|fault| self.error("private_key", self.private_key, fault))
    }

    fn error(&self, key: &str, path: &Path, fault: FileFault) -> FileError {
        FileError { key: format!("{}.{key}", self.table), path: path.to_owned(), fault }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, FileFault> {
        let pem = read(self.private_key, "tls.key")?;
        let text = String::from_utf8_lossy(&pem);
        if let (Some(begin), Some(end)) = (text.find(ENCRYPTED_BEGIN), text.find(ENCRYPTED_END)) {
            let section = text.get(begin..end + ENCRYPTED_END.len()).ok_or(FileFault::NoKey(""))?;
            return decrypt(section, self.passphrase.ok_or(FileFault::NoPassphrase)?);
        }
        if text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(FileFault::OldEncryption);
        }
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
            let exchanged = text.contains("BEGIN CERTIFICATE");
            FileFault::NoKey(if exchanged {
                ", but a certificate; are certificate and private_key exchanged?"
            } else {
                ""
            })
        })
    }
}

fn decrypt(section: &str, passphrase: &SecretSource) -> Result<PrivateKeyDer<'static>, FileFault> {
    let (_, document) = SecretDocument::from_pem(section).map_err(|_| FileFault::NoKey(", but something like it"))?;
    let encrypted = EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|_| FileFault::OldEncryption)?;
    let decrypted = encrypted.decrypt(passphrase.read()?.into_bytes()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            pkcs5::Error::UnsupportedAlgorithm { .. } | pkcs5::Error::AlgorithmParametersInvalid { .. },
        ) => FileFault::OldEncryption,
        _ => FileFault::WrongPassphrase,
    })?;
    Ok(PrivatePkcs8KeyDer::from(decrypted.as_bytes().to_vec()).into())
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    let pem = read(path, "tls.crt")?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| match error {
        pem::Error::MissingSectionEnd { .. } => FileFault::BadCertificate("the file ends within it".to_owned()),
        other => FileFault::BadCertificate(other.to_string()),
    })?;
    if found.is_empty() {
        let text = String::from_utf8_lossy(&pem);
        let exchanged = KEY_SECTIONS.iter().any(|section| text.contains(section)) || text.contains(ENCRYPTED_BEGIN);
        let hint = if exchanged { ", but a private key; are certificate and private_key exchanged?" } else { "" };
        return Err(FileFault::NoCertificate(hint));
    }
    Ok(found)
}

/// The certificate authorities of a PEM file, at least one.
pub(in crate::tls) fn certificate_authorities(path: &Path) -> Result<RootCertStore, FileFault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| FileFault::BadCertificate(error.to_string()))?;
    }
    Ok(roots)
}

/// Reads a whole file. `example` is the usual name of such a file, for the message about a directory.
pub(super) fn read(path: &Path, example: &'static str) -> Result<Vec<u8>, FileFault> {
    if is_pem(path) {
        return Err(FileFault::Content);
    }
    let about = fs::metadata(path).map_err(unreadable)?;
    if about.is_dir() {
        return Err(FileFault::Directory(example));
    }
    let mut content = Vec::new();
    // Bounded while reading: only plain files have a known length.
    fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content))
        .map_err(unreadable)?;
    if content.starts_with(BYTE_ORDER_MARK) {
        content.drain(..BYTE_ORDER_MARK.len());
    }
    if content.len() as u64 > FILE_BYTES_MAX { Err(FileFault::TooLarge) } else { Ok(content) }
}

fn unreadable(source: io::Error) -> FileFault {
    FileFault::Unreadable { source }
}

fn is_leaf_of(leaf: &CertificateDer<'_>, certificates: &[Certificate]) -> bool {
    certificates.iter().any(|one| one.key.cert.first() == Some(leaf))
}

/// Checks that the first certificate is valid now or `in_force`, and that each is issued by the next. Returns the names
/// and the end of the first.
fn judge_chain(
    chain: &[CertificateDer<'static>],
    now: SystemTime,
    in_force: &[Certificate],
) -> Result<(Vec<String>, SystemTime), FileFault> {
    let parsed: Vec<_> = chain.iter().map(|der| parse(der)).collect::<Result<_, _>>()?;
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    let Some(leaf) = parsed.first() else { return Err(FileFault::NoCertificate("")) };
    // Only the leaf must be valid: common chains end with an expired cross-signed certificate, which clients ignore.
    let (subject, validity) = (leaf.subject().to_string(), leaf.validity());
    if validity.not_before.timestamp() > now {
        return Err(FileFault::NotYetValid { subject, when: validity.not_before.to_string() });
    }
    if validity.not_after.timestamp() < now && !is_leaf_of(&chain[0], in_force) {
        return Err(FileFault::Expired { subject, when: validity.not_after.to_string() });
    }
    for (at, link) in parsed.windows(2).enumerate() {
        if link[0].issuer() != link[1].subject() {
            let (subject, issuer) = (link[0].subject().to_string(), link[0].issuer().to_string());
            return Err(FileFault::Gap { at: at + 1, next: at + 2, subject, issuer });
        }
    }
    Ok((dns_names(leaf), ends(leaf)))
}

pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, FileFault> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => Err(FileFault::BadCertificate(error.to_string())),
    }
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

/// The end of a certificate's validity.
pub(super) fn ends(certificate: &X509Certificate<'_>) -> SystemTime {
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The begin of a certificate's validity.
pub(super) fn begins(certificate: &X509Certificate<'_>) -> SystemTime {
    let seconds = u64::try_from(certificate.validity().not_before.timestamp()).unwrap_or(0);
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests;
