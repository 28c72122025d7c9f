//! `[redis]` and `[cluster]`, checked.

use std::{fmt, sync::Arc, time::SystemTime};

use redis::{
    ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo,
    RedisResult, TlsCertificates,
};

use crate::{
    cluster::{
        address::{Address, Host, Place},
        secret_url::SecretUrl,
        table::{BackendKind, ClusterTable, RedisTable},
    },
    fault::{Fault, Faults},
    tls::outgoing::{OutgoingFiles, OutgoingPem},
    units::SecretSource,
};

const URL: &str = "redis.url";
const URL_FROM: &str = "redis.url_from";

/// Fewer would be gone before a node is back.
const STREAM_LENGTH_MIN: u32 = 100;

/// `[redis]` and `[cluster]`, checked.
#[derive(Debug, Clone)]
pub struct RedisRules {
    pub(super) address: Address,
    login: Login,
    sentinel: Login,
    tls: Option<OutgoingFiles>,
    /// How nodes publish to each other.
    pub(super) backend: BackendKind,
    /// How many messages a stream keeps.
    pub(super) stream_length: u32,
    /// What the channels of the Socket.IO adapter begin with.
    pub key: Arc<str>,
    /// What our own keys and channels begin with: `tidegate:{name}:`.
    pub prefix: Arc<str>,
    /// Whether the node is ready only while Redis is there.
    pub required: bool,
}

/// Who signs in, and with which password. It is read whenever it is needed, because it may be replaced.
#[derive(Debug, Clone)]
struct Login {
    /// The key of the password.
    key: &'static str,
    username: Option<String>,
    password: Option<SecretSource>,
    /// `None`: user and password are keys of their own.
    url: Option<SecretSource>,
}

/// What a connection needs of secrets and files, read at this moment.
pub(super) struct Credentials {
    pub(super) redis: RedisConnectionInfo,
    pub(super) sentinel: RedisConnectionInfo,
    /// `None`: no TLS.
    pub(super) tls: Option<TlsCertificates>,
}

impl RedisRules {
    /// Compiles the tables; reads password and files once, to check them. `service`: host and port of `upstream.url`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn compile(redis: &RedisTable, cluster: &ClusterTable, service: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let (address, login) = place_and_login(redis, &mut faults);
        let table = redis.sentinel.clone().unwrap_or_default();
        let (username, password) = (table.username, table.password);
        let sentinel = Login { key: "redis.sentinel.password", username, password, url: None };
        faults.keep(sentinel.check("redis.sentinel.username"));
        if let Some(address) = &address {
            let is_sentinel = matches!(address.place, Place::Sentinel { .. });
            if redis.tls.is_some() && !address.tls {
                faults.add(url_key(redis), "does not begin with rediss, but redis.tls is given; change one of them");
            }
            if redis.sentinel.is_some() && !is_sentinel {
                let key = url_key(redis);
                let message =
                    format!("is given, but {key} does not begin with redis+sentinel://; leave out one of them");
                faults.add("redis.sentinel", message);
            }
        }
        if redis.key.is_empty() {
            faults.add("redis.key", "is empty; the adapter of Socket.IO uses \"socket.io\" by default");
        }
        if redis.stream_length < STREAM_LENGTH_MIN {
            let message = format!("is {}; it has to be {STREAM_LENGTH_MIN} or more", redis.stream_length);
            faults.add("redis.stream_length", message);
        }
        let name = cluster.name.as_deref().unwrap_or(service);
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '{' | '}')) {
            faults.add("cluster.name", format!("is {name:?}; it needs a name without blanks and braces"));
        }
        let tls = address.as_ref().is_some_and(|address| address.tls).then(|| {
            let table = redis.tls.clone().unwrap_or_default();
            let (ca, certificate, private_key) = (table.ca, table.certificate, table.private_key);
            OutgoingFiles { table: "redis.tls", ca, certificate, private_key }
        });
        if let Some(files) = &tls {
            faults.keep(files.read(SystemTime::now()));
        }
        let rules = address.map(|address| Self {
            address,
            login,
            sentinel,
            tls,
            backend: redis.backend,
            stream_length: redis.stream_length,
            key: redis.key.as_str().into(),
            prefix: format!("tidegate:{{{name}}}:").into(),
            required: redis.required,
        });
        faults.finish(rules)
    }

    /// Where Redis is, for the log.
    #[must_use]
    pub fn place(&self) -> String {
        self.address.to_string()
    }

    /// The hosts that are asked: of the server, of the Sentinels, or of the cluster.
    #[must_use]
    pub fn hosts(&self) -> Vec<(String, u16)> {
        let hosts = match &self.address.place {
            Place::Server(host) => std::slice::from_ref(host),
            Place::Sentinel { sentinels: hosts, .. } | Place::Cluster(hosts) => hosts,
        };
        hosts.iter().map(|host| (host.name.clone(), host.port)).collect()
    }

    /// Reads passwords and files again.
    pub(super) fn credentials(&self) -> Result<Credentials, Fault> {
        let tls = self.tls.as_ref().map(|files| files.read(SystemTime::now()).map(certificates)).transpose()?;
        Ok(Credentials {
            redis: self.login.read()?.set_db(self.address.database).set_protocol(ProtocolVersion::RESP3),
            sentinel: self.sentinel.read()?,
            tls,
        })
    }

    /// The key that says where Redis is.
    #[must_use]
    pub const fn url_key(&self) -> &'static str {
        if self.is_url_secret() { URL_FROM } else { URL }
    }

    /// Whether user and password stand in the URL, which is a secret then.
    pub(super) const fn is_url_secret(&self) -> bool {
        self.login.url.is_some()
    }

    /// How a host is reached.
    pub(super) fn host(&self, Host { name, port }: &Host) -> ConnectionAddr {
        match self.address.tls {
            false => ConnectionAddr::Tcp(name.clone(), *port),
            true => ConnectionAddr::TcpTls { host: name.clone(), port: *port, insecure: false, tls_params: None },
        }
    }

    /// How a host is reached, and what is said there first.
    pub(super) fn server(&self, host: &Host, settings: RedisConnectionInfo) -> RedisResult<ConnectionInfo> {
        Ok(self.host(host).into_connection_info()?.set_redis_settings(settings))
    }
}

