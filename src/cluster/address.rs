//! `redis.url`: one server, a master that Sentinel knows, or a cluster.

use std::fmt;

const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The databases of a server, as Redis counts them by default and at most.
const DATABASES: i64 = 1 << 24;

/// The longest name of a host.
const HOST_BYTES_MAX: usize = 253;

/// Where Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) place: Place,
    /// Whether connections are encrypted.
    pub(super) tls: bool,
    /// The number of the database; 0 in a cluster.
    pub(super) database: i64,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// One server.
    Server(Host),
    /// Any of these knows where the master of that name is.
    Sentinel { sentinels: Vec<Host>, master: String },
    /// Any of these knows the other servers of the cluster.
    Cluster(Vec<Host>),
}

/// A host, as a name or as an address without brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
}

impl Address {
    /// Reads `redis.url`.
    ///
    /// # Errors
    /// What is wrong with it and how to write it, to be read on from the key. It shows nothing of a URL that may hold a
    /// password.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        if url.contains('@') {
            return Err("has a user or a password in it, which everybody sees who sees the configuration; write redis.username = \
                        \"NAME\" and redis.password = { env = \"REDIS_PASSWORD\" }, and leave all up to the @ out of the URL; or \
                        redis.url_from = { env = \"REDIS_URL\" } in place of all three"
                .to_owned());
        }
        let wrong = |why: &str| format!("is {url:?}: {why}");
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("write it as redis://HOST:PORT"))?;
        if rest.contains(['?', '#']) {
            return Err(wrong("it has options, and there are none; leave out all from the ? or # on"));
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (kind, tls) = match scheme.split_once('+').map_or((scheme, ""), |(scheme, kind)| (scheme, kind)) {
            ("redis", kind) => (kind, false),
            ("rediss", kind) => (kind, true),
            _ => ("unknown", false),
        };
        let (place, database) = match kind {
            "" => server(hosts, path),
            "sentinel" => sentinel(hosts, path),
            "cluster" => cluster(hosts, path),
            _ => Err("it has to begin with redis://, redis+sentinel:// or redis+cluster://, or with rediss for TLS"
                .to_owned()),
        }
        .map_err(|why| wrong(&why))?;
        Ok(Self { place, tls, database })
    }
}

fn server(hosts: &str, path: &str) -> Result<(Place, i64), String> {
    let mut hosts = self::hosts(hosts, SERVER_PORT)?;
    match (hosts.pop(), hosts.is_empty()) {
        (Some(host), true) => Ok((Place::Server(host), database(path)?)),
        _ => Err(
            "it names several servers; write redis+cluster:// if they are a cluster, or redis+sentinel:// if they are \
                  Sentinels"
                .to_owned(),
        ),
    }
}

fn sentinel(hosts: &str, path: &str) -> Result<(Place, i64), String> {
    let sentinels = self::hosts(hosts, SENTINEL_PORT)?;
    let (master, number) = path.split_once('/').unwrap_or((path, ""));
    if master.is_empty() || master.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("it lacks the name by which Sentinel knows the master; write it behind the hosts, as in \
                    redis+sentinel://HOST:26379/mymaster"
            .to_owned());
    }
    Ok((Place::Sentinel { sentinels, master: master.to_owned() }, database(number)?))
}

fn cluster(hosts: &str, path: &str) -> Result<(Place, i64), String> {
    match path {
        "" | "0" => Ok((Place::Cluster(self::hosts(hosts, SERVER_PORT)?), 0)),
        _ => Err("a cluster has the database 0 only; leave out all behind the hosts".to_owned()),
    }
}

fn database(path: &str) -> Result<i64, String> {
    let number = if path.is_empty() { Some(0) } else { digits(path) };
    number.filter(|number| (0..DATABASES).contains(number)).ok_or_else(|| {
        format!("{path:?} is no number of a database; write /0, /1 and so on behind the host, or nothing")
    })
}

fn hosts(list: &str, port: u16) -> Result<Vec<Host>, String> {
    list.split(',').map(|host| self::host(host, port)).collect()
}

