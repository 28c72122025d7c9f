//! Certificate authorities and what they issue, and the folder that Kubernetes would mount it in.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(86_400);

/// An authority.
#[derive(Debug)]
pub(crate) struct Pki(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) private_key: String,
}

/// What is to be issued.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    params: CertificateParams,
}

impl Request {
    /// A server of these names, valid today.
    pub(crate) fn server(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = around(SystemTime::now());
        Self { params }
    }

    /// A client of this common name, with a URI as SPIFFE has it.
    pub(crate) fn client(name: &str) -> Self {
        let mut params = Self::server(&[]).params;
        params.distinguished_name.push(DnType::CommonName, name);
        let uri = format!("spiffe://test/{name}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        Self { params }
    }

    pub(crate) fn serial(mut self, serial: u64) -> Self {
        self.params.serial_number = Some(SerialNumber::from(serial));
        self
    }

    /// It is one of an authority.
    pub(crate) fn authority(mut self) -> Self {
        self.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self
    }

    /// It ends so much later from now.
    pub(crate) fn ending_in(mut self, time: Duration) -> Self {
        self.params.not_after = (SystemTime::now() + time).into();
        self
    }

    /// It ended yesterday.
    pub(crate) fn expired(mut self) -> Self {
        (self.params.not_before, self.params.not_after) = around(SystemTime::now() - DAY * 2);
        self
    }
}

fn around<T: From<SystemTime>>(time: SystemTime) -> (T, T) {
    ((time - DAY).into(), (time + DAY).into())
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "an authority of tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, PEM.
    pub(crate) fn authority(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn issue(&self, request: &Request) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = request.params.signed_by(&key, &self.0).unwrap();
        Pair { certificate: certificate.pem(), private_key: key.serialize_pem() }
    }

    /// A pair for `localhost`.
    pub(crate) fn localhost(&self, serial: u64) -> Pair {
        self.issue(&Request::server(&["localhost"]).serial(serial))
    }

    /// The list of these revoked serials, PEM.
    pub(crate) fn revoked(&self, serials: &[u64]) -> String {
        let now = SystemTime::now();
        let revoked = serials.iter().map(|&serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        });
        let (this_update, next_update) = around(now);
        let list = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

/// A folder as Kubernetes mounts a Secret: all of it is replaced in one step.
#[derive(Debug)]
pub(crate) struct SecretFolder {
    folder: TempDir,
    versions: u32,
}

impl SecretFolder {
    pub(crate) fn of(pair: &Pair) -> Self {
        let mut folder = Self { folder: TempDir::new().unwrap(), versions: 0 };
        folder.replace(&[("tls.crt", &pair.certificate), ("tls.key", &pair.private_key)]);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Both files are others now.
    pub(crate) fn put(&mut self, pair: &Pair) {
        self.replace(&[("tls.crt", &pair.certificate), ("tls.key", &pair.private_key)]);
    }

    /// Writes another file beside them, once.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn replace(&mut self, files: &[(&str, &str)]) {
        self.versions += 1;
        let version = format!("..version-{}", self.versions);
        let folder = self.folder.path();
        fs::create_dir(folder.join(&version)).unwrap();
        for (name, content) in files {
            fs::write(folder.join(&version).join(name), content).unwrap();
            if self.versions == 1 {
                symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
            }
        }
        symlink(&version, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    }
}
