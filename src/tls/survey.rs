//! What the files of `[tls]` say: for people, without putting them in force.

use std::{path::PathBuf, time::SystemTime};

use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};

use super::{
    FileError, TlsTable, certificate,
    certificate::{CertificateFiles, certificates},
    first_files, provider,
};

/// One pair of files.
#[derive(Debug)]
pub struct Surveyed {
    /// The table that names them, `tls` or `tls.certificates[0]`.
    pub table: String,
    /// What is in them, or what is wrong with them and what to do.
    pub pair: Result<Pair, String>,
}

/// A certificate that belongs to its key, in a chain without a gap.
#[derive(Debug)]
pub struct Pair {
    /// The file with the chain.
    pub path: PathBuf,
    /// Its DNS names.
    pub names: Vec<String>,
    /// When its validity begins.
    pub not_before: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
    /// How many certificates are in the chain.
    pub chain: usize,
    leaf: CertificateDer<'static>,
}

impl Pair {
    /// Whether it is for this host, a name or an IP address.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let (leaf, host) = (ParsedCertificate::try_from(&self.leaf), ServerName::try_from(host));
        leaf.is_ok_and(|leaf| host.is_ok_and(|host| verify_server_name(&leaf, &host).is_ok()))
    }
}

/// One authority of `tls.client_ca`.
#[derive(Debug)]
pub struct Authority {
    /// Whose certificate it is.
    pub subject: String,
    /// When it ends.
    pub not_after: SystemTime,
}

/// Reads and checks each pair of the table, as of `now`. A certificate that is ordered is not among them.
#[must_use]
pub fn survey(table: &TlsTable, now: SystemTime) -> Vec<Surveyed> {
    let provider = provider();
    let read = |files: &CertificateFiles<'_>| {
        let loaded = files.load(&provider, now, &[]).map_err(|error| error.to_string())?;
        let Some(leaf) = loaded.key.cert.first().cloned() else { return Err("is empty".to_owned()) };
        let parsed = certificate::parse(&leaf).map_err(|fault| fault.to_string())?;
        let (not_before, not_after) = (certificate::begins(&parsed), certificate::ends(&parsed));
        let path = files.certificate.to_owned();
        let chain = loaded.key.cert.len();
        drop(parsed);
        Ok(Pair { path, names: loaded.names, not_before, not_after, chain, leaf })
    };
    let first = table.acme.is_none().then(|| Surveyed {
        table: "tls".to_owned(),
        pair: first_files(table).map_err(|fault| fault.to_string()).and_then(|files| read(&files)),
    });
    let further = table.certificates.iter().enumerate().map(|(at, pair)| {
        let table = format!("tls.certificates[{at}]");
        let files = CertificateFiles {
            table: &table,
            certificate: &pair.certificate,
            private_key: &pair.private_key,
            passphrase: pair.passphrase.as_ref(),
        };
        let pair = read(&files);
        Surveyed { table, pair }
    });
    first.into_iter().chain(further).collect()
}

/// The authorities of `tls.client_ca`. Empty where no client is asked for a certificate.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub fn authorities(table: &TlsTable) -> Result<Vec<Authority>, String> {
    let Some(path) = &table.client_ca else { return Ok(Vec::new()) };
    let of_ca = |fault| FileError { key: "tls.client_ca".to_owned(), path: path.clone(), fault }.to_string();
    let read = |der: &CertificateDer<'_>| {
        let parsed = certificate::parse(der)?;
        Ok(Authority { subject: parsed.subject().to_string(), not_after: certificate::ends(&parsed) })
    };
    let found = certificates(path).map_err(of_ca)?;
    found.iter().map(|der| read(der).map_err(of_ca)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn a_pair_says_its_names_and_a_wrong_one_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let key = KeyPair::generate().unwrap();
        let names = ["a.test", "*.b.test", "10.0.0.1"].map(str::to_owned);
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        fs::write(at("tls.crt"), certificate.pem()).unwrap();
        fs::write(at("tls.key"), key.serialize_pem()).unwrap();
        fs::write(at("other.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let table = |key: &str| TlsTable {
            certificate: Some(at("tls.crt")),
            private_key: Some(at(key)),
            client_ca: Some(at("tls.crt")),
            ..TlsTable::default()
        };

        let found = survey(&table("tls.key"), SystemTime::now());
        let pair = found[0].pair.as_ref().unwrap();
        assert_eq!((found.len(), &*found[0].table, pair.chain), (1, "tls", 1));
        assert_eq!(pair.names, ["a.test", "*.b.test"]);
        let table_of_hosts =
            [("a.test", true), ("x.b.test", true), ("x.y.b.test", false), ("10.0.0.1", true), ("10.0.0.2", false)];
        for (host, covered) in table_of_hosts {
            assert_eq!(pair.covers(host), covered, "{host}");
        }
        assert_eq!(authorities(&table("tls.key")).unwrap().len(), 1);

        let wrong = survey(&table("other.key"), SystemTime::now()).remove(0).pair.unwrap_err();
        assert!(wrong.starts_with("tls.private_key: ") && wrong.contains("does not belong"), "{wrong}");
        assert!(authorities(&TlsTable { client_ca: Some(at("tls.key")), ..TlsTable::default() }).is_err());
    }
}