/// The key that says where Redis is.
const fn url_key(redis: &RedisTable) -> &'static str {
    if redis.url_from.is_some() { URL_FROM } else { URL }
}

/// Where Redis is, and who signs in there. What is read of secrets is forgotten.
fn place_and_login(redis: &RedisTable, faults: &mut Faults) -> (Option<Address>, Login) {
    let (username, password, url) = (redis.username.clone(), redis.password.clone(), redis.url_from.clone());
    let login = Login { key: "redis.password", username, password, url };
    let Some(source) = &login.url else {
        faults.keep(login.check("redis.username"));
        return (faults.keep(Address::parse(&redis.url).map_err(|why| Fault::new("redis.url", why))), login);
    };
    for (key, is_given) in [
        ("redis.url", redis.url != RedisTable::default().url),
        ("redis.username", login.username.is_some()),
        ("redis.password", login.password.is_some()),
    ] {
        if is_given {
            faults.add(key, "is given, and redis.url_from says it too; leave out one of them");
        }
    }
    (faults.keep(SecretUrl::read(source)).map(|url| url.address), login)
}

impl Login {
    /// Can it be used? The password is read, and forgotten.
    fn check(&self, username: &str) -> Result<(), Fault> {
        if self.username.is_some() && self.password.is_none() {
            let message = format!("is given, but {} is not; Redis takes no user without a password", self.key);
            return Err(Fault::new(username, message));
        }
        self.read().map(drop)
    }

    fn read(&self) -> Result<RedisConnectionInfo, Fault> {
        if let Some(source) = &self.url {
            return SecretUrl::read(source).map(|url| url.login);
        }
        let mut settings = RedisConnectionInfo::default();
        if let Some(user) = &self.username {
            settings = settings.set_username(user);
        }
        let Some(source) = &self.password else { return Ok(settings) };
        let secret = source.read().map_err(|error| Fault::unread(self.key, error.to_string()))?;
        let password = std::str::from_utf8(secret.expose());
        let password = password.map_err(|_| Fault::new(self.key, "is not UTF-8; use a password that is"))?;
        Ok(settings.set_password(password))
    }
}

