//! The PEM files for connections of a library that reads PEM itself: checked as those of the service are.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    CertificateFiles, FileError, FileFault,
    certificate::{self, certificate_authorities},
    provider,
};
use crate::fault::Fault;

/// Which files.
#[derive(Debug, Clone)]
pub struct OutgoingFiles {
    /// The table that names them, such as `redis.tls`.
    pub table: &'static str,
    /// The authorities that may sign the certificate of the other side. `None`: those that this machine trusts.
    pub ca: Option<PathBuf>,
    /// Our own certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub private_key: Option<PathBuf>,
}

/// What is in them.
#[derive(Default)]
pub struct OutgoingPem {
    /// The authorities. `None`: those that this machine trusts.
    pub ca: Option<Vec<u8>>,
    /// Our own certificate and its key.
    pub pair: Option<(Vec<u8>, Vec<u8>)>,
}

impl OutgoingFiles {
    /// Reads and checks the files, as of `now`.
    ///
    /// # Errors
    /// Files that cannot be used, one of the pair without the other.
    pub fn read(&self, now: SystemTime) -> Result<OutgoingPem, Fault> {
        let Self { table, ca, certificate, private_key } = self;
        let of =
            |key: &str, path: &Path, fault| FileError { key: format!("{table}.{key}"), path: path.to_owned(), fault };
        let ca = ca.as_ref().map(|path| {
            certificate_authorities(path)
                .and_then(|_| certificate::read(path, "ca.crt"))
                .map_err(|fault| of("ca", path, fault))
        });
        let ca = ca.transpose()?;
        let (certificate, private_key) = match (certificate, private_key) {
            (None, None) => return Ok(OutgoingPem { ca, pair: None }),
            (Some(certificate), Some(private_key)) => (certificate, private_key),
            (None, Some(_)) => {
                let message = format!("is missing; name the PEM file of the certificate for {table}.private_key");
                return Err(Fault::new(format!("{table}.certificate"), message));
            }
            (Some(_), None) => {
                let message = format!("is missing; name the PEM file of the key for {table}.certificate");
                return Err(Fault::new(format!("{table}.private_key"), message));
            }
        };
        let files = CertificateFiles { table, certificate, private_key, passphrase: None };
        files.load(&provider(), now, &[]).map_err(|error| match error.fault {
            FileFault::NoPassphrase => {
                let why = "an encrypted key, and this one is read without a passphrase; decrypt it with \"openssl pkcs8 -in KEY \
                           -out NEW\"";
                FileError { fault: FileFault::Unusable(why.to_owned()), ..error }
            }
            _ => error,
        })?;
        let content =
            |key, path: &Path, example| certificate::read(path, example).map_err(|fault| of(key, path, fault));
        let pair = (content("certificate", certificate, "tls.crt")?, content("private_key", private_key, "tls.key")?);
        Ok(OutgoingPem { ca, pair: Some(pair) })
    }
}
