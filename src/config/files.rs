//! The files and variables that a configuration names. Files are watched, because certificates and secrets are replaced while
//! a node runs.

use std::path::PathBuf;

use super::model::Config;
use crate::units::SecretSource;

/// A file, and the key that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// Such as `tls.certificates[0].private_key`.
    pub key: String,
    /// As the configuration has it.
    pub path: PathBuf,
}

/// What a start reads beside the configuration.
#[derive(Default)]
struct Beside {
    files: Vec<NamedFile>,
    /// The keys of secrets in environment variables.
    variables: Vec<String>,
}

impl Config {
    /// Every file that this configuration names.
    #[must_use]
    pub fn files(&self) -> Vec<NamedFile> {
        self.beside().files
    }

    /// The keys of all secrets, keys and certificates that a start reads.
    #[must_use]
    pub fn keys_read(&self) -> Vec<String> {
        let Beside { files, variables } = self.beside();
        let mut keys: Vec<_> = files.into_iter().map(|file| file.key).chain(variables).collect();
        keys.sort_unstable();
        keys
    }

    fn beside(&self) -> Beside {
        let mut files = Beside::default();
        if let Some(tls) = &self.tls {
            files.add("tls.certificate", tls.certificate.clone());
            files.add("tls.private_key", tls.private_key.clone());
            files.secret("tls.passphrase", tls.passphrase.as_ref());
            files.add("tls.client_ca", tls.client_ca.clone());
            files.add("tls.client_crl", tls.client_crl.clone());
            files.add("tls.acme.root_ca", tls.acme.as_ref().and_then(|acme| acme.root_ca.clone()));
            for (at, pair) in tls.certificates.iter().enumerate() {
                let table = format!("tls.certificates[{at}]");
                files.add(format!("{table}.certificate"), Some(pair.certificate.clone()));
                files.add(format!("{table}.private_key"), Some(pair.private_key.clone()));
                files.secret(format!("{table}.passphrase"), pair.passphrase.as_ref());
            }
        }
        if let Some(tls) = &self.upstream.tls {
            files.add("upstream.tls.ca", tls.ca.clone());
            files.add("upstream.tls.certificate", tls.certificate.clone());
            files.add("upstream.tls.private_key", tls.private_key.clone());
            files.secret("upstream.tls.passphrase", tls.passphrase.as_ref());
        }
        files.secret("auth.secret", self.auth.secret.as_ref());
        files.add("auth.public_key", self.auth.public_key.clone());
        if let Some(redis) = &self.redis {
            let (tls, sentinel) = (redis.tls.as_ref(), redis.sentinel.as_ref());
            files.secret("redis.url_from", redis.url_from.as_ref());
            files.secret("redis.password", redis.password.as_ref());
            files.add("redis.tls.ca", tls.and_then(|tls| tls.ca.clone()));
            files.add("redis.tls.certificate", tls.and_then(|tls| tls.certificate.clone()));
            files.add("redis.tls.private_key", tls.and_then(|tls| tls.private_key.clone()));
            files.secret("redis.sentinel.password", sentinel.and_then(|sentinel| sentinel.password.as_ref()));
        }
        files.secret("cluster.secret", self.cluster.secret.as_ref());
        files.secret("admin.token", self.admin.token.as_ref());
        files
    }
}

impl Beside {
    fn add(&mut self, key: impl Into<String>, path: Option<PathBuf>) {
        self.files.extend(path.map(|path| NamedFile { key: key.into(), path }));
    }

    fn secret(&mut self, key: impl Into<String>, source: Option<&SecretSource>) {
        match source {
            Some(SecretSource::File(path)) => self.add(key, Some(path.clone())),
            Some(SecretSource::Env(_)) => self.variables.push(key.into()),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use crate::config::{load::Loaded, schema};

    /// Every key below that says where a file is, by the examples of the reference.
    fn paths(key: &str, value: &Value, found: &mut BTreeSet<String>) {
        let below = |inner: &str| if key.is_empty() { inner.to_owned() } else { format!("{key}.{inner}") };
        match value {
            Value::Object(table) if table.len() == 1 && table.contains_key("file") => _ = found.insert(key.to_owned()),
            Value::Object(table) => table.iter().for_each(|(inner, value)| paths(&below(inner), value, found)),
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(at, value)| paths(&format!("{key}[{at}]"), value, found));
            }
            Value::String(text) if text.starts_with("/etc/") => _ = found.insert(key.to_owned()),
            _ => {}
        }
    }

    #[test]
    fn every_file_that_a_key_can_name_is_among_them() {
        let reference = schema::reference();
        let everything = reference.lines().map(|line| match line.strip_prefix('#') {
            Some(example) if !example.starts_with(' ') => example,
            _ => line,
        });
        let everything: String = everything.map(|line| format!("{line}\n")).collect();
        let everything = everything.replace("{ env = \"", "{ file = \"/etc/");
        let config = Loaded::of_text("tidegate.toml", &everything).unwrap().config;
        let mut expected = BTreeSet::new();
        paths("", &serde_json::to_value(&config).unwrap(), &mut expected);
        let found: BTreeSet<_> = config.files().into_iter().map(|file| file.key).collect();
        assert!(found.len() > 15, "{found:?}");
        assert_eq!(found, expected);
    }
}