fn certificates(OutgoingPem { ca, pair }: OutgoingPem) -> TlsCertificates {
    let client_tls = pair.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    TlsCertificates { client_tls, root_cert: ca }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cluster::table::{RedisSentinelTable, RedisTlsTable};

    fn compile(table: &RedisTable) -> Result<RedisRules, Vec<String>> {
        let rules = RedisRules::compile(table, &ClusterTable::default(), "127.0.0.1:4003");
        rules.map_err(|faults| faults.iter().map(Fault::to_string).collect())
    }

    fn refusal(table: &RedisTable) -> String {
        compile(table).unwrap_err().join("\n")
    }

    #[test]
    fn without_keys_it_is_a_server_on_this_machine() {
        let rules = compile(&RedisTable::default()).unwrap();
        assert_eq!((rules.place().as_str(), &*rules.key), ("127.0.0.1:6379", "socket.io"));
        assert_eq!(&*rules.prefix, "tidegate:{127.0.0.1:4003}:");
    }

    #[test]
    fn the_password_is_read_again_for_each_connection() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "first\n").unwrap();
        let rules = compile(&RedisTable { password: Some(SecretSource::File(file.clone())), ..RedisTable::default() });
        let rules = rules.unwrap();
        let password = || rules.credentials().unwrap().redis.password().map(str::to_owned);
        assert_eq!(password().as_deref(), Some("first"));
        fs::write(&file, "second\n").unwrap();
        assert_eq!(password().as_deref(), Some("second"));
        fs::remove_file(&file).unwrap();
        assert!(rules.credentials().unwrap_err().to_string().starts_with("redis.password"));
    }

    #[test]
    fn a_url_that_is_a_secret_says_where_redis_is_and_its_password_is_read_again() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("url");
        fs::write(&file, "redis://ada:first@cache:7/3\n").unwrap();
        let table = RedisTable { url_from: Some(SecretSource::File(file.clone())), ..RedisTable::default() };
        let rules = compile(&table).unwrap();
        assert_eq!(rules.place(), "cache:7");
        let login = || rules.credentials().unwrap().redis;
        assert_eq!((login().username(), login().password(), login().db()), (Some("ada"), Some("first"), 3));
        fs::write(&file, "redis://ada:second@elsewhere:8/4\n").unwrap();
        assert_eq!((login().password(), login().db()), (Some("second"), 3), "another place waits for a start");
        for (table, key) in [
            (RedisTable { url: "redis://other".to_owned(), ..table.clone() }, "redis.url is given"),
            (RedisTable { username: Some("ada".to_owned()), ..table.clone() }, "redis.username is given"),
            (
                RedisTable { password: Some(SecretSource::File(file.clone())), ..table.clone() },
                "redis.password is given",
            ),
        ] {
            let said = refusal(&table);
            assert!(said.starts_with(key) && !said.contains('\n'), "{said}");
        }
        assert_eq!((rules.url_key(), compile(&RedisTable::default()).unwrap().url_key()), (URL_FROM, URL));
        for (table, part) in [
            (
                RedisTable { tls: Some(RedisTlsTable::default()), ..table.clone() },
                "redis.url_from does not begin with rediss",
            ),
            (
                RedisTable { sentinel: Some(RedisSentinelTable::default()), ..table.clone() },
                "redis.sentinel is given, but redis.url_from does not",
            ),
        ] {
            let said = refusal(&table);
            assert!(said.starts_with(part), "{said}");
        }
    }

    #[test]
    fn keys_that_contradict_one_another_are_refused() {
        let table = RedisTable::default();
        let tls = Some(RedisTlsTable::default());
        let sentinel = Some(RedisSentinelTable::default());
        for (table, part) in [
            (
                RedisTable { url: "redis://a:b@c".to_owned(), ..table.clone() },
                "redis.url has a user or a password in it",
            ),
            (RedisTable { tls, ..table.clone() }, "redis.url does not begin with rediss, but redis.tls is given"),
            (RedisTable { sentinel, ..table.clone() }, "redis.sentinel is given, but redis.url does not"),
            (
                RedisTable { username: Some("ada".to_owned()), ..table.clone() },
                "redis.username is given, but redis.password",
            ),
            (RedisTable { key: String::new(), ..table.clone() }, "redis.key is empty"),
            (RedisTable { stream_length: 99, ..table.clone() }, "redis.stream_length is 99"),
            (
                RedisTable { password: Some(SecretSource::File("/nowhere/password".into())), ..table.clone() },
                "redis.password",
            ),
        ] {
            let said = refusal(&table);
            assert!(said.contains(part), "{said}");
        }
        let cluster = ClusterTable { name: Some("a{b}".to_owned()), ..ClusterTable::default() };
        assert!(RedisRules::compile(&table, &cluster, "x").is_err());
    }

    #[test]
    fn files_of_tls_are_checked() {
        let tls = |ca: &str| RedisTable {
            url: "rediss://redis".to_owned(),
            tls: Some(RedisTlsTable { ca: Some(ca.into()), ..RedisTlsTable::default() }),
            ..RedisTable::default()
        };
        assert!(refusal(&tls("/nowhere/ca.crt")).starts_with("redis.tls.ca: /nowhere/ca.crt cannot be read"));
        let half = RedisTlsTable { certificate: Some("/a".into()), ..RedisTlsTable::default() };
        let half = RedisTable { url: "rediss://redis".to_owned(), tls: Some(half), ..RedisTable::default() };
        assert!(refusal(&half).starts_with("redis.tls.private_key is missing"));
    }
}