fn host(text: &str, default: u16) -> Result<Host, String> {
    let wrong = || format!("{text:?} is no host; write HOST:PORT, or [ADDRESS]:PORT for IPv6");
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            (address, port)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if name.is_empty() || name.len() > HOST_BYTES_MAX || !name.chars().all(is_name) {
        return Err(wrong());
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default,
        port => port.and_then(digits).filter(|port| *port > 0).ok_or_else(wrong)?,
    };
    Ok(Host { name: name.to_owned(), port })
}

/// Digits and nothing else: no sign.
fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port } = self;
        if name.contains(':') { write!(f, "[{name}]:{port}") } else { write!(f, "{name}:{port}") }
    }
}

/// For the log.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |hosts: &[Host]| hosts.iter().map(Host::to_string).collect::<Vec<_>>().join(", ");
        match &self.place {
            Place::Server(host) => write!(f, "{host}"),
            Place::Sentinel { sentinels, master } => write!(f, "master {master} of Sentinel {}", list(sentinels)),
            Place::Cluster(hosts) => write!(f, "cluster {}", list(hosts)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.to_owned(), port }
    }

    #[test]
    fn a_url_names_a_server_a_master_or_a_cluster() {
        let server = |name, port| Place::Server(host(name, port));
        for (url, place, tls, database) in [
            ("redis://127.0.0.1:6380", server("127.0.0.1", 6380), false, 0),
            ("redis://redis", server("redis", 6379), false, 0),
            ("redis://redis/", server("redis", 6379), false, 0),
            ("rediss://cache.internal:6380/3", server("cache.internal", 6380), true, 3),
            ("redis://[::1]:7", server("::1", 7), false, 0),
            (
                "redis+sentinel://a,b:5/mymaster/2",
                Place::Sentinel { sentinels: vec![host("a", 26379), host("b", 5)], master: "mymaster".to_owned() },
                false,
                2,
            ),
            ("rediss+cluster://a:1,[fe80::1]", Place::Cluster(vec![host("a", 1), host("fe80::1", 6379)]), true, 0),
        ] {
            assert_eq!(Address::parse(url), Ok(Address { place, tls, database }), "{url}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_way_to_write_it() {
        for (url, part) in [
            ("127.0.0.1:6379", "redis://HOST:PORT"),
            ("http://redis:6379", "has to begin with redis://"),
            ("redis+unix:///tmp/socket", "has to begin with redis://"),
            ("unix:///tmp/socket", "has to begin with redis://"),
            ("redis://", "is no host"),
            ("redis://a,b", "redis+cluster://"),
            ("redis://a:0", "is no host"),
            ("redis://a:+1", "is no host"),
            ("redis://a:65536", "is no host"),
            ("redis://a:", "is no host"),
            ("redis://a b", "is no host"),
            ("redis://::1", "is no host"),
            ("redis://[::1", "is no host"),
            ("redis://a/x", "is no number of a database"),
            ("redis://a/-1", "is no number of a database"),
            ("redis://a?protocol=3", "there are none"),
            ("redis+sentinel://a:1", "lacks the name"),
            ("redis+sentinel://a:1//2", "lacks the name"),
            ("redis+cluster://a:1/2", "database 0 only"),
            ("redis+cluster://a:1,,b", "is no host"),
        ] {
            let said = Address::parse(url).unwrap_err();
            assert!(said.contains(part), "{url}: {said}");
        }
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_shown() {
        let said = Address::parse("redis://user:hunter2@redis:6379").unwrap_err();
        assert!(said.contains("redis.password = { env") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn the_log_names_the_place() {
        let shown = |url| Address::parse(url).unwrap().to_string();
        assert_eq!(shown("rediss://[::1]"), "[::1]:6379");
        assert_eq!(shown("redis+sentinel://a,b/m"), "master m of Sentinel a:26379, b:26379");
        assert_eq!(shown("redis+cluster://a,b"), "cluster a:6379, b:6379");
    }
}
